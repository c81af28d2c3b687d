"""The parser reads what python-bitcoinlib reads, refuses every cut and every surplus, and trusts no count."""

import tracemalloc

import pytest
from bitcoin.core import CBlock, CTransaction, b2lx
from hypothesis import given
from hypothesis import strategies as st

from primitives.bitcoin.header import parse_header
from primitives.bitcoin.parser import (
    check_commitments,
    parse_block,
    parse_transaction,
    parse_whole_transaction,
)
from primitives.bitcoin.script import encode_compact_size
from primitives.bitcoin.transaction import Transaction, TxIn, TxOut
from primitives.errors import InvalidInput
from primitives.hashes import sha256d
from primitives.ids import OutPoint, Txid, display_hash
from primitives.merkle import bitcoin_merkle_root
from tests.primitives.bitcoin.transactions import COINBASE, NULL, TRANSACTIONS, block_of, revealing

HUGE = b"\xff" + (2**63).to_bytes(8, "little")
MAX_SIZE = b"\xfe\x00\x00\x00\x02"
ONE_INPUT = b"\x01" + bytes(36) + b"\0" + bytes(4)
ONE_OUTPUT = b"\x01" + bytes(8) + b"\0"
VERSION, LOCKTIME = b"\2\0\0\0", bytes(4)


def code_of(call, *args):
    """Return the code of the InvalidInput that a call raises."""
    with pytest.raises(InvalidInput) as caught:
        call(*args)
    return caught.value.code


@given(TRANSACTIONS)
def test_fields_agree_with_bitcoinlib(transaction):
    """Ids, sizes and every field are those of an independent reader."""
    raw = transaction.raw
    parsed = parse_whole_transaction(raw)
    other = CTransaction.deserialize(raw)
    assert parsed.txid == other.GetTxid()
    assert parsed.wtxid == other.GetHash()
    assert parsed.weight == other.calc_weight() == transaction.weight
    assert (parsed.version, parsed.locktime) == (other.nVersion, other.nLockTime)
    assert parsed.is_coinbase == other.is_coinbase()
    assert parsed.stripped == transaction.stripped
    assert [
        (entry.prevout.txid, entry.prevout.vout, entry.script_sig, entry.sequence) for entry in parsed.inputs
    ] == [(entry.prevout.hash, entry.prevout.n, entry.scriptSig, entry.nSequence) for entry in other.vin]
    assert [(entry.value, entry.script) for entry in parsed.outputs] == [
        (entry.nValue, entry.scriptPubKey) for entry in other.vout
    ]
    assert parsed.witnesses == tuple(entry.witness for entry in transaction.inputs)
    assert parsed.has_witness == any(entry.witness for entry in transaction.inputs)


@given(TRANSACTIONS)
def test_every_truncation_is_refused(transaction):
    """Cut after any byte, a transaction is not a transaction."""
    raw = transaction.raw
    for cut in range(len(raw)):
        with pytest.raises(InvalidInput, match=r"bitcoin_tx\."):
            parse_whole_transaction(raw[:cut])


@given(TRANSACTIONS, st.binary(min_size=1, max_size=3))
def test_trailing_bytes_are_refused(transaction, extra):
    """A whole transaction ends where its bytes end; inside a block the next one begins there."""
    raw = transaction.raw
    assert code_of(parse_whole_transaction, raw + extra) == "bitcoin_tx.trailing"
    parsed, end = parse_transaction(extra + raw + extra, len(extra))
    assert end == parsed.end == len(extra) + len(raw)
    assert parsed.raw == raw


@given(st.binary(max_size=200))
def test_random_bytes_raise_only_invalid_input(data):
    """Whatever parses serialises to the same bytes; whatever does not is refused in words."""
    code = "bitcoin_tx.fine"
    try:
        parsed = parse_whole_transaction(data)
        assert parsed.raw == data
        assert len(parsed.witnesses) == len(parsed.inputs)
    except InvalidInput as error:
        code = error.code
    assert code.startswith("bitcoin_tx.")


