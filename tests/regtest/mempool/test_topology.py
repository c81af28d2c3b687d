"""Version 3 stays a pair of small transactions, and ephemeral dust is spent at once."""

import pytest

from primitives.bitcoin.script import PAY_TO_ANCHOR
from primitives.bitcoin.transaction import Transaction, TxIn, TxOut
from tests.regtest.mempool.test_admission import refusal, send
from tests.regtest.mini_wallet import OPEN_SCRIPT, OPEN_WITNESS, mature_notes, notes_of, parsed, spend


@pytest.fixture
def notes(node):
    """Coins that may be spent."""
    return mature_notes(node)


def test_version_three_is_small(node, notes):
    """10,000 vbytes alone, 1,000 as a child."""
    assert refusal(node, spend(notes[0], version=3, padding=10_000, fee=9_000)).reason == "TRUC-violation"
    parent = send(node, spend(notes[0], version=3, padding=9_000, fee=9_000))
    child = notes_of(parent)[0]
    assert "is too big" in refusal(node, spend(child, version=3, padding=950)).detail
    send(node, spend(child, version=3, padding=800))


def test_version_three_keeps_to_itself(node, notes):
    """No mixing of versions, one parent, one generation."""
    three = send(node, spend(notes[0], version=3, outputs=2))
    two = send(node, spend(notes[1], version=2))
    other = send(node, spend(notes[2], version=3))
    one, _ = notes_of(three)
    assert refusal(node, spend(one, version=2)).reason == "TRUC-violation"
    assert refusal(node, spend(notes_of(two)[0], version=3)).reason == "TRUC-violation"
    assert "too many ancestors" in refusal(node, spend([one, notes_of(other)[0]], version=3)).detail
    child = send(node, spend(one, version=3))
    assert "too many ancestors" in refusal(node, spend(notes_of(child)[0], version=3)).detail


def test_second_child_takes_the_place_of_the_first(node, notes):
    """A version 3 parent has one child; another output's spender may take its place by paying more."""
    parent = send(node, spend(notes[0], version=3, outputs=2))
    one, two = notes_of(parent)
    first = send(node, spend(one, version=3, fee=1_000))
    assert refusal(node, spend(two, version=3, fee=1_000)).reason == "insufficient fee"
    second = send(node, spend(two, version=3, fee=5_000))
    assert first.txid not in node.pool
    assert second.txid in node.pool


def with_dust(note, fee):
    """A version 3 parent with an anchor of no value."""
    entry = TxIn(note.outpoint, witness=OPEN_WITNESS)
    outputs = (TxOut(note.value - fee, OPEN_SCRIPT), TxOut(0, PAY_TO_ANCHOR))
    return Transaction((entry,), outputs, version=3)


def test_dust_needs_a_fee_of_zero(node, notes):
    """Dust is allowed only to a transaction that no miner wants by itself."""
    found = refusal(node, with_dust(notes[0], 1_000))
    assert (found.reason, found.detail) == ("dust", "tx with dust output must be 0-fee")
    assert refusal(node, with_dust(notes[0], 0)).reason == "min relay fee not met"


def test_dust_is_spent_by_the_child(node, notes):
    """In a package the child must spend the anchor; a child that leaves it is refused with its parent."""
    parent = with_dust(notes[0], 0)
    change = TxIn(parent.outpoint(0), witness=OPEN_WITNESS)
    anchor = TxIn(parent.outpoint(1))
    paid = (TxOut(notes[0].value - 5_000, OPEN_SCRIPT),)
    lazy = Transaction((change,), paid, version=3)
    outcome = node.submit_package([parsed(parent), parsed(lazy)], None)
    assert outcome.message == "transaction failed"
    assert outcome.judged[1].rejection.reason == "missing-ephemeral-spends"
    assert len(node.pool) == 0
    good = Transaction((change, anchor), paid, version=3)
    outcome = node.submit_package([parsed(parent), parsed(good)], None)
    assert outcome.message == "success"
    node.mine(OPEN_SCRIPT)
    assert len(node.pool) == 0
