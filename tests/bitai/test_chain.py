"""The chain's driver refuses what no longer fits, and forgets nothing that a rewind returns."""

import asyncio
from dataclasses import replace

import pytest

from bitai.admission import JOURNAL_PREFIX
from primitives.errors import Rejected, Temporary
from primitives.hashes import sha256
from rollup.follower.signed_block import sign_block
from tests.bitai.chain_nodes import SEQUENCER_SECRET
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


def test_a_rehearsal_leaves_nothing_behind():
    """What a rehearsal tells of transactions is what the block then does; state, head and journal stay as they are."""

    async def tell():
        _, node = await opened()
        raws = Users().transfers(3)
        transactions = node.executor.decode([*raws, raws[0]])
        proposal = node.driver.propose(node.executor.head.timestamp + 2)
        before = (node.executor.head, dict(node.store.scan(b"")))
        outcomes = node.driver.rehearse(proposal, transactions, [])
        assert [each.kind for each in outcomes] == ["included"] * len(raws) + ["skipped"]
        assert (node.executor.head, dict(node.store.scan(b""))) == before
        made, _ = node.driver.make(proposal, transactions, [], keep_empty=True)
        assert made.outcomes == outcomes
        assert node.driver.rehearse(proposal, transactions, []) is None, "the head has moved"

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


def forge(world, block, *, block_hash=None, parent_hash=None, **change):
    """A block with the sequencer's signature and other content."""
    return sign_block(
        SEQUENCER_SECRET,
        world.config.identity,
        replace(block.data, **change),
        parent_hash=parent_hash or block.parent_hash,
        block_hash=block_hash or sha256(b"claimed"),
    )


def test_what_the_sequencer_signs_is_checked_whole():
    """A full node takes no block that its Bitcoin would void or that executes to another hash, whoever signed it."""

    async def tell():
        world, node = await opened()
        full = world.nodes["full"].driver
        world.sent += Users().transfers(1)
        await node.live()
        world.bitcoin.mine()
        await node.follow()
        await node.make()
        number = full.executor.head.number + 1
        block, after = node.driver.signed(number), node.driver.signed(number + 1)
        origin, time = block.data.origin, block.data.timestamp
        drift = origin.mtp + world.config.parameters.max_drift_s
        elsewhere = origin._replace(hash=sha256(b"another branch"))
        refusals = [
            (forge(world, block, timestamp=time + 1), "unsafe_block.void"),
            (forge(world, block, timestamp=time - 2), "unsafe_block.void"),
            (forge(world, block, timestamp=time + (drift - time) // 2 * 2 + 4), "unsafe_block.void"),
            (forge(world, block, timestamp=2**63 + time), "unsafe_block.void"),
            (forge(world, block, origin=elsewhere), "unsafe_block.origin"),
            (forge(world, block, origin=origin._replace(height=origin.height - 1)), "unsafe_block.origin"),
            (forge(world, block, system_transactions=after.data.system_transactions), "unsafe_block.system"),
            (forge(world, block, number=number + 1), "unsafe_block.no_parent"),
            (forge(world, block, number=2**64 - 1), "unsafe_block.no_parent"),
            (forge(world, block, parent_hash=sha256(b"parent")), "unsafe_block.no_parent"),
            (forge(world, block, number=full.safe), "unsafe_block.below_safe"),
            (forge(world, block, number=0), "unsafe_block.below_safe"),
            (forge(world, block), "unsafe_block.wrong_hash"),
            (forge(world, block, transactions=(), block_hash=block.hash), "unsafe_block.wrong_hash"),
            (forge(world, block, transactions=(b"?",), block_hash=block.hash), "unsafe_block.wrong_hash"),
        ]
        rows = dict(full._store.rows)
        for bad, code in refusals:
            with pytest.raises(Rejected) as caught:
                full.apply_signed(bad)
            assert caught.value.code == code
            assert full._store.rows == rows
        assert full.apply_signed(block).added == (number,)
        with pytest.raises(Temporary, match="origin_unknown"):
            full.apply_signed(after)

    asyncio.run(tell())


def test_blocks_taken_back_for_a_wrong_one_are_told_of():
    """A block that would replace others and then is refused has taken them back: whoever listens hears of it."""

    async def tell():
        world, node = await opened()
        full = world.nodes["full"].driver
        raws = Users().transfers(1)
        world.sent += raws
        await world.live()
        number = full.executor.head.number
        assert number > full.safe
        block = node.driver.signed(number)
        with pytest.raises(Rejected, match="wrong_hash"):
            full.apply_signed(forge(world, block))
        update = full.apply_signed(block)
        assert [each.number for each in update.removed] == [number]
        assert update.added == (number,)
        assert update.returned == ()
        assert full.apply_signed(block).removed == ()

    asyncio.run(tell())


def test_a_block_whose_parent_moves_while_it_is_read_is_not_signed(monkeypatch):
    """The feed reads beside the chain's thread: a block and another one's parent are never signed together."""

    async def tell():
        _, node = await opened()
        number = node.executor.head.number
        assert node.driver.signed(number).data.number == number
        chain, asked = node.executor.chain, []
        facts = chain.facts

        def moving(wanted):
            asked.append(wanted)
            found = facts(wanted)
            moved = wanted == number - 1 and len(asked) > 1
            return found._replace(hash=sha256(b"another")) if moved else found

        monkeypatch.setattr(chain, "facts", moving)
        assert node.driver.signed(number) is None

    asyncio.run(tell())
