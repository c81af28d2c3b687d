"""The batcher as a machine: what Bitcoin, derivation and the sequencer say goes in, inscriptions come out.

It composes the inscriber with a plan of channels. Every block above the posted head is posted once; what
Bitcoin takes back, or derivation finds void, is above the posted head again and goes out under a new number.
Duties depend only on the state; a driver persists the state before it does them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from l1.header_chain import HeaderChain, extend_chain, retract_chain
from l1.inscriber import (
    Answered,
    BlockConnected,
    BlockDisconnected,
    Cancel,
    Enqueue,
    FeeEstimated,
    InscriberEvent,
    Look,
    Looked,
    Restarted,
    RowChanged,
    Send,
    Ticked,
)
from l1.inscriber import Signal as InscriberSignal
from l1.inscriber import step as step_inscriber
from l1.inscription import Row, RowStatus
from l1.ports import ChainPoint
from primitives.bitcoin.envelope import EnvelopeKind, build_header, encode_leaf
from primitives.bitcoin.header import HEADER_BYTES, parse_header
from primitives.curve import xonly_public_key
from primitives.errors import InvalidInput, Rejected
from primitives.hashes import sha256
from primitives.ids import Hash32
from rollup.batch.channel import split_frames
from rollup.batcher.plan import Post, find_droppable, find_posted_head, plan_channel
from rollup.batcher.ports import Backlog, Progress
from rollup.batcher.state import (
    ARTIFACT,
    ARTIFACT_PRIORITY,
    BATCH,
    BATCH_PRIORITY,
    Artifact,
    BatcherConfig,
    BatcherState,
    Channel,
    RowRecord,
)
from rollup.derivation.judge import DerivedHead

_ENDED: Final = (RowStatus.FINAL, RowStatus.EXPIRED)


@dataclass(frozen=True, slots=True)
class ProgressSeen:
    """Derivation stands here."""

    progress: Progress | None


@dataclass(frozen=True, slots=True)
class BacklogSeen:
    """The sequencer has this above the posted head."""

    backlog: Backlog


@dataclass(frozen=True, slots=True)
class ChannelBuilt:
    """A channel's frames are encoded; `last_hash` is the L2 hash of `last`."""

    first_number: int
    first_origin: int
    last: DerivedHead
    last_hash: Hash32
    frames: tuple[bytes, ...]
    batch_bytes: int


@dataclass(frozen=True, slots=True)
class Held:
    """Event and signal: blocks wait and cannot be posted, for this reason in words."""

    reason: str


@dataclass(frozen=True, slots=True)
class PublishArtifact:
    """Someone wants an artifact inscribed; asking again changes nothing."""

    data: bytes


BatcherEvent = InscriberEvent | ProgressSeen | BacklogSeen | ChannelBuilt | Held | PublishArtifact


@dataclass(frozen=True, slots=True)
class BuildChannel:
    """Duty: read the blocks after `parent`, judge and encode them, and answer `ChannelBuilt` or `Held`."""

    parent: DerivedHead


Duty = Send | Look | BuildChannel


