"""The hash functions of Bitcoin and Ethereum, each returning plain bytes."""

import hashlib
from functools import lru_cache
from typing import TypeAlias

from Crypto.Hash import RIPEMD160, keccak

from primitives.ids import Hash32

BytesLike: TypeAlias = bytes | bytearray | memoryview


def sha256(data: BytesLike) -> Hash32:
    """Return SHA-256 (FIPS 180-4)."""
    return Hash32(hashlib.sha256(data).digest())


def sha256d(data: BytesLike) -> Hash32:
    """Return SHA-256 of SHA-256, Bitcoin's hash of transactions and headers, in internal order."""
    return Hash32(hashlib.sha256(hashlib.sha256(data).digest()).digest())


def tagged_hash(tag: str, data: BytesLike) -> Hash32:
    """Return SHA-256 of the tag's hash twice, then the data (BIP 340): no two uses share a preimage."""
    digest = hashlib.sha256(_tag_prefix(tag))
    digest.update(data)
    return Hash32(digest.digest())


def keccak256(data: BytesLike) -> Hash32:
    """Return Keccak-256 with Ethereum's padding (not SHA3-256)."""
    return Hash32(keccak.new(data=data, digest_bits=256).digest())


def ripemd160(data: BytesLike) -> bytes:
    """Return RIPEMD-160; taken from pycryptodome, because OpenSSL 3 may be built without it."""
    return RIPEMD160.new(data).digest()


def hash160(data: BytesLike) -> bytes:
    """Return RIPEMD-160 of SHA-256, the 20 bytes in Bitcoin's key-hash addresses."""
    return ripemd160(hashlib.sha256(data).digest())


@lru_cache(maxsize=64)
def _tag_prefix(tag: str) -> bytes:
    return hashlib.sha256(tag.encode()).digest() * 2
