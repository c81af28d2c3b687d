"""Names for the byte strings that identify things, so that a type checker keeps them apart.

Bitcoin hashes are held in internal order (as hashed and serialised). People and JSON-RPC use display order,
which is the reverse; only `display_hash` and `parse_display_hash` cross that line.
"""

from typing import NamedTuple, NewType

from primitives.errors import InvalidInput

HASH_BYTES = 32
ADDRESS_BYTES = 20

Hash32 = NewType("Hash32", bytes)
Address = NewType("Address", bytes)
"""20-byte account address on L2."""
Txid = NewType("Txid", bytes)
"""Bitcoin transaction id, internal order."""
Wtxid = NewType("Wtxid", bytes)
"""Bitcoin transaction id that commits to the witness too, internal order."""
L1Hash = NewType("L1Hash", bytes)
"""Bitcoin block hash, internal order."""
ModelId = NewType("ModelId", bytes)
XOnlyKey = NewType("XOnlyKey", bytes)
"""32-byte x coordinate of a secp256k1 point with even y (BIP 340)."""


class OutPoint(NamedTuple):
    """Point at one output of a Bitcoin transaction."""

    txid: Txid
    vout: int


def display_hash(internal: bytes) -> str:
    """Return the hex that Bitcoin's tools show: the bytes reversed."""
    return internal[::-1].hex()


def parse_display_hash(text: str) -> bytes:
    """Return the 32 bytes in internal order of a displayed hash.

    Raises InvalidInput `hash.bad_display` unless the text is 64 hex digits.
    """
    if len(text) == 2 * HASH_BYTES and text.isascii() and text.isalnum():
        try:
            return bytes.fromhex(text)[::-1]
        except ValueError:
            pass
    raise InvalidInput("hash.bad_display", "a displayed hash is 64 hex digits", text=text[:80])
