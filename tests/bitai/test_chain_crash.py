"""A process may die on any line: what it left on its disk is enough to go on as if it had never died."""

import asyncio
import random
from collections import Counter
from functools import cache

import pytest

from bitai.l1_scan import L1BlockInput
from bitai.replay import ExecutorRunner, replay_chain
from primitives.bitcoin.envelope import scan_block
from tests.bitai.chain_story import act, steps
from tests.bitai.chain_world import WALLET, World
from vm import schema
from vm.executor import Executor
from vm.history import History
from vm.store import MemoryStore
from vm.stored_models import StoredModels

STORY = steps()
SEEDS = [*range(3), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(3, 200))]
VOID_FOR_GOOD_REASON = {"", "block.origin_hash", "block.origin_unknown", "block.window", "block.number"}
"""A reorg took the origin or put it later, the data came too late, or blocks of an earlier channel became void."""


def check_end(world):
    """Check what holds at the end of every telling: one chain for all, everything in it once, nothing posted twice."""
    sequencer, full = world.nodes["sequencer"], world.nodes["full"]
    assert full.hashes() == sequencer.hashes()
    found = replay(world)
    for node in (sequencer, full):
        assert node.hashes()[: found.safe_number + 1] == [node.hashes()[0], *found.hashes.values()]
        assert (node.driver.safe, node.driver.finalized) == (found.safe_number, found.finalized_number)
    assert Counter(transactions(sequencer)) == Counter(world.sent)
    assert len(sequencer.role.pool) == 0
    frames = Counter(inscribed(world))
    assert set(frames.values()) == {1}, frames
    codes = {each.code for done in found.outcomes.values() for each in done.outcome.channels}
    assert codes <= VOID_FOR_GOOD_REASON, codes
    assert not [each for done in found.outcomes.values() for each in done.outcome.envelopes if each.code]
    state = sequencer.role.batcher.state
    unspent = world.bitcoin.coins().unspent.values()
    assert state.inscriber.wallet.balance_sats == sum(
        sats for sats, script in unspent if script == WALLET.script
    )


def replay(world):
    """What somebody finds who has nothing but Bitcoin."""
    store = MemoryStore()
    executor = Executor(world.config.chain_spec(), store, StoredModels(store))
    chain = world.bitcoin.chain()[world.config.l1_start.height + 1 :]
    blocks = [L1BlockInput(each.point.height, each.raw[:80], each.raw) for each in chain]
    return replay_chain(world.config, blocks, ExecutorRunner(executor, store))


def transactions(node):
    """Every user's transaction, in order."""
    chain = node.executor.chain
    numbers = range(1, node.executor.head.number + 1)
    return [raw for number in numbers for raw in chain.block_data(number).transactions]


def inscribed(world):
    """Kind, number and index of each envelope on the active chain."""
    for block in world.bitcoin.chain():
        for envelope in scan_block(block.raw, world.config.identity).envelopes:
            yield envelope.header.kind, envelope.header.number, envelope.header.index


@cache
def told():
    """The story without deaths, but with a restart of everybody after each step.

    Returns the world's state before each step and at the end, and the lines of each step on which to die: one of
    each run of lines that are the same to the world, and all.
    """

    async def tell():
        world = World()
        states, lines = [world.freeze()], []
        for step in STORY:
            await world.thaw(states[-1])
            act(world, step)
            await world.live()
            states.append(world.freeze())
            lines.append((world.distinct_lines(), range(1, len(world.sites) + 1)))
        check_end(world)
        return states, lines

    return asyncio.run(tell())


def test_a_restart_between_any_two_steps_changes_nothing():
    """Told in one breath or with everybody restarted after each step, the story leaves the same bytes on all disks."""

    async def tell():
        world = World()
        states = [world.freeze()]
        for step in STORY:
            act(world, step)
            await world.live()
            states.append(world.freeze())
        check_end(world)
        return states

    calm, (restarted, _) = asyncio.run(tell()), told()
    for (name, _), one, other in zip(STORY, calm[1:], restarted[1:], strict=True):
        assert differences(one, other) == [], name


def settled(rows):
    """The rows of a disk once the history is written that may come a few blocks later."""
    store = MemoryStore(rows)
    while schema.META_HISTORY in rows and History(store).step():
        pass
    return store.rows


def differences(one, other):
    """Which rows of which disk differ, and whether Bitcoin and its mempool do."""
    found = []
    for name in one[0]:
        rows, others = settled(one[0][name]), settled(other[0][name])
        found += [(name, key) for key in rows.keys() | others.keys() if rows.get(key) != others.get(key)]
    found += [("bitcoin", tip) for tip in {one[1][0], other[1][0]} if one[1][0] != other[1][0]]
    found += [("mempool", txid) for txid in one[1][2].keys() ^ other[1][2].keys()]
    return found


@pytest.mark.parametrize(
    "every", [False, pytest.param(True, marks=pytest.mark.soak)], ids=["distinct", "all"]
)
@pytest.mark.parametrize("index", range(len(STORY)), ids=[name for name, _ in STORY])
def test_to_die_on_any_line_changes_nothing(index, every):
    """Dead on any line of a step and started again, everybody ends the step with the same bytes on all disks.

    From there on all goes as it went, since a restart changes nothing. Only where a reorg returns a question to a
    neuron may it be answered a block sooner or later than before: then the story is told to its end and checked.
    """
    states, lines = told()
    name, _ = STORY[index]

    async def tell():
        world = World()
        for line in lines[index][every]:
            await world.thaw(states[index])
            world.crash_at = line
            act(world, STORY[index])
            await world.live()
            where = f"died at line {line} of '{name}': {world.crashes}"
            assert len(world.crashes) == 1, where
            if found := differences(states[index + 1], world.freeze()):
                assert "reorg" in name, (where, found)
                await finish(world, index + 1)

    asyncio.run(tell())


async def finish(world, index):
    """Tell the rest and check the end."""
    for step in STORY[index:]:
        act(world, step)
        await world.live()
    check_end(world)


@pytest.mark.parametrize("power_cut", [False, True], ids=["kill", "power cut"])
@pytest.mark.parametrize("seed", SEEDS)
def test_to_die_again_and_again(seed, power_cut):
    """Whoever dies every now and then, while working or while coming back, ends where all others end."""
    draws = random.Random(f"{seed} {power_cut}")

    async def tell():
        world = World()
        world.power_cut = power_cut
        world.next_crash = lambda: len(world.sites) + draws.choice((20, 100, 400)) + draws.randrange(20)
        world.crash_at = world.next_crash()
        await finish(world, 0)
        return world.crashes

    assert asyncio.run(tell())
