"""Ethereum's recursive length prefix, strict: one value has one encoding (Yellow Paper, appendix B)."""

from collections.abc import Sequence
from typing import Final, TypeAlias

from primitives.errors import InvalidInput

Item: TypeAlias = "bytes | list[Item]"
Encodable: TypeAlias = "bytes | bytearray | memoryview | Sequence[Encodable]"

MAX_DEPTH: Final = 32
"""Nested lists; our deepest structure has 5. A bound below the interpreter's recursion limit."""
MAX_BYTES: Final = 16 * 1024 * 1024
MAX_ITEMS: Final = 1_000_000
"""Strings and lists together; an empty list costs 1 byte on the wire and 64 bytes in memory."""

_STRING: Final = 0x80
LIST_PREFIX: Final = 0xC0
"""A first byte from here on begins a list."""
_SHORT: Final = 55
_SHORT_PREFIXES: Final = tuple(bytes([_STRING + length]) for length in range(_SHORT + 1))


def encode(item: Encodable) -> bytes:
    """Return the encoding of a byte string or (nested) sequence of them; integers go through `encode_int`."""
    if isinstance(item, bytes | bytearray | memoryview):
        data = bytes(item)
        return data if len(data) == 1 and data[0] < _STRING else _prefix(len(data), _STRING) + data
    parts: list[bytes] = []
    for element in item:
        if element.__class__ is bytes and len(element) <= _SHORT:  # nearly all: without a call
            if len(element) != 1 or element[0] >= _STRING:
                parts.append(_SHORT_PREFIXES[len(element)])
            parts.append(element)
        else:
            parts.append(encode(element))
    payload = b"".join(parts)
    return _prefix(len(payload), LIST_PREFIX) + payload


def join(encoded: Sequence[bytes]) -> bytes:
    """Return the encoding of a list of items that are encoded already."""
    payload = b"".join(encoded)
    return _prefix(len(payload), LIST_PREFIX) + payload


def decode(data: bytes | memoryview, max_bytes: int = MAX_BYTES) -> Item:
    """Return the one item that the whole of `data` encodes.

    Raises InvalidInput `rlp.empty`, `rlp.too_large`, `rlp.too_many_items`, `rlp.too_deep`, `rlp.truncated`,
    `rlp.trailing`, `rlp.non_canonical`.
    """
    if len(data) > max_bytes:
        raise InvalidInput("rlp.too_large", "the encoding is too large", length=len(data), limit=max_bytes)
    if not data:
        raise InvalidInput("rlp.empty", "no bytes encode no item")
    raw = bytes(data)
    decoder = _Decoder(raw)
    item, end = decoder.item(0, len(raw), 0)
    if end != len(raw):
        raise InvalidInput("rlp.trailing", "bytes follow the item", left=len(raw) - end)
    return item


def decode_list(data: bytes | memoryview, length: int) -> list[Item]:
    """Return the elements of a list that must have exactly `length` of them; adds `rlp.bad_shape`."""
    item = decode(data)
    if not isinstance(item, list) or len(item) != length:
        raise InvalidInput("rlp.bad_shape", f"a list of {length} wanted")
    return item


def encode_int(value: int) -> bytes:
    """Return the shortest big-endian bytes of an unsigned integer; zero is the empty string."""
    if value < 0:
        raise InvalidInput("rlp.negative", "RLP integers are unsigned", value=value)
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def decode_int(item: Item, max_bytes: int = 32) -> int:
    """Return an unsigned integer of at most `max_bytes` bytes.

    Raises InvalidInput `rlp.bad_shape` for a list, `rlp.int_too_large`, `rlp.non_canonical` (leading zeros).
    """
    if isinstance(item, list):
        raise InvalidInput("rlp.bad_shape", "an integer wanted, a list found")
    if len(item) > max_bytes:
        raise InvalidInput(
            "rlp.int_too_large", f"an integer of at most {max_bytes} bytes wanted", got=len(item)
        )
    if item[:1] == b"\0":
        raise InvalidInput("rlp.non_canonical", "an integer has leading zeros")
    return int.from_bytes(item, "big")


def _prefix(length: int, kind: int) -> bytes:
    if length <= _SHORT:
        return bytes([kind + length])
    size = encode_int(length)
    return bytes([kind + _SHORT + len(size)]) + size


class _Decoder:
    """Walk one encoding; `end` is always a bound that the caller has proved."""

    __slots__ = ("_data", "_items")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._items = 0

    def item(self, offset: int, end: int, depth: int) -> tuple[Item, int]:
        """Return the item at `offset` and the offset after it."""
        self._items += 1
        if self._items > MAX_ITEMS:
            raise InvalidInput("rlp.too_many_items", "too many items", limit=MAX_ITEMS)
        first = self._data[offset]
        if first < _STRING:
            return self._data[offset : offset + 1], offset + 1
        if first < LIST_PREFIX:
            start, stop = self._span(offset, end, _STRING)
            self._require_long_form(first, start, stop)
            return self._data[start:stop], stop
        start, stop = self._span(offset, end, LIST_PREFIX)
        return self._elements(start, stop, depth + 1), stop

    def _elements(self, start: int, stop: int, depth: int) -> list[Item]:
        if depth > MAX_DEPTH:
            raise InvalidInput("rlp.too_deep", "lists nest too deep", limit=MAX_DEPTH)
        elements: list[Item] = []
        while start < stop:
            element, start = self.item(start, stop, depth)
            elements.append(element)
        return elements

    def _span(self, offset: int, end: int, kind: int) -> tuple[int, int]:
        """Return where the payload of a string or list begins and ends, both within `end`."""
        length = self._data[offset] - kind
        start = offset + 1
        if length > _SHORT:
            size_bytes = length - _SHORT
            start += size_bytes
            if start > end:
                raise InvalidInput("rlp.truncated", "a length runs past the end", offset=offset)
            length = int.from_bytes(self._data[offset + 1 : start], "big")
            if length <= _SHORT or self._data[offset + 1] == 0:
                raise InvalidInput("rlp.non_canonical", "a length is not in its shortest form", offset=offset)
        if length > end - start:
            raise InvalidInput("rlp.truncated", "an item runs past the end", offset=offset)
        return start, start + length

    def _require_long_form(self, first: int, start: int, stop: int) -> None:
        if first == _STRING + 1 and stop - start == 1 and self._data[start] < _STRING:
            raise InvalidInput("rlp.non_canonical", "a single small byte stands for itself", offset=start)
