"""Addresses of regtest: bech32 and bech32m by our own code, and the older base58 kinds."""

from typing import Final

from bitcoin.base58 import Base58ChecksumError, CBase58Data, InvalidBase58Error

from primitives.bitcoin.address import decode_address, encode_address
from primitives.bitcoin.script import (
    OP_CHECKSIG,
    OP_DUP,
    OP_EQUAL,
    OP_EQUALVERIFY,
    OP_HASH160,
    push,
)
from primitives.errors import InvalidInput
from regtest.policy.scripts import ScriptKind, solve_script

NETWORK: Final = "regtest"
_PUBKEYHASH_VERSION: Final = 111
_SCRIPTHASH_VERSION: Final = 196
_HASH_BYTES: Final = 20
_WITNESS_KINDS: Final = frozenset(
    {
        ScriptKind.WITNESS_V0_KEYHASH,
        ScriptKind.WITNESS_V0_SCRIPTHASH,
        ScriptKind.WITNESS_V1_TAPROOT,
        ScriptKind.WITNESS_UNKNOWN,
        ScriptKind.ANCHOR,
    }
)


def address_of_script(script: bytes) -> str | None:
    """Return the address of an output script, None for kinds that have none."""
    kind = solve_script(script).kind
    if kind in _WITNESS_KINDS:
        return encode_address(NETWORK, script)
    if kind is ScriptKind.PUBKEYHASH:
        return str(CBase58Data.from_bytes(script[3:23], _PUBKEYHASH_VERSION))
    if kind is ScriptKind.SCRIPTHASH:
        return str(CBase58Data.from_bytes(script[2:22], _SCRIPTHASH_VERSION))
    return None


def script_of_address(address: str) -> bytes:
    """Return the output script of a regtest address; raises InvalidInput `address.*`."""
    try:
        data = CBase58Data(address[:100])
    except (InvalidBase58Error, Base58ChecksumError, IndexError, ValueError):
        return decode_address(NETWORK, address)
    payload = bytes(data)
    if len(payload) == _HASH_BYTES and data.nVersion == _PUBKEYHASH_VERSION:
        tail = bytes([OP_EQUALVERIFY, OP_CHECKSIG])
        return bytes([OP_DUP, OP_HASH160]) + push(payload) + tail
    if len(payload) == _HASH_BYTES and data.nVersion == _SCRIPTHASH_VERSION:
        return bytes([OP_HASH160]) + push(payload) + bytes([OP_EQUAL])
    raise InvalidInput("address.wrong_network", "not an address of regtest")
