"""A replacement pays for what it evicts and for its own relay, and leaves miners better off."""

import pytest

from tests.regtest.mempool.test_admission import refusal, send
from tests.regtest.mini_wallet import mature_notes, notes_of, parsed, spend


@pytest.fixture
def notes(node):
    """Coins that may be spent."""
    return mature_notes(node)


def test_higher_fee_replaces(node, notes):
    """Whoever pays more takes the coin, signal or no signal; the loser and its children are gone."""
    first = send(node, spend(notes[0], fee=1_000, sequence=0xFFFFFFFF))
    child = send(node, spend(notes_of(first)[0], fee=500))
    second = send(node, spend(notes[0], fee=2_000))
    assert [entry.txid for entry in node.pool] == [second.txid]
    assert refusal(node, child).reason == "bad-txns-inputs-missingorspent"


def test_less_than_all_evicted_is_refused(node, notes):
    """The fees of the loser's children count too."""
    first = send(node, spend(notes[0], fee=1_000))
    send(node, spend(notes_of(first)[0], fee=5_000))
    found = refusal(node, spend(notes[0], fee=5_999))
    assert found.reason == "insufficient fee"
    assert "less fees than conflicting txs; 5999 < 6000" in found.detail


def test_own_relay_must_be_paid(node, notes):
    """On top of the evicted fees comes 0.1 sat/vB for the replacement itself."""
    first = send(node, spend(notes[0], fee=1_000))
    extra = -(-first.vbytes // 10)
    found = refusal(node, spend(notes[0], fee=1_000 + extra - 1))
    assert f"not enough additional fees to relay; {extra - 1} < {extra}" in found.detail
    send(node, spend(notes[0], fee=1_000 + extra))


def test_big_and_slow_does_not_replace_small_and_quick(node, notes):
    """More fee at a lower rate would delay what miners earn: refused."""
    send(node, spend(notes[0], fee=2_000))
    found = refusal(node, spend(notes[0], fee=10_000, padding=20_000))
    assert found.reason == "replacement-failed"
    assert found.detail == "insufficient feerate: does not improve feerate diagram"


def test_dependence_on_the_evicted_is_refused(node, notes):
    """A replacement cannot spend from what it replaces."""
    first = send(node, spend(notes[0], fee=1_000))
    found = refusal(node, spend([notes[0], notes_of(first)[0]], fee=9_000))
    assert found.reason == "bad-txns-spends-conflicting-tx"


def test_too_many_clusters(node, notes):
    """One transaction may evict from at most 100 clusters."""
    fan = send(node, spend(notes[0], outputs=101, fee=20_000))
    node.mine(b"\x51")
    coins = notes_of(fan)
    for coin in coins:
        send(node, spend(coin, fee=200))
    assert refusal(node, spend(coins, fee=10**6)).reason == "too many potential replacements"
    send(node, spend(coins[:100], fee=10**6))
    assert len(node.pool) == 2


def test_what_the_evicted_shared_stays(node, notes):
    """Only the loser and its descendants go; its parent and siblings wait on."""
    parent = send(node, spend(notes[0], outputs=3))
    one, two, _ = notes_of(parent)
    loser, sibling = send(node, spend(one)), send(node, spend(two))
    winner = send(node, spend(one, fee=9_000))
    waiting = {entry.txid for entry in node.pool}
    assert waiting == {parent.txid, sibling.txid, winner.txid}
    assert loser.txid not in node.pool


def test_double_spend_of_the_confirmed(node, notes):
    """A coin that a block spent is gone for everyone."""
    send(node, spend(notes[0]))
    node.mine(b"\x51")
    rival = spend(notes[0], fee=9_000)
    assert refusal(node, rival).reason == "bad-txns-inputs-missingorspent"


def test_no_replacement_where_it_is_not_supported(node, notes):
    """Inside a package a conflict is refused."""
    send(node, spend(notes[0]))
    found = refusal(node, spend(notes[0], fee=9_000), no_replacement=True)
    assert found.reason == "bip125-replacement-disallowed"


def test_replacement_of_a_dry_run_changes_nothing(node, notes):
    """Examining a replacement evicts nobody."""
    first = send(node, spend(notes[0]))
    candidate = node.admission.examine(parsed(spend(notes[0], fee=9_000)), node.clock.now())
    assert [entry.txid for entry in candidate.conflicts] == [first.txid]
    assert [entry.txid for entry in node.pool] == [first.txid]
