"""History: the state after any kept block is read by one seek a row, whatever happened since."""

from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.errors import Rejected
from tests.vm.test_views import TARGET, facts_of, finalize
from tests.vm.world import World, selector
from vm import history, schema
from vm.history import History, read_sweep
from vm.store import MemoryStore, WriteBatch


def transfer(world: World, token: bytes, to: bytes, amount: int) -> bytes:
    """A signed token transfer of Alice's."""
    data = selector("transfer(address,uint256)") + to.rjust(32, b"\0") + amount.to_bytes(32, "big")
    return world.alice.sign(token, data=data)


steps = st.lists(
    st.sampled_from(["pay", "token", "empty", "index", "rewind", "prune"]), min_size=6, max_size=24
)


@given(steps)
def test_every_kept_state_is_what_it_was(story):
    """Whatever order blocks, rewinds, index steps and prunes come in, states read as they did as heads, with proofs."""
    world = World()
    token = world.deploy("Token", "T", "T", 10**6)
    executor = world.executor
    seen = {0: facts_of(world, 0, token), 1: facts_of(world, 1, token)}
    for step in story:
        head = executor.head.number
        if step == "index":
            executor.history.step()
        elif step == "rewind":
            target = max(executor.undo_floor() - 1, head - 2, 1)
            executor.rewind(target)
            world.alice.nonce = executor.view(target).nonce(world.alice.address)
        elif step == "prune":
            finalize(world, max(head - 2, executor.undo_floor() - 1))
            executor.prune_undo(head - 1)
            executor.history.raise_floor(head - 4)
        else:
            raw = (
                world.alice.sign(TARGET, value=head)
                if step == "pay"
                else transfer(world, token, TARGET, head)
            )
            world.run(*([] if step == "empty" else [raw]))
            if step == "empty":
                world.alice.nonce -= 1
            seen[executor.head.number] = facts_of(world, executor.head.number, token)
    for number in range(executor.history.marks().floor, executor.head.number + 1):
        assert facts_of(world, number, token) == seen[number]


def grown(blocks: int) -> World:
    """A chain in which one account changes with every block and another never."""
    world = World()
    for _ in range(blocks):
        world.run(world.alice.sign(TARGET, value=1))
    world.executor.history.write_upto(blocks)
    return world


def test_what_a_read_costs_does_not_grow_with_its_age():
    """A state a hundred blocks back is read with as many rows as one two blocks back."""

    class Counting(MemoryStore):
        reads = 0

        def get(self, key):
            Counting.reads += 1
            return super().get(key)

        def first_at(self, places):
            Counting.reads += len(places)
            return super().first_at(places)

        def snapshot(self):
            return Counting(self.rows)

    world = World(store=Counting())
    for _ in range(110):
        world.run(world.alice.sign(TARGET, value=1))
    world.executor.history.write_upto(110)
    costs = []
    for number in (108, 10):
        Counting.reads = 0
        assert world.executor.view(number).balance(TARGET) == number
        assert world.executor.view(number).proof(TARGET).balance == number
        costs.append(Counting.reads)
    assert costs[0] == costs[1], costs


def test_rows_of_a_node_and_of_nodes_below_it_keep_apart():
    """A trie node's former values are found though the nodes below it have keys that begin with its own."""
    store = MemoryStore()
    batch = WriteBatch()
    for row in (b"A", b"A\0", b"A\0\0\0\0\0\0\0\0\1"):
        batch.put(schema.history_prefix(row) + schema.encode_number(7), row)
    store.write(batch, sync=True)
    for row in (b"A", b"A\0"):
        ((_, value),) = store.first_at([(schema.history_prefix(row), schema.encode_number(1))])
        assert value == row
    assert store.first_at([(schema.history_prefix(b"A"), schema.encode_number(8))]) == [None]


def test_commits_write_history_when_nobody_else_does():
    """No more than `MAX_LAG` blocks wait for their rows, and each commit is told to whoever writes them."""
    world, told = World(), []
    world.executor.history.on_growth = lambda: told.append(world.executor.head.number)
    for number in range(1, 9):
        world.run()
        assert world.executor.history.lag() == min(number, history.MAX_LAG)
    assert told == list(range(1, 9))


def test_a_sweep_drops_what_no_kept_state_needs_and_nothing_else(monkeypatch):
    """Below the floor all rows go, in bounded steps that can stop anywhere; above it every state still reads right."""
    monkeypatch.setattr(history, "SWEEP_EVERY", 4)
    monkeypatch.setattr(history, "SWEEP_ROWS", 5)
    world = grown(12)
    finalize(world, 9)
    assert world.executor.history.raise_floor(2) == 2
    assert not world.executor.history.sweep(0), "not worth reading all rows for"
    assert world.executor.history.raise_floor(8) == 8
    sweeps = 0
    while History(world.store).sweep(0):  # each step by another, as after a crash
        sweeps += 1
        for number in range(8, 13):
            world.executor._views.close()
            assert world.executor.view(number).balance(TARGET) == number
    assert sweeps > 10
    assert read_sweep(world.store) == (8, 8, b"")
    numbers = {int.from_bytes(key[-8:], "big") for key, _ in world.store.scan(b"h")}
    assert numbers == set(range(9, 13))
    with pytest.raises(Rejected, match=r"state\.pruned"):
        world.executor.view(7)


def test_the_floor_never_passes_the_finalized_block():
    """Nothing is given up while nothing is final, nor above what is."""
    world = grown(6)
    assert world.executor.history.raise_floor(5) == 0
    finalize(world, 2)
    assert world.executor.history.raise_floor(5) == 2
    assert world.executor.history.raise_floor(1) == 2


def test_history_written_on_another_thread_fits_the_chain():
    """While one thread makes blocks and takes some back, another writes their history; it fits the chain at the end."""
    world, stop = World(), []
    writer = History(world.store)
    world.executor.history = writer

    def write():
        while not stop:
            writer.step()

    thread = Thread(target=write)
    thread.start()
    for step in range(60):
        world.run(world.alice.sign(TARGET, value=1))
        if step % 5 == 4:
            world.executor.rewind(world.executor.head.number - 3)
            world.alice.nonce -= 3
    stop.append(True)
    thread.join()
    head = world.executor.head.number
    writer.write_upto(head)
    assert world.store.rows == grown(head).store.rows
