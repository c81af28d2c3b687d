"""The keeper writes history beside the chain, sweeps what is too old, and ends when it is told."""

import asyncio
import time

import pytest

from bitai import history_keeper
from bitai.history_keeper import HistoryKeeper
from tests.vm.test_views import TARGET, finalize
from tests.vm.world import World
from vm import history
from vm.history import read_sweep


async def until(condition):
    """Wait for a condition that another thread brings about."""

    def wait():
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    await asyncio.to_thread(wait)


def run_beside(keeper, work):
    """Run the keeper while `work` does its part, then end it as a node does."""

    async def together():
        task = asyncio.create_task(keeper.run())
        await asyncio.sleep(0)
        try:
            await work()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(together())


def test_history_follows_the_head():
    """Every block's rows are written without anybody waiting for them; afterwards nobody is told any more."""
    world = World()
    keeper = HistoryKeeper(world.executor.history, kept_blocks=None)

    async def work():
        for _ in range(10):
            world.run(world.alice.sign(TARGET, value=1))
        await until(lambda: world.executor.history.lag() == 0)

    run_beside(keeper, work)
    assert world.executor.history.on_growth is None
    assert [world.executor.view(number).balance(TARGET) for number in range(11)] == list(range(11))
    assert read_sweep(world.store) == (0, 0, b""), "an archive sweeps nothing"


def test_only_the_last_blocks_are_kept(monkeypatch):
    """With a number of blocks to keep, older rows go, though nothing above the finalized block does."""
    monkeypatch.setattr(history, "SWEEP_EVERY", 1)
    monkeypatch.setattr(history_keeper, "IDLE_S", 0.01)
    world = World()
    for _ in range(12):
        world.run(world.alice.sign(TARGET, value=1))
    finalize(world, 6)
    keeper = HistoryKeeper(world.executor.history, kept_blocks=3)
    run_beside(keeper, lambda: until(lambda: read_sweep(world.store).done == 6))
    assert world.executor.history.marks().floor == 6
    numbers = {int.from_bytes(key[-8:], "big") for key, _ in world.store.scan(b"h")}
    assert numbers == set(range(7, 13))


def test_what_goes_wrong_reaches_the_node(monkeypatch):
    """An error of the keeper's thread, a full disk say, is raised where the node stops for it."""
    world = World()

    def step():
        raise OSError("full")

    monkeypatch.setattr(world.executor.history, "step", step)

    async def run():
        with pytest.raises(OSError, match="full"):
            await HistoryKeeper(world.executor.history, kept_blocks=None).run()

    asyncio.run(run())
