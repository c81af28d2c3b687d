"""Taproot outputs, control blocks and signature messages are those of BIP 341."""

import json

import pytest
from btclib.script.sig_hash import taproot as btclib_sighash
from btclib.tx.tx import Tx as BtclibTx
from btclib.tx.tx_out import TxOut as BtclibTxOut
from hypothesis import given
from hypothesis import strategies as st

from primitives.bitcoin import taproot
from primitives.bitcoin.address import encode_address
from primitives.bitcoin.taproot import TapLeaf, TaprootSpend, build_taproot
from primitives.bitcoin.transaction import Transaction, TxIn, TxOut, decode_transaction
from primitives.curve import is_xonly_public_key, schnorr_verify, xonly_public_key
from primitives.errors import InvalidInput
from tests.primitives.bitcoin.transactions import OUTPUTS, TRANSACTIONS, revealing

KEY = xonly_public_key(b"\x07" * 32)
HASH_TYPES = (0x00, 0x01, 0x02, 0x03, 0x81, 0x82, 0x83)


@pytest.fixture(scope="module")
def wallet(shared_vectors):
    """BIP 341's wallet vectors."""
    return json.loads((shared_vectors / "bips" / "bip341-wallet.json").read_text())


def as_tree(node):
    """Turn a vector's script tree into ours."""
    if isinstance(node, list):
        return tuple(as_tree(child) for child in node)
    return TapLeaf(bytes.fromhex(node["script"]), node["leafVersion"])


def unhex(text):
    """Return bytes of hex, None for none."""
    return None if text is None else bytes.fromhex(text)


def test_outputs_and_control_blocks(wallet):
    """Leaf hashes, root, tweak, output, address and every control block are the published ones."""
    assert len(wallet["scriptPubKey"]) == 7
    for case in wallet["scriptPubKey"]:
        given_, expected = case["given"], case["expected"]
        tree = None if given_["scriptTree"] is None else as_tree(given_["scriptTree"])
        output = build_taproot(unhex(given_["internalPubkey"]), tree)
        assert output.merkle_root == unhex(case["intermediary"]["merkleRoot"])
        assert output.output_key == unhex(case["intermediary"]["tweakedPubkey"])
        assert output.script == unhex(expected["scriptPubKey"])
        assert encode_address("mainnet", output.script) == expected["bip350Address"]
        assert [leaf.hash.hex() for leaf in output.leaves] == case["intermediary"].get("leafHashes", [])
        blocks = [output.control_block(index).hex() for index in range(len(output.leaves))]
        assert blocks == expected.get("scriptPathControlBlocks", [])


def test_key_path_signatures(wallet):
    """Tweaked secrets, messages and signatures of a nine-input spend are the published ones."""
    (case,) = wallet["keyPathSpending"]
    transaction = decode_transaction(unhex(case["given"]["rawUnsignedTx"]))
    spent = [TxOut(utxo["amountSats"], unhex(utxo["scriptPubKey"])) for utxo in case["given"]["utxosSpent"]]
    spend = TaprootSpend(transaction, spent)
    assert len(case["inputSpending"]) == 7
    for entry in case["inputSpending"]:
        given_, index = entry["given"], entry["given"]["txinIndex"]
        secret = unhex(given_["internalPrivkey"])
        key = xonly_public_key(secret)
        assert key == unhex(entry["intermediary"]["internalPubkey"])
        tweaked = taproot.output_secret(secret, key, unhex(given_["merkleRoot"]))
        assert tweaked == unhex(entry["intermediary"]["tweakedPrivkey"])
        sighash = spend.sighash(index, given_["hashType"])
        assert sighash == unhex(entry["intermediary"]["sigHash"])
        signature = taproot.sign_sighash(tweaked, sighash, given_["hashType"])
        assert [signature.hex()] == entry["expected"]["witness"]
        transaction = transaction.with_witness(index, [signature])
    signed = decode_transaction(unhex(case["auxiliary"]["fullySignedTx"]))
    for index in (0, 1, 3, 4, 6, 7, 8):
        assert transaction.inputs[index] == signed.inputs[index]


@given(TRANSACTIONS, st.data())
def test_sighashes_agree_with_btclib(transaction, data):
    """Key path and script path, every hash type, with and without an annex: another library's messages."""
    outputs = st.lists(OUTPUTS, min_size=len(transaction.inputs), max_size=len(transaction.inputs))
    spent = data.draw(outputs)
    index = data.draw(st.integers(0, len(transaction.inputs) - 1))
    hash_type = data.draw(st.sampled_from(HASH_TYPES))
    annex = data.draw(st.none() | st.binary(max_size=20).map(lambda tail: b"\x50" + tail))
    leaf = data.draw(st.none() | st.binary(max_size=300).map(taproot.tapleaf_hash))
    if hash_type & 3 == taproot.SIGHASH_SINGLE and index >= len(transaction.outputs):
        return
    other = BtclibTx.parse(transaction.raw, check_validity=False)
    prevouts = [BtclibTxOut(output.value, output.script, check_validity=False) for output in spent]
    extension = b"" if leaf is None else leaf + b"\0\xff\xff\xff\xff"
    expected = btclib_sighash(
        other, index, prevouts, hash_type, int(leaf is not None), annex or b"", extension
    )
    found = TaprootSpend(transaction, spent).sighash(index, hash_type, leaf_hash=leaf, annex=annex)
    assert found == expected
    assert found == taproot.sighash_taproot(transaction, index, spent, hash_type, leaf_hash=leaf, annex=annex)


