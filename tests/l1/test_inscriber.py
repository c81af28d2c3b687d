"""Rows live through crashes, reorgs, rivals and lost mempools; each leaf stands on Bitcoin exactly once."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l1.fees import FeePolicy
from l1.inscriber import LowFunds, Send, Ticked
from l1.inscription import RowStatus
from l1.journal import load_state
from l1.ports import SendOutcome, Verdict
from primitives.errors import InvariantViolation
from primitives.ids import OutPoint
from tests.l1.fake_bitcoin import FakeBitcoin, inputs_of
from tests.l1.rig import FINALITY, KEYS, Crash, Rig, inscribed, make_config, make_leaf
from tests.l1.test_wallet import pay

SCRIPT = KEYS.wallet.script


def funded(count: int = 4, sats: int = 2_000_000) -> FakeBitcoin:
    """Return a Bitcoin that has paid our wallet."""
    bitcoin = FakeBitcoin()
    bitcoin.fund(SCRIPT, sats, count)
    return bitcoin


def finish(rig: Rig, blocks: int = FINALITY + 4) -> None:
    """Mine and run until every row is settled."""
    for _ in range(blocks):
        rig.now_ms += 60_000
        rig.run()
        rig.bitcoin.mine()
    rig.run()


def oracle_balance(bitcoin: FakeBitcoin) -> int:
    """Return what the oracle says that our script owns."""
    return sum(value for value, script in bitcoin.coins().unspent.values() if script == SCRIPT)


def test_row_lives_from_queued_to_final() -> None:
    """The ordinary life: signed, sent, confirmed, final; the wallet's loss is exactly the fees."""
    bitcoin = funded()
    rig = Rig(bitcoin)
    rig.follow()
    start = rig.state.wallet.balance_sats
    row_id = rig.enqueue([make_leaf(b"a" * 700, 1), make_leaf(b"b" * 300, 1, 1)])
    rig.run()
    attempt = rig.state.rows[row_id].attempt
    assert attempt is not None
    assert rig.state.rows[row_id].status is RowStatus.REVEAL_SENT
    finish(rig)
    assert rig.statuses(row_id) == ["SIGNED", "COMMIT_SENT", "REVEAL_SENT", "CONFIRMED", "FINAL"]
    assert inscribed(bitcoin) == {(1, 0): 1, (1, 1): 1}
    assert rig.state.rows == {}
    assert start - rig.state.wallet.balance_sats == attempt.fee_sats
    assert rig.state.wallet.balance_sats == oracle_balance(bitcoin)
    assert set(rig.disk) == {b"w", b"n"}, "nothing of a final row is left on disk"


def test_full_size_reveals_wait_for_their_commit() -> None:
    """Of three full-size reveals one hangs on the unconfirmed commit; the others follow when it confirms."""
    bitcoin = funded(sats=20_000_000)
    rig = Rig(bitcoin)
    row_id = rig.enqueue([make_leaf(bytes([i]) * 395_000, 1, i) for i in range(3)])
    rig.run()
    assert len(bitcoin.mempool) == 2
    bitcoin.mine()
    rig.run()
    assert len(bitcoin.mempool) == 2
    finish(rig, FINALITY + 2)
    assert inscribed(bitcoin) == {(1, 0): 1, (1, 1): 1, (1, 2): 1}
    assert "CLUSTER_FULL" not in str(rig.state.rows.get(row_id))


def test_restart_sends_the_same_transactions() -> None:
    """A process that dies after signing comes back with the same bytes, not with another inscription."""
    bitcoin = funded()
    rig = Rig(bitcoin)
    row_id = rig.enqueue([make_leaf(b"x", 1)])
    rig.follow()
    rig.apply(Ticked(1))
    rig.persist()
    signed = [entry.txid for entry in rig.state.rows[row_id].transactions]
    rig.restart()
    rig.run()
    assert [entry.txid for entry in rig.state.rows[row_id].transactions] == signed
    assert bitcoin.accepted == signed
    rig.restart()
    rig.run()
    assert bitcoin.accepted == signed, "sending again was answered: already known"