@dataclass(frozen=True, slots=True)
class ChannelQueued:
    """Signal: a channel got a number and a row."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class ArtifactDone:
    """Signal: every chunk of an artifact is final."""

    artifact: Artifact


@dataclass(frozen=True, slots=True)
class RowEnded:
    """Signal: a row is final or was dropped; what it cost is known for good."""

    record: RowRecord


Signal = InscriberSignal | ChannelQueued | ArtifactDone | RowEnded | Held


@dataclass(frozen=True, slots=True)
class Transition:
    """What one event leads to."""

    state: BatcherState
    duties: tuple[Duty, ...] = ()
    signals: tuple[Signal, ...] = ()


def step(config: BatcherConfig, state: BatcherState, event: BatcherEvent) -> Transition:
    """Return the state after one event, what to do now, and what others may want to know.

    Raises InvalidInput `l1.*` and `wallet.*` for Bitcoin blocks that do not follow, `artifact.*` for
    artifacts that no node would take, Rejected `artifact.too_many_open` while too many uploads are under way.
    """
    match event:
        case Ticked():
            return _tick(config, state, event)
        case ProgressSeen():
            return Transition(replace(state, progress=event.progress))
        case BacklogSeen():
            return Transition(replace(state, backlog=event.backlog))
        case ChannelBuilt():
            return _queue_channel(config, state, event)
        case Held():
            return _hold(state, event.reason)
        case PublishArtifact():
            return Transition(_publish(config, state, event.data))
        case BlockConnected() | BlockDisconnected():
            headers = _follow(state.headers, event)
            return _inscribe(config, replace(state, headers=headers), event)
        case Answered() | Looked() | FeeEstimated() | Restarted() | Enqueue() | Cancel():
            return _inscribe(config, state, event)


def _follow(headers: HeaderChain, event: BlockConnected | BlockDisconnected) -> HeaderChain:
    if isinstance(event, BlockConnected):
        return extend_chain(headers, parse_header(event.raw[:HEADER_BYTES]))
    if headers.tip != event.point:
        raise InvalidInput("l1.not_the_tip", "only the newest block can be left", height=event.point.height)
    return retract_chain(headers)


def _tick(config: BatcherConfig, state: BatcherState, event: Ticked) -> Transition:
    state, signals = _drop_void(config, state)
    state = _note_waiting(state, event.now_ms)
    inscribed = _inscribe(config, state, event)
    state = _settle_channels(inscribed.state)
    plan = plan_channel(config, state, event.now_ms)
    duties = inscribed.duties
    if isinstance(plan, Post):
        duties = (*duties, BuildChannel(plan.parent))
    else:
        held = _hold(state, plan.reason)
        state, signals = held.state, (*signals, *held.signals)
    return Transition(state, duties, (*signals, *inscribed.signals))


def _drop_void(config: BatcherConfig, state: BatcherState) -> tuple[BatcherState, tuple[Signal, ...]]:
    """Drop channels that nobody else can have and that would be void; their numbers and blocks are free again."""
    signals: tuple[Signal, ...] = ()
    while (channel := find_droppable(config, state)) is not None:
        dropped = _inscribe(config, state, Cancel(channel.row_id, "its blocks would be void by now"))
        kept = tuple(entry for entry in state.channels if entry is not channel)
        state = replace(dropped.state, channels=kept, next_channel=channel.number)
        signals = (*signals, *dropped.signals)
    return state, signals


def _note_waiting(state: BatcherState, now_ms: int) -> BatcherState:
    """Remember since when blocks wait; what a posted head that moved back lays open waits from now on."""
    posted, backlog = find_posted_head(state), state.backlog
    waits = posted is not None and backlog is not None and backlog.head_number > posted.head.number
    if not waits:
        return replace(state, waiting_since_ms=None)
    return state if state.waiting_since_ms is not None else replace(state, waiting_since_ms=now_ms)


def _hold(state: BatcherState, reason: str) -> Transition:
    signals = (Held(reason),) if reason and reason != state.hold_reason else ()
    return Transition(replace(state, hold_reason=reason), (), signals)


def _inscribe(config: BatcherConfig, state: BatcherState, event: InscriberEvent) -> Transition:
    """Let the inscriber make its step, and take note of rows that ended."""
    inner = step_inscriber(config.inscriber, state.inscriber, event)
    state = replace(state, inscriber=inner.state)
    signals: list[Signal] = []
    for signal in inner.signals:
        signals.append(signal)
        if isinstance(signal, RowChanged) and signal.row.status in _ENDED:
            state, more = _end_row(config, state, signal.row)
            signals.extend(more)
    return Transition(state, inner.duties, tuple(signals))


def _end_row(config: BatcherConfig, state: BatcherState, row: Row) -> tuple[BatcherState, list[Signal]]:
    record = describe_row(state, row)
    state = replace(
        state,
        history=(*state.history, record)[-config.history :],
        spent_sats=state.spent_sats + record.cost_sats,
    )
    signals: list[Signal] = [RowEnded(record)]
    if row.purpose == ARTIFACT and row.status is RowStatus.FINAL:
        artifact = state.artifacts[Hash32(row.reference)]
        artifact = replace(artifact, final_rows=(*artifact.final_rows, row.row_id))
        state = replace(state, artifacts={**state.artifacts, artifact.hash: artifact})
        if artifact.done:
            signals.append(ArtifactDone(artifact))
    return state, signals


def _settle_channels(state: BatcherState) -> BatcherState:
    """Let go of channels that are final and read, and remember how far that reaches."""
    rows, progress = state.inscriber.rows, state.progress
    ended = [channel for channel in state.channels if channel.row_id not in rows]
    if not ended:
        return state
    read = progress.next_channel if progress is not None else 0
    gone = [channel for channel in ended if channel.number < read]
    safe = progress.head.number if progress is not None else 0
    final = [channel.last.number for channel in gone if channel.last.number <= safe]
    kept = [
        replace(channel, settled=True) if channel in ended else channel
        for channel in state.channels
        if channel not in gone
    ]
    return replace(
        state,
        channels=tuple(kept),
        floor_channel=max([state.floor_channel, *(channel.number + 1 for channel in gone)]),
        floor_number=max([state.floor_number, *final]),
    )


def _queue_channel(config: BatcherConfig, state: BatcherState, built: ChannelBuilt) -> Transition:
    """Give frames a number and a row, if they still are what comes next."""
    posted = find_posted_head(state)
    if posted is None or state.progress is None or posted.head.number + 1 != built.first_number:
        return Transition(state)
    number = max(state.next_channel, state.progress.next_channel)
    row_id = state.inscriber.next_row_id
    leaves = _encode_leaves(config, EnvelopeKind.BATCH_FRAME, number, built.frames)
    request = Enqueue(BATCH, number.to_bytes(8, "big"), leaves, BATCH_PRIORITY)
    channel = Channel(
        number=number,
        row_id=row_id,
        first_number=built.first_number,
        first_origin=built.first_origin,
        last=built.last,
        last_hash=built.last_hash,
        frames=len(built.frames),
        payload_bytes=sum(len(frame) for frame in built.frames),
        batch_bytes=built.batch_bytes,
    )
    inscribed = _inscribe(config, state, request)
    state = replace(
        inscribed.state,
        channels=(*state.channels, channel),
        next_channel=number + 1,
        backlog=None,
        waiting_since_ms=None,
        hold_reason="",
    )
    return Transition(state, (), (*inscribed.signals, ChannelQueued(channel)))


def _publish(config: BatcherConfig, state: BatcherState, data: bytes) -> BatcherState:
    """Queue an artifact's chunks in rows of a few leaves, all in one step."""
    artifact_hash = sha256(data)
    if artifact_hash in state.artifacts:
        return state
    limits = config.rollup.limits
    most = min(limits.artifact_bytes, limits.artifact_chunks * config.frame_bytes)
    if not 0 < len(data) <= most:
        raise InvalidInput(
            "artifact.bad_size",
            "an artifact is empty or too large",
            size=len(data),
            limit=most,
        )
    open_uploads = sum(not artifact.done for artifact in state.artifacts.values())
    if open_uploads >= limits.signer_artifacts:
        raise Rejected("artifact.too_many_open", "other artifacts are still under way", open=open_uploads)
    sequence = state.next_artifact
    chunks = split_frames(data, config.frame_bytes)
    leaves = _encode_leaves(config, EnvelopeKind.ARTIFACT_CHUNK, sequence, chunks)
    row_ids: list[int] = []
    for start in range(0, len(leaves), config.leaves_per_row):
        row_ids.append(state.inscriber.next_row_id)
        part = leaves[start : start + config.leaves_per_row]
        state = _inscribe(config, state, Enqueue(ARTIFACT, artifact_hash, part, ARTIFACT_PRIORITY)).state
    artifact = Artifact(artifact_hash, sequence, len(data), tuple(row_ids))
    artifacts = {**state.artifacts, artifact_hash: artifact}
    return replace(state, artifacts=artifacts, next_artifact=sequence + 1)


