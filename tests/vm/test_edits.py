"""Edits change a development node's state without a block, and leave nothing behind when they are taken back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primitives.errors import Rejected
from primitives.ids import Address
from tests.vm.world import World, chain_spec
from vm._core import AccountOverride
from vm.edits import EDIT_PREFIX
from vm.executor import Executor

SOMEBODY = Address(b"\x5b" * 20)
SLOT = bytes(31) + b"\x07"


def rich(balance, **parts):
    """The override that gives somebody a balance."""
    return [AccountOverride(SOMEBODY, balance=balance, **parts)]


def reopened(world):
    """Another executor over the same store."""
    return Executor(chain_spec(), world.store, world.models)


def test_an_edit_shows_at_once_and_not_in_older_states(world):
    """The head's state has it, with code and slots; the block before does not."""
    world.run(world.alice.sign(b"\x77" * 20, value=5))
    world.executor.edit(rich(9, code=b"\x60\x01", nonce=3, storage_diff={SLOT: 2}))
    view = world.executor.view(1)
    assert (view.balance(SOMEBODY), view.nonce(SOMEBODY), view.code(SOMEBODY)) == (9, 3, b"\x60\x01")
    assert view.storage(SOMEBODY, SLOT) == 2
    assert world.executor.view(0).account(SOMEBODY) is None


def test_a_view_opened_before_shows_what_was_edited_since(world):
    """The head stays the head: whoever looks at it sees the present state, also once it is no longer the head."""
    view = world.executor.view(0)
    world.executor.edit(rich(9))
    assert view.balance(SOMEBODY) == 9
    world.run(world.alice.sign(b"\x77" * 20, value=5))
    assert view.balance(SOMEBODY) == 9


def test_the_next_block_commits_to_the_edit(world):
    """Its root proves the edited account, and it is not the root that the block has without the edit."""
    plain = World()
    plain.run(plain.alice.sign(b"\x77" * 20, value=5))
    world.executor.edit(rich(9))
    block = world.run(world.alice.sign(b"\x77" * 20, value=5))
    assert block.state_root != plain.executor.head.state_root
    assert world.executor.view(1).proof(SOMEBODY).balance == 9


def test_the_store_opens_again_with_an_edit_at_its_head(world):
    """The root that opening expects is the edited one."""
    world.executor.edit(rich(9))
    assert reopened(world).view(0).balance(SOMEBODY) == 9


def test_undone_edits_leave_the_store_as_it_was(world):
    """Byte for byte, whether one goes back to the block itself or below it, or to an earlier edit."""
    world.run(world.alice.sign(b"\x77" * 20, value=5))
    before = world.store.rows
    world.executor.edit(rich(9, storage_diff={SLOT: 1}))
    once = world.executor.view(1).storage(SOMEBODY, SLOT)
    world.executor.edit(rich(10, storage_diff={SLOT: 0}, code=b"\x00"))
    world.run(world.alice.sign(SOMEBODY, value=5))
    world.executor.rewind(1, keep_edits=1)
    assert (once, world.executor.view(1).balance(SOMEBODY)) == (1, 9)
    assert world.executor.view(1).storage(SOMEBODY, SLOT) == 1
    world.executor.rewind(1, keep_edits=0)
    changed = {key for key, value in world.store.rows.items() if before.get(key) != value}
    assert changed <= {b"U" + (1).to_bytes(8, "big")}  # knows more than it needs, harmlessly
    assert set(before) == set(world.store.rows)
    world.executor.rewind(0)
    assert world.executor.view(0).account(SOMEBODY) is None
    assert not [key for key in world.store.rows if key.startswith(EDIT_PREFIX)]
    assert reopened(world).head.number == 0


def test_an_account_of_slots_alone_gets_a_nonce(world):
    """The machine removes empty accounts that it touches, and would leave the slots of this one behind."""
    world.executor.edit([AccountOverride(SOMEBODY, storage_diff={SLOT: 1})])
    assert world.executor.view(0).nonce(SOMEBODY) == 1
    with pytest.raises(Rejected, match="cannot be emptied") as refused:
        world.executor.edit([AccountOverride(SOMEBODY, nonce=0)])
    assert refused.value.code == "edit.leaves_storage"


def test_an_emptied_account_is_gone(world):
    """Without balance, nonce and code there is no account."""
    world.executor.edit(rich(9))
    world.executor.edit(rich(0))
    assert world.executor.view(0).account(SOMEBODY) is None
    assert world.executor.view(0).proof(SOMEBODY).balance == 0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)), max_size=8), st.data())
def test_any_edits_and_blocks_come_apart_again(steps, data):
    """Going back to any of them gives the state that it had."""
    world = World()
    marks = []

    def facts():
        head = world.executor.head.number
        view = world.executor.view(head)
        accounts = [Address(bytes([each]) * 20) for each in range(1, 5)]
        return [(view.balance(each), view.nonce(each), view.storage(each, SLOT)) for each in accounts]

    for who, balance, slot in steps:
        address = Address(bytes([who + 1]) * 20)
        if balance == slot:
            world.run(world.alice.sign(address, value=1))
        else:
            world.executor.edit(
                [AccountOverride(address, balance=balance, nonce=2, storage_diff={SLOT: slot})]
            )
        marks.append((world.executor.head.number, world.executor.edits(), facts()))
    if marks:
        number, edits, expected = data.draw(st.sampled_from(marks))
        world.executor.rewind(number, keep_edits=edits)
        assert facts() == expected
        assert reopened(world).head.number == number
