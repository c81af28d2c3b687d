"""Columns: many values of one kind side by side, so that a compressor sees like next to like.

A column has no length of its own; how many values it holds follows from columns before it. Every value has
one encoding, and a reader never holds more values than bytes it was given.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final

from primitives.codec import MAX_UVARINT
from primitives.errors import InvalidInput

MAX_AMOUNT_BYTES: Final = 32
_MAX_EXPONENT: Final = 77
"""10^77 is the largest power of ten below 2^256."""
_VARINT_SHIFT_LIMIT: Final = 63


class ColumnWriter:
    """Append columns."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def finish(self) -> bytes:
        """Return everything written."""
        return bytes(self._buffer)

    def raw(self, pieces: Iterable[bytes]) -> None:
        """Append byte strings one after the other; the reader knows their lengths."""
        self._buffer += b"".join(pieces)

    def octets(self, values: Sequence[int]) -> None:
        """Append one byte each."""
        self._buffer += bytes(values)

    def uvarints(self, values: Iterable[int]) -> None:
        """Append LEB128 integers of at most 64 bits; raises InvalidInput `batch.out_of_range`."""
        buffer = self._buffer
        for value in values:
            if not 0 <= value <= MAX_UVARINT:
                raise InvalidInput("batch.out_of_range", "a batch integer has at most 64 bits", value=value)
            left = value
            while left >= 0x80:
                buffer.append((left & 0x7F) | 0x80)
                left >>= 7
            buffer.append(left)

    def bits(self, values: Sequence[int]) -> None:
        """Append 0 or 1 each, eight a byte, the first in the highest bit, zeros after the last."""
        for start in range(0, len(values), 8):
            group = values[start : start + 8]
            byte = 0
            for bit in group:
                byte = byte << 1 | bit
            self._buffer.append(byte << (8 - len(group)))

    def amounts(self, values: Sequence[int]) -> None:
        """Append unsigned 256-bit integers: exponents of ten, then mantissa lengths, then mantissas."""
        split = [split_amount(value) for value in values]
        self.octets([exponent for exponent, _ in split])
        self.octets([len(mantissa) for _, mantissa in split])
        self.raw(mantissa for _, mantissa in split)

    def strings(self, values: Sequence[bytes]) -> None:
        """Append byte strings as two columns: lengths, contents."""
        self.uvarints(len(value) for value in values)
        self.raw(values)