def crash_story(crash_at: int | None) -> tuple[FakeBitcoin, Rig, int]:
    """Tell a story with a crash at one line, restart, and finish it; returns the number of lines passed."""
    bitcoin = funded(sats=5_000_000)
    rig = Rig(bitcoin)
    rig.lines, rig.crash_at = 0, crash_at
    done = 0

    def leaves(number: int) -> list[bytes]:
        return [make_leaf(bytes([number]) * 2_000, number, index) for index in range(2)]

    chapters = [
        lambda: rig.enqueue(leaves(1)),
        rig.run,
        lambda: bitcoin.mine(only=list(bitcoin.mempool)[:1]),
        rig.run,
        lambda: rig.enqueue(leaves(2)),
        rig.run,
        bitcoin.mine,
        rig.run,
        lambda: bitcoin.reorg(1, include=False),
        rig.run,
        bitcoin.lose_mempool,
        lambda: finish(rig),
    ]
    while done < len(chapters):
        try:
            chapters[done]()
            done += 1
        except Crash:
            rig.restart()
            rows = {(row.leaves) for row in rig.state.rows.values()}
            if done == 0 and tuple(leaves(1)) in rows:
                done = 1  # the request was stored before the crash; its owner knows by the same atomic write
            if done == 4 and tuple(leaves(2)) in rows:
                done = 5
    return bitcoin, rig, rig.lines


def test_crash_at_every_line_inscribes_once() -> None:
    """Wherever the process dies, each leaf ends up on Bitcoin exactly once and the wallet knows every coin."""
    _, _, lines = crash_story(None)
    assert lines > 30
    for crash_at in range(1, lines + 1):
        bitcoin, rig, _ = crash_story(crash_at)
        expected = Counter({(number, index): 1 for number in (1, 2) for index in range(2)})
        assert inscribed(bitcoin) == expected, f"crash at line {crash_at}"
        assert rig.state.wallet.balance_sats == oracle_balance(bitcoin), f"crash at line {crash_at}"
        assert rig.state.rows == {}, f"crash at line {crash_at}"


def test_lost_mempool_is_sent_again() -> None:
    """A node that forgets its mempool is noticed, the row is evicted and sent again as it was."""
    bitcoin = funded()
    rig = Rig(bitcoin)
    row_id = rig.enqueue([make_leaf(b"x", 1)])
    rig.run()
    sent = list(bitcoin.accepted)
    bitcoin.lose_mempool()
    rig.now_ms += 10_000
    rig.run()
    assert bitcoin.accepted == sent + sent
    assert "EVICTED" in rig.statuses(row_id)
    finish(rig)
    assert inscribed(bitcoin) == {(1, 0): 1}


def test_reorg_brings_a_row_back() -> None:
    """A row whose block left the chain is sent again and confirmed again, once."""
    bitcoin = funded()
    rig = Rig(bitcoin)
    row_id = rig.enqueue([make_leaf(b"x", 1)])
    rig.run()
    bitcoin.mine(3)
    rig.run()
    assert rig.state.rows[row_id].status is RowStatus.CONFIRMED
    bitcoin.rewind(3, keep_transactions=False)
    bitcoin.mine(4)
    rig.run()
    assert rig.state.rows[row_id].status is RowStatus.REVEAL_SENT
    finish(rig)
    assert inscribed(bitcoin) == {(1, 0): 1}


def test_rival_spend_waits_and_then_pays_with_other_coins() -> None:
    """When someone with our key spends the coin, nothing new is signed until that spend is final."""
    bitcoin = funded(count=2)
    rig = Rig(bitcoin)
    row_id = rig.enqueue([make_leaf(b"x", 1)])
    rig.run()
    bitcoin.lose_mempool()
    (coin,) = rig.state.rows[row_id].transactions[0].inputs
    bitcoin.mine_foreign(pay([coin], [1_000_000], b"\x51"))
    rig.run()
    row = rig.state.rows[row_id]
    assert row.status is RowStatus.REPLACED
    assert "spent its coin" in row.reason
    bitcoin.mine(FINALITY - 2)
    rig.run()
    assert rig.state.rows[row_id].status is RowStatus.REPLACED
    finish(rig, 2 * FINALITY)
    assert inscribed(bitcoin) == {(1, 0): 1}
    assert rig.statuses(row_id)[-1] == "FINAL"


