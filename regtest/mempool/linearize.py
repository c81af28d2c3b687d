"""The order in which a cluster should be mined, and whether one set of clusters pays better than another.

A chunk is a group that is mined together because its later part pays for its earlier part; chunks come out
with falling fee rates. The order is found by taking, again and again, the transaction whose missing ancestors
and itself pay best. Core searches for better orders; on clusters as small as these the difference is
academic.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from regtest.mempool.entry import FeeWeight


class Node(NamedTuple):
    """A transaction of a cluster; `parents` are positions of earlier nodes."""

    pays: FeeWeight
    parents: tuple[int, ...]


class Chunk(NamedTuple):
    """Positions in mining order, and what they pay together."""

    pays: FeeWeight
    members: tuple[int, ...]


def linearize(nodes: Sequence[Node]) -> list[Chunk]:
    """Return the chunks of a cluster whose nodes come parents first, best first."""
    if len(nodes) == 1:
        return [Chunk(nodes[0].pays, (0,))]
    return _chunk(nodes, _greedy_order(nodes))


def improves(before: Iterable[Chunk], after: Iterable[Chunk]) -> bool:
    """Tell whether the new chunks pay at least as much at every cumulated weight, and more at some."""
    old, new = _diagram(before), _diagram(after)
    points = sorted({weight for weight, _ in old} | {weight for weight, _ in new})
    differences = [_height(new, weight) - _height(old, weight) for weight in points]
    return min(differences, default=0) >= 0 and max(differences, default=0) > 0


def _greedy_order(nodes: Sequence[Node]) -> list[int]:
    ancestors = _ancestor_sets(nodes)
    left = (1 << len(nodes)) - 1
    order: list[int] = []
    while left:
        best, best_pays = -1, FeeWeight(-1, 1)
        for position in _positions(left):
            pays = _total(nodes, ancestors[position] & left)
            if pays.is_better(best_pays):
                best, best_pays = position, pays
        taken = ancestors[best] & left
        order.extend(_positions(taken))
        left &= ~taken
    return order


def _ancestor_sets(nodes: Sequence[Node]) -> list[int]:
    """Return for each node the bit set of itself and all it depends on."""
    sets: list[int] = []
    for position, node in enumerate(nodes):
        bits = 1 << position
        for parent in node.parents:
            bits |= sets[parent]
        sets.append(bits)
    return sets


def _positions(bits: int) -> Iterable[int]:
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def _total(nodes: Sequence[Node], bits: int) -> FeeWeight:
    fee = weight = 0
    for position in _positions(bits):
        fee += nodes[position].pays.fee_sats
        weight += nodes[position].pays.weight
    return FeeWeight(fee, weight)


def _chunk(nodes: Sequence[Node], order: Iterable[int]) -> list[Chunk]:
    chunks: list[Chunk] = []
    for position in order:
        chunk = Chunk(nodes[position].pays, (position,))
        while chunks and chunk.pays.is_better(chunks[-1].pays):
            earlier = chunks.pop()
            chunk = Chunk(earlier.pays.plus(chunk.pays), earlier.members + chunk.members)
        chunks.append(chunk)
    return chunks


def _diagram(chunks: Iterable[Chunk]) -> list[tuple[int, int]]:
    """Return the corners of cumulated fee over cumulated weight, best chunks first."""
    ordered = sorted(chunks, key=lambda chunk: Fraction(chunk.pays.fee_sats, chunk.pays.weight), reverse=True)
    corners = [(0, 0)]
    for chunk in ordered:
        weight, fee = corners[-1]
        corners.append((weight + chunk.pays.weight, fee + chunk.pays.fee_sats))
    return corners


def _height(corners: list[tuple[int, int]], weight: int) -> Fraction:
    """Return the fee cumulated at a weight; flat after the last corner."""
    for (left, low), (right, high) in pairwise(corners):
        if weight <= right:
            return low + Fraction((high - low) * (weight - left), right - left)
    return Fraction(corners[-1][1])
