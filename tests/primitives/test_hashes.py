"""The hash functions give the published digests."""

import hashlib

import pytest

from primitives import hashes


@pytest.mark.parametrize(
    ("function", "data", "digest"),
    [
        (hashes.sha256, b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (hashes.sha256d, b"hello", "9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50"),
        (hashes.keccak256, b"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
        (hashes.keccak256, b"abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"),
        (hashes.ripemd160, b"abc", "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc"),
        (hashes.ripemd160, b"", "9c1185a5c5e9fc54612808977ee8f548b2258d31"),
        (hashes.hash160, b"", "b472a266d0bd89c13706a4132ccfb16f7c3b9fcb"),
    ],
)
def test_known_digests(function, data, digest):
    """Each function is the one it is named after, for bytes and for views of bytes."""
    assert function(data).hex() == digest
    assert function(memoryview(data)) == function(bytearray(data)) == function(data)


def test_tagged_hash_repeats_the_hash_of_the_tag():
    """BIP 340's construction, spelled out."""
    prefix = hashlib.sha256(b"BIP0340/challenge").digest() * 2
    assert hashes.tagged_hash("BIP0340/challenge", b"x") == hashlib.sha256(prefix + b"x").digest()


def test_tags_keep_uses_apart():
    """One message under two tags has two hashes."""
    assert hashes.tagged_hash("BitAI/envelope", b"") != hashes.tagged_hash("BitAI/config", b"")
