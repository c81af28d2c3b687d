"""Transactions serialise as python-bitcoinlib does it, and refuse what no node would take."""

import pytest
from bitcoin.core import CTransaction
from hypothesis import given

from primitives.bitcoin.transaction import MAX_SATS, Transaction, TxIn, TxOut, decode_transaction
from primitives.errors import InvalidInput
from primitives.ids import OutPoint, Txid
from tests.primitives.bitcoin.transactions import ANY_OUTPUT, SPENT, TRANSACTIONS, revealing


@given(TRANSACTIONS)
def test_decoding_undoes_encoding(transaction):
    """A transaction written and read again is the same value, with the same ids and sizes."""
    again = decode_transaction(transaction.raw)
    assert again == transaction
    assert (again.txid, again.wtxid) == (transaction.txid, transaction.wtxid)
    assert 4 * (transaction.vbytes - 1) < transaction.weight <= 4 * transaction.vbytes


@given(TRANSACTIONS)
def test_ids_agree_with_bitcoinlib(transaction):
    """Another library computes the same ids from the bytes."""
    other = CTransaction.deserialize(transaction.raw)
    assert (transaction.txid, transaction.wtxid) == (other.GetTxid(), other.GetHash())


def test_a_witness_changes_wtxid_only():
    """What is signed for is known before the signatures are."""
    unsigned = revealing([], [])
    signed = unsigned.with_witness(1, [b"signature"])
    assert signed.inputs[1].witness == (b"signature",)
    assert signed.txid == unsigned.txid == unsigned.wtxid
    assert signed.wtxid != signed.txid
    assert signed.outpoint(0) == OutPoint(signed.txid, 0)


def test_a_large_reveal_serialises():
    """A 390 kB witness item passes through unchanged."""
    reveal = revealing([bytes(64), b"p" * 390_000, bytes(33)])
    assert decode_transaction(reveal.raw).inputs[0].witness[1] == b"p" * 390_000
    assert reveal.weight < 400_000


@pytest.mark.parametrize(
    ("build", "code"),
    [
        (lambda: TxOut(-1, b""), "bitcoin_tx.bad_value"),
        (lambda: TxOut(MAX_SATS + 1, b""), "bitcoin_tx.bad_value"),
        (lambda: TxIn(OutPoint(Txid(b""), 0)), "bitcoin_tx.bad_prevout"),
        (lambda: TxIn(OutPoint(Txid(bytes(32)), 2**32)), "bitcoin_tx.bad_prevout"),
        (lambda: TxIn(SPENT, sequence=2**32), "bitcoin_tx.bad_sequence"),
        (lambda: Transaction((), (ANY_OUTPUT,)), "bitcoin_tx.no_inputs"),
        (lambda: Transaction((TxIn(SPENT),), (ANY_OUTPUT,), locktime=2**32), "bitcoin_tx.bad_locktime"),
        (lambda: Transaction((TxIn(SPENT),), (ANY_OUTPUT,), version=2**31), "bitcoin_tx.bad_version"),
        (lambda: revealing([]).with_witness(1, []), "bitcoin_tx.no_such_input"),
        (lambda: revealing([]).outpoint(1), "bitcoin_tx.no_such_output"),
    ],
)
def test_refusals(build, code):
    """Numbers that do not fit and parts that are not there are refused where they enter."""
    with pytest.raises(InvalidInput) as caught:
        build()
    assert caught.value.code == code
