"""A process may die at any write: the store then holds the old head or the new one, whole."""

import pytest

from tests.vm.world import World
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

    def write(self, batch, *, sync):
        """Count, and fail where told."""
        self.writes += 1
        failing = self.writes == self.fail_at
        if failing and not self.late:
            raise Died
        super().write(batch, sync=sync)
        if failing:
            raise Died


def story(world: World):
    """Blocks, a rewind, other blocks, a prune: each step is one write."""
    marker = WriteBatch()
    marker.put(b"Dmark", b"1")
    alice = world.alice
    yield lambda: world.run(alice.sign(b"\1" * 20, value=1), epochs=1)
    yield lambda: world.run(alice.sign(b"\2" * 20, value=2))
    yield lambda: world.executor.rewind(1, marker)
    yield lambda: world.run(alice.sign(b"\3" * 20, value=3, nonce=1), epochs=1)
    yield lambda: world.executor.prune_undo(1)
    yield lambda: world.executor.prune_undo(2)
    yield lambda: world.executor.rewind(1)


def tell(world: World):
    """Take all steps."""
    for step in story(world):
        step()


def clean_states() -> list[dict[bytes, bytes]]:
    """The rows after each step of the story without failures."""
    world = World()
    states = [world.store.rows]
    for step in story(world):
        step()
        states.append(world.store.rows)
    return states


@pytest.mark.parametrize("late", [False, True])
def test_every_write_is_all_or_nothing(late):
    """Failing at each write in turn leaves the rows before it or after it, and they open."""
    states = clean_states()
    for fail_at in range(2, 8):
        store = FailingStore()
        world = World(store=store)
        store.fail_at, store.late = fail_at, late
        with pytest.raises(Died):
            tell(world)
        assert store.rows in states
        reopened = World(store=MemoryStore(store.rows))
        assert world.executor.head == reopened.executor.head


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
