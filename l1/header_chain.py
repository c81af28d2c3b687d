"""The newest headers of one branch of Bitcoin: linked, proved by work, and able to say what time it is.

A chain begins at a trusted block and keeps a bounded tail; below the tail nothing is known. Difficulty rules
are the node's business, but every header must meet its own target, and `work` lets two branches be compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from l1.ports import ChainPoint
from primitives.bitcoin.header import MEDIAN_SPAN, BlockHeader, median_time_past
from primitives.errors import InvalidInput
from primitives.ids import L1Hash, display_hash

DEFAULT_LIMIT: Final = 2_100
"""Headers kept: a difficulty period and some, deeper than any reorg a driver goes on from by itself."""


class ChainEntry(NamedTuple):
    """One block of the chain. `work` counts expected hashes since the chain's first entry, which has 0."""

    height: int
    hash: L1Hash
    time: int
    work: int


@dataclass(frozen=True, slots=True)
class HeaderChain:
    """A run of linked blocks in rising height, never empty.

    `older_times` are header times right before the first entry, oldest first: with ten of them the median
    time is known from the first entry on.
    """

    entries: tuple[ChainEntry, ...]
    limit: int = DEFAULT_LIMIT
    older_times: tuple[int, ...] = ()

    @property
    def tip(self) -> ChainPoint:
        """The newest block."""
        newest = self.entries[-1]
        return ChainPoint(newest.height, newest.hash)

    @property
    def work(self) -> int:
        """Expected hashes spent on the blocks after the first entry."""
        return self.entries[-1].work

    def find(self, height: int) -> ChainEntry | None:
        """Return the block at a height, or None when it is above the tip or below the tail."""
        index = height - self.entries[0].height
        return self.entries[index] if 0 <= index < len(self.entries) else None

    def holds(self, point: ChainPoint) -> bool:
        """Tell whether a block is on this chain; unknown depths are no."""
        entry = self.find(point.height)
        return entry is not None and entry.hash == point.hash

    def median_time(self, height: int) -> int | None:
        """Return the median time past at a height, or None when too little of the chain is kept."""
        index = height - self.entries[0].height
        if not 0 <= index < len(self.entries):
            return None
        first = max(index + 1 - MEDIAN_SPAN, 0)
        times = [entry.time for entry in self.entries[first : index + 1]]
        missing = min(MEDIAN_SPAN, height + 1) - len(times)
        if missing > len(self.older_times):
            return None
        older = self.older_times[len(self.older_times) - missing :]
        return median_time_past([*older, *times])


def start_chain(point: ChainPoint, times: Sequence[int], limit: int = DEFAULT_LIMIT) -> HeaderChain:
    """Return a chain of one trusted block; `times` are header times, oldest first, its own last."""
    entry = ChainEntry(point.height, point.hash, times[-1], 0)
    return HeaderChain((entry,), limit, tuple(times[:-1])[-(MEDIAN_SPAN - 1) :])


def extend_chain(chain: HeaderChain, header: BlockHeader) -> HeaderChain:
    """Return the chain with one more block on its tip.

    Raises InvalidInput `l1.unlinked_header` when it has another parent, `l1.no_work` when its hash misses its
    target.
    """
    newest = chain.entries[-1]
    if header.previous != newest.hash:
        raise InvalidInput(
            "l1.unlinked_header", "the header has another parent", parent=display_hash(header.previous)
        )
    require_work(header)
    entry = ChainEntry(newest.height + 1, header.hash, header.time, newest.work + header.work)
    entries = (*chain.entries, entry)
    cut = max(len(entries) - chain.limit, 0)
    times = (*chain.older_times, *(gone.time for gone in entries[:cut]))[-(MEDIAN_SPAN - 1) :]
    return replace(chain, entries=entries[cut:], older_times=times)


def retract_chain(chain: HeaderChain) -> HeaderChain:
    """Return the chain without its tip; raises InvalidInput `l1.reorg_too_deep` when nothing else is kept."""
    if len(chain.entries) == 1:
        raise InvalidInput(
            "l1.reorg_too_deep", "the branch leaves below the kept headers", height=chain.tip.height
        )
    return replace(chain, entries=chain.entries[:-1])


def require_work(header: BlockHeader) -> None:
    """Require that a header's hash meets the target it claims; raises InvalidInput `l1.no_work`."""
    if not header.meets_target:
        raise InvalidInput("l1.no_work", "the hash is above the target", hash=display_hash(header.hash))


def find_common_ancestor(left: HeaderChain, right: HeaderChain) -> ChainPoint | None:
    """Return the highest block that both chains hold, or None when their kept parts share none."""
    for entry in reversed(left.entries):
        point = ChainPoint(entry.height, entry.hash)
        if right.holds(point):
            return point
    return None
