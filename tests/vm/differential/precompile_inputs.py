"""Inputs of precompiles, good ones and spoilt ones."""

import hashlib
from functools import cache
from random import Random

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from primitives.curve import ecdsa_sign

_BN_GENERATORS = [
    (1).to_bytes(32, "big") + (2).to_bytes(32, "big"),
    bytes(64),
    bytes.fromhex(
        "030644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd3"
        "15ed738c0e0a7c92e7845f96b2ae9c0a68a6a449e3538fc7ff3ebf7a5a18a2c4"
    ),
]
_BN_G2 = bytes.fromhex(
    "198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2"
    "1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed"
    "090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b"
    "12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa"
)
_BLS_G1 = bytes.fromhex(
    "0000000000000000000000000000000017f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac58"
    "6c55e83ff97a1aeffb3af00adb22c6bb0000000000000000000000000000000008b3f481e3aaa0f1a09e30ed741d8ae4"
    "fcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1"
)
_BLS_G2 = bytes.fromhex(
    "00000000000000000000000000000000024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d177"
    "0bac0326a805bbefd48056c8c121bdb80000000000000000000000000000000013e02b6052719f607dacd3a088274f65"
    "596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e00000000000000000000000000000000"
    "0ce5d527727d6e118cc9cdc6da2e351aadfd9baa8cbdd3a76d429a695160d12c923ac9cc3baca289e193548608b82801"
    "000000000000000000000000000000000606c4a02ea734cc32acd2b02bc28b99cb3e287e85a763af267492ab572e99ab"
    "3f370d275cec1da1aaa9075ff05f79be"
)


def input_for(precompile: int, random: Random) -> bytes:
    """Return an input for a precompile; one in five is spoilt."""
    good = _GOOD.get(precompile)
    data = random.randbytes(random.choice([0, 1, 32, 100])) if good is None else good(random)
    if random.random() >= 0.2:
        return data
    kind = random.randrange(3)
    if kind == 0 and data:
        at = random.randrange(len(data))
        return data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :]
    return (
        data[: random.randrange(len(data) + 1)]
        if kind == 1
        else data + random.randbytes(random.randrange(33))
    )


def _recover(random: Random) -> bytes:
    digest = random.randbytes(32)
    signature = ecdsa_sign(bytes(31) + bytes([random.randrange(1, 200)]), digest)
    return digest + (27 + signature[64]).to_bytes(32, "big") + signature[:64]


def _power(random: Random) -> bytes:
    sizes = [random.choice([0, 1, 2, 32, 33, 64]) for _ in range(3)]
    if random.random() < 0.1:
        sizes[random.randrange(3)] = random.choice([1024, 1025, 2**32, 2**64])
    head = b"".join(size.to_bytes(32, "big") for size in sizes)
    return head + random.randbytes(min(sum(sizes), 200))


def _point(random: Random) -> bytes:
    return random.choice(_BN_GENERATORS)


def _compress(random: Random) -> bytes:
    rounds = random.choice([0, 1, 12, 100]).to_bytes(4, "big")
    return rounds + random.randbytes(208) + bytes([random.randrange(2)])


def _pairing(random: Random) -> bytes:
    # Rarely more than nothing: the oracle takes a third of a second for a pair.
    if random.random() < 0.9:
        return b""
    return _BN_GENERATORS[0] + _BN_G2 + _BN_GENERATORS[2] + _BN_G2


def _evaluation(_: Random) -> bytes:
    """Return the proof that the zero polynomial is zero."""
    infinity = b"\xc0" + bytes(47)
    versioned = b"\x01" + hashlib.sha256(infinity).digest()[1:]
    return versioned + bytes(64) + infinity + infinity


def _bls_point(random: Random) -> bytes:
    return random.choice([_BLS_G1, bytes(128)])


def _bls_wide_point(random: Random) -> bytes:
    return random.choice([_BLS_G2, bytes(256)])


def _scalar(random: Random) -> bytes:
    return random.choice([0, 1, 2, random.getrandbits(256)]).to_bytes(32, "big")


@cache
def _p256_key() -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(0xC0FFEE, ec.SECP256R1())


@cache
def _p256(seed: int) -> bytes:
    digest = hashlib.sha256(bytes([seed])).digest()
    der = _p256_key().sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256()), deterministic_signing=True))
    r, s = utils.decode_dss_signature(der)
    numbers = _p256_key().public_key().public_numbers()
    return digest + b"".join(part.to_bytes(32, "big") for part in (r, s, numbers.x, numbers.y))


_GOOD = {
    1: _recover,
    5: _power,
    6: lambda random: _point(random) + _point(random),
    7: lambda random: _point(random) + _scalar(random),
    8: _pairing,
    9: _compress,
    0x0A: _evaluation,
    0x0B: lambda random: _bls_point(random) + _bls_point(random),
    0x0C: lambda random: _bls_point(random) + _scalar(random),
    0x0D: lambda random: _bls_wide_point(random) + _bls_wide_point(random),
    0x0E: lambda random: _bls_wide_point(random) + _scalar(random),
    0x0F: lambda random: bytes(384) if random.random() < 0.8 else _BLS_G1 + _BLS_G2,
    0x10: lambda random: random.getrandbits(380).to_bytes(64, "big"),
    0x11: lambda random: (
        random.getrandbits(380).to_bytes(64, "big") + random.getrandbits(380).to_bytes(64, "big")
    ),
    0x100: lambda random: _p256(random.randrange(8)),
}
