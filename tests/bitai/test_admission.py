"""The way into the pool: who gets in, what is remembered, and what a sender hears when things go wrong."""

import asyncio

import pytest

from bitai.admission import JOURNAL_PREFIX, Admission
from primitives.errors import Duplicate, InvalidInput, Rejected, Temporary
from primitives.hashes import keccak256
from rollup.sequencer.pool import Pool, PoolLimits
from tests.bitai.rig import Rig
from tests.vm.world import Account, World

TO = b"\x01" * 20


class Door:
    """An admission without a sequencer behind it."""

    def __init__(self, world=None, limits=None):
        self.world = world or World()
        self.pool = Pool(limits)
        self.woken = 0
        self.admission = Admission(self.world.executor, self.world.store, self.pool, on_admitted=self._wake)
        self.decodes = []
        original = self.world.executor.decode
        self.world.executor.decode = lambda raws: self.decodes.append(len(raws)) or original(raws)

    def _wake(self):
        self.woken += 1

    async def __aenter__(self):
        self.task = asyncio.create_task(self.admission.run())
        return self

    async def __aexit__(self, *failure):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def journal(self):
        """Raw transactions in the journal."""
        return {raw for _, raw in self.world.store.scan(JOURNAL_PREFIX)}

    async def refusal(self, raw):
        """The error with which a transaction is refused."""
        with pytest.raises((InvalidInput, Rejected)) as caught:
            await self.admission.submit(raw)
        return caught.value


async def test_admitted_means_pooled_and_journalled():
    """The sender hears the hash once the pool and the journal hold the transaction."""
    async with Door() as door:
        raw = door.world.alice.sign(TO, value=1)
        transaction_hash = await door.admission.submit(raw)
        assert transaction_hash == keccak256(raw)
        assert transaction_hash in door.pool
        assert door.journal() == {raw}
        assert door.woken == 1
        assert door.admission.waiting(transaction_hash).raw == raw
        assert door.admission.pending_nonce(door.world.alice.address, 0) == 1
        assert door.admission.counts() == (1, 0)


async def test_refusals_reach_their_sender_only():
    """Of many that arrive together each bad one gets its code, and the good ones are in."""
    async with Door() as door:
        alice, bob = door.world.accounts[:2]
        good = [alice.sign(TO), alice.sign(TO), bob.sign(TO)]
        poor = Account(b"\x05" * 32)
        bad = {
            b"": "tx.malformed",
            b"\x02\xc0": "tx.malformed",
            b"\x03" + bytes(80): "tx.type_not_supported",
            bob.sign(TO, nonce=99): "pool.nonce_gap",
            poor.sign(TO, gas=21_000): "pool.insufficient_funds",
            bob.sign(TO, nonce=1, gas=20_000): "tx.intrinsic_gas",
            bob.sign(TO, nonce=1, cap=1, tip=1): "pool.underpriced",
        }
        answers = await asyncio.gather(
            *(door.admission.submit(raw) for raw in [*bad, *good]), return_exceptions=True
        )
        assert [each.code for each in answers[: len(bad)]] == list(bad.values())
        assert answers[len(bad) :] == [keccak256(raw) for raw in good]
        assert door.journal() == set(good)
        assert len(door.decodes) <= 2
        assert isinstance(await door.refusal(good[0]), Duplicate)


async def test_size_is_judged_before_anything_else():
    """An oversized transaction is refused without being queued or decoded."""
    async with Door() as door:
        assert (await door.refusal(bytes(131_073))).code == "pool.oversized"
        assert door.decodes == []


