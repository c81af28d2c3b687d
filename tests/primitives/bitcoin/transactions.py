"""Bitcoin transactions and blocks for tests: random ones, and the smallest that carry a given witness."""

from collections.abc import Sequence

from hypothesis import strategies as st

from primitives.bitcoin.script import encode_compact_size
from primitives.bitcoin.transaction import MAX_SATS, Transaction, TxIn, TxOut
from primitives.ids import OutPoint, Txid

U32 = st.integers(0, 2**32 - 1)
SCRIPTS = st.binary(max_size=60) | st.integers(250, 300).map(bytes)
OUTPOINTS = st.builds(OutPoint, st.binary(min_size=32, max_size=32).map(Txid), U32)
WITNESSES = st.lists(SCRIPTS, max_size=4).map(tuple)
INPUTS = st.builds(TxIn, OUTPOINTS, U32, SCRIPTS, WITNESSES)
OUTPUTS = st.builds(TxOut, st.integers(0, MAX_SATS), SCRIPTS)
TRANSACTIONS = st.builds(
    Transaction,
    inputs=st.lists(INPUTS, min_size=1, max_size=4).map(tuple),
    outputs=st.lists(OUTPUTS, min_size=1, max_size=4).map(tuple),
    version=st.integers(-(2**31), 2**31 - 1),
    locktime=U32,
)

SPENT = OutPoint(Txid(b"\x11" * 32), 0)
NULL = OutPoint(Txid(bytes(32)), 0xFFFFFFFF)
ANY_OUTPUT = TxOut(1_000, bytes.fromhex("51024e73"))
COINBASE = Transaction((TxIn(NULL, script_sig=b"\x01\x01"),), (TxOut(50, b"\x51"),))


def revealing(*stacks: Sequence[bytes], outputs: Sequence[TxOut] = (ANY_OUTPUT,)) -> Transaction:
    """Return a transaction with one input for each witness stack; what they spend does not matter."""
    inputs = tuple(
        TxIn(OutPoint(SPENT.txid, index), witness=tuple(stack)) for index, stack in enumerate(stacks)
    )
    return Transaction(inputs, tuple(outputs))


def block_of(*transactions: Transaction, header: bytes = bytes(80)) -> bytes:
    """Return a block of a coinbase and the given transactions; its header commits to nothing."""
    entries = [COINBASE, *transactions]
    return header + encode_compact_size(len(entries)) + b"".join([entry.raw for entry in entries])