def test_a_code_separator_changes_the_script_path_message():
    """The position of the last OP_CODESEPARATOR is signed for."""
    spend = TaprootSpend(revealing([]), [TxOut(1, b"")])
    leaf = taproot.tapleaf_hash(b"\xab")
    assert spend.sighash(0, leaf_hash=leaf) == spend.sighash(0, leaf_hash=leaf, codeseparator=0xFFFFFFFF)
    assert spend.sighash(0, leaf_hash=leaf) != spend.sighash(0, leaf_hash=leaf, codeseparator=0)


@given(st.integers(1, 9), st.randoms(use_true_random=False))
def test_every_leaf_proves_itself(count, random):
    """Hashing a control block's path up from its leaf gives the root, whatever the tree's shape."""
    nodes = [TapLeaf(bytes([number])) for number in range(count)]
    while len(nodes) > 1:
        at = random.randrange(len(nodes) - 1)
        nodes[at : at + 2] = [(nodes[at], nodes[at + 1])]
    output = build_taproot(KEY, nodes[0])
    assert [leaf.script[0] for leaf in output.leaves] == list(range(count))
    for index, leaf in enumerate(output.leaves):
        block = output.control_block(index)
        node = leaf.hash
        for start in range(33, len(block), 32):
            node = taproot.tapbranch_hash(node, block[start : start + 32])
        assert taproot.output_key(block[1:33], node) == (output.output_key, block[0] & 1)
        assert block[0] & 0xFE == taproot.TAPSCRIPT


def test_a_key_path_signature_verifies():
    """The tweaked secret signs for the output key."""
    output = build_taproot(KEY, TapLeaf(b"\x51"))
    secret = taproot.output_secret(b"\x07" * 32, KEY, output.merkle_root)
    sighash = taproot.sighash_taproot(revealing([]), 0, [TxOut(5, output.script)])
    assert schnorr_verify(output.output_key, sighash, taproot.sign_sighash(secret, sighash))
    assert taproot.sign_sighash(secret, sighash, 0x81)[64:] == b"\x81"


def test_the_unspendable_key_is_a_point():
    """BIP 341's point can be an internal key."""
    assert is_xonly_public_key(taproot.UNSPENDABLE_KEY)


def deep_tree(depth):
    """Return a tree whose deepest leaf is `depth` below the root."""
    tree = TapLeaf(b"\x51")
    for _ in range(depth):
        tree = (tree, TapLeaf(b"\x52"))
    return tree


def test_depth_is_bounded():
    """128 levels can be spent, 129 could not."""
    assert len(build_taproot(KEY, deep_tree(128)).control_block(0)) == 33 + 32 * 128
    with pytest.raises(InvalidInput, match=r"taproot\.too_deep"):
        build_taproot(KEY, deep_tree(129))


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda spend: spend.sighash(0, 0x04), "taproot.bad_hash_type"),
        (lambda spend: spend.sighash(0, 0x80), "taproot.bad_hash_type"),
        (lambda spend: spend.sighash(2), "taproot.bad_input_index"),
        (lambda spend: spend.sighash(-1), "taproot.bad_input_index"),
        (lambda spend: spend.sighash(1, 0x83), "taproot.no_matching_output"),
        (lambda spend: spend.sighash(0, annex=b"\x51"), "taproot.bad_annex"),
        (lambda spend: spend.sighash(0, annex=b""), "taproot.bad_annex"),
        (lambda _: TaprootSpend(revealing([]), []), "taproot.spent_outputs"),
        (lambda _: build_taproot(b"\xff" * 32), "key.bad_public"),
        (lambda _: build_taproot(KEY).control_block(0), "taproot.no_such_leaf"),
    ],
)
def test_refusals(call, code):
    """What has no meaning under BIP 341 is refused, not signed."""
    spend = TaprootSpend(revealing([], []), [TxOut(1, b""), TxOut(2, b"")])
    with pytest.raises(InvalidInput) as caught:
        call(spend)
    assert caught.value.code == code


def test_everything_signed_for_matters():
    """Changing the spent value, script, sequence or an output changes the message."""
    base = revealing([], [])
    spent = [TxOut(1, b"a"), TxOut(2, b"b")]
    sighash = taproot.sighash_taproot(base, 0, spent)
    first, second = base.inputs
    variants = [
        (base, [TxOut(9, b"a"), spent[1]]),
        (base, [spent[0], TxOut(2, b"x")]),
        (Transaction((first, TxIn(second.prevout, sequence=1)), base.outputs), spent),
        (Transaction(base.inputs, (TxOut(7, b""),)), spent),
        (Transaction(base.inputs, base.outputs, version=1), spent),
        (Transaction(base.inputs, base.outputs, locktime=1), spent),
    ]
    assert all(taproot.sighash_taproot(changed, 0, over) != sighash for changed, over in variants)