def test_rival_that_is_reorged_away_gives_the_coin_back() -> None:
    """A rival's spend that leaves the chain leaves the row as it was, with its own transactions."""
    bitcoin = funded(count=1)
    rig = Rig(bitcoin)
    row_id = rig.enqueue([make_leaf(b"x", 1)])
    rig.run()
    first = rig.state.rows[row_id].attempt
    bitcoin.lose_mempool()
    (coin,) = rig.state.rows[row_id].transactions[0].inputs
    bitcoin.mine_foreign(pay([coin], [1_000_000], b"\x51"))
    rig.run()
    bitcoin.rewind(1, keep_transactions=False)
    bitcoin.mine(2)
    rig.run()
    assert rig.state.rows[row_id].attempt == first
    finish(rig)
    assert inscribed(bitcoin) == {(1, 0): 1}


def test_stuck_row_is_bumped_after_blocks_pass() -> None:
    """A row that blocks pass by pays more, by replacing its reveals, and still inscribes once."""
    bitcoin = funded()
    rig = Rig(bitcoin)
    row_id = rig.enqueue([make_leaf(b"x" * 3_000, 1)])
    rig.run()
    first = rig.state.rows[row_id].attempt
    bitcoin.mine(3, only=())
    rig.run()
    bumped = rig.state.rows[row_id].attempt
    assert first is not None
    assert bumped is not None
    assert bumped.commit == first.commit
    assert bumped.reveals[0].fee_sats > first.reveals[0].fee_sats
    assert set(bitcoin.mempool) == {bumped.commit.txid, bumped.reveals[0].txid}
    finish(rig)
    assert inscribed(bitcoin) == {(1, 0): 1}
    assert rig.state.wallet.balance_sats == oracle_balance(bitcoin)


def test_no_crash_orphans_a_reveal() -> None:
    """Dying between a send and its record, a process that comes back late keeps the commit that a node has."""
    crash_at, crashed = 0, True
    while crashed:
        crash_at, crashed = crash_at + 1, False
        bitcoin = funded()
        rig = Rig(bitcoin)
        rig.enqueue([make_leaf(b"x" * 3_000, 1)])
        rig.lines, rig.crash_at = 0, crash_at
        try:
            rig.run()
        except Crash:
            crashed = True
        rig.crash_at = None
        held = list(bitcoin.mempool)[:1]
        bitcoin.mine(3, only=())
        bitcoin.estimate = 20_000
        rig.restart()
        rig.run()
        assert list(bitcoin.mempool)[: len(held)] == held, f"crash at line {crash_at}"
        finish(rig)
        assert inscribed(bitcoin) == {(1, 0): 1}
    assert crash_at > 8


def test_a_latched_row_follows_the_market() -> None:
    """The market rises to four times what a row pays, after its reveal is out: the row pays that, from headroom."""
    bitcoin = funded(sats=20_000_000)
    rig = Rig(bitcoin)
    row_id = rig.enqueue([make_leaf(b"x" * 50_000, 1)])
    rig.run()
    first = rig.state.rows[row_id].attempt
    bitcoin.estimate = 8_000
    bitcoin.mine(3, only=())
    rig.run()
    row = rig.state.rows[row_id]
    assert row.attempt is not None
    assert first is not None
    assert row.attempt.commit == first.commit
    assert row.attempt.fee_sats * 1_000 >= 8_000 * row.attempt.vbytes - 4_000
    assert {entry.txid for entry in row.transactions} == set(bitcoin.mempool)


