"""A coin: one unspent output with what decides when it may be spent."""

import struct
from typing import Final, NamedTuple

from primitives.bitcoin.parser import ParsedOutput
from primitives.bitcoin.script import OP_RETURN
from primitives.hashes import BytesLike
from primitives.ids import OutPoint, Txid
from regtest.limits import MAX_SCRIPT_BYTES

_LAYOUT: Final = struct.Struct(">Iq")
_OUTPOINT: Final = struct.Struct(">32sI")
OUTPOINT_BYTES: Final = _OUTPOINT.size


class Coin(NamedTuple):
    """An unspent output; value in sats, height of the block that made it."""

    value_sats: int
    script: bytes
    height: int
    is_coinbase: bool


def coin_of(output: ParsedOutput, height: int, *, is_coinbase: bool) -> Coin:
    """Return the coin that an output in a block at this height makes."""
    return Coin(output.value, bytes(output.script), height, is_coinbase)


def is_unspendable(script: BytesLike) -> bool:
    """Tell whether an output can never be spent, so that nobody keeps it."""
    return len(script) > MAX_SCRIPT_BYTES or (len(script) > 0 and script[0] == OP_RETURN)


def encode_coin(coin: Coin) -> bytes:
    """Return height and coinbase flag in 4 bytes, value in 8, big-endian, then the script."""
    return _LAYOUT.pack(coin.height << 1 | coin.is_coinbase, coin.value_sats) + coin.script


def decode_coin(row: bytes) -> Coin:
    """Return the coin that `encode_coin` wrote."""
    height, value_sats = _LAYOUT.unpack_from(row)
    return Coin(value_sats, row[_LAYOUT.size :], height >> 1, bool(height & 1))


def encode_outpoint(outpoint: OutPoint) -> bytes:
    """Return the txid in internal order, then the output number, big-endian so that outputs sort in order."""
    return _OUTPOINT.pack(outpoint.txid, outpoint.vout)


def decode_outpoint(key: bytes) -> OutPoint:
    """Return the outpoint that `encode_outpoint` wrote."""
    txid, vout = _OUTPOINT.unpack(key)
    return OutPoint(Txid(txid), vout)
