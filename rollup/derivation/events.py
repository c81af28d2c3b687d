"""What derivation is fed, and what it yields."""

from dataclasses import dataclass
from typing import NamedTuple, Self

from primitives.bitcoin.envelope import DroppedEnvelope, Envelope
from primitives.ids import L1Hash
from vm.types import BlockData, L1Origin, SystemTransaction


@dataclass(frozen=True, slots=True)
class L1BlockFacts:
    """A scanned Bitcoin block; `time` and `mtp` in seconds.

    `fee_rate` is in sats per 1,000 weight units, averaged over 16 blocks and clamped.
    """

    height: int
    hash: L1Hash
    prev_hash: L1Hash
    time: int
    mtp: int
    fee_rate: int
    envelopes: tuple[Envelope, ...] = ()
    dropped: tuple[DroppedEnvelope, ...] = ()

    @property
    def origin(self) -> L1Origin:
        """The same as an origin of L2 blocks."""
        return L1Origin(self.height, self.hash, self.mtp)


class EpochStart(NamedTuple):
    """An origin, and the transactions that lead the first block that looks back to it."""

    origin: L1Origin
    system_transactions: tuple[SystemTransaction, ...]


@dataclass(frozen=True, slots=True)
class L1Block:
    """Event: the next Bitcoin block, with what begins its epoch."""

    facts: L1BlockFacts
    system_transactions: tuple[SystemTransaction, ...]


class EnvelopeOutcome(NamedTuple):
    """What became of one envelope; `code` is empty if it was taken. `kind` is 0 where none could be read."""

    tx_index: int
    position: int
    kind: int
    number: int
    piece: int
    code: str

    @classmethod
    def of(cls, envelope: Envelope, code: str) -> Self:
        """Return an envelope's outcome; a piece is a frame or a chunk."""
        header = envelope.header
        place = (envelope.tx_index, envelope.position)
        return cls(*place, int(header.kind), header.number, header.index, str(code))


class ChannelOutcome(NamedTuple):
    """What became of the channels `number` to `last_number`.

    `code` is empty where every block was taken. `first_block` is that of the batch; `accepted` and `void`
    count blocks.
    """

    number: int
    last_number: int
    code: str
    first_block: int = 0
    accepted: int = 0
    void: int = 0


class PendingChannel(NamedTuple):
    """A channel that waits: frames at hand, and frames in all."""

    number: int
    have: int
    of: int


@dataclass(frozen=True, slots=True)
class HeightOutcome:
    """Everything that one L1 block did, so that two nodes can be compared height by height.

    `derived` counts blocks made without batch data; `safe_number` is the derived head after the block.
    """

    height: int
    hash: L1Hash
    envelopes: tuple[EnvelopeOutcome, ...]
    channels: tuple[ChannelOutcome, ...]
    pending: tuple[PendingChannel, ...]
    derived: int
    safe_number: int


@dataclass(frozen=True, slots=True)
class Derived:
    """Signal: the blocks that took effect at an L1 height, and what became of everything in it.

    `posted_bytes` are the compressed bytes of the channels that were taken whole.
    """

    blocks: tuple[BlockData, ...]
    outcome: HeightOutcome
    posted_bytes: int = 0
