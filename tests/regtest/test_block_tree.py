"""The tree finds forks, tips and median times by links alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.bitcoin.header import BlockHeader
from primitives.errors import InvariantViolation
from regtest.block_tree import BlockRow, BlockTree, decode_row, encode_row, with_verdict
from regtest.limits import REGTEST_BITS


def grow(tree, parent, nonce, *, time=None):
    """Add a block under a parent (None: the root) and return its row."""
    height = 0 if parent is None else parent.height + 1
    when = 1_000 + 10 * height if time is None else time
    previous = bytes(32) if parent is None else parent.hash
    header = BlockHeader(1, previous, bytes(32), when, REGTEST_BITS, nonce)
    row = BlockRow(header, 0, header.work, 0, 1, 1) if parent is None else tree.child_row(header, 0, 1, 1)
    tree.put(row)
    return row


def chain(tree, parent, length, nonce):
    """Add blocks one on the other."""
    rows = []
    for _ in range(length):
        parent = grow(tree, parent, nonce)
        rows.append(parent)
    return rows


@given(trunk=st.integers(0, 4), left=st.integers(0, 7), right=st.integers(0, 7))
def test_switch_leaves_and_enters(trunk, left, right):
    """Going from one tip to another leaves one branch from its tip and enters the other from its root."""
    tree = BlockTree()
    root = grow(tree, None, 0)
    stem = [root, *chain(tree, root, trunk, 0)]
    one = chain(tree, stem[-1], left, 1)
    two = chain(tree, stem[-1], right, 2)
    start, end = (one or stem)[-1], (two or stem)[-1]
    tree.activate(start.hash)
    leave, enter = tree.switch(start.hash, end.hash)
    assert leave == one[::-1]
    assert enter == two
    tree.activate(end.hash)
    assert [tree.active_hash(height) for height in range(tree.height + 1)] == [row.hash for row in stem + two]
    assert tree.active_hash(tree.height + 1) is None
    assert tree.active_hash(-1) is None


def test_ruling_out_takes_descendants():
    """What stands on a ruled-out or failed block is out too; siblings stay."""
    tree = BlockTree()
    root = grow(tree, None, 0)
    one, two = chain(tree, root, 3, 1), chain(tree, root, 2, 2)
    assert tree.excluded(frozenset({one[1].hash})) == {row.hash for row in one[1:]}
    tree.put(with_verdict(two[0], failed=True))
    assert tree.failed() == {row.hash for row in two}
    assert {row.hash for row in tree.leaves()} == {one[-1].hash, two[-1].hash}


def test_median_time_of_eleven():
    """The median counts the block and ten ancestors, sorted."""
    tree = BlockTree()
    row = None
    for time in (5, 100, 3, 4, 50, 6, 7, 8, 9, 10, 11, 12):
        row = grow(tree, row, 0, time=time)
    assert tree.median_time(row) == sorted((100, 3, 4, 50, 6, 7, 8, 9, 10, 11, 12))[5]


def test_rows_survive_encoding():
    """A row read back is the row written."""
    tree = BlockTree()
    row = with_verdict(chain(tree, grow(tree, None, 0), 3, 5)[-1], failed=True, was_connected=True)
    assert decode_row(encode_row(row)) == row


def test_unknown_block_is_a_bug():
    """Asking for a row that must exist and does not is not answered with a default."""
    with pytest.raises(InvariantViolation):
        BlockTree().row(bytes(32))