@given(TRANSACTIONS, st.data())
def test_mutated_bytes_raise_only_invalid_input(transaction, data):
    """A changed byte gives another transaction or a refusal, never another exception."""
    raw = bytearray(transaction.raw)
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    code = "bitcoin_tx.fine"
    try:
        parsed = parse_whole_transaction(bytes(raw))
        assert len(parsed.txid) == len(parsed.wtxid) == 32
        assert parsed.weight >= 4 * 60
        assert len(parsed.outputs) >= 0
    except InvalidInput as error:
        code = error.code
    assert code.startswith("bitcoin_tx.")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "bitcoin_tx.truncated"),
        (VERSION, "bitcoin_tx.truncated"),
        (VERSION + b"\0\0" + LOCKTIME, "bitcoin_tx.no_inputs"),
        (VERSION + b"\0\1\0" + ONE_OUTPUT + LOCKTIME, "bitcoin_tx.no_inputs"),
        (VERSION + b"\0\2" + ONE_INPUT + ONE_OUTPUT + b"\0" + LOCKTIME, "bitcoin_tx.bad_flag"),
        (VERSION + b"\0\1" + ONE_INPUT + ONE_OUTPUT + b"\0" + LOCKTIME, "bitcoin_tx.superfluous_witness"),
        (VERSION + b"\xfd\x01\x00" + ONE_INPUT[1:] + ONE_OUTPUT + LOCKTIME, "bitcoin_tx.non_canonical_size"),
        (VERSION + b"\xfe\xff\xff\x00\x00" + ONE_INPUT[1:], "bitcoin_tx.non_canonical_size"),
        (VERSION + b"\xff\xff\xff\xff\xff\0\0\0\0" + ONE_INPUT[1:], "bitcoin_tx.non_canonical_size"),
        (VERSION + HUGE + ONE_INPUT[1:], "bitcoin_tx.truncated"),
        (VERSION + ONE_INPUT + HUGE, "bitcoin_tx.truncated"),
        (VERSION + ONE_INPUT + b"\x01" + bytes(8) + HUGE, "bitcoin_tx.truncated"),
        (VERSION + b"\0\1" + ONE_INPUT + ONE_OUTPUT + HUGE, "bitcoin_tx.truncated"),
        (VERSION + b"\0\1" + ONE_INPUT + ONE_OUTPUT + b"\1" + MAX_SIZE + bytes(4), "bitcoin_tx.truncated"),
    ],
)
def test_malformed_transactions(raw, code):
    """Each rule of the serialisation has its code, and huge claims are truncations."""
    assert code_of(parse_whole_transaction, raw) == code


def test_claimed_sizes_allocate_nothing():
    """A transaction that claims 2^63 inputs, outputs, items or bytes costs a few kilobytes."""
    claims = [
        VERSION + HUGE,
        VERSION + ONE_INPUT + HUGE,
        VERSION + b"\0\1" + ONE_INPUT + ONE_OUTPUT + HUGE,
        VERSION + b"\0\1" + ONE_INPUT + ONE_OUTPUT + b"\1" + HUGE,
    ]
    tracemalloc.start()
    for raw in claims:
        code_of(parse_whole_transaction, raw)
        code_of(parse_block, bytes(80) + HUGE + raw)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_parsing_passes_over_a_witness_without_copying_it():
    """A 2 MB witness item costs no 2 MB until someone copies it."""
    raw = revealing([bytes(2_000_000)]).raw
    tracemalloc.start()
    parsed = parse_whole_transaction(raw)
    assert len(parsed.witnesses[0][0]) == 2_000_000
    assert len(parsed.txid) == 32
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


@given(TRANSACTIONS)
def test_tails_end_the_stacks(transaction):
    """The tails are the last three items of each stack, input by input."""
    parsed = parse_whole_transaction(transaction.raw)
    assert list(parsed.witness_tails()) == [stack[-3:] for stack in parsed.witnesses]
    assert len(parsed.witnesses) == len(parsed.inputs)


def test_a_long_stack_costs_nothing():
    """A stack of half a million items is passed over, not listed: coinbases and scans read tails alone."""
    raw = block_of(revealing([b""] * 500_000 + [b"a", b"b", b"c"]))
    tracemalloc.start()
    (_, parsed) = parse_block(raw).transactions
    assert [bytes(item) for item in next(parsed.witness_tails())] == [b"a", b"b", b"c"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


@given(st.lists(TRANSACTIONS, max_size=4))
def test_blocks_agree_with_bitcoinlib(transactions):
    """A block's transactions are those an independent reader finds, and its weight is theirs."""
    raw = block_of(*transactions)
    block = parse_block(raw)
    other = CBlock.deserialize(raw)
    assert [display_hash(entry.txid) for entry in block.transactions] == [
        b2lx(entry.GetTxid()) for entry in other.vtx
    ]
    assert block.weight == other.GetWeight()
    assert block.header == parse_header(raw[:80])


@given(st.lists(TRANSACTIONS, max_size=2), st.data())
def test_cut_and_surplus_blocks_are_refused(transactions, data):
    """A block is all of its bytes and no more."""
    raw = block_of(*transactions)
    cut = data.draw(st.integers(0, len(raw) - 1))
    assert code_of(parse_block, raw[:cut]) in {"bitcoin_block.truncated", "bitcoin_tx.truncated"}
    assert code_of(parse_block, raw + b"\0") == "bitcoin_block.trailing"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (bytes(80), "bitcoin_block.truncated"),
        (bytes(80) + b"\xfd\x01", "bitcoin_block.truncated"),
        (bytes(80) + b"\0", "bitcoin_block.empty"),
        (bytes(80) + HUGE, "bitcoin_tx.truncated"),
    ],
)
def test_malformed_blocks(raw, code):
    """A block without transactions, or one that ends in their number, is none."""
    assert code_of(parse_block, raw) == code


