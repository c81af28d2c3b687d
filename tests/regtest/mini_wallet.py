"""The smallest honest wallet: coins that need no key, so that a test is about its subject.

Outputs pay to a taproot tree of one leaf, OP_TRUE, under a key nobody has. Spending them takes no signature.
"""

from dataclasses import dataclass

from primitives.bitcoin.parser import ParsedTx, parse_whole_transaction
from primitives.bitcoin.script import OP_1, OP_ENDIF, OP_IF, op_return, push
from primitives.bitcoin.taproot import UNSPENDABLE_KEY, TapLeaf, build_taproot
from primitives.bitcoin.transaction import SEQUENCE_REPLACEABLE, Transaction, TxIn, TxOut
from primitives.ids import OutPoint
from regtest.node import Node

OPEN = build_taproot(UNSPENDABLE_KEY, TapLeaf(bytes([OP_1])))
OPEN_SCRIPT = OPEN.script
OPEN_WITNESS = (bytes([OP_1]), OPEN.control_block(0))
CHUNK = 520


@dataclass(frozen=True)
class Note:
    """A coin in the test's hand."""

    outpoint: OutPoint
    value: int


def notes_of(transaction: Transaction) -> list[Note]:
    """The open outputs of a transaction."""
    return [
        Note(transaction.outpoint(vout), output.value)
        for vout, output in enumerate(transaction.outputs)
        if output.script == OPEN_SCRIPT
    ]


def mature_notes(node: Node) -> list[Note]:
    """The open coins that the next block may spend, oldest first."""
    height = node.tip.height + 1
    coins = [
        (coin.height, outpoint, coin.value_sats)
        for outpoint, coin in node.chain.coins()
        if coin.script == OPEN_SCRIPT and (not coin.is_coinbase or height - coin.height >= 100)
    ]
    return [Note(outpoint, value) for _, outpoint, value in sorted(coins)]


def spend(
    notes,
    *,
    fee=1_000,
    outputs=1,
    version=2,
    locktime=0,
    sequence=SEQUENCE_REPLACEABLE,
    padding=0,
    extra=(),
) -> Transaction:
    """Spend notes into equal open outputs; `padding` adds an OP_RETURN of about as many bytes."""
    notes = [notes] if isinstance(notes, Note) else list(notes)
    inputs = tuple(TxIn(note.outpoint, sequence, witness=OPEN_WITNESS) for note in notes)
    left = sum(note.value for note in notes) - fee - sum(output.value for output in extra)
    share, rest = divmod(left, outputs)
    paid = [TxOut(share + (rest if vout == 0 else 0), OPEN_SCRIPT) for vout in range(outputs)]
    data = [TxOut(0, op_return(b"\x07" * padding))] if padding else []
    return Transaction(inputs, (*paid, *extra, *data), version, locktime)


def parsed(transaction: Transaction) -> ParsedTx:
    """The transaction as the node takes it."""
    return parse_whole_transaction(transaction.raw)


def envelope_leaf(payload_bytes: int) -> TapLeaf:
    """A leaf that carries a payload in a branch that never runs, and needs no key."""
    body = bytearray([0, OP_IF])
    for start in range(0, payload_bytes, CHUNK):
        body += push(b"\xaa" * min(CHUNK, payload_bytes - start))
    return TapLeaf(bytes(body) + bytes([OP_ENDIF, OP_1]))


def commit_and_reveal(note: Note, payload_bytes: int, *, fee: int = 1_000) -> tuple[Transaction, Transaction]:
    """A pair of transactions: one commits to a leaf, the other shows it."""
    output = build_taproot(UNSPENDABLE_KEY, envelope_leaf(payload_bytes))
    inputs = (TxIn(note.outpoint, witness=OPEN_WITNESS),)
    commit = Transaction(inputs, (TxOut(note.value - fee, output.script),))
    return commit, reveal(commit, payload_bytes, fee=fee)


def reveal(commit: Transaction, payload_bytes: int, *, fee: int = 1_000, padding: bytes = b"") -> Transaction:
    """Show the leaf of a commit; `padding` is one more small witness item below the script."""
    output = build_taproot(UNSPENDABLE_KEY, envelope_leaf(payload_bytes))
    witness = (*([padding] if padding else []), output.leaves[0].script, output.control_block(0))
    entry = TxIn(commit.outpoint(0), witness=witness)
    return Transaction((entry,), (TxOut(commit.outputs[0].value - fee, OPEN_SCRIPT),))