def test_what_a_node_says_cannot_spoil_the_disk() -> None:
    """A node may refuse with a novel: its words are cut in the reason, and the stored row still opens."""
    bitcoin = funded()
    rig = Rig(bitcoin)
    row_id = rig.enqueue([make_leaf(b"x", 1)])

    async def refuse(_: bytes) -> SendOutcome:
        return SendOutcome(Verdict.POLICY, "no, " * 50_000)

    send, bitcoin.send = bitcoin.send, refuse
    rig.run()
    assert "no, no" in rig.state.rows[row_id].reason
    rig.restart()
    assert len(rig.state.rows[row_id].reason) < 500
    bitcoin.send = send
    finish(rig)
    assert inscribed(bitcoin) == {(1, 0): 1}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fees": FeePolicy(max_bumps=1)}, "raised 1 times"),
        ({"fees": FeePolicy(floor=2_000, cap=2_500)}, "pays 2000 sats per kvB"),
        ({"headroom_percent": 0}, "leave no room"),
    ],
)
def test_a_row_that_can_pay_no_more_says_why(changes: dict[str, object], words: str) -> None:
    """Blocks pass by, and the fee cannot rise: the reason says what holds it, until a block takes the row."""
    bitcoin = funded()
    rig = Rig(bitcoin, make_config(**changes))
    row_id = rig.enqueue([make_leaf(b"x" * 3_000, 1)])
    rig.run()
    assert rig.state.rows[row_id].reason == "waits for a block"
    for _ in range(3):
        bitcoin.mine(3, only=())
        rig.run()
    assert words in rig.state.rows[row_id].reason
    finish(rig)
    assert inscribed(bitcoin) == {(1, 0): 1}


def test_commit_that_no_node_takes_is_signed_anew() -> None:
    """When the floor rises before the commit was taken, a dearer commit that spends the same coin follows."""
    bitcoin = funded()
    bitcoin.min_rate = 8_000
    rig = Rig(bitcoin)
    row_id = rig.enqueue([make_leaf(b"x", 1)])
    rig.run()
    row = rig.state.rows[row_id]
    assert row.status is RowStatus.SIGNED
    assert str(Verdict.FEE_TOO_LOW) in row.reason
    bitcoin.estimate = 9_000
    bitcoin.mine()
    rig.run()
    row = rig.state.rows[row_id]
    assert len(row.attempts) == 2
    assert row.attempts[0].commit.inputs[0] == row.attempts[1].commit.inputs[0]
    assert row.status is RowStatus.REVEAL_SENT
    finish(rig)
    assert inscribed(bitcoin) == {(1, 0): 1}


@pytest.mark.parametrize("packages", [True, False])
def test_evicted_package_is_carried_by_its_child(packages: bool) -> None:  # noqa: FBT001 (pytest passes it by name)
    """A latched commit below a risen floor goes out with a dearer reveal, or waits and says so."""
    bitcoin = funded()
    bitcoin.packages = packages
    rig = Rig(bitcoin, make_config(headroom_percent=400))
    row_id = rig.enqueue([make_leaf(b"x" * 2_000, 1)])
    rig.run()
    bitcoin.lose_mempool()
    bitcoin.min_rate = 3_000
    bitcoin.estimate = 4_000
    bitcoin.mine(3)
    rig.now_ms += 60_000
    rig.run()
    row = rig.state.rows[row_id]
    if packages:
        assert set(bitcoin.mempool) == {entry.txid for entry in row.transactions}
        assert row.attempts[0].commit == row.attempts[-1].commit
    else:
        assert bitcoin.mempool == {}
        assert "refused" in row.reason
        bitcoin.min_rate = 1_000
    finish(rig)
    assert inscribed(bitcoin) == {(1, 0): 1}


def test_old_version_may_win() -> None:
    """If the replaced reveal is the one that a miner takes, the row is confirmed by it."""
    bitcoin = funded()
    rig = Rig(bitcoin)
    row_id = rig.enqueue([make_leaf(b"x" * 3_000, 1)])
    rig.run()
    old = dict(bitcoin.mempool)
    bitcoin.mine(3, only=())
    rig.run()
    assert len(rig.state.rows[row_id].attempts) == 2
    bitcoin.mempool = old
    bitcoin.mine()
    rig.run()
    assert rig.state.rows[row_id].status is RowStatus.CONFIRMED
    finish(rig)
    assert inscribed(bitcoin) == {(1, 0): 1}
    assert rig.state.wallet.balance_sats == oracle_balance(bitcoin)


