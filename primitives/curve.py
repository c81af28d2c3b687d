"""secp256k1 keys and signatures: BIP 340 Schnorr for Bitcoin, recoverable ECDSA for accounts.

Secrets are 32 bytes, big-endian, in 1..n-1. Functions that take a secret raise InvalidInput `key.bad_secret`
when it is not one.
"""

from collections.abc import Callable
from typing import Final, TypeVar

from coincurve import PrivateKey, PublicKey, PublicKeyXOnly

from primitives.errors import InvalidInput
from primitives.hashes import keccak256
from primitives.ids import Address, XOnlyKey

_T = TypeVar("_T")

CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SECRET_BYTES: Final = 32
XONLY_BYTES: Final = 32
DIGEST_BYTES: Final = 32
SCHNORR_BYTES: Final = 64
ECDSA_BYTES: Final = 65
NO_AUX: Final = bytes(32)
_MINUS_ONE: Final = (CURVE_ORDER - 1).to_bytes(SECRET_BYTES, "big")


def xonly_public_key(secret: bytes) -> XOnlyKey:
    """Return the x-only public key of a secret (BIP 340)."""
    return XOnlyKey(_private_key(secret).public_key_xonly.format())


def schnorr_sign(secret: bytes, message: bytes, aux: bytes = NO_AUX) -> bytes:
    """Return the 64-byte BIP 340 signature of a 32-byte message.

    `aux` is 32 bytes of fresh randomness; zeros make signing deterministic, which BIP 340 allows.
    Raises InvalidInput `signature.bad_digest` or `signature.bad_aux` for another length of message or aux.
    """
    _require_length(message, DIGEST_BYTES, "signature.bad_digest")
    _require_length(aux, SECRET_BYTES, "signature.bad_aux")
    return _private_key(secret).sign_schnorr(bytes(message), bytes(aux))


def schnorr_verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether a BIP 340 signature holds; total: malformed keys and signatures are simply wrong."""
    if len(public_key) != XONLY_BYTES or len(signature) != SCHNORR_BYTES:
        return False
    try:
        key = PublicKeyXOnly(bytes(public_key))
    except ValueError:
        return False
    return key.verify(bytes(signature), bytes(message))


def is_xonly_public_key(candidate: bytes) -> bool:
    """Tell whether 32 bytes are the x coordinate of a curve point."""
    if len(candidate) != XONLY_BYTES:
        return False
    try:
        PublicKeyXOnly(bytes(candidate))
    except ValueError:
        return False
    return True


def tweak_public(public_key: bytes, tweak: bytes) -> tuple[XOnlyKey, int]:
    """Return the x-only key P + tweak*G and the parity (0 even, 1 odd) of its y (BIP 341).

    Raises InvalidInput `key.bad_public` when P is not on the curve, `key.bad_tweak` for a tweak >= n.
    """
    if not is_xonly_public_key(public_key):
        raise InvalidInput("key.bad_public", "not an x-only public key", key=public_key.hex())
    _require_length(tweak, SECRET_BYTES, "key.bad_tweak")
    key = PublicKeyXOnly(public_key)
    _as_invalid("key.bad_tweak", lambda: key.tweak_add(tweak))
    return XOnlyKey(key.format()), int(key.parity)


def tweak_secret(secret: bytes, tweak: bytes) -> bytes:
    """Return the secret whose public key is `tweak_public` of this secret's public key (BIP 341).

    Raises InvalidInput `key.bad_tweak` when the tweak is out of range or the sum is zero.
    """
    _require_length(tweak, SECRET_BYTES, "key.bad_tweak")
    key = _private_key(secret)
    if key.public_key_xonly.parity:
        key = key.multiply(_MINUS_ONE)
    tweaked = _as_invalid("key.bad_tweak", lambda: key.add(tweak))
    return bytes(tweaked.secret)


def ecdsa_sign(secret: bytes, digest: bytes) -> bytes:
    """Return r(32) | s(32) | v(1), s in the lower half, v the recovery id 0 or 1, nonce by RFC 6979."""
    _require_length(digest, DIGEST_BYTES, "signature.bad_digest")
    return _private_key(secret).sign_recoverable(bytes(digest), hasher=None)


def ecdsa_recover(digest: bytes, signature: bytes) -> Address:
    """Return the account whose key made this 65-byte signature.

    Strict, so that nobody can turn one signature into another: v is 0 or 1, s is in the lower half (EIP-2).
    Raises InvalidInput `signature.bad_digest`, `.bad_length`, `.bad_recovery_id`, `.high_s`,
    `.unrecoverable`.
    """
    _require_length(digest, DIGEST_BYTES, "signature.bad_digest")
    _require_length(signature, ECDSA_BYTES, "signature.bad_length")
    if signature[64] > 1:
        raise InvalidInput("signature.bad_recovery_id", "the recovery id is 0 or 1", v=signature[64])
    if int.from_bytes(signature[32:64], "big") > CURVE_ORDER // 2:
        raise InvalidInput("signature.high_s", "s must be in the lower half")
    key = _as_invalid(
        "signature.unrecoverable",
        lambda: PublicKey.from_signature_and_message(bytes(signature), bytes(digest), hasher=None),
    )
    return _address_of_public_key(key)


def address_of(secret: bytes) -> Address:
    """Return the account address of a secret: the last 20 bytes of Keccak-256 of the public point."""
    return _address_of_public_key(_private_key(secret).public_key)


def _address_of_public_key(key: PublicKey) -> Address:
    return Address(keccak256(key.format(compressed=False)[1:])[12:])


def _private_key(secret: bytes) -> PrivateKey:
    if len(secret) != SECRET_BYTES or not 0 < int.from_bytes(secret, "big") < CURVE_ORDER:
        raise InvalidInput("key.bad_secret", "a secret is 32 bytes in 1..n-1")
    return PrivateKey(bytes(secret))


def _require_length(data: bytes, length: int, code: str) -> None:
    if len(data) != length:
        raise InvalidInput(code, f"{length} bytes wanted", got=len(data))


def _as_invalid(code: str, call: Callable[[], _T]) -> _T:
    try:
        return call()
    except ValueError as error:
        raise InvalidInput(code, str(error)) from error
