"""The chain's driver refuses what no longer fits, and forgets nothing that a rewind returns."""

import asyncio

from bitai.admission import JOURNAL_PREFIX
from tests.bitai.chain_story import Users
from tests.bitai.chain_world import World


async def opened():
    """A world whose sequencer has made a block for each Bitcoin block so far."""
    world = World()
    world.bitcoin.mine(3)
    await world.live()
    return world, world.nodes["sequencer"]


def test_a_proposal_whose_bitcoin_block_left_is_not_built():
    """Between proposing and making, Bitcoin may leave the block that the new epoch looks back to."""

    async def tell():
        world, node = await opened()
        world.bitcoin.mine()
        await node.follow()
        proposal = node.driver.propose(world.clock.ms // 1_000)
        assert proposal.new_epoch
        parent = node.executor.head
        world.bitcoin.reorg(1)
        (left,) = await node.follower.poll()
        node.driver.disconnect(node.driver.cursor)
        assert node.executor.head == parent, "the head looks back to an older block and stays"
        assert node.driver.make(proposal, [], [], keep_empty=True) is None
        await node.follow()
        assert node.driver.make(proposal, [], [], keep_empty=True) is None
        again = node.driver.propose(world.clock.ms // 1_000)
        made, _ = node.driver.make(again, [], [], keep_empty=True)
        assert made.number == parent.number + 1
        assert left.hash == proposal.origin.hash != again.origin.hash

    asyncio.run(tell())


def test_a_rewind_notes_its_transactions_as_waiting_in_the_same_write():
    """Whoever dies right after a rewind finds the transactions of the blocks that left in the journal."""

    async def tell():
        world, node = await opened()
        raws = Users().transfers(2)
        world.sent += raws
        world.bitcoin.mine()
        await world.live()
        assert node.store.get(JOURNAL_PREFIX) is None
        assert list(node.store.scan(JOURNAL_PREFIX)) == []
        world.bitcoin.reorg(3)
        await node.follower.poll()
        removed = 0
        while removed < 2:
            removed += len(node.driver.disconnect(node.driver.cursor).removed)
        assert {raw for _, raw in node.store.scan(JOURNAL_PREFIX)} == set(raws)

    asyncio.run(tell())
