"""Derive blocks from one Bitcoin block after the other: L1 blocks in, block data out.

`step(config, state, event) -> Transition(state, signals)`: frames first, then the channels that they
complete, then blocks without batch data if the sequencer's window has passed. Whatever the L1 block holds, a
state comes out.
Spec: docs/spec/derivation.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from primitives.bitcoin.envelope import Envelope, EnvelopeKind
from primitives.errors import InvalidInput, InvariantViolation
from rollup.batch.channel import decompress_batch, read_claimed_size
from rollup.batch.codec import Batch, BatchBlock, BatchFormat, decode_batch
from rollup.config import RollupConfig
from rollup.derivation.channels import ChannelBank, add_frame, close_channels
from rollup.derivation.errors import ChannelCode, FrameCode, VoidCode
from rollup.derivation.events import (
    ChannelOutcome,
    Derived,
    EnvelopeOutcome,
    EpochStart,
    HeightOutcome,
    L1Block,
    PendingChannel,
)
from rollup.derivation.judge import Candidate, DerivedHead, judge_block, least_time, must_derive
from rollup.derivation.pieces import Assembly
from rollup.derivation.state import DerivationState
from vm.types import BlockData


@dataclass(frozen=True, slots=True)
class Transition:
    """The state after an L1 block, and what it yielded; no duties, for derivation never asks for anything."""

    state: DerivationState
    signals: tuple[Derived, ...]
    duties: tuple[()] = ()


class _Room(NamedTuple):
    """What may still take effect at an L1 block, and be unfolded for it."""

    blocks: int
    transactions: int
    records: int
    batch_bytes: int

    @property
    def is_valid(self) -> bool:
        return min(self) >= 0

    def after(self, blocks: Sequence[BatchBlock | BlockData]) -> "_Room":
        """Return what is left when these have taken effect."""
        return _Room(
            self.blocks - len(blocks),
            self.transactions - sum(len(block.transactions) for block in blocks),
            self.records - sum(len(block.records) for block in blocks),
            self.batch_bytes,
        )


def step(config: RollupConfig, state: DerivationState, event: L1Block) -> Transition:
    """Take in the next Bitcoin block.

    Raises InvariantViolation `derivation.not_next` for one that does not extend the last: the pipeline checks
    before.
    """
    facts, tip = event.facts, state.l1_tip
    if facts.height != tip.height + 1 or facts.prev_hash != tip.hash:
        raise InvariantViolation(
            "derivation.not_next", "not the next L1 block", height=facts.height, tip=tip.height
        )
    epoch = EpochStart(facts.origin, event.system_transactions)
    state = replace(state, epochs=(*state.epochs, epoch))
    state, envelopes = _take_frames(config, state, event)
    state, channels, from_batches, posted_bytes = _read_channels(config, state, facts.height)
    state, derived = _derive_overdue(config, state, facts.height)
    outcome = HeightOutcome(
        height=facts.height,
        hash=facts.hash,
        envelopes=envelopes,
        channels=channels,
        pending=tuple(_list_pending(state.bank)),
        derived=len(derived),
        safe_number=state.head.number,
    )
    return Transition(state, (Derived((*from_batches, *derived), outcome, posted_bytes),))


def _take_frames(
    config: RollupConfig, state: DerivationState, event: L1Block
) -> tuple[DerivationState, tuple[EnvelopeOutcome, ...]]:
    """Put the block's frames where they belong; artifact chunks are another machine's."""
    bank, outcomes = state.bank, []
    for envelope in event.facts.envelopes:
        kind = envelope.header.kind
        if kind == EnvelopeKind.ARTIFACT_CHUNK:
            continue
        code: str = FrameCode.NOT_ACTIVE
        if kind == EnvelopeKind.BATCH_FRAME:
            bank, code = _take_frame(config, bank, envelope, event.facts.height)
        outcomes.append(EnvelopeOutcome.of(envelope, code))
    return replace(state, bank=bank), tuple(outcomes)


def _take_frame(
    config: RollupConfig, bank: ChannelBank, envelope: Envelope, height: int
) -> tuple[ChannelBank, str]:
    if envelope.signer != config.keys.batcher:
        return bank, FrameCode.WRONG_SIGNER
    return add_frame(config.limits, bank, envelope, height)


def _read_channels(
    config: RollupConfig, state: DerivationState, height: int
) -> tuple[DerivationState, tuple[ChannelOutcome, ...], tuple[BlockData, ...], int]:
    """Read every channel whose turn it is; once a block did not fit, later channels are void unread.

    Besides what they yield, return the bytes of those that were taken whole.
    """
    outcomes: list[ChannelOutcome] = []
    limits = config.limits
    many = limits.epoch_transactions
    room = _Room(limits.epoch_blocks, many, many, limits.decompressed_bytes)
    blocks: list[BlockData] = []
    posted_bytes = 0
    is_full = False
    for closed, bank in close_channels(state.bank, height, config.parameters.channel_timeout):
        state = replace(state, bank=bank)
        if closed.assembly is None:
            outcomes.append(ChannelOutcome(closed.number, closed.last_number, ChannelCode.TIMED_OUT.value))
            continue
        batch, code = None, VoidCode.EPOCH_FULL.value
        if not is_full:
            batch, room, code = _unfold(config, closed.assembly, room)
        if batch is None:
            outcomes.append(ChannelOutcome(closed.number, closed.last_number, code))
        else:
            state, outcome, accepted = _take_batch(
                config, state, closed.number, batch, height=height, room=room
            )
            outcomes.append(outcome)
            blocks += accepted
            room = room.after(accepted)
            posted_bytes += 0 if outcome.void else closed.assembly.size
        is_full = outcomes[-1].code == VoidCode.EPOCH_FULL
    return state, tuple(outcomes), tuple(blocks), posted_bytes


def _measure(config: RollupConfig, assembly: Assembly, room: _Room) -> tuple[int, str]:
    """Return what a complete channel says it unfolds to, or why it is not unfolded.

    A kilobyte of frames can unfold to the limit of one channel; without a limit for all that an L1 block
    completes, a few hundred would keep every node busy until the next one.
    """
    if not assembly.is_intact:
        return 0, ChannelCode.CONTENT_HASH.value
    try:
        size = read_claimed_size(assembly.content, config.limits.decompressed_bytes)
    except InvalidInput as error:
        return 0, error.code
    return size, "" if size <= room.batch_bytes else VoidCode.EPOCH_FULL.value


def _unfold(config: RollupConfig, assembly: Assembly, room: _Room) -> tuple[Batch | None, _Room, str]:
    """Return a complete channel's batch or why there is none, and the room that is left.

    A table unfolds to many times what it takes, so what comes out counts. How much work was in what turns out to be
    no batch nobody can say: it takes all the room there is.
    """
    size, code = _measure(config, assembly, room)
    if code:
        return None, room, code
    try:
        batch = _unpack(config, assembly, room.batch_bytes)
    except InvalidInput as error:
        return None, room._replace(batch_bytes=0), error.code
    return batch, room._replace(batch_bytes=room.batch_bytes - batch.count_bytes(size)), ""


def _take_batch(
    config: RollupConfig,
    state: DerivationState,
    number: int,
    batch: Batch,
    *,
    height: int,
    room: _Room,
) -> tuple[DerivationState, ChannelOutcome, list[BlockData]]:
    """Take a batch's blocks up to the first void one."""
    accepted: list[BlockData] = []
    code: str = VoidCode.VALID
    for block_number, block in enumerate(batch.blocks, batch.first_number):
        code = _judge(config, state, block_number, block, height=height)
        if not code and not room.after([block]).is_valid:
            code = VoidCode.EPOCH_FULL
        if code:
            break
        room = room.after([block])
        state, data = _append(state, block)
        accepted.append(data)
    void = len(batch.blocks) - len(accepted)
    outcome = ChannelOutcome(number, number, str(code), batch.first_number, len(accepted), void)
    return state, outcome, accepted


