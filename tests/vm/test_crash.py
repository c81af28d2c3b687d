"""A process may die at any write: the store then holds the old head or the new one, whole."""

import pytest

from primitives.errors import Rejected
from tests.vm.world import World
from vm import history, schema
from vm.schema import BlockId
from vm.store import MemoryStore, WriteBatch


class Died(OSError):
    """The disk went away."""


class FailingStore(MemoryStore):
    """Fails at one write, before or after it takes effect."""

    def __init__(self, rows=None):
        super().__init__(rows)
        self.writes = 0
        self.fail_at = None
        self.late = False
        self.seen = []

    def write(self, batch, *, sync):
        """Count, and fail where told."""
        self.writes += 1
        failing = self.writes == self.fail_at
        if failing and not self.late:
            raise Died
        super().write(batch, sync=sync)
        self.seen.append(self.rows)
        if failing:
            raise Died


def tell(world: World):
    """Blocks, a rewind into what history had, other blocks, a prune of undo data and one of history."""
    marker = WriteBatch()
    marker.put(b"Dmark", b"1")
    alice, executor = world.alice, world.executor
    world.run(alice.sign(b"\1" * 20, value=1), epochs=1)
    world.run(alice.sign(b"\2" * 20, value=2))
    executor.history.write_upto(2)
    executor.rewind(1, marker)
    world.run(alice.sign(b"\3" * 20, value=3, nonce=1), epochs=1)
    for nonce in range(2, 8):
        world.run(alice.sign(b"\3" * 20, value=3, nonce=nonce))
    executor.prune_undo(1)
    executor.prune_undo(3)
    executor.rewind(4)
    finalized = WriteBatch()
    finalized.put(schema.META_FINALIZED, schema.encode_block_id(BlockId(3, executor.chain.block_hash(3))))
    world.store.write(finalized, sync=True)
    executor.history.raise_floor(3)
    while executor.history.sweep(0):
        pass


@pytest.mark.parametrize("late", [False, True])
def test_every_write_is_all_or_nothing(late, monkeypatch):
    """Failing at each write in turn leaves the rows before it or after it; they open, and every state reads right."""
    monkeypatch.setattr(history, "SWEEP_EVERY", 1)
    monkeypatch.setattr(history, "SWEEP_ROWS", 7)
    monkeypatch.setattr(history, "WRITE_ROWS", 5)
    healthy = FailingStore()
    tell(World(store=healthy))
    assert healthy.writes > 50
    for fail_at in range(2, healthy.writes + 1):
        store = FailingStore()
        world = World(store=store)
        store.fail_at, store.late = fail_at, late
        with pytest.raises(Died):
            tell(world)
        assert store.rows == healthy.seen[fail_at - 1 if late else fail_at - 2]
        reopened = World(store=MemoryStore(store.rows))
        assert world.executor.head == reopened.executor.head
        require_readable(reopened)


def require_readable(world: World):
    """Read every state that is kept, before its history is written and after: each has the root of its header."""
    chain, executor = world.executor.chain, world.executor
    for _ in range(2):
        floor = executor.history.marks().floor
        for number in range(floor, executor.head.number + 1):
            assert executor.view(number).ask(lambda state: state.root()) == chain.header(number).state_root
        for number in range(floor):
            with pytest.raises(Rejected, match=r"state\.pruned"):
                executor.view(number)
        executor.history.write_upto(executor.head.number)


@pytest.mark.parametrize("late", [False, True])
def test_a_living_process_goes_on_after_a_failed_write(late):
    """An executor whose write failed is where its store is, and makes the next block as any other."""
    store = FailingStore()
    world = World(store=store)
    raw = world.alice.sign(b"\1" * 20, value=1)
    store.fail_at, store.late = store.writes + 1, late
    with pytest.raises(Died):
        world.run(raw)
    assert world.executor.head.number == int(late)
    if not late:
        world.run(raw)
    healthy = World()
    healthy.run(raw)
    assert store.rows == healthy.store.rows
    follow = healthy.data(healthy.accounts[1].sign(b"\2" * 20, value=2))
    assert world.executor.execute(follow).hash == healthy.executor.execute(follow).hash
