"""Bitcoin itself accepts what we build: two script engines judge a commit and its reveal.

One is Bitcoin Core's own (libbitcoinkernel), the other btclib's, which also knows the relay policy. The
kernel aborts the process on an index or count out of range, so arguments are checked before they go in.
"""

from dataclasses import dataclass, replace

import pbk
import pytest
from btclib import policy
from btclib.exceptions import BTClibException
from btclib.script.engine import ScriptFlag, verify_transaction
from btclib.tx.tx import Tx as BtclibTx
from btclib.tx.tx_out import TxOut as BtclibTxOut
from pbk.script import PrecomputedTransactionData

from primitives.bitcoin.envelope import (
    MAX_PAYLOAD_BYTES,
    EnvelopeKind,
    build_header,
    encode_leaf,
    encode_op_return,
    parse_leaf,
)
from primitives.bitcoin.script import PAY_TO_ANCHOR, witness_script
from primitives.bitcoin.taproot import (
    TapLeaf,
    TaprootOutput,
    TaprootSpend,
    build_taproot,
    output_secret,
    sign_sighash,
)
from primitives.bitcoin.transaction import Transaction, TxIn, TxOut
from primitives.curve import xonly_public_key
from tests.primitives.bitcoin.envelopes import IDENTITY, LEAF_CODECS, SECRET, SIGNER, flipped
from tests.primitives.bitcoin.transactions import SPENT

WALLET_SECRET = b"\x03" * 32
WALLET_KEY = xonly_public_key(WALLET_SECRET)
WALLET = build_taproot(WALLET_KEY)
FUNDS = TxOut(50_000_000, WALLET.script)
PAYLOAD = bytes(range(256)) * 1_171 + bytes(224)  # 300,000 bytes
ALL_POLICIES = ScriptFlag(sum(flag.value for flag in ScriptFlag))


def kernel_accepts(transaction: Transaction, spent: list[TxOut]) -> bool:
    """Return what Bitcoin Core's script engine says of every input."""
    assert len(spent) == len(transaction.inputs)
    parsed = pbk.Transaction(transaction.raw)
    outputs = [pbk.TransactionOutput(pbk.ScriptPubkey(entry.script), entry.value) for entry in spent]
    data = PrecomputedTransactionData(parsed, outputs)
    flags = pbk.ScriptVerificationFlags.ALL
    return all(
        pbk.ScriptPubkey(entry.script).verify(entry.value, parsed, data, index, flags)
        for index, entry in enumerate(spent)
    )


def btclib_accepts(transaction: Transaction, spent: list[TxOut], flags: ScriptFlag | None = None) -> bool:
    """Return what btclib's script engine says of the whole transaction."""
    prevouts = [BtclibTxOut(entry.value, entry.script) for entry in spent]
    try:
        verify_transaction(prevouts, BtclibTx.parse(transaction.raw), flags)
    except BTClibException:
        return False
    return True


def is_relayed(transaction: Transaction, spent: list[TxOut]) -> bool:
    """Return whether a node with default settings relays the transaction: standard form, policy flags."""
    prevouts = [BtclibTxOut(entry.value, entry.script) for entry in spent]
    parsed = BtclibTx.parse(transaction.raw)
    policy.assert_standard_tx(parsed)
    standard = policy.are_inputs_standard(prevouts, parsed) and policy.is_witness_standard(prevouts, parsed)
    return standard and btclib_accepts(transaction, spent, ALL_POLICIES)


@dataclass(frozen=True)
class Inscription:
    """A signed commit and its signed reveal."""

    output: TaprootOutput
    commit: Transaction
    reveal: Transaction

    @property
    def spent_by_reveal(self) -> list[TxOut]:
        """What the reveal spends."""
        return [self.commit.outputs[0]]

    def revealing(self, *witness: bytes) -> Transaction:
        """Return the reveal with another witness."""
        return self.reveal.with_witness(0, witness)


def inscribe(leaf: bytes, *others: TapLeaf, hash_type: int = 0, annex: bytes | None = None) -> Inscription:
    """Build commit and reveal of a leaf script as the node does."""
    tree = (TapLeaf(leaf), *others) if others else TapLeaf(leaf)
    output = build_taproot(WALLET_KEY, tree)
    commit = Transaction((TxIn(SPENT),), (TxOut(2_000_000, output.script), TxOut(47_000_000, WALLET.script)))
    secret = output_secret(WALLET_SECRET, WALLET_KEY, None)
    commit = commit.with_witness(0, [sign_sighash(secret, TaprootSpend(commit, [FUNDS]).sighash(0))])
    reveal = Transaction((TxIn(commit.outpoint(0)),), (TxOut(1_000_000, WALLET.script),))
    spend = TaprootSpend(reveal, [commit.outputs[0]])
    sighash = spend.sighash(0, hash_type, leaf_hash=output.leaves[0].hash, annex=annex)
    witness = [sign_sighash(SECRET, sighash, hash_type), leaf, output.control_block(0)]
    return Inscription(output, commit, reveal.with_witness(0, [*witness, annex] if annex else witness))


def leaf_of(codec, payload=PAYLOAD):
    """Return the leaf script of a batch frame."""
    header = build_header(SECRET, EnvelopeKind.BATCH_FRAME, payload, identity=IDENTITY, number=1)
    return encode_leaf(codec, SIGNER, header, payload)


@pytest.fixture(scope="module", params=LEAF_CODECS)
def inscription(request):
    """A commit and a reveal of 300,000 bytes, by each leaf codec."""
    return inscribe(leaf_of(request.param))