def _unpack(config: RollupConfig, assembly: Assembly, room_bytes: int) -> Batch:
    """Return the batch in a complete channel if it fits; raises InvalidInput `channel.*`, `batch.*`."""
    form = BatchFormat(config.chain_id, config.parameters.block_time_s)
    limits = replace(config.limits, decompressed_bytes=room_bytes)
    return decode_batch(form, decompress_batch(assembly.content, room_bytes), limits)


def _judge(
    config: RollupConfig, state: DerivationState, number: int, block: BatchBlock, *, height: int
) -> VoidCode:
    is_empty = not block.transactions and not block.records
    candidate = Candidate(number, block.timestamp, block.origin_height, block.origin_hash, is_empty)
    epoch = state.epoch_at(block.origin_height)
    origin = epoch.origin if epoch is not None else None
    return judge_block(config.parameters, state.head, candidate, origin=origin, effect_height=height)


def _derive_overdue(
    config: RollupConfig, state: DerivationState, height: int
) -> tuple[DerivationState, tuple[BlockData, ...]]:
    """Make blocks without batch data while the sequencer's window has passed."""
    blocks: list[BlockData] = []
    while must_derive(config.parameters, state.head, height):
        origin_height = state.head.origin.height + 1
        epoch = state.epoch_at(origin_height)
        if epoch is None:
            raise InvariantViolation("derivation.no_epoch", "a kept epoch is missing", height=origin_height)
        timestamp = least_time(config.parameters, state.head, epoch.origin)
        state, data = _append(state, BatchBlock(timestamp, origin_height, epoch.origin.hash, (), ()))
        blocks.append(data)
    return state, tuple(blocks)


def _append(state: DerivationState, block: BatchBlock) -> tuple[DerivationState, BlockData]:
    """Make a block that was found to follow the head the new head; epochs before its own are over."""
    begun = block.origin_height - state.head.origin.height
    epochs = state.epochs[begun:]
    origin, system_transactions = epochs[0]
    data = BlockData(
        number=state.head.number + 1,
        timestamp=block.timestamp,
        origin=origin,
        system_transactions=system_transactions if begun else (),
        transactions=block.transactions,
        records=block.records,
    )
    head = DerivedHead(data.number, block.timestamp, origin)
    return replace(state, head=head, epochs=epochs), data


def _list_pending(bank: ChannelBank) -> Iterator[PendingChannel]:
    for number in sorted(bank.channels):
        channel = bank.channels[number]
        yield PendingChannel(number, len(channel.pieces), channel.of)
