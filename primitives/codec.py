"""Read and write the project's own wire formats: a bounded cursor and its mirror.

Integers are big-endian unless a method says otherwise. `uvarint` is unsigned LEB128 in its shortest form, at
most 64 bits. A reader never allocates more than the bytes it was given, whatever lengths they claim.
"""

from typing import Final

from primitives.errors import InvalidInput
from primitives.hashes import BytesLike

MAX_UVARINT: Final = 2**64 - 1
_UVARINT_BYTES: Final = 10
_CONTINUE: Final = 0x80
_LOW_BITS: Final = 0x7F


class Reader:
    """Take values off the front of a byte string, refusing to run past its end.

    Every method raises InvalidInput `codec.truncated` when too few bytes are left, and then consumes nothing.
    """

    __slots__ = ("_end", "_offset", "_view")

    def __init__(self, data: BytesLike) -> None:
        """Start at the first byte; the data is viewed, not copied."""
        self._view = memoryview(data)
        self._offset = 0
        self._end = len(self._view)

    @property
    def offset(self) -> int:
        """Return the number of bytes consumed."""
        return self._offset

    @property
    def remaining(self) -> int:
        """Return the number of bytes left."""
        return self._end - self._offset

    def view(self, count: int) -> memoryview:
        """Return the next bytes without a copy; they stay alive with the underlying data."""
        if not 0 <= count <= self._end - self._offset:
            raise InvalidInput("codec.truncated", "ran past the end", wanted=count, left=self.remaining)
        start = self._offset
        self._offset = start + count
        return self._view[start : self._offset]

    def take(self, count: int) -> bytes:
        """Return a copy of the next bytes."""
        return bytes(self.view(count))

    def u8(self) -> int:
        """Return the next byte."""
        return self.view(1)[0]

    def u16(self) -> int:
        """Return the next 2 bytes as an unsigned integer."""
        return int.from_bytes(self.view(2), "big")

    def u32(self) -> int:
        """Return the next 4 bytes as an unsigned integer."""
        return int.from_bytes(self.view(4), "big")

    def u64(self) -> int:
        """Return the next 8 bytes as an unsigned integer."""
        return int.from_bytes(self.view(8), "big")

    def uvarint(self) -> int:
        """Return the next LEB128 integer.

        Raises InvalidInput `codec.overflow` above 64 bits, `codec.non_canonical` when a shorter form exists.
        """
        window = self._view[self._offset : self._offset + _UVARINT_BYTES]
        value = 0
        for position, byte in enumerate(window):
            value |= (byte & _LOW_BITS) << (7 * position)
            if byte < _CONTINUE:
                return self._accept_uvarint(value, byte, position + 1)
        if len(window) == _UVARINT_BYTES:
            raise InvalidInput("codec.overflow", "an integer is longer than 64 bits")
        raise InvalidInput("codec.truncated", "ran past the end of an integer", left=self.remaining)

    def byte_string(self, limit: int) -> bytes:
        """Return a byte string written as its length (uvarint), then its bytes.

        Raises InvalidInput `codec.too_long` when the claimed length is above `limit`.
        """
        start = self._offset
        length = self.uvarint()
        if length > limit or length > self.remaining:
            left = self.remaining
            self._offset = start
            if length > limit:
                raise InvalidInput("codec.too_long", "a byte string is too long", length=length, limit=limit)
            raise InvalidInput("codec.truncated", "ran past the end", wanted=length, left=left)
        return self.take(length)

    def rest(self) -> bytes:
        """Return everything that is left."""
        return self.take(self.remaining)

    def done(self) -> None:
        """Require that nothing is left; raises InvalidInput `codec.trailing`."""
        if self.remaining:
            raise InvalidInput("codec.trailing", "bytes are left over", left=self.remaining)

    def _accept_uvarint(self, value: int, last: int, length: int) -> int:
        if value > MAX_UVARINT:
            raise InvalidInput("codec.overflow", "an integer is longer than 64 bits")
        if last == 0 and length > 1:
            raise InvalidInput("codec.non_canonical", "an integer is not in its shortest form")
        self._offset += length
        return value


class Writer:
    """Append values to a byte string; the mirror of `Reader`.

    Integer methods raise InvalidInput `codec.out_of_range` for a value that does not fit.
    """

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        """Start empty."""
        self._buffer = bytearray()

    def __len__(self) -> int:
        """Return the number of bytes written."""
        return len(self._buffer)

    def raw(self, data: BytesLike) -> None:
        """Append bytes as they are."""
        self._buffer += data

    def u8(self, value: int) -> None:
        """Append one byte."""
        self._unsigned(value, 1)

    def u16(self, value: int) -> None:
        """Append 2 bytes."""
        self._unsigned(value, 2)

    def u32(self, value: int) -> None:
        """Append 4 bytes."""
        self._unsigned(value, 4)

    def u64(self, value: int) -> None:
        """Append 8 bytes."""
        self._unsigned(value, 8)

    def uvarint(self, value: int) -> None:
        """Append an LEB128 integer in its shortest form."""
        if not 0 <= value <= MAX_UVARINT:
            raise InvalidInput("codec.out_of_range", "not an unsigned 64-bit integer", value=value)
        while value >= _CONTINUE:
            self._buffer.append((value & _LOW_BITS) | _CONTINUE)
            value >>= 7
        self._buffer.append(value)

    def byte_string(self, data: BytesLike) -> None:
        """Append the length (uvarint), then the bytes."""
        self.uvarint(len(data))
        self._buffer += data

    def finish(self) -> bytes:
        """Return what was written."""
        return bytes(self._buffer)

    def _unsigned(self, value: int, length: int) -> None:
        try:
            self._buffer += value.to_bytes(length, "big")
        except OverflowError as error:
            message = f"does not fit {length} bytes"
            raise InvalidInput("codec.out_of_range", message, value=value) from error