def test_poor_wallet_says_what_it_needs() -> None:
    """Without funds a row stays queued, in words and by a signal; money brings it on its way."""
    bitcoin = FakeBitcoin()
    rig = Rig(bitcoin)
    row_id = rig.enqueue([make_leaf(b"x", 1)])
    rig.run()
    row = rig.state.rows[row_id]
    assert row.status is RowStatus.QUEUED
    assert "can be spent now" in row.reason
    assert any(isinstance(signal, LowFunds) and signal.missing_sats > 0 for signal in rig.signals)
    bitcoin.fund(SCRIPT, 100_000)
    finish(rig)
    assert inscribed(bitcoin) == {(1, 0): 1}


def test_small_rows_share_one_unconfirmed_cluster() -> None:
    """With one coin, small rows build on the change of a latched commit, within the cluster's bounds."""
    bitcoin = funded(count=1)
    rig = Rig(bitcoin, make_config(lanes=1))
    for number in range(1, 5):
        rig.enqueue([make_leaf(b"x" * 100, number)])
    rig.run(passes=30)
    assert len(bitcoin.mempool) == 8
    big = rig.enqueue([make_leaf(bytes(395_000), 9)])
    rig.run(passes=5)
    assert rig.state.rows[big].status is RowStatus.QUEUED, "a full-size reveal needs a confirmed coin"
    finish(rig, 2 * FINALITY)
    assert inscribed(bitcoin) == {(n, 0): 1 for n in (1, 2, 3, 4, 9)}


def test_priority_decides_who_is_signed_first() -> None:
    """A batch frame goes before an artifact chunk that waited longer."""
    bitcoin = funded(count=1)
    rig = Rig(bitcoin, make_config(lanes=1, max_unconfirmed_rows=1))
    slow = rig.enqueue([make_leaf(b"artifact", 1)], "artifact", priority=9)
    fast = rig.enqueue([make_leaf(b"batch", 2)], "batch", priority=0)
    rig.run()
    assert rig.state.rows[fast].status is RowStatus.REVEAL_SENT
    assert rig.state.rows[slow].status is RowStatus.QUEUED
    assert "wait for a block" in rig.state.rows[slow].reason


def test_cancel_only_touches_what_was_never_signed() -> None:
    """A queued row can be dropped; a signed one may be out already and goes on."""
    bitcoin = FakeBitcoin()
    rig = Rig(bitcoin)
    queued = rig.enqueue([make_leaf(b"x", 1)])
    rig.run()
    rig.cancel(queued)
    rig.run()
    assert rig.state.rows == {}
    assert rig.statuses(queued)[-1] == "EXPIRED"
    bitcoin.fund(SCRIPT, 1_000_000)
    signed = rig.enqueue([make_leaf(b"y", 2)])
    rig.run()
    rig.cancel(signed)
    finish(rig)
    assert inscribed(bitcoin) == {(2, 0): 1}


def test_corrupt_disk_stops_the_machine() -> None:
    """Stored rows that do not parse are our disk's fault, and never guessed at."""
    bitcoin = funded()
    rig = Rig(bitcoin)
    rig.enqueue([make_leaf(b"x", 1)])
    rig.run()
    key = next(key for key in rig.disk if key.startswith(b"r"))
    for broken in (rig.disk[key][:-1], rig.disk[key] + b"\0", b""):
        with pytest.raises(InvariantViolation, match=r"journal\.corrupt"):
            load_state({**rig.disk, key: broken}, SCRIPT)
    assert load_state({}, SCRIPT) is None


def test_sends_do_not_repeat_while_a_row_is_well() -> None:
    """A row in the mempool asks for nothing but a look after each block."""
    bitcoin = funded()
    rig = Rig(bitcoin)
    rig.enqueue([make_leaf(b"x", 1)])
    rig.run()
    for _ in range(3):
        duties = rig.apply(Ticked(rig.now_ms)).duties
        assert not any(isinstance(duty, Send) for duty in duties)


