"""Signatures and keys agree with BIP 340, BIP 341 and Ethereum's tools."""

import csv

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from primitives import curve
from primitives.errors import InvalidInput

SECRETS = st.integers(1, curve.CURVE_ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
DIGESTS = st.binary(min_size=32, max_size=32)
ONE = (1).to_bytes(32, "big")
ORDER = curve.CURVE_ORDER.to_bytes(32, "big")


def test_bip340_vectors(shared_vectors):
    """Every published signature is judged as published, and those with a 32-byte message are made alike."""
    with (shared_vectors / "bips" / "bip340.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) >= 15
    for row in rows:
        key, message, signature = (
            bytes.fromhex(row[name]) for name in ("public key", "message", "signature")
        )
        holds = row["verification result"] == "TRUE"
        assert curve.schnorr_verify(key, message, signature) is holds, row["comment"]
        if row["secret key"] and len(message) == 32:
            secret, aux = bytes.fromhex(row["secret key"]), bytes.fromhex(row["aux_rand"])
            assert curve.xonly_public_key(secret) == key
            assert curve.schnorr_sign(secret, message, aux) == signature


@given(SECRETS, DIGESTS, st.integers(0, 511))
def test_a_flipped_bit_breaks_a_schnorr_signature(secret, message, bit):
    """A signature holds for its key and message, and no other signature does."""
    key = curve.xonly_public_key(secret)
    signature = curve.schnorr_sign(secret, message)
    flipped = bytearray(signature)
    flipped[bit // 8] ^= 1 << bit % 8
    assert curve.schnorr_verify(key, message, signature)
    assert not curve.schnorr_verify(key, message, bytes(flipped))


@given(st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=70))
def test_schnorr_verify_is_total(key, message, signature):
    """Whatever bytes come in, the answer is False and never an exception."""
    assert curve.schnorr_verify(key, message, signature) is False


@given(SECRETS, DIGESTS)
def test_tweaked_secret_belongs_to_tweaked_key(secret, tweak):
    """Tweaking secret and key apart gives a pair again (BIP 341), whatever the parity."""
    key, parity = curve.tweak_public(curve.xonly_public_key(secret), tweak)
    assert parity in (0, 1)
    assert curve.xonly_public_key(curve.tweak_secret(secret, tweak)) == key


@given(SECRETS, DIGESTS)
def test_ecdsa_recovers_its_signer(secret, digest):
    """Recovery finds the account that eth-account derives, and the signature is the one it makes."""
    signature = curve.ecdsa_sign(secret, digest)
    account = Account.from_key(secret)
    assert curve.ecdsa_recover(digest, signature) == curve.address_of(secret)
    assert curve.address_of(secret).hex() == account.address[2:].lower()
    made = account.unsafe_sign_hash(digest)
    assert signature == made.r.to_bytes(32, "big") + made.s.to_bytes(32, "big") + bytes([made.v - 27])


def test_a_mirrored_ecdsa_signature_is_refused():
    """(r, n - s) with the other recovery id is the same signature to the curve, and one too many to us."""
    signature = curve.ecdsa_sign(ONE, bytes(32))
    mirrored_s = curve.CURVE_ORDER - int.from_bytes(signature[32:64], "big")
    mirrored = signature[:32] + mirrored_s.to_bytes(32, "big") + bytes([1 - signature[64]])
    with pytest.raises(InvalidInput, match=r"signature\.high_s"):
        curve.ecdsa_recover(bytes(32), mirrored)


@pytest.mark.parametrize(
    ("signature", "code"),
    [
        (bytes(64), "signature.bad_length"),
        (bytes(66), "signature.bad_length"),
        (bytes(64) + b"\2", "signature.bad_recovery_id"),
        (bytes(65), "signature.unrecoverable"),
        (ORDER + ONE + b"\0", "signature.unrecoverable"),
        (ONE + ORDER + b"\0", "signature.high_s"),
        ((5).to_bytes(32, "big") + ONE + b"\0", "signature.unrecoverable"),
    ],
)
def test_malformed_ecdsa_signatures(signature, code):
    """Each malformed part has its code; 5 is the x of no point."""
    with pytest.raises(InvalidInput) as caught:
        curve.ecdsa_recover(bytes(32), signature)
    assert caught.value.code == code


@given(DIGESTS, st.binary(min_size=65, max_size=65))
def test_recovery_raises_only_invalid_input(digest, signature):
    """Random bytes recover to some account or are refused in words."""
    code = "signature.fine"
    try:
        assert len(curve.ecdsa_recover(digest, signature)) == 20
    except InvalidInput as error:
        code = error.code
    assert code.startswith("signature.")


@pytest.mark.parametrize("secret", [b"", bytes(32), ORDER, b"\xff" * 32, ONE + b"\0"])
def test_no_secret(secret):
    """Zero, the order, more, and wrong lengths are no secrets, for every function that takes one."""
    calls = (
        lambda: curve.xonly_public_key(secret),
        lambda: curve.schnorr_sign(secret, bytes(32)),
        lambda: curve.ecdsa_sign(secret, bytes(32)),
        lambda: curve.address_of(secret),
        lambda: curve.tweak_secret(secret, ONE),
    )
    for call in calls:
        with pytest.raises(InvalidInput, match=r"key\.bad_secret"):
            call()


@pytest.mark.parametrize("tweak", [b"", bytes(31), ORDER, b"\xff" * 32])
def test_no_tweak(tweak):
    """A tweak at or above the order, or of another length, is refused on both sides."""
    with pytest.raises(InvalidInput, match=r"key\.bad_tweak"):
        curve.tweak_public(curve.xonly_public_key(ONE), tweak)
    with pytest.raises(InvalidInput, match=r"key\.bad_tweak"):
        curve.tweak_secret(ONE, tweak)


def test_a_tweak_that_cancels_the_key_is_refused():
    """P + t*G may not be infinity: the secret n - 1 under the tweak 1."""
    secret = (curve.CURVE_ORDER - 1).to_bytes(32, "big")
    effective_is_one = curve.xonly_public_key(secret) == curve.xonly_public_key(ONE)
    assert effective_is_one
    cancelling = (curve.CURVE_ORDER - 1).to_bytes(32, "big")
    with pytest.raises(InvalidInput, match=r"key\.bad_tweak"):
        curve.tweak_secret(ONE, cancelling)
    with pytest.raises(InvalidInput, match=r"key\.bad_tweak"):
        curve.tweak_public(curve.xonly_public_key(ONE), cancelling)


def test_wrong_lengths_to_sign():
    """Signing takes a 32-byte digest, never a message to be hashed by accident."""
    with pytest.raises(InvalidInput, match=r"signature\.bad_digest"):
        curve.schnorr_sign(ONE, b"hello")
    with pytest.raises(InvalidInput, match=r"signature\.bad_aux"):
        curve.schnorr_sign(ONE, bytes(32), b"")
    with pytest.raises(InvalidInput, match=r"signature\.bad_digest"):
        curve.ecdsa_sign(ONE, b"hello")
    with pytest.raises(InvalidInput, match=r"key\.bad_public"):
        curve.tweak_public(b"\xff" * 32, ONE)