async def test_the_queue_is_bounded_in_count_and_bytes(monkeypatch):
    """Who comes when too many wait is asked to come again; nobody's memory pays for it."""
    monkeypatch.setattr("bitai.admission.MAX_WAITING", 3)
    door = Door()
    waiting = [asyncio.create_task(door.admission.submit(bytes([n]))) for n in range(3)]
    await asyncio.sleep(0)
    assert (await door.refusal(b"x")).code == "pool.full"
    for each in waiting:
        each.cancel()
    monkeypatch.setattr("bitai.admission.MAX_WAITING_BYTES", 10)
    door = Door()
    waiting = asyncio.create_task(door.admission.submit(bytes(8)))
    await asyncio.sleep(0)
    assert (await door.refusal(bytes(3))).code == "pool.full"
    waiting.cancel()


async def test_a_sender_that_went_away_harms_nobody():
    """Its transaction is admitted all the same, and the others hear their answers."""
    async with Door() as door:
        alice = door.world.alice
        gone = asyncio.create_task(door.admission.submit(alice.sign(TO)))
        other = asyncio.create_task(door.admission.submit(alice.sign(TO)))
        await asyncio.sleep(0)
        gone.cancel()
        await other
        assert len(door.pool) == 2


async def test_stopping_answers_everyone():
    """Whoever waits when the node stops hears so."""
    door = Door()
    waiting = asyncio.create_task(door.admission.submit(b"\x02"))
    await asyncio.sleep(0)
    async with door:
        await asyncio.sleep(0)
    with pytest.raises((Temporary, InvalidInput)):
        await waiting


async def test_a_full_disk_admits_nobody():
    """What cannot be journalled is not held: the sender hears it and may try again."""
    async with Door() as door:
        raw, write = door.world.alice.sign(TO), door.world.store.write

        def full(batch, *, sync):
            raise Temporary("store.io", "no space left")

        door.world.store.write = full
        with pytest.raises(Temporary, match="no space"):
            await door.admission.submit(raw)
        assert (len(door.pool), door.woken) == (0, 0)
        door.world.store.write = write
        assert await door.admission.submit(raw) == keccak256(raw)


async def test_a_killed_node_remembers():
    """After a restart the waiting transactions are back, a long run of one sender whole, and spent ones gone."""
    world = World()
    async with Door(world) as door:
        raws = [world.alice.sign(TO, gas=21_000) for _ in range(200)]
        await asyncio.gather(*(door.admission.submit(raw) for raw in raws))
    world.run(*raws[:5])
    again = Door(world)
    assert again.admission.restore() == 195
    assert [each.nonce for each in again.pool.content(1_000)[0]] == list(range(5, 200))
    assert again.journal() == set(raws[5:])


async def test_what_a_rewind_returns_is_admitted_again():
    """Transactions of a block that left the chain wait once more, and are journalled."""
    world = World()
    async with Door(world) as door:
        raws = [world.alice.sign(TO, gas=21_000) for _ in range(3)]
        world.run(*raws)
        world.executor.rewind(0)
        assert door.admission.readmit(raws[::-1]) == 3
        assert door.journal() == set(raws)
        assert door.admission.readmit(raws) == 0
        assert door.journal() == set(raws)


async def test_what_a_rewind_returns_is_kept_whatever_the_bounds():
    """Ten blocks' transactions come back at once: more than their sender may have waiting, or could pay in advance."""
    world = World()
    async with Door(world, PoolLimits(per_sender=3, transactions=4, gapped=1, nonce_gap=1)) as door:
        balance = world.executor.view(0).account(world.alice.address).balance
        cap = balance // 3 // 21_000
        raws = [world.alice.sign(TO, gas=21_000, cap=cap) for _ in range(10)]
        for raw in raws:
            await door.admission.submit(raw)
            world.run(raw)
            door.pool.included([keccak256(raw)])
        world.executor.rewind(0)
        assert door.admission.readmit(raws) == 10
        assert door.journal() == set(raws)
        assert [each.nonce for each in door.pool.content(20)[0]] == list(range(10))
        assert (await door.refusal(world.alice.sign(TO))).code == "pool.sender_full"
    again = Door(world, PoolLimits(transactions=4))
    assert again.admission.restore() == 10