def _encode_leaves(
    config: BatcherConfig, kind: EnvelopeKind, number: int, payloads: Sequence[bytes]
) -> tuple[bytes, ...]:
    secret, identity = config.inscriber.keys.signer_secret, config.rollup.identity
    signer = xonly_public_key(secret)
    return tuple(
        encode_leaf(
            config.codec,
            signer,
            build_header(secret, kind, payload, identity=identity, number=number, index=index),
            payload,
        )
        for index, payload in enumerate(payloads)
    )


def describe_row(state: BatcherState, row: Row) -> RowRecord:
    """Return a row as a person wants to see it."""
    channel = next((entry for entry in state.channels if entry.row_id == row.row_id), None)
    attempt = row.attempt
    return RowRecord(
        row_id=row.row_id,
        purpose=row.purpose,
        reference=row.reference,
        status=row.status.name.lower(),
        payload_bytes=channel.payload_bytes if channel else sum(len(leaf) for leaf in row.leaves),
        commit=attempt.commit.txid if attempt else b"",
        reveals=tuple(reveal.txid for reveal in row.reveals),
        cost_sats=row.cost_sats,
        height=row.confirmed_height or 0,
        first_block=channel.first_number if channel else 0,
        last_block=channel.last.number if channel else 0,
    )


def l1_cursor(state: BatcherState) -> ChainPoint:
    """Return the Bitcoin block up to which everything was worked through."""
    return state.headers.tip
