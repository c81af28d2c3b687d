"""Build a whole trie from sorted leaves and write its nodes: a state of millions without making its blocks."""

from collections.abc import Callable
from dataclasses import dataclass

from primitives import rlp
from vm._core import EMPTY_ROOT, keccak256

KEY_BYTES = 32

Emit = Callable[[bytes, bytes], None]
"""Takes the path (a nibble a byte) and the RLP of a node that has a row of its own."""


@dataclass(frozen=True, slots=True)
class Leaves:
    """Keys of 32 bytes, sorted and joined, and the value at each place."""

    keys: bytes
    value: Callable[[int], bytes]

    def __len__(self) -> int:
        return len(self.keys) // KEY_BYTES

    def nibble(self, place: int, depth: int) -> int:
        """Return one half-byte of a key."""
        byte = self.keys[place * KEY_BYTES + (depth >> 1)]
        return byte & 15 if depth & 1 else byte >> 4

    def nibbles(self, place: int, depth: int) -> bytes:
        """Return a key's half-bytes from a depth on."""
        digits = self.keys[place * KEY_BYTES : (place + 1) * KEY_BYTES].hex()
        return bytes.fromhex("0" + "0".join(digits[depth:])) if depth < len(digits) else b""


def build_trie(leaves: Leaves, emit: Emit) -> bytes:
    """Write all nodes; return the root's hash."""
    if not len(leaves):
        return EMPTY_ROOT
    root = _node(leaves, (0, len(leaves)), b"", emit)
    return keccak256(root)


def _node(leaves: Leaves, span: tuple[int, int], path: bytes, emit: Emit) -> bytes:
    """Write the nodes of a range of leaves, the top one last; return the RLP of that."""
    encoded = _encode(leaves, span, path, emit)
    if len(encoded) >= KEY_BYTES or not path:
        emit(path, encoded)
    return encoded


def _encode(leaves: Leaves, span: tuple[int, int], path: bytes, emit: Emit) -> bytes:
    low, high = span
    depth = len(path)
    if high - low == 1:
        return rlp.encode([_pack(leaves.nibbles(low, depth), leaf=True), leaves.value(low)])
    first, last = leaves.nibbles(low, depth), leaves.nibbles(high - 1, depth)
    shared = next(place for place, (one, other) in enumerate(zip(first, last, strict=True)) if one != other)
    if shared:
        below = path + first[:shared]
        branch = _node(leaves, span, below, emit)
        return _list([rlp.encode(_pack(first[:shared], leaf=False)), _reference(branch)])
    return _branch(leaves, span, path, emit)


def _branch(leaves: Leaves, span: tuple[int, int], path: bytes, emit: Emit) -> bytes:
    at, high = span
    parts = [b"\x80"] * 17
    while at < high:
        nibble = leaves.nibble(at, len(path))
        end = _end_of(leaves, at, high, len(path))
        parts[nibble] = _reference(_node(leaves, (at, end), path + bytes([nibble]), emit))
        at = end
    return _list(parts)


def _end_of(leaves: Leaves, low: int, high: int, depth: int) -> int:
    """Return where the leaves with the nibble of the first end, by halving."""
    nibble = leaves.nibble(low, depth)
    if leaves.nibble(high - 1, depth) == nibble:
        return high
    inside, outside = low, high - 1
    while outside - inside > 1:
        middle = (inside + outside) // 2
        if leaves.nibble(middle, depth) == nibble:
            inside = middle
        else:
            outside = middle
    return outside


def _reference(encoded: bytes) -> bytes:
    return encoded if len(encoded) < KEY_BYTES else b"\xa0" + keccak256(encoded)


def _list(parts: list[bytes]) -> bytes:
    payload = b"".join(parts)
    size = len(payload)
    if size <= 55:
        return bytes([0xC0 + size]) + payload
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0xF7 + len(length)]) + length + payload


def _pack(path: bytes, *, leaf: bool) -> bytes:
    """Return the compact form: a flag nibble (1 odd, 2 leaf), then the nibbles."""
    odd = len(path) % 2
    flag = (2 if leaf else 0) + odd
    nibbles = bytes([flag]) + path if odd else bytes([flag, 0]) + path
    return bytes(high << 4 | low for high, low in zip(nibbles[::2], nibbles[1::2], strict=True))