def test_commit_and_reveal_are_valid(inscription):
    """Both engines accept both transactions, nodes relay them, and the reveal still reads as our envelope."""
    assert kernel_accepts(inscription.commit, [FUNDS])
    assert btclib_accepts(inscription.commit, [FUNDS])
    assert kernel_accepts(inscription.reveal, inscription.spent_by_reveal)
    assert is_relayed(inscription.commit, [FUNDS])
    assert is_relayed(inscription.reveal, inscription.spent_by_reveal)
    assert parse_leaf(inscription.reveal.inputs[0].witness[1], IDENTITY).payload == PAYLOAD


def judged(inscription, *witness):
    """Return both engines' verdicts on the reveal with this witness."""
    reveal = inscription.revealing(*witness)
    spent = inscription.spent_by_reveal
    return kernel_accepts(reveal, spent), btclib_accepts(reveal, spent)


def test_a_flipped_bit_is_refused(inscription):
    """A bit of the payload, of the signature or of the control block makes the reveal invalid."""
    signature, leaf, control = inscription.reveal.inputs[0].witness
    assert judged(inscription, signature, leaf, control) == (True, True)
    assert judged(inscription, signature, flipped(leaf, 200_000), control) == (False, False)
    assert judged(inscription, flipped(signature, 40), leaf, control) == (False, False)
    assert judged(inscription, signature, leaf, flipped(control, 0)) == (False, False)
    assert judged(inscription, b"", leaf, control) == (False, False)


def test_only_the_signer_spends_the_commit(inscription):
    """The leaf's CHECKSIG keeps a stranger who copies the leaf from redirecting the coins."""
    reveal = replace(inscription.reveal, outputs=(TxOut(1_000_000, PAY_TO_ANCHOR),))
    assert not kernel_accepts(reveal, inscription.spent_by_reveal)
    stranger = TaprootSpend(reveal, inscription.spent_by_reveal).sighash(
        0, leaf_hash=inscription.output.leaves[0].hash
    )
    _, leaf, control = reveal.inputs[0].witness
    forged = reveal.with_witness(0, [sign_sighash(WALLET_SECRET, stranger), leaf, control])
    assert not kernel_accepts(forged, inscription.spent_by_reveal)


def test_an_unused_envelope_is_taken_back_by_key(inscription):
    """The commit's coins are not lost when the reveal is not wanted: the key path spends them."""
    secret = output_secret(WALLET_SECRET, WALLET_KEY, inscription.output.merkle_root)
    sighash = TaprootSpend(inscription.reveal, inscription.spent_by_reveal).sighash(0)
    back = inscription.revealing(sign_sighash(secret, sighash))
    assert kernel_accepts(back, inscription.spent_by_reveal)
    assert is_relayed(back, inscription.spent_by_reveal)


@pytest.mark.parametrize("hash_type", [0x00, 0x01, 0x02, 0x03, 0x81, 0x82, 0x83])
@pytest.mark.parametrize("annex", [None, b"\x50", b"\x50 remark"])
def test_every_hash_type_and_annex(hash_type, annex):
    """Deeper trees, every hash type and an annex: both engines agree with our signature message."""
    sibling = (TapLeaf(b"\x51"), TapLeaf(b"\x52", 0xFA))
    made = inscribe(leaf_of(LEAF_CODECS[0], b"small"), sibling, hash_type=hash_type, annex=annex)
    assert kernel_accepts(made.reveal, made.spent_by_reveal)
    assert btclib_accepts(made.reveal, made.spent_by_reveal)


@pytest.mark.parametrize("codec", LEAF_CODECS)
@pytest.mark.parametrize("last", [0x00, 0x01, 0x10, 0x81])
def test_a_last_piece_of_one_byte_is_relayed(codec, last):
    """Pieces of one byte are pushed by the opcode that policy wants, and leave a clean stack."""
    size = 521 if codec is LEAF_CODECS[0] else 256
    made = inscribe(leaf_of(codec, bytes(size - 123) + bytes([last])))
    assert kernel_accepts(made.reveal, made.spent_by_reveal)
    assert is_relayed(made.reveal, made.spent_by_reveal)


@pytest.mark.parametrize("codec", LEAF_CODECS)
def test_the_largest_payload_is_relayed(codec):
    """395,000 bytes fit a standard transaction, signature and change included."""
    made = inscribe(leaf_of(codec, bytes(MAX_PAYLOAD_BYTES)))
    assert kernel_accepts(made.reveal, made.spent_by_reveal)
    assert is_relayed(made.reveal, made.spent_by_reveal)


def test_an_op_return_note_is_relayed():
    """A small envelope in an output, beside change, is standard."""
    payload = bytes(500)
    header = build_header(SECRET, EnvelopeKind.ASSERTION, payload, identity=IDENTITY, number=1)
    note = Transaction((TxIn(SPENT),), (TxOut(0, encode_op_return(SIGNER, header, payload)), FUNDS))
    spent = [TxOut(60_000_000, WALLET.script)]
    secret = output_secret(WALLET_SECRET, WALLET_KEY, None)
    note = note.with_witness(0, [sign_sighash(secret, TaprootSpend(note, spent).sighash(0))])
    assert kernel_accepts(note, spent)
    assert is_relayed(note, spent)


@pytest.mark.parametrize("script", [witness_script(2, SIGNER), PAY_TO_ANCHOR])
def test_bitcoin_checks_no_signature_on_other_outputs(inscription, script):
    """Why the header signs itself: these outputs accept a stranger's witness with a broken signature."""
    signature, leaf, control = inscription.reveal.inputs[0].witness
    stranger = inscription.revealing(flipped(signature, 0), leaf, control)
    assert kernel_accepts(stranger, [TxOut(2_000_000, script)])