actions = st.lists(
    st.one_of(
        st.tuples(st.just("enqueue"), st.integers(1, 3)),
        st.tuples(st.just("mine"), st.integers(1, 3)),
        st.tuples(st.just("mine some"), st.integers(0, 3)),
        st.tuples(st.just("reorg"), st.integers(1, FINALITY - 1)),
        st.tuples(st.just("reorg and lose"), st.integers(1, FINALITY - 1)),
        st.tuples(st.just("lose"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("crash"), st.integers(1, 6)),
        st.tuples(st.just("rival"), st.just(0)),
        st.tuples(st.just("floor"), st.sampled_from([1_000, 3_000, 6_000])),
        st.tuples(st.just("estimate"), st.sampled_from([1_000, 9_000, 60_000])),
        st.tuples(st.just("packages"), st.integers(0, 1)),
        st.tuples(st.just("return"), st.integers(1, 3)),
    ),
    max_size=30,
)


@given(actions)
def test_whatever_happens_each_leaf_stands_once(story: list[tuple[str, int]]) -> None:
    """After any history shallower than finality, every leaf is on Bitcoin once and all coins are known."""
    bitcoin = funded(count=6, sats=3_000_000)
    bitcoin.mine(FINALITY)
    rig = Rig(bitcoin, make_config(headroom_percent=300, fees=FeePolicy(max_bumps=20)))
    rig.run()
    wanted: Counter[tuple[int, int]] = Counter()
    for action, number in story:
        act(rig, wanted, action, number)
        rig.now_ms += 6_000
        try:
            rig.run()
        except Crash:
            rig.restart()
    bitcoin.min_rate, bitcoin.estimate, rig.crash_at = 1_000, None, None
    finish(rig, 4 * FINALITY)
    assert inscribed(bitcoin) == wanted, [(row.status.name, row.reason) for row in rig.state.rows.values()]
    assert rig.state.rows == {}
    assert rig.state.wallet.balance_sats == oracle_balance(bitcoin)


def act(rig: Rig, wanted: Counter[tuple[int, int]], action: str, number: int) -> None:
    """Do one thing to the world or to the machine."""
    bitcoin = rig.bitcoin
    if action == "enqueue":
        name = len(wanted) + 1
        rig.crash_at = None  # its owner would ask again; that story is told above
        rig.enqueue([make_leaf(b"z" * 500, name, index) for index in range(number)])
        wanted.update({(name, index): 1 for index in range(number)})
    elif action.startswith("reorg"):
        depth = min(number, bitcoin.tip.height - FINALITY - 1)
        if depth > 0:
            bitcoin.rewind(depth, keep_transactions=action == "reorg")
            bitcoin.mine(depth + 1, only=())
    elif action == "crash":
        rig.lines, rig.crash_at = 0, number
    elif action == "floor":
        bitcoin.min_rate = bitcoin.estimate = number
    elif action == "estimate":
        bitcoin.estimate = number
    elif action == "packages":
        bitcoin.packages = bool(number)
    elif action == "return":
        bring_back(rig, number)
    else:
        simple = {
            "mine": lambda: bitcoin.mine(number),
            "mine some": lambda: bitcoin.mine(only=list(bitcoin.mempool)[:number]),
            "lose": bitcoin.lose_mempool,
            "restart": rig.restart,
            "rival": lambda: steal(rig),
        }
        simple[action]()


def bring_back(rig: Rig, count: int) -> None:
    """Let a miner that kept old versions of ours mine some of them, newest rows first, where they still fit."""
    for row in reversed(list(rig.state.rows.values())):
        for attempt in row.attempts[:1]:
            for transaction in (attempt.commit, *attempt.reveals)[:count]:
                unspent = rig.bitcoin.coins().unspent
                if all(coin in unspent for coin in inputs_of(transaction.raw)):
                    rig.bitcoin.mine_foreign(transaction.raw)


def steal(rig: Rig) -> None:
    """Let someone with our key spend the coin of a commit that is in no block."""
    unspent = rig.bitcoin.coins().unspent
    for row in rig.state.rows.values():
        for transaction in row.transactions[:1]:
            coin = inputs_of(transaction.raw)[0]
            if isinstance(coin, OutPoint) and coin in unspent and unspent[coin][1] == SCRIPT:
                rig.bitcoin.mine_foreign(pay([coin], [unspent[coin][0] - 1_000]))
                return
