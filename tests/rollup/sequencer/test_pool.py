"""What the pool admits, offers and forgets, rule by rule."""

import pytest

from primitives.errors import Duplicate, Rejected
from rollup.sequencer.pool import Pool, PoolLimits
from tests.rollup.sequencer.pooled import Accounts, Fake, sender

A, B, C = (sender(number) for number in (1, 2, 3))
GAS = 60_000_000


def filled(*transactions, limits=None, accounts=None):
    """A pool with these transactions, and the accounts they were judged by."""
    pool, accounts = Pool(limits), accounts or Accounts()
    for each in transactions:
        pool.add(each, accounts.facts(each.sender))
    return pool, accounts


def refusal(pool, transaction, accounts=None, **how):
    """The code with which the pool refuses."""
    facts = (accounts or Accounts()).facts(transaction.sender, how.pop("balance", 10**24))
    with pytest.raises(Rejected) as caught:
        pool.add(transaction, facts, **how)
    return caught.value.code


def test_best_tip_first_then_arrival_and_nonces_in_order():
    """Order is by tip, then by arrival; a sender's high tip waits behind its own lower nonce."""
    low, high = Fake(A, 0, max_priority_fee_per_gas=1), Fake(A, 1, max_priority_fee_per_gas=50)
    first, second = Fake(B, 0), Fake(C, 0)
    pool, accounts = filled(low, high, first, second)
    assert pool.ready(0, accounts, gas=GAS) == [first, second, low, high]


def test_tip_is_what_remains_above_the_base_fee():
    """A high tip cap under a low fee cap counts for what it really pays."""
    poor = Fake(A, 0, max_fee_per_gas=95, max_priority_fee_per_gas=90)
    fair = Fake(B, 0, max_fee_per_gas=200, max_priority_fee_per_gas=10)
    pool, accounts = filled(poor, fair)
    assert pool.ready(90, accounts, gas=GAS) == [fair, poor]
    assert pool.ready(96, accounts, gas=GAS) == [fair]
    assert len(pool) == 2


def test_gas_bounds_the_offer_and_smaller_ones_still_fit():
    """One that does not fit is passed over with all that follow it; others fill the room."""
    big, small = Fake(A, 0, gas_limit=50_000, max_priority_fee_per_gas=20), Fake(B, 0)
    pool, accounts = filled(big, Fake(A, 1), small)
    assert pool.ready(0, accounts, gas=45_000) == [small]


def test_a_gap_is_stored_not_offered():
    """Beyond a missing nonce nothing is offered; the missing one releases the run."""
    pool, accounts = filled(Fake(A, 1), Fake(A, 2))
    assert (pool.ready(0, accounts, gas=GAS), pool.gapped) == ([], 2)
    assert pool.pending_nonce(A, 0) == 0
    pool.add(Fake(A, 0), accounts.facts(A))
    assert [each.nonce for each in pool.ready(0, accounts, gas=GAS)] == [0, 1, 2]
    assert (pool.gapped, pool.pending_nonce(A, 0)) == (0, 3)


def test_too_far_ahead_is_refused():
    """A gap may be 64 nonces wide, counted from the end of the sender's run."""
    pool, accounts = filled(*[Fake(A, nonce) for nonce in range(5)])
    assert refusal(pool, Fake(A, 5 + 65)) == "pool.nonce_gap"
    pool.add(Fake(A, 5 + 64), accounts.facts(A))


def test_gaps_are_bounded_in_all():
    """However many senders there are, only so many transactions wait for a missing nonce."""
    pool, accounts = filled(*[Fake(sender(n), 1) for n in range(10, 14)], limits=PoolLimits(gapped=4))
    assert refusal(pool, Fake(A, 1)) == "pool.nonce_gap"
    pool.add(Fake(A, 0), accounts.facts(A))


def test_replacement_pays_more_on_both_fees():
    """Ten percent more on each fee replaces; less on either is refused, and the old one stays."""
    old = Fake(A, 0, max_fee_per_gas=100, max_priority_fee_per_gas=10)
    pool, accounts = filled(old)
    for cheap in (
        Fake(A, 0, max_fee_per_gas=110, max_priority_fee_per_gas=10),
        Fake(A, 0, max_fee_per_gas=109, max_priority_fee_per_gas=11),
    ):
        assert refusal(pool, cheap) == "pool.replacement_underpriced"
    new = Fake(A, 0, max_fee_per_gas=110, max_priority_fee_per_gas=11)
    pool.add(new, accounts.facts(A))
    assert pool.ready(0, accounts, gas=GAS) == [new]
    assert old.hash not in pool