async def test_a_rewind_while_a_newcomer_is_judged_loses_nothing(monkeypatch):
    """What the rewind returned stays, though the newcomer was judged by the state in which it was included."""
    world, loop, judged = World(), asyncio.get_running_loop(), []
    async with Door(world) as door:
        raws = [world.alice.sign(TO, gas=21_000) for _ in range(3)]
        world.run(*raws[:2])
        judge = door.admission._judge

        async def rewind():
            world.executor.rewind(0)
            door.admission.readmit(raws[:2])

        def judge_and_rewind(batch, decoded=None):
            found = judge(batch, decoded)
            judged.append(len(batch))
            if len(judged) == 1:
                asyncio.run_coroutine_threadsafe(rewind(), loop).result(10)
            return found

        monkeypatch.setattr(door.admission, "_judge", judge_and_rewind)
        await door.admission.submit(raws[2])
        assert judged == [1, 2, 1]
        assert [each.nonce for each in door.pool.content(10)[0]] == [0, 1, 2]
        assert door.journal() == set(raws)


async def test_a_block_while_a_newcomer_is_judged_leaves_no_gap(monkeypatch):
    """A block takes all that a sender had waiting: his next transaction follows it, whatever state was read first."""
    world, loop, judged = World(), asyncio.get_running_loop(), []
    async with Door(world, PoolLimits(nonce_gap=2)) as door:
        raws = [world.alice.sign(TO, gas=21_000) for _ in range(6)]
        await door.admission.submit_many(raws[:5])
        judge = door.admission._judge

        async def include():
            world.run(*raws[:5])
            door.pool.remove([keccak256(raw) for raw in raws[:5]])

        def judge_and_include(batch, decoded=None):
            found = judge(batch, decoded)
            judged.append(decoded is None)
            if len(judged) == 1:
                asyncio.run_coroutine_threadsafe(include(), loop).result(10)
            return found

        monkeypatch.setattr(door.admission, "_judge", judge_and_include)
        await door.admission.submit(raws[5])
        assert judged == [True, False]  # decoded once
        assert [each.nonce for each in door.pool.content(10)[0]] == [5]


async def test_the_journal_forgets_what_left_the_pool():
    """Replaced, dropped and included transactions do not stay on the disk for ever."""
    async with Door(limits=PoolLimits(per_sender=50)) as door:
        alice, bob = door.world.accounts[:2]
        old = alice.sign(TO, nonce=0)
        await door.admission.submit(old)
        new = alice.sign(TO, nonce=0, tip=2 * 10**9, cap=200 * 10**9)
        await door.admission.submit(new)
        assert door.journal() == {new}
        door.pool.remove([keccak256(new)])
        last = bob.sign(TO)
        await door.admission.submit(last)
        assert door.journal() == {last}


async def test_what_was_included_and_came_back_stays_in_the_journal():
    """Having once left the pool for a block does not make the journal forget what a rewind returned."""
    async with Door() as door:
        alice, bob = door.world.accounts[:2]
        raw = alice.sign(TO)
        await door.admission.submit(raw)
        door.pool.included([keccak256(raw)])
        assert door.admission.readmit([raw]) == 1
        other = bob.sign(TO)
        await door.admission.submit(other)
        assert door.journal() == {raw, other}


async def test_from_submit_to_receipt():
    """Through admission, pool and sequencer into a block: a hundred transfers of five senders."""
    async with Rig() as rig:
        raws = [
            account.sign(TO, value=7, gas=21_000) for account in rig.world.accounts[:5] for _ in range(20)
        ]
        hashes = await asyncio.gather(*(rig.admission.submit(raw) for raw in raws))
        await rig.until(lambda: all(rig.receipt(each) for each in hashes))
        assert {rig.receipt(each).status for each in hashes} == {1}
        assert len(rig.pool) == 0
        view = rig.executor.view(rig.executor.head.number)
        assert view.balance(TO) == 700
        assert rig.metrics.read("mempool_refused_total") is None
