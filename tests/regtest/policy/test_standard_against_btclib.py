"""Our standardness is Core's: the same verdicts as btclib's port of Core v31.1, on generated transactions."""

from btclib.exceptions import BTClibValueError
from btclib.policy import are_inputs_standard, assert_standard_tx, dust_outputs, is_witness_standard
from btclib.tx.tx import Tx
from btclib.tx.tx_out import TxOut as OtherTxOut
from hypothesis import given
from hypothesis import strategies as st

from primitives.bitcoin.parser import parse_whole_transaction
from primitives.bitcoin.script import PAY_TO_ANCHOR, op_return, p2tr_script, push
from primitives.bitcoin.transaction import Transaction, TxIn, TxOut
from primitives.ids import OutPoint, Txid
from regtest.coins import Coin
from regtest.policy import standard
from regtest.policy.rejection import TransactionRejected

KEY = b"\x02" + b"\x11" * 32
MULTISIG = b"\x51" + push(KEY) + b"\x51\xae"
MANY_CHECKS = b"\xac" * 16
CONTROL = b"\xc0" + b"\x22" * 32

short = st.binary(max_size=90)
scripts = st.one_of(
    st.sampled_from(
        [
            b"",
            p2tr_script(b"\x33" * 32),
            PAY_TO_ANCHOR,
            b"\x00\x14" + b"\x44" * 20,
            b"\x00\x20" + b"\x44" * 32,
            b"\x00\x05" + b"\x44" * 5,
            b"\x52\x20" + b"\x44" * 32,
            b"\x51\x02\x4e\x74",
            b"\x76\xa9\x14" + b"\x44" * 20 + b"\x88\xac",
            b"\xa9\x14" + b"\x44" * 20 + b"\x87",
            push(KEY) + b"\xac",
            push(b"\x04" + b"\x11" * 64) + b"\xac",
            push(b"\x05" + b"\x11" * 32) + b"\xac",
            MULTISIG,
            b"\x52" + push(KEY) * 3 + b"\x53\xae",
            b"\x51" + push(KEY) * 4 + b"\x54\xae",
            b"\x52" + push(KEY) + b"\x51\xae",
            b"\x6a",
            op_return(b"x" * 80),
            op_return(b"x" * 60_000),
            b"\x6a\x05ab",
            b"\x6a\xac",
            b"\x51",
        ]
    ),
    short,
)
values = st.sampled_from([0, 1, 239, 240, 293, 294, 329, 330, 545, 546, 10_000])
outputs = st.builds(TxOut, values, scripts)
script_sigs = st.one_of(
    st.just(b""),
    short.map(push),
    short,
    st.sampled_from(
        [push(b"\x00\x14" + b"\x44" * 20), push(MANY_CHECKS), push(MULTISIG), push(b"a" * 1_700)]
    ),
)
items = st.one_of(short, st.binary(min_size=81, max_size=81), st.just(b"\x50annex"), st.just(CONTROL))
stacks = st.lists(items, max_size=4).map(tuple)
inputs = st.builds(
    lambda number, script_sig, stack: TxIn(OutPoint(Txid(bytes([7]) * 32), number), 0, script_sig, stack),
    st.integers(0, 9),
    script_sigs,
    stacks,
)
transactions = st.builds(
    lambda ins, outs, version: Transaction(tuple(ins), tuple(outs), version),
    st.lists(inputs, min_size=1, max_size=3, unique_by=lambda entry: entry.prevout),
    st.lists(outputs, min_size=1, max_size=4),
    st.integers(0, 4),
)


def our_word(transaction) -> str:
    """The reason of our refusal, nothing for a standard transaction."""
    try:
        standard.require_standard(parse_whole_transaction(transaction.raw))
    except TransactionRejected as rejection:
        return rejection.reason
    return ""


def their_word(transaction) -> str:
    """The reason of btclib's refusal; the size rule is the mempool's in Core and comes last here too."""
    try:
        assert_standard_tx(Tx.parse(transaction.raw))
    except BTClibValueError as error:
        return {"bare-multisig": "scriptpubkey"}.get(str(error), str(error))
    return "tx-size-small" if len(transaction.stripped) < 65 else ""


@given(transactions)
def test_same_word_for_the_transaction(transaction):
    """Version, sizes, input scripts, outputs, data carriers and dust are judged alike, in one order."""
    assert our_word(transaction) == their_word(transaction)


@given(transactions)
def test_same_dust(transaction):
    """The same outputs are dust."""
    ours = standard.dust_outputs(parse_whole_transaction(transaction.raw))
    assert ours == dust_outputs(Tx.parse(transaction.raw))


@given(transactions, st.data())
def test_same_word_for_what_is_spent(transaction, data):
    """Spent scripts, redeem scripts and witnesses are judged alike."""
    if any(not standard.is_push_only(entry.script_sig) for entry in transaction.inputs):
        return  # refused before anything asks about what is spent
    spent = [data.draw(scripts) for _ in transaction.inputs]
    theirs = Tx.parse(transaction.raw)
    prevouts = [OtherTxOut(1_000, script) for script in spent]
    expected = ""
    if not are_inputs_standard(prevouts, theirs):
        expected = "bad-txns-nonstandard-inputs"
    elif not is_witness_standard(prevouts, theirs):
        expected = "bad-witness-nonstandard"
    coins = [Coin(1_000, script, 1, is_coinbase=False) for script in spent]
    try:
        standard.require_standard_inputs(parse_whole_transaction(transaction.raw), coins)
        found = ""
    except TransactionRejected as rejection:
        found = rejection.reason
    assert found == expected


def test_an_overlong_push_leaves_no_redeem_script():
    """A push of more than 520 bytes fails when it is executed, so the spend is nonstandard (found by chance once)."""
    from regtest.policy.scripts import redeem_script

    assert redeem_script(b"\x4d" + (520).to_bytes(2, "little") + b"a" * 520) == b"a" * 520
    assert redeem_script(b"\x4d" + (521).to_bytes(2, "little") + b"a" * 521) is None