def committed(coinbase: Transaction, *transactions: Transaction) -> bytes:
    """Return a block whose header commits to its transactions."""
    root = bitcoin_merkle_root([coinbase.txid, *(entry.txid for entry in transactions)])
    entries = b"".join([entry.raw for entry in (coinbase, *transactions)])
    return bytes(36) + root + bytes(12) + encode_compact_size(1 + len(transactions)) + entries


def coinbase_for(
    *transactions: Transaction, nonce: bytes = bytes(32), first: TxOut | None = None
) -> Transaction:
    """Return a coinbase that commits to the witnesses of the transactions."""
    root = bitcoin_merkle_root([bytes(32), *(entry.wtxid for entry in transactions)])
    commitment = TxOut(0, bytes.fromhex("6a24aa21a9ed") + sha256d(root + nonce))
    outputs = (commitment,) if first is None else (first, commitment)
    return Transaction((TxIn(NULL, script_sig=b"\1\1", witness=(nonce,)),), outputs)


REVEAL = revealing([b"signature", b"payload", b"control"])


def test_a_committed_block_passes():
    """Header and coinbase commit to what is there, with the last commitment in force and any nonce."""
    check_commitments(parse_block(committed(coinbase_for(REVEAL), REVEAL)))
    stale = TxOut(0, bytes.fromhex("6a24aa21a9ed") + bytes(32))
    check_commitments(parse_block(committed(coinbase_for(REVEAL, nonce=b"n" * 32, first=stale), REVEAL)))
    check_commitments(parse_block(committed(COINBASE, revealing([]))))


def test_a_swapped_witness_is_noticed():
    """The header does not see a changed witness, the coinbase's commitment does: our data lives there."""
    forged = revealing([b"signature", b"PAYLOAD", b"control"])
    assert forged.txid == REVEAL.txid
    block = parse_block(committed(coinbase_for(REVEAL), forged))
    assert code_of(check_commitments, block) == "bitcoin_block.witness_commitment"


def test_a_stripped_witness_is_noticed():
    """A block whose witnesses were cut off cannot pass for one that never had any."""
    stripped = REVEAL.with_witness(0, ())
    block = parse_block(committed(coinbase_for(REVEAL), stripped))
    assert code_of(check_commitments, block) == "bitcoin_block.witness_commitment"


def test_an_uncommitted_witness_is_refused():
    """Without a commitment there may be no witness; with one, the coinbase has one 32-byte item."""
    assert (
        code_of(check_commitments, parse_block(committed(COINBASE, REVEAL)))
        == "bitcoin_block.witness_commitment"
    )
    bare = coinbase_for(REVEAL).with_witness(0, ())
    assert (
        code_of(check_commitments, parse_block(committed(bare, REVEAL))) == "bitcoin_block.witness_commitment"
    )


def test_other_transactions_are_noticed():
    """The header commits to these transactions and to their order."""
    other = revealing([], outputs=[TxOut(1, b"")])
    raw = committed(COINBASE, revealing([]))
    swapped = raw[: 80 + 1] + COINBASE.raw + other.raw
    assert code_of(check_commitments, parse_block(swapped)) == "bitcoin_block.merkle_root"


def test_a_block_begins_with_its_only_coinbase():
    """A list of tree nodes dressed up as 64-byte transactions has no coinbase to begin with."""
    plain = revealing([])
    second = Transaction((TxIn(NULL, script_sig=b"\1\2"),), COINBASE.outputs)
    for entries in ((plain,), (COINBASE, second)):
        assert code_of(check_commitments, parse_block(committed(*entries))) == "bitcoin_block.bad_coinbase"


def test_a_coinbase_spends_the_null_outpoint_alone():
    """The null outpoint makes a coinbase when alone; zeros with another index, or a second input, do not."""
    null, other = TxIn(NULL), TxIn(OutPoint(Txid(bytes(32)), 0))
    output = (TxOut(0, b""),)
    assert parse_whole_transaction(Transaction((null,), output).raw).is_coinbase
    assert not parse_whole_transaction(Transaction((other,), output).raw).is_coinbase
    assert not parse_whole_transaction(Transaction((null, other), output).raw).is_coinbase
