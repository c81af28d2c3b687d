"""The batcher's loop: collect, step, persist state and outbox in one atomic write, then do what is due.

Every pass begins with what the world says and ends with sends whose answers open the next pass. A crash
between any two lines loses nothing: rows hold their signed transactions before the first send, and sending
again is idempotent. `faults` is called by name at each persist and each send, so that a test can die there.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import structlog

from l1.header_chain import HeaderChain, start_chain
from l1.inscriber import (
    Answered,
    BlockConnected,
    BlockDisconnected,
    FeeEstimated,
    InscriberState,
    Look,
    Looked,
    Restarted,
    Send,
    Ticked,
)
from l1.ports import ChainPoint, Clock, L1Broadcaster, L1Source, SendOutcome
from l1.wallet import Wallet
from primitives.errors import InvalidInput, InvariantViolation, Temporary
from primitives.hashes import sha256
from primitives.ids import Hash32
from rollup.batch.channel import compress_batch, decompress_batch, split_frames
from rollup.batch.codec import Batch, decode_batch, encode_batch
from rollup.batcher.journal import diff_batcher, load_batcher
from rollup.batcher.machine import (
    BacklogSeen,
    BatcherEvent,
    BuildChannel,
    ChannelBuilt,
    Duty,
    Held,
    ProgressSeen,
    PublishArtifact,
    Signal,
    describe_row,
    step,
)
from rollup.batcher.plan import count_postable, count_room_bytes, find_posted_head, judge_posting
from rollup.batcher.ports import BlockSource, DerivationView, Journal, SourceBlock
from rollup.batcher.state import Artifact, BatcherConfig, BatcherState, RowRecord
from rollup.config import L1Start
from rollup.derivation.judge import DerivedHead
from rollup.follower.l1_follower import Connected, L1Follower

log = structlog.get_logger(__name__)

_HEADER_SLACK: Final = 64


class Observer(Protocol):
    """Whoever counts, logs or shows what happens."""

    def __call__(self, signal: Signal) -> None:
        """Take note of a signal; it is stored already."""
        ...


@dataclass(frozen=True, slots=True)
class BatcherPorts:
    """The world as the batcher reaches it."""

    blocks: BlockSource
    derivation: DerivationView
    l1: L1Source
    broadcaster: L1Broadcaster
    journal: Journal
    clock: Clock


@dataclass(frozen=True, slots=True)
class DriverConfig:
    """Milliseconds between idle passes, between fee estimates, and to wait at most when Bitcoin is away."""

    poll_ms: int = 1_000
    fee_poll_ms: int = 15_000
    longest_wait_ms: int = 15_000


@dataclass(frozen=True, slots=True)
class BatcherReport:
    """The batcher for people: coins, rows on their way, rows that ended, newest last, and why blocks wait."""

    balance_sats: int
    spent_sats: int
    next_channel: int
    posted_number: int | None
    hold_reason: str
    rows: tuple[tuple[RowRecord, str], ...]
    history: tuple[RowRecord, ...]


def fresh_state(config: BatcherConfig, start: L1Start) -> BatcherState:
    """Return a batcher that has seen nothing after `start`, the block from which the wallet is scanned."""
    parameters = config.rollup.parameters
    limit = 2 * parameters.seq_window + parameters.finality_depth + _HEADER_SLACK
    point = ChainPoint(start.height, start.hash)
    headers: HeaderChain = start_chain(point, start.times, limit)
    wallet = Wallet(config.inscriber.keys.wallet.script, point, journal_limit=limit)
    return BatcherState(InscriberState(wallet), headers)


class Batcher:
    """One batcher of one chain; single-threaded in one event loop."""

    def __init__(
        self,
        config: BatcherConfig,
        ports: BatcherPorts,
        start: L1Start,
        *,
        driver: DriverConfig | None = None,
        observer: Observer = lambda _signal: None,
        faults: Callable[[str], None] = lambda _name: None,
    ) -> None:
        """Open what the journal holds, or begin after `start`.

        Raises ConfigError `batcher.*` and `fees.*`, InvariantViolation `journal.corrupt`.
        """
        config.check()
        self._config = config
        self._ports = ports
        self._driver = driver or DriverConfig()
        self._observer = observer
        self._faults = faults
        pairs = ports.journal.load()
        self._state = load_batcher(pairs, fresh_state(config, start))
        self._stored: BatcherState | None = self._state if pairs else None
        self._follower = L1Follower(ports.l1, ports.clock, self._state.headers.tip, floor_height=start.height)
        self._pending: list[Signal] = []
        self._fee_asked_ms: int | None = None
        self._apply(Restarted())

    @property
    def state(self) -> BatcherState:
        """The state now, stored or about to be."""
        return self._state

    async def run(self, stop: asyncio.Event) -> None:
        """Run until told to stop; a world that is away is waited for, and each change is logged once."""
        wait_ms = 0
        while not stop.is_set():
            try:
                busy = await self.run_once()
            except Temporary as error:
                if wait_ms == 0:
                    log.warning("batcher_waits", code=error.code, reason=error.message)
                wait_ms = min(max(2 * wait_ms, 500), self._driver.longest_wait_ms)
                await self._ports.clock.sleep_ms(wait_ms)
                continue
            if wait_ms:
                log.info("batcher_goes_on")
                wait_ms = 0
            if not busy:
                await self._ports.clock.sleep_ms(self._driver.poll_ms)

    async def run_once(self) -> bool:
        """Make one pass; tell whether there was anything to do. Raises Temporary when the world is away."""
        events = await self._follower.poll()
        for event in events:
            if isinstance(event, Connected):
                self._apply(BlockConnected(event.height, event.raw))
            else:
                self._apply(BlockDisconnected(ChainPoint(event.height, event.hash)))
        duties: Sequence[Duty] = ()
        if self._follower.at_tip:
            await self._ask_around()
            duties = self._apply(Ticked(self._ports.clock.now_ms()))
        self._persist()
        busy = bool(events)
        for duty in duties:
            busy = await self._do(duty) or busy
        self._persist()
        return busy

    def publish_artifact(self, data: bytes) -> Artifact:
        """Ask for an artifact's inscription; durable when this returns, and idempotent by content.

        Raises InvalidInput `artifact.bad_size`, Rejected `artifact.too_many_open`.
        """
        self._apply(PublishArtifact(data))
        self._persist()
        return self._state.artifacts[sha256(data)]

    def find_artifact(self, artifact_hash: Hash32) -> Artifact | None:
        """Return how far an artifact has come."""
        return self._state.artifacts.get(artifact_hash)

    def report(self) -> BatcherReport:
        """Return the batcher for people."""
        state = self._state
        posted = find_posted_head(state)
        return BatcherReport(
            balance_sats=state.inscriber.wallet.balance_sats,
            spent_sats=state.spent_sats,
            next_channel=state.next_channel,
            posted_number=posted.head.number if posted else None,
            hold_reason=state.hold_reason,
            rows=tuple((describe_row(state, row), row.reason) for row in state.inscriber.rows.values()),
            history=state.history,
        )

    async def _ask_around(self) -> None:
        """Hear from derivation, the sequencer and the fee market."""
        self._apply(ProgressSeen(await self._ports.derivation.progress()))
        posted = find_posted_head(self._state)
        if posted is not None:
            self._apply(BacklogSeen(await self._ports.blocks.backlog(posted.head.number + 1)))
        now_ms = self._ports.clock.now_ms()
        if self._fee_asked_ms is None or now_ms - self._fee_asked_ms >= self._driver.fee_poll_ms:
            target = self._config.inscriber.fees.target_blocks
            self._apply(FeeEstimated(await self._ports.broadcaster.fee_rate(target)))
            self._fee_asked_ms = now_ms

    async def _do(self, duty: Duty) -> bool:
        """Do a duty; tell whether its outcome may let more be done at once."""
        match duty:
            case Send():
                self._faults("send.before")
                outcome = await self._send(duty)
                self._faults("send.after")
                self._apply(Answered(duty.row_id, duty.txids, outcome, self._ports.clock.now_ms()))
                return outcome.verdict.holds
            case Look():
                present = await self._ports.broadcaster.in_mempool(duty.txid)
                self._apply(Looked(duty.row_id, duty.txid, present))
                return not present
            case BuildChannel():
                return await self._build(duty.parent)

    async def _send(self, duty: Send) -> SendOutcome:
        if len(duty.raws) == 1:
            return await self._ports.broadcaster.send(duty.raws[0])
        return await self._ports.broadcaster.send_package(duty.raws)

    async def _build(self, parent: DerivedHead) -> bool:
        """Read, judge and encode the blocks after `parent`; compression runs beside the loop."""
        entries = await self._ports.blocks.read(parent.number + 1, self._config.channel_bytes)
        entries = entries[: count_postable(self._config, self._state, parent, entries)]
        room_bytes = count_room_bytes(self._config, self._state)
        while entries:
            verdict = judge_posting(self._config, self._state, parent, entries)
            entries = entries[: verdict.count] or entries[:1]
            if not verdict.count:
                self._apply(Held(f"block {entries[0].number} would be void: {verdict.code}"))
                return False
            try:
                built = await asyncio.to_thread(
                    _encode_channel, self._config, verdict.last, entries, room_bytes
                )
            except InvalidInput as error:
                if len(entries) == 1:
                    self._apply(Held(f"block {entries[0].number} fits no channel: {error.code}"))
                    return False
                entries = entries[: len(entries) // 2]
                continue
            self._apply(built)
            return True
        return False

    def _apply(self, event: BatcherEvent) -> Sequence[Duty]:
        transition = step(self._config, self._state, event)
        self._state = transition.state
        self._pending.extend(transition.signals)
        return transition.duties

    def _persist(self) -> None:
        """Store what changed in one atomic write, and only then tell about it."""
        puts = diff_batcher(self._stored, self._state)
        state = self._state
        if puts:
            self._faults("persist.before")
            self._ports.journal.write(puts)
            self._faults("persist.after")
        self._stored = state
        told, self._pending = self._pending, []
        for signal in told:
            self._observer(signal)


def _encode_channel(
    config: BatcherConfig, last: DerivedHead, entries: Sequence[SourceBlock], room_bytes: int
) -> ChannelBuilt:
    """Return the frames of a channel that ends with `last`; runs in a thread and touches nothing else.

    The channel is read as every node will read it: posted, one that does not give its blocks back would be
    paid for in vain, and again for ever. `room_bytes` is what its batch, and its transactions, may unfold
    to. Raises InvalidInput `batch.*`, `channel.*` for such blocks.
    """
    numbers = [entry.number for entry in entries]
    if numbers != list(range(numbers[0], last.number + 1)):
        raise InvariantViolation(
            "batcher.source_gap", "the block source skipped a number", numbers=numbers[:8]
        )
    batch = Batch(numbers[0], tuple(entry.block for entry in entries))
    encoded = encode_batch(config.batch_format, batch)
    content = compress_batch(encoded, level=config.compression_level)
    frames = split_frames(content, config.frame_bytes)
    limits = config.rollup.limits
    if len(content) > limits.channel_bytes or len(frames) > limits.channel_frames:
        raise InvalidInput("channel.too_large", "a channel is longer than allowed", length=len(content))
    limits = replace(limits, decompressed_bytes=room_bytes)
    read = decode_batch(config.batch_format, decompress_batch(content, room_bytes), limits)
    if read != batch:
        raise InvalidInput("batch.not_the_same", "a batch reads otherwise than it was written")
    return ChannelBuilt(
        first_number=numbers[0],
        first_origin=entries[0].block.origin_height,
        last=last,
        last_hash=entries[-1].hash,
        frames=frames,
        batch_bytes=batch.count_bytes(len(encoded)),
    )
