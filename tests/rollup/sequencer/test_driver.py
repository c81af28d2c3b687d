"""The sequencer's loop: who is offered, what becomes of each outcome, and when another block follows."""

import asyncio
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest

from primitives.errors import InvariantViolation, Temporary
from rollup.sequencer.driver import OFFERED_BLOCKS, MadeBlock, Proposal, Sequencer
from rollup.sequencer.pool import Pool
from tests.rollup.sequencer.pooled import Accounts, Fake, sender
from vm.types import INCLUDED, L1Origin, Outcome

A, B, C, D = (sender(number) for number in (1, 2, 3, 4))
ORIGIN = L1Origin(100, b"\1" * 32, 1_000)


class Chain:
    """A `ChainPort` that includes everything unless a script says otherwise by transaction hash."""

    def __init__(self, accounts, pool, **proposal):
        self.accounts, self.pool = accounts, pool
        self.returning = {}
        self.proposal = Proposal(
            timestamp=2_000,
            origin=ORIGIN,
            system_transactions=(),
            new_epoch=False,
            empty_only=False,
            base_fee_wei=1,
            gas_limit=60_000_000,
            parent=b"\0" * 32,
            behind=0,
        )
        self.proposal = replace(self.proposal, **proposal)
        self.script = {}
        self.blocks = []
        self.rehearsed = []
        self.failures = []
        self.kept = []
        self.news = asyncio.Condition()

    async def until(self, blocks):
        """Wait until so many blocks were made."""
        async with asyncio.timeout(5), self.news:
            await self.news.wait_for(lambda: len(self.blocks) >= blocks)

    async def propose(self):
        return self.proposal

    def nonces(self):
        return self.accounts

    async def make(self, proposal, transactions, records, *, keep_empty):
        if self.failures:
            failure = self.failures.pop(0)
            if failure is None:
                return None
            raise failure
        await asyncio.sleep(0)
        outcomes = tuple(self.script.get(each.hash, INCLUDED) for each in transactions)
        included = [
            each.hash for each, outcome in zip(transactions, outcomes, strict=True) if outcome is INCLUDED
        ]
        for each, outcome in zip(transactions, outcomes, strict=True):
            if outcome is INCLUDED:
                self.accounts.nonces[each.sender] = each.nonce + 1
        number = len(self.blocks) + 1
        if not keep_empty and INCLUDED not in outcomes:
            number = None
        self.blocks.append((list(transactions), list(records)))
        self.kept.append(keep_empty)
        self.pool.included(included)
        for each in self.returning.pop(number, ()):
            self.accounts.nonces[each.sender] = each.nonce
            self.pool.add(each, self.accounts.facts(each.sender))
        async with self.news:
            self.news.notify_all()
        return MadeBlock(number, outcomes)

    async def rehearse(self, proposal, transactions, records):
        self.rehearsed.append((list(transactions), list(records)))
        return tuple(self.script.get(each.hash, INCLUDED) for each in transactions)


class Dispatch:
    """A `DispatchPort` that writes down."""

    def __init__(self):
        self.asked, self.done, self.known = [], [], {}
        self.failures = []
        self.changed = set()
        self.news = asyncio.Event()

    def ask(self, transaction, who, request):
        if self.failures:
            raise self.failures.pop(0)
        self.news.set()
        self.asked.append((transaction, who, request))

    def has_changed(self, transaction, request):
        return transaction in self.changed

    def records(self, transaction, index):
        return [(each, index) for each in self.known.get(transaction, [])]

    def settled(self, transaction):
        self.done.append(transaction)


@dataclass
class Bench:
    """A sequencer with its fakes."""

    chain: Chain
    pool: Pool
    dispatch: Dispatch
    sequencer: Sequencer

    def admit(self, *transactions):
        for each in transactions:
            self.pool.add(each, self.chain.accounts.facts(each.sender))
        return transactions


def bench(mode="on-demand", block_time_s=2, **proposal):
    """Everything, empty."""
    pool, dispatch = Pool(), Dispatch()
    chain = Chain(Accounts(), pool, **proposal)
    sequencer = Sequencer(chain, pool, dispatch, mode=mode, block_time_s=block_time_s)
    return Bench(chain, pool, dispatch, sequencer)


def parked(request_hash=b"q" * 32):
    """The outcome of a transaction that asks a neuron."""
    return Outcome("parked", "", SimpleNamespace(request_hash=request_hash))


async def test_each_outcome_has_its_consequence():
    """Included and hopeless ones leave, waiting ones stay ready, parked ones wait and are asked."""
    b = bench()
    good, later, hopeless, asking = b.admit(Fake(A, 0), Fake(B, 0), Fake(C, 0), Fake(D, 0))
    b.chain.script = {
        later.hash: Outcome("skipped", "tx.block_gas"),
        hopeless.hash: Outcome("skipped", "tx.insufficient_funds"),
        asking.hash: parked(),
    }
    made = await b.sequencer.make_block()
    assert made.number == 1
    assert [each in b.pool for each in (good.hash, later.hash, hopeless.hash, asking.hash)] == [
        False,
        True,
        False,
        True,
    ]
    assert b.pool.waiting() == {asking.hash: b"q" * 32}
    assert [(each[0], each[1]) for each in b.dispatch.asked] == [(asking.hash, D)]
    assert set(b.dispatch.done) == {good.hash, hopeless.hash}
    assert b.pool.ready(1, b.chain.accounts, gas=10**9) == [later]


