"""Clusters are ordered parents first, in chunks of falling fee rate, close to the best order there is."""

from fractions import Fraction
from itertools import pairwise, permutations

from hypothesis import given
from hypothesis import strategies as st

from regtest.mempool.entry import FeeWeight
from regtest.mempool.linearize import Chunk, Node, improves, linearize

pays = st.builds(FeeWeight, st.integers(0, 50), st.integers(1, 20))


@st.composite
def clusters(draw, most=6):
    """A few nodes, each with some earlier ones as parents."""
    nodes = []
    for position in range(draw(st.integers(1, most))):
        parents = draw(st.sets(st.integers(0, position - 1))) if position else set()
        nodes.append(Node(draw(pays), tuple(sorted(parents))))
    return nodes


def rate(chunk):
    """Sats for each weight unit."""
    return Fraction(chunk.pays.fee_sats, chunk.pays.weight)


def plain_diagram(nodes, order):
    """Cumulated fee at every weight unit for an order, as its upper hull: the plainest way to say it."""
    corners, fee, weight = [(0, 0)], 0, 0
    for position in order:
        fee += nodes[position].pays.fee_sats
        weight += nodes[position].pays.weight
        corners.append((weight, fee))
    return [
        max(
            Fraction(low * (right - at) + high * (at - left), right - left)
            for left, low in corners
            for right, high in corners
            if left <= at <= right and left < right
        )
        for at in range(weight + 1)
    ]


@given(clusters())
def test_order_is_possible(nodes):
    """Every node once, parents before children, and the chunks add up."""
    chunks = linearize(nodes)
    order = [position for chunk in chunks for position in chunk.members]
    assert sorted(order) == list(range(len(nodes)))
    assert all(
        order.index(parent) < order.index(i) for i, node in enumerate(nodes) for parent in node.parents
    )
    for chunk in chunks:
        assert chunk.pays.fee_sats == sum(nodes[position].pays.fee_sats for position in chunk.members)
        assert chunk.pays.weight == sum(nodes[position].pays.weight for position in chunk.members)


@given(clusters())
def test_rates_fall(nodes):
    """No chunk pays better than the one before it."""
    assert all(rate(first) >= rate(second) for first, second in pairwise(linearize(nodes)))


def test_child_pays_for_parent():
    """A rich child lifts its poor parent into one chunk; a poor child stays behind."""
    poor, rich = FeeWeight(1, 10), FeeWeight(50, 10)
    assert linearize([Node(poor, ()), Node(rich, (0,))]) == [Chunk(FeeWeight(51, 20), (0, 1))]
    assert [chunk.members for chunk in linearize([Node(rich, ()), Node(poor, (0,))])] == [(0,), (1,)]


@given(clusters(most=5))
def test_greedy_first_chunk_is_nearly_the_best(nodes):
    """The first chunk pays at least half the rate that the best of all orders starts with."""
    best = max(
        rate(chunk)
        for order in permutations(range(len(nodes)))
        if all(
            order.index(parent) < order.index(i) for i, node in enumerate(nodes) for parent in node.parents
        )
        for chunk in [first_chunk(nodes, order)]
    )
    assert 2 * rate(linearize(nodes)[0]) >= best


def first_chunk(nodes, order):
    """The best paying prefix of an order."""
    prefixes, total = [], FeeWeight(0, 0)
    for position in order:
        total = total.plus(nodes[position].pays)
        prefixes.append(Chunk(total, ()))
    return max(prefixes, key=rate)


@given(clusters(most=4), clusters(most=4))
def test_improvement_is_judged_at_every_weight(old, new):
    """Better means nowhere less and somewhere more, counted unit by unit."""
    before, after = linearize(old), linearize(new)
    old_line = plain_diagram(old, [position for chunk in before for position in chunk.members])
    new_line = plain_diagram(new, [position for chunk in after for position in chunk.members])
    length = max(len(old_line), len(new_line))
    old_line += [old_line[-1]] * (length - len(old_line))
    new_line += [new_line[-1]] * (length - len(new_line))
    expected = old_line != new_line and all(
        more >= less for less, more in zip(old_line, new_line, strict=True)
    )
    assert improves(before, after) == expected


def test_nothing_improves_on_itself():
    """The same diagram is no improvement, nor is an empty one over an empty one."""
    chunks = [Chunk(FeeWeight(5, 3), (0,))]
    assert not improves(chunks, chunks)
    assert not improves([], [])
    assert improves([], chunks)