def test_refusals_by_code():
    """Each rule of the door has its code, and a refused transaction leaves nothing behind."""
    pool, accounts = filled(Fake(A, 0), Fake(A, 1), limits=PoolLimits(per_sender=2))
    with pytest.raises(Duplicate, match="already known"):
        pool.add(Fake(A, 0), accounts.facts(A))
    assert refusal(pool, Fake(A, 2)) == "pool.sender_full"
    assert refusal(pool, Fake(B, 0, size=131_073)) == "pool.oversized"
    assert refusal(pool, Fake(B, 0), floor_fee_wei=101) == "pool.underpriced"
    assert refusal(pool, Fake(B, 4), Accounts({B: 5})) == "pool.nonce_too_low"
    assert refusal(pool, Fake(B, 0, value=1), balance=21_000 * 100) == "pool.insufficient_funds"
    assert (len(pool), pool.raw_bytes) == (2, 200)


def test_money_covers_everything_that_waits():
    """A balance that pays for each of two but not for both admits one; a replacement is not a second."""
    pool, accounts = filled()
    balance = 21_000 * 150
    pool.add(Fake(A, 0), accounts.facts(A, balance))
    assert refusal(pool, Fake(A, 1), balance=balance) == "pool.insufficient_funds"
    pool.add(Fake(A, 0, max_fee_per_gas=150, max_priority_fee_per_gas=11), accounts.facts(A, balance))


def test_full_pool_makes_room_for_who_pays_more():
    """The last transaction of the cheapest sender leaves; who pays no more than all others is refused."""
    cheap = [Fake(A, nonce, max_priority_fee_per_gas=1 + nonce) for nonce in range(3)]
    pool, accounts = filled(*cheap, Fake(B, 0, max_priority_fee_per_gas=5), limits=PoolLimits(transactions=4))
    assert refusal(pool, Fake(C, 0, max_priority_fee_per_gas=1)) == "pool.full"
    pool.add(Fake(C, 0, max_priority_fee_per_gas=9), accounts.facts(C))
    assert cheap[2].hash not in pool
    assert [each.hash in pool for each in cheap[:2]] == [True, True]


def test_a_sender_does_not_push_itself_out():
    """Its own cheaper transaction is what the new one waits for."""
    pool, _ = filled(Fake(A, 0, max_priority_fee_per_gas=1), Fake(A, 1), limits=PoolLimits(transactions=2))
    assert refusal(pool, Fake(A, 2, max_priority_fee_per_gas=50)) == "pool.full"


def test_bytes_are_bounded_and_a_failed_push_out_pushes_nobody():
    """One large transaction needs several small ones gone; if that is not enough, all stay."""
    small = [Fake(sender(n), 0, max_priority_fee_per_gas=1) for n in range(10, 15)]
    pool, accounts = filled(*small, limits=PoolLimits(raw_bytes=500))
    assert refusal(pool, Fake(A, 0, size=501)) == "pool.full"
    assert len(pool) == 5
    pool.add(Fake(A, 0, size=250), accounts.facts(A))
    assert (len(pool), pool.raw_bytes) == (3, 450)


def test_parked_ones_hold_back_only_their_sender():
    """A transaction that waits for an answer is not offered, nor what follows it; the answer releases it."""
    parked, after, other = Fake(A, 0), Fake(A, 1), Fake(B, 0)
    pool, accounts = filled(parked, after, other)
    pool.wait_for(parked.hash, b"q" * 32)
    assert pool.ready(0, accounts, gas=GAS) == [other]
    assert pool.waiting() == {parked.hash: b"q" * 32}
    assert pool.wake(b"x" * 32) == []
    assert pool.wake(b"q" * 32) == [parked.hash]
    assert pool.ready(0, accounts, gas=GAS) == [parked, after, other]


def test_waiting_again_for_something_else():
    """The newest question counts; an answer to the former releases nothing."""
    parked = Fake(A, 0)
    pool, _ = filled(parked)
    pool.wait_for(parked.hash, b"1" * 32)
    pool.wait_for(parked.hash, b"2" * 32)
    assert pool.wake(b"1" * 32) == []
    assert pool.wake(b"2" * 32) == [parked.hash]
    pool.wait_for(b"unknown" * 4, b"3" * 32)
    assert pool.parked == 0


