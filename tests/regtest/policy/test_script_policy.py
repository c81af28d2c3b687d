"""What relay flags forbid beyond consensus: the same verdicts as btclib's engine with all of Core's flags."""

import pytest
from btclib.exceptions import BTClibException
from btclib.script.engine import verify_input
from btclib.script.engine.flags import ScriptFlag
from btclib.tx.tx import Tx
from btclib.tx.tx_out import TxOut as OtherTxOut
from coincurve import PrivateKey

from primitives.bitcoin.parser import parse_whole_transaction
from primitives.bitcoin.script import p2wpkh_script, push
from primitives.bitcoin.taproot import UNSPENDABLE_KEY, TapLeaf, build_taproot
from primitives.bitcoin.transaction import Transaction, TxIn, TxOut
from primitives.curve import CURVE_ORDER
from primitives.hashes import hash160, sha256d
from primitives.ids import OutPoint, Txid
from regtest.coins import Coin
from regtest.kernel import Kernel, SpentOutput
from regtest.policy.rejection import TransactionRejected
from regtest.policy.script_policy import require_script_policy

RELAY_FLAGS = ~ScriptFlag(0) & ~ScriptFlag.SIGPUSHONLY
PREVOUT = OutPoint(Txid(bytes([5]) * 32), 0)
VALUE = 50_000
NON_MINIMAL = b"\x4c\x01\x07"


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """The engine, for the consensus half of the verdict."""
    kernel = Kernel(tmp_path_factory.mktemp("kernel"))
    yield kernel
    kernel.close()


def objection(transaction, coin) -> str:
    """The policy's word, nothing if it has no objection."""
    try:
        require_script_policy(parse_whole_transaction(transaction.raw), [coin])
    except TransactionRejected as rejection:
        return rejection.reason.removeprefix("mempool-script-verify-flag-failed (").removesuffix(")")
    return ""


def relayed_by_btclib(transaction, coin, flags) -> bool:
    """Whether the other engine lets the input through."""
    try:
        verify_input([OtherTxOut(VALUE, coin.script)], Tx.parse(transaction.raw), 0, flags)
    except BTClibException:
        return False
    return True


def assert_agreement(kernel, transaction, script, word):
    """Our word is the expected one; both engines agree on consensus and on relay."""
    coin = Coin(VALUE, script, 1, is_coinbase=False)
    valid = kernel.first_bad_input(transaction.raw, [SpentOutput(VALUE, script)]) is None
    assert relayed_by_btclib(transaction, coin, None) == valid
    assert objection(transaction, coin) == word
    assert relayed_by_btclib(transaction, coin, RELAY_FLAGS) == (valid and not word)


@pytest.mark.parametrize(
    ("leaf", "word"),
    [
        (b"\x51", ""),
        (b"\x00\x63" + push(b"data") + b"\x68\x51", ""),
        (b"\x50", "OP_SUCCESSx reserved for soft-fork upgrades"),
        (b"\x00\x63\xfe\x68\x51", "OP_SUCCESSx reserved for soft-fork upgrades"),
        (b"\x51\xb0", "NOPx reserved for soft-fork upgrades"),
        (b"\x00\x63\xb0\x68\x51", ""),
        (NON_MINIMAL + b"\x75\x51", "Data push larger than necessary"),
        (b"\x00\x63" + NON_MINIMAL + b"\x68\x51", ""),
        (b"\x00" + push(b"k" * 33) + b"\xac\x91", "Public key version reserved for soft-fork upgrades"),
        (b"\x00" + push(b"\x09" * 32) + b"\xac\x91", ""),
        (b"\x51\x05a", ""),
        (b"\x00", ""),
    ],
)
def test_tapscript(kernel, leaf, word):
    """Reserved opcodes anywhere, reserved NOPs and keys and long pushes where they run."""
    output = build_taproot(UNSPENDABLE_KEY, TapLeaf(leaf))
    entry = TxIn(PREVOUT, witness=(leaf, output.control_block(0)))
    spending = Transaction((entry,), (TxOut(VALUE - 1_000, output.script),))
    assert_agreement(kernel, spending, output.script, word)


def test_unknown_leaf_version(kernel):
    """A leaf of a version that is not tapscript is kept for the future."""
    output = build_taproot(UNSPENDABLE_KEY, TapLeaf(b"\x00", 0xC2))
    entry = TxIn(PREVOUT, witness=(b"\x00", output.control_block(0)))
    spending = Transaction((entry,), (TxOut(VALUE - 1_000, output.script),))
    word = "Taproot version reserved for soft-fork upgrades"
    assert_agreement(kernel, spending, output.script, word)


def der(signature: bytes, *, high_s: bool) -> bytes:
    """A DER signature with the chosen one of the two equivalent S values."""
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    s = CURVE_ORDER - s if high_s != (s > CURVE_ORDER // 2) else s
    parts = b""
    for number in (r, s):
        data = number.to_bytes(33, "big").lstrip(b"\0")
        data = b"\0" + data if data[0] & 0x80 else data
        parts += bytes([2, len(data)]) + data
    return bytes([0x30, len(parts)]) + parts


@pytest.mark.parametrize(
    ("high_s", "hash_type", "word"),
    [
        (False, 1, ""),
        (False, 0x81, ""),
        (True, 1, "Non-canonical signature: S value is unnecessarily high"),
        (False, 0, "Signature hash type missing or not understood"),
    ],
)
def test_witness_key_hash(kernel, high_s, hash_type, word):
    """Single-key spends are held to low S and to known hash types."""
    key = PrivateKey(bytes([9]) * 32)
    public = key.public_key.format()
    script = p2wpkh_script(hash160(public))
    spending = Transaction((TxIn(PREVOUT),), (TxOut(VALUE - 1_000, script),))
    signature = key.sign_recoverable(witness_digest(spending, hash160(public), hash_type), hasher=None)
    witness = (der(signature[:64], high_s=high_s) + bytes([hash_type]), public)
    assert_agreement(kernel, spending.with_witness(0, witness), script, word)


def witness_digest(spending, key_hash, hash_type) -> bytes:
    """BIP 143's message for one input and one output, types ALL-like and ANYONECANPAY."""
    entry, output = spending.inputs[0], spending.outputs[0]
    prevout = entry.prevout.txid + entry.prevout.vout.to_bytes(4, "little")
    sequence = entry.sequence.to_bytes(4, "little")
    anyone = hash_type & 0x80
    code = b"\x19\x76\xa9\x14" + key_hash + b"\x88\xac"
    paid = output.value.to_bytes(8, "little") + bytes([len(output.script)]) + output.script
    return sha256d(
        spending.version.to_bytes(4, "little")
        + (bytes(32) if anyone else sha256d(prevout))
        + (bytes(32) if anyone else sha256d(sequence))
        + prevout
        + code
        + VALUE.to_bytes(8, "little")
        + sequence
        + sha256d(paid)
        + spending.locktime.to_bytes(4, "little")
        + hash_type.to_bytes(4, "little")
    )