async def test_what_could_not_be_asked_is_offered_again():
    """A question that the world was too slow for leaves nobody waiting for an answer that nobody gives."""
    b = bench()
    asking, good, hopeless = b.admit(Fake(D, 0, max_priority_fee_per_gas=20), Fake(A, 0), Fake(C, 0))
    b.chain.script = {asking.hash: parked(), hopeless.hash: Outcome("skipped", "tx.insufficient_funds")}
    b.dispatch.failures = [Temporary("chain.head_moves", "the head moves too fast to read it")]
    with pytest.raises(Temporary):
        await b.sequencer.make_block()
    assert b.pool.parked == 0
    assert set(b.dispatch.done) == {good.hash, hopeless.hash}, "the others are sorted all the same"
    assert hopeless.hash not in b.pool
    await b.sequencer.make_block()
    assert [each[0] for each in b.dispatch.asked] == [asking.hash]
    assert b.pool.parked == 1


async def test_what_a_reorg_returned_meanwhile_stays_in_the_pool():
    """A block may be taken back before the sequencer hears that it was made: its transactions wait again."""
    b = bench()
    (returned,) = b.admit(Fake(A, 0))
    b.chain.returning = {1: [returned]}
    await b.sequencer.make_block()
    assert b.pool.ready(1, b.chain.accounts, gas=10**9) == [returned]


async def test_records_are_numbered_by_place():
    """What is known of a transaction's questions goes along under its place in the block."""
    b = bench()
    first, second = b.admit(Fake(A, 0), Fake(B, 0))
    b.dispatch.known[second.hash] = ["answer"]
    await b.sequencer.make_block()
    assert b.chain.blocks == [([first, second], [("answer", 1)])]


async def test_more_is_offered_than_declared_gas_allows():
    """Transactions that declare far more than they use do not leave blocks empty."""
    b = bench()
    b.admit(*[Fake(sender(10 + n), 0, gas_limit=15_000_000) for n in range(20)])
    await b.sequencer.make_block()
    assert len(b.chain.blocks[0][0]) == OFFERED_BLOCKS * 4


async def test_on_demand_goes_on_while_there_is_something():
    """One wake-up makes blocks until nothing is ready; an idle chain makes none."""
    b = bench()
    task = asyncio.create_task(b.sequencer.run())
    b.sequencer.wake()
    for _ in range(5):
        await asyncio.sleep(0)
    assert b.chain.blocks == []
    b.admit(Fake(A, 0), Fake(A, 1))
    b.chain.script[Fake(A, 1).hash] = Outcome("skipped", "tx.nonce_too_high")
    b.sequencer.wake()
    await b.chain.until(1)
    b.chain.script.clear()
    await b.chain.until(2)
    task.cancel()
    assert [len(each[0]) for each in b.chain.blocks] == [2, 1]
    assert b.chain.kept == [False, False]


async def test_a_block_in_which_everything_waits_is_not_made_for_ever():
    """A dropped block that would be made again just the same ends the round until something changes."""
    b = bench()
    (stuck,) = b.admit(Fake(A, 0))
    b.chain.script[stuck.hash] = Outcome("skipped", "infer.block_mac_limit")
    task = asyncio.create_task(b.sequencer.run())
    b.sequencer.wake()
    for _ in range(50):
        await asyncio.sleep(0)
    task.cancel()
    assert len(b.chain.blocks) == 1
    assert stuck.hash in b.pool


async def test_a_new_epoch_makes_a_block_without_transactions():
    """The origin moves although nobody sends anything, and the block is kept."""
    b = bench()
    b.chain.proposal = replace(b.chain.proposal, new_epoch=True)
    made = await b.sequencer.make_block()
    assert (made.number, b.chain.kept) == (1, [True])


async def test_beyond_the_drift_blocks_are_empty():
    """Where derivation would void a block with transactions none is offered."""
    b = bench(mode="interval")
    b.admit(Fake(A, 0))
    b.chain.proposal = replace(b.chain.proposal, empty_only=True)
    await b.sequencer.make_block()
    assert b.chain.blocks == [([], [])]


async def test_nothing_to_propose_and_moved_heads():
    """No proposal makes no block; a head that moved is proposed on anew."""
    b = bench()
    b.chain.proposal, proposal = None, b.chain.proposal
    assert await b.sequencer.make_block() is None
    b.chain.proposal = proposal
    b.admit(Fake(A, 0))
    b.chain.failures = [None]
    assert await b.sequencer._advance() is True
    assert Fake(A, 0).hash in b.pool
    assert await b.sequencer._advance() is True
    assert len(b.pool) == 0