def test_included_takes_everything_up_to_it():
    """What a block holds leaves, with whatever the sender's nonce has overtaken; the rest stays ready."""
    pool, accounts = filled(*[Fake(A, nonce) for nonce in range(4)])
    pool.included([Fake(A, 1).hash, b"unknown" * 4])
    accounts.nonces[A] = 2
    assert [each.nonce for each in pool.ready(0, accounts, gas=GAS)] == [2, 3]
    assert pool.pending_nonce(A, 2) == 4


def test_the_state_overtakes_unseen():
    """Nonces spent elsewhere (a forced transaction) are found out when a block is filled, gaps too."""
    pool, accounts = filled(Fake(A, 0), Fake(A, 1), Fake(B, 1))
    accounts.nonces.update({A: 1, B: 1})
    assert pool.ready(0, accounts, gas=GAS) == [Fake(A, 1), Fake(B, 1)]
    assert (len(pool), pool.gapped) == (2, 0)


def test_after_a_rewind_the_state_is_behind():
    """The state's nonce moves back: nothing is offered until what left the chain is admitted again."""
    accounts = Accounts({A: 5})
    pool, _ = filled(Fake(A, 5), accounts=accounts)
    accounts.nonces[A] = 4
    assert pool.ready(0, accounts, gas=GAS) == []
    pool.add(Fake(A, 4), accounts.facts(A))
    assert [each.nonce for each in pool.ready(0, accounts, gas=GAS)] == [4, 5]


def test_a_removed_one_leaves_a_gap():
    """What can never run leaves; those after it wait for a new one with its nonce."""
    pool, accounts = filled(*[Fake(A, nonce) for nonce in range(3)])
    pool.remove([Fake(A, 1).hash])
    assert [each.nonce for each in pool.ready(0, accounts, gas=GAS)] == [0]
    assert (pool.gapped, pool.pending_nonce(A, 0)) == (1, 1)


def test_watchers_hear_of_every_leaving():
    """Included, removed, replaced, overtaken and pushed out: each is told once."""
    pool, accounts = filled(limits=PoolLimits(transactions=5))
    gone = []
    pool.watch(gone.append)
    kept = [Fake(A, 0), Fake(B, 0), Fake(C, 0), Fake(C, 1), Fake(sender(9), 0, max_priority_fee_per_gas=1)]
    for each in kept:
        pool.add(each, accounts.facts(each.sender))
    pool.add(dear := Fake(B, 0, max_fee_per_gas=200, max_priority_fee_per_gas=20), accounts.facts(B))
    pool.add(Fake(sender(8), 0, max_priority_fee_per_gas=50), accounts.facts(sender(8)))
    pool.included([kept[0].hash])
    pool.remove([dear.hash])
    accounts.nonces[C] = 1
    pool.ready(0, accounts, gas=GAS)
    assert gone == [kept[1].hash, kept[4].hash, kept[0].hash, dear.hash, kept[2].hash]


def test_content_tells_runnable_from_gapped():
    """What txpool_content shows, bounded."""
    pool, _ = filled(*[Fake(A, nonce) for nonce in (0, 1, 3)], Fake(B, 2))
    runnable, gapped = pool.content(10)
    assert [each.nonce for each in runnable] == [0, 1]
    assert [each.nonce for each in gapped] == [3, 2]
    assert [len(part) for part in pool.content(1)] == [1, 1]


def test_choosing_among_many_asks_the_state_little():
    """Of 20,000 waiting senders only those that are offered are looked up in the state."""
    pool, accounts = filled(*[Fake(sender(100 + n), 0) for n in range(20_000)])
    chosen = pool.ready(10, accounts, gas=GAS)
    assert len(chosen) == GAS // 21_000
    assert accounts.asked == len(chosen)


def test_including_a_long_run_is_linear():
    """4,096 transactions of one sender leave in one go, without going over the run again for each."""
    run = [Fake(A, nonce) for nonce in range(4_096)]
    pool, accounts = filled(*run)
    lane = pool._lanes[A]
    moves = []
    original = type(lane).move
    type(lane).move = lambda self, nonce: moves.append(nonce) or original(self, nonce)
    try:
        pool.included([each.hash for each in run])
    finally:
        type(lane).move = original
    assert (moves, len(pool), accounts.facts(A).nonce) == ([4_096], 0, 0)