class ColumnReader:
    """Take columns off the front; raises InvalidInput `batch.truncated` when too few bytes are left."""

    __slots__ = ("_data", "_offset")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0

    def done(self) -> None:
        """Require that nothing is left; raises InvalidInput `batch.trailing`."""
        left = len(self._data) - self._offset
        if left:
            raise InvalidInput("batch.trailing", "bytes follow the last column", left=left)

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        start = self._offset
        self._require(count)
        self._offset = start + count
        return self._data[start : self._offset]

    def octets(self, count: int) -> bytes:
        """Return one byte each."""
        return self.take(count)

    def fixed(self, count: int, size: int) -> list[bytes]:
        """Return byte strings of one size."""
        data = self.take(count * size)
        return [data[start : start + size] for start in range(0, len(data), size)]

    def uvarint(self) -> int:
        """Return one integer."""
        return self.uvarints(1)[0]

    def uvarints(self, count: int) -> list[int]:
        """Return integers; raises InvalidInput `batch.out_of_range`, `batch.non_canonical`."""
        self._require(count)
        data, offset, values = self._data, self._offset, []
        try:
            for _ in range(count):
                value = data[offset]
                offset += 1
                if value >= 0x80:
                    value, offset = _read_long(data, offset, value & 0x7F)
                values.append(value)
        except IndexError:
            raise InvalidInput("batch.truncated", "the batch ends inside an integer") from None
        self._offset = offset
        return values

    def bits(self, count: int) -> list[int]:
        """Return 0 or 1 each; raises InvalidInput `batch.non_canonical` for a one after the last."""
        data = self.take((count + 7) // 8)
        number, padding = int.from_bytes(data, "big"), -count % 8
        if number & ((1 << padding) - 1):
            raise InvalidInput("batch.non_canonical", "bits after the last are not zero")
        return [int(bit) for bit in f"{number >> padding:0{count}b}"] if count else []

    def amounts(self, count: int) -> list[int]:
        """Return unsigned 256-bit integers; raises InvalidInput `batch.bad_amount`."""
        exponents, lengths = self.octets(count), self.octets(count)
        return [
            join_amount(exponent, self.take(length))
            for exponent, length in zip(exponents, lengths, strict=True)
        ]

    def strings(self, count: int, limit: int) -> list[bytes]:
        """Return byte strings of `limit` bytes together; raises InvalidInput `batch.too_large`."""
        lengths = self.uvarints(count)
        total = sum(lengths)
        if total > limit:
            raise InvalidInput(
                "batch.too_large", "byte strings are longer than allowed", total=total, limit=limit
            )
        self._require(total)
        return [self.take(length) for length in lengths]

    def _require(self, count: int) -> None:
        left = len(self._data) - self._offset
        if count > left:
            raise InvalidInput("batch.truncated", "the batch ends inside a column", wanted=count, left=left)


class Table:
    """Byte strings of one size that occur again and again: each is written once, where it first occurs.

    A column of references is written as numbers, 0 for absence, 1 + position for an entry, one past the last
    for a new one; then the new entries.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: list[bytes] = []
        self._positions: dict[bytes, int] = {}

    def write(self, writer: ColumnWriter, items: Iterable[bytes | None]) -> None:
        """Append a column of references."""
        start = len(self._entries)
        references = [0 if item is None else 1 + self._place(item) for item in items]
        writer.uvarints(references)
        writer.raw(self._entries[start:])

    def read(self, reader: ColumnReader, count: int) -> list[bytes | None]:
        """Return a column of references; raises InvalidInput `batch.bad_reference`, `.repeated_entry`."""
        references = reader.uvarints(count)
        known = start = len(self._entries)
        for reference in references:
            if reference > known + 1:
                raise InvalidInput("batch.bad_reference", "no such entry in the table", reference=reference)
            known += reference == known + 1
        for entry in reader.fixed(known - start, self._size):
            if entry in self._positions:
                raise InvalidInput("batch.repeated_entry", "a table holds an entry twice", entry=entry.hex())
            self._place(entry)
        entries = self._entries
        return [entries[reference - 1] if reference else None for reference in references]

    def read_all(self, reader: ColumnReader, count: int) -> list[bytes]:
        """Return a column in which nothing is absent; adds `batch.absent_entry`."""
        found = self.read(reader, count)
        entries = [entry for entry in found if entry is not None]
        if len(entries) != count:
            raise InvalidInput("batch.absent_entry", "a table entry is wanted here")
        return entries

    def _place(self, item: bytes) -> int:
        position = self._positions.setdefault(item, len(self._entries))
        if position == len(self._entries):
            self._entries.append(item)
        return position


def split_amount(value: int) -> tuple[int, bytes]:
    """Return decimal exponent and stripped big-endian mantissa: amounts that people choose end in zeros."""
    if not value:
        return 0, b""
    digits = str(value)
    exponent = len(digits) - len(digits.rstrip("0"))
    mantissa = value // 10**exponent
    return exponent, mantissa.to_bytes((mantissa.bit_length() + 7) // 8, "big")


def join_amount(exponent: int, mantissa: bytes) -> int:
    """Return the amount; raises InvalidInput `batch.bad_amount` for what `split_amount` never makes."""
    number = int.from_bytes(mantissa, "big")
    value = number * 10**exponent if exponent <= _MAX_EXPONENT else -1
    canonical = not mantissa or (mantissa[0] != 0 and number % 10 != 0)
    if not canonical or (not mantissa and exponent) or not 0 <= value < 1 << 8 * MAX_AMOUNT_BYTES:
        raise InvalidInput("batch.bad_amount", "an amount is not in its one form", exponent=exponent)
    return value


def flatten(groups: Iterable[Iterable[bytes]]) -> list[bytes]:
    """Return the groups' values as one column."""
    return list(chain.from_iterable(groups))


def _read_long(data: bytes, offset: int, value: int) -> tuple[int, int]:
    """Return an integer of two bytes or more, and the offset after it; raises IndexError past the end."""
    shift, byte = 7, 0x80
    while byte >= 0x80:
        if shift > _VARINT_SHIFT_LIMIT:
            raise InvalidInput("batch.out_of_range", "a batch integer has at most 64 bits")
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        shift += 7
    if byte == 0:
        raise InvalidInput("batch.non_canonical", "an integer is not in its shortest form")
    if value > MAX_UVARINT:
        raise InvalidInput("batch.out_of_range", "a batch integer has at most 64 bits")
    return value, offset
