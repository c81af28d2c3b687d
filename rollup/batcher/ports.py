"""What the batcher needs of the chain it posts, of derivation, of the disk, and of whoever watches it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from l1.journal import Put
from l1.ports import ChainPoint
from primitives.ids import Hash32
from rollup.batch.codec import BatchBlock
from rollup.derivation.judge import DerivedHead


class SourceBlock(NamedTuple):
    """An unsafe block: its number and L2 hash, and what a batch says of it."""

    number: int
    hash: Hash32
    block: BatchBlock


class Backlog(NamedTuple):
    """What waits from some number on: the newest block, transaction bytes, and the first one's origin height.

    `parent_hash` is the L2 hash of the block before that number, None when the source has no such block.
    """

    head_number: int
    waiting_bytes: int
    first_origin_height: int
    parent_hash: Hash32 | None


class BlockSource(Protocol):
    """The sequencer's blocks."""

    async def backlog(self, first_number: int) -> Backlog:
        """Return what waits from `first_number` on."""
        ...

    async def read(self, first_number: int, max_bytes: int) -> Sequence[SourceBlock]:
        """Return consecutive blocks from `first_number` on, ending once they pass `max_bytes`."""
        ...


class Progress(NamedTuple):
    """Where derivation stands after the L1 block `l1`: the channel it reads next, and the safe head."""

    l1: ChainPoint
    next_channel: int
    head: DerivedHead


class DerivationView(Protocol):
    """What Bitcoin already says."""

    async def progress(self) -> Progress | None:
        """Return where derivation stands, None before it has begun."""
        ...


class Journal(Protocol):
    """The batcher's part of the disk."""

    def load(self) -> Mapping[bytes, bytes]:
        """Return everything stored."""
        ...

    def write(self, puts: Sequence[Put]) -> None:
        """Apply all writes atomically, on the disk when this returns; Temporary when nothing was applied."""
        ...