async def test_behind_bitcoin_blocks_come_at_once():
    """While Bitcoin blocks are known beyond the origin, no interval is waited for."""
    b = bench(mode="interval", block_time_s=60, new_epoch=True, behind=2)
    task = asyncio.create_task(b.sequencer.run())
    await b.chain.until(3)
    task.cancel()


async def test_interval_keeps_its_pace():
    """A block a block time, empty or not; the time of making one is not added."""
    b = bench(mode="interval", block_time_s=0.02)
    task = asyncio.create_task(b.sequencer.run())
    await b.chain.until(3)
    task.cancel()
    assert b.chain.kept[:3] == [True, True, True]


async def test_questions_are_asked_before_the_block():
    """What arrives between blocks is tried out: a question goes to the neuron at once, and nothing else happens."""
    b = bench(mode="interval", block_time_s=30)
    task = asyncio.create_task(b.sequencer.run())
    await b.chain.until(1)
    good, failing, asking = b.admit(Fake(A, 0), Fake(B, 0), Fake(C, 0))
    b.chain.script = {failing.hash: Outcome("skipped", "tx.insufficient_funds"), asking.hash: parked()}
    b.dispatch.known = {good.hash: ["record"]}
    b.sequencer.wake()
    async with asyncio.timeout(5):
        await b.dispatch.news.wait()
    task.cancel()
    assert [each[0] for each in b.dispatch.asked] == [asking.hash]
    assert b.pool.parked == 1
    assert b.dispatch.done == []
    assert all(each.hash in b.pool for each in (good, failing, asking))
    ((tried, records),) = b.chain.rehearsed
    assert {each.hash for each in tried} == {good.hash, failing.hash, asking.hash}
    assert [record for record, _ in records] == ["record"]
    assert len(b.chain.blocks) == 1


async def test_a_rehearsal_blames_nobody_for_a_changed_question():
    """Others can change what a transaction asks without any block: only a block's question counts as changed."""
    b = bench(mode="interval", block_time_s=30)
    task = asyncio.create_task(b.sequencer.run())
    await b.chain.until(1)
    changed, asking = b.admit(Fake(A, 0), Fake(B, 0))
    b.chain.script = {changed.hash: parked(b"c" * 32), asking.hash: parked()}
    b.dispatch.changed = {changed.hash}
    b.sequencer.wake()
    async with asyncio.timeout(5):
        await b.dispatch.news.wait()
    task.cancel()
    assert [each[0] for each in b.dispatch.asked] == [asking.hash]
    assert changed.hash in b.pool
    await b.sequencer.make_block()
    assert changed.hash in [each[0] for each in b.dispatch.asked]


async def test_blocks_that_take_long_leave_no_time_for_rehearsals(monkeypatch):
    """A rehearsal costs what a block costs: where that is most of the block time, the next block comes first."""
    b = bench(mode="interval", block_time_s=0.2)
    make = b.chain.make

    async def slowly(*arguments, **named):
        await asyncio.sleep(0.15)
        return await make(*arguments, **named)

    monkeypatch.setattr(b.chain, "make", slowly)
    b.chain.script = {Fake(A, 0).hash: Outcome("skipped", "tx.block_gas")}
    b.admit(Fake(A, 0))
    task = asyncio.create_task(b.sequencer.run())
    for blocks in (1, 2, 3):
        await b.chain.until(blocks)
        b.sequencer.wake()
    task.cancel()
    assert b.chain.rehearsed == []


async def test_a_block_is_not_late_for_rehearsals(monkeypatch):
    """However long they take and however much arrives, they stop in time for the next block."""
    b = bench(mode="interval", block_time_s=0.3)
    monkeypatch.setattr("rollup.sequencer.driver.REHEARSAL_PAUSE_S", 0.0)
    rehearse, took = b.chain.rehearse, []

    async def slowly(*arguments):
        await asyncio.sleep(0.02)
        took.append(0.02)
        b.sequencer.wake()
        return await rehearse(*arguments)

    monkeypatch.setattr(b.chain, "rehearse", slowly)
    b.chain.script = {Fake(A, 0).hash: Outcome("skipped", "tx.block_gas")}
    b.admit(Fake(A, 0))
    task = asyncio.create_task(b.sequencer.run())
    await b.chain.until(2)
    b.sequencer.wake()
    await b.chain.until(3)
    task.cancel()
    assert took
    assert sum(took) < 0.3


async def test_a_slow_world_is_waited_out_a_bug_is_not(monkeypatch):
    """A full disk is tried again with growing pauses; a broken invariant ends the loop loudly."""
    b = bench()
    pauses = []
    monkeypatch.setattr("rollup.sequencer.driver.FIRST_RETRY_S", 0.001)
    real = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda delay: pauses.append(delay) or real(0))
    b.chain.failures = [Temporary("store.io", "disk full")] * 2 + [
        InvariantViolation("store.corrupt", "gone")
    ]
    b.admit(Fake(A, 0))
    b.sequencer.wake()
    with pytest.raises(InvariantViolation):
        async with asyncio.timeout(5):
            await b.sequencer.run()
    assert [pause for pause in pauses if pause] == [0.001, 0.002]
