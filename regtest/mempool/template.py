"""Which waiting transactions the next block takes: the best paying chunks that fit, parents first."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from regtest import limits
from regtest.mempool.entry import Entry, FeeWeight, fee_at, vbytes_of
from regtest.mempool.linearize import Chunk
from regtest.mempool.pool import Pool, chunks_of


@dataclass(frozen=True, slots=True)
class Template:
    """Transactions in an order a block may have, and what they pay together."""

    entries: tuple[Entry, ...]
    fees_sats: int
    worst: FeeWeight | None
    """The chunk that pays least of those taken, None for an empty block."""
    is_full: bool
    """Something that pays enough did not fit."""


class _Room:
    """What is left of the block's limits."""

    def __init__(self) -> None:
        self._weight = limits.MAX_BLOCK_WEIGHT - limits.RESERVED_WEIGHT
        self._sigops = limits.MAX_BLOCK_SIGOPS_COST - limits.RESERVED_SIGOPS_COST

    def take(self, entries: Iterable[Entry]) -> bool:
        """Take a whole chunk, or tell that it does not fit."""
        chunk = list(entries)
        weight = sum(entry.weight for entry in chunk)
        sigops = sum(entry.sigops_cost for entry in chunk)
        if weight > self._weight or sigops > self._sigops:
            return False
        self._weight -= weight
        self._sigops -= sigops
        return True


def build_template(pool: Pool) -> Template:
    """Return the next block's transactions; a cluster whose next chunk does not fit is left for later."""
    chunked = [chunks_of(cluster)[::-1] for cluster in pool.clusters()]
    queue = [(_rank(chunks[-1][0]), number) for number, chunks in enumerate(chunked)]
    heapq.heapify(queue)
    room = _Room()
    taken: list[Entry] = []
    worst = None
    is_full = False
    while queue:
        _, number = heapq.heappop(queue)
        chunk, entries = chunked[number].pop()
        if chunk.pays.fee_sats < fee_at(limits.MIN_BLOCK_FEERATE, vbytes_of(chunk.pays.weight)):
            break
        if not room.take(entries):
            is_full = True
            continue
        taken.extend(entries)
        worst = chunk.pays
        if chunked[number]:
            heapq.heappush(queue, (_rank(chunked[number][-1][0]), number))
    return Template(tuple(taken), sum(entry.fee_sats for entry in taken), worst, is_full)


def _rank(chunk: Chunk) -> Fraction:
    return -Fraction(chunk.pays.fee_sats, chunk.pays.weight)
