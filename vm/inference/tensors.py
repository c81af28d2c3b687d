"""Tensor types and the one byte encoding of their elements.

A tensor on the wire is its elements alone, row-major, each big-endian two's complement in the width of its
dtype; shape and range are said once, by its `TensorType`. In memory it is a numpy array in native byte order.
"""

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from primitives.codec import Reader, Writer
from primitives.errors import InvalidInput

Integers: TypeAlias = npt.NDArray[Any]
"""Integer array of any width."""
Int64: TypeAlias = npt.NDArray[np.int64]

Code = TypeVar("Code", bound=IntEnum)

MAX_RANK = 6
MAX_DIMENSION = 1 << 24
MAX_ELEMENTS = 1 << 32
"""Of one constant. Values that flow through a graph have a lower bound (`analyse.MAX_VALUE_ELEMENTS`)."""

_SIGN_64 = 1 << 64


class DType(IntEnum):
    """Storage width of an element; the value is its code in every encoding."""

    U8 = 1
    I8 = 2
    U16 = 3
    I16 = 4
    I32 = 5

    @property
    def width(self) -> int:
        """Return the bytes of one element."""
        return _WIDTHS[self]

    @property
    def low(self) -> int:
        """Return the least value the width holds."""
        return -(1 << (8 * self.width - 1)) if self in _SIGNED else 0

    @property
    def high(self) -> int:
        """Return the greatest value the width holds."""
        return (1 << (8 * self.width - (1 if self in _SIGNED else 0))) - 1


_WIDTHS = {DType.U8: 1, DType.I8: 1, DType.U16: 2, DType.I16: 2, DType.I32: 4}
_SIGNED = frozenset({DType.I8, DType.I16, DType.I32})
_NATIVE: dict[DType, type[np.integer[Any]]] = {
    DType.U8: np.uint8,
    DType.I8: np.int8,
    DType.U16: np.uint16,
    DType.I16: np.int16,
    DType.I32: np.int32,
}


@dataclass(frozen=True, slots=True)
class TensorType:
    """State the width, shape and closed value range of a tensor.

    The range may be narrower than the width: bounds are proven from it, so a tensor with an element outside
    it is refused wherever bytes enter.
    """

    dtype: DType
    shape: tuple[int, ...]
    low: int
    high: int

    @property
    def elements(self) -> int:
        """Return the number of elements (1 for rank 0)."""
        return math.prod(self.shape)

    @property
    def byte_count(self) -> int:
        """Return the length of the encoding."""
        return self.elements * self.dtype.width

    @property
    def magnitude(self) -> int:
        """Return the greatest absolute value in the range."""
        return max(abs(self.low), abs(self.high))


def require_tensor_type(tensor: TensorType) -> None:
    """Refuse a type that no tensor can have.

    Raises InvalidInput `model.shape` for the dimensions, `model.range` for an empty range or one outside the
    width.
    """
    if len(tensor.shape) > MAX_RANK or any(not 1 <= size <= MAX_DIMENSION for size in tensor.shape):
        raise InvalidInput("model.shape", "rank or dimension out of bounds", shape=tensor.shape)
    if tensor.elements > MAX_ELEMENTS:
        raise InvalidInput("model.shape", "too many elements", shape=tensor.shape)
    if not tensor.dtype.low <= tensor.low <= tensor.high <= tensor.dtype.high:
        raise InvalidInput(
            "model.range", "range is empty or wider than the dtype", low=tensor.low, high=tensor.high
        )


def code_of(kind: type[Code], code: int, what: str) -> Code:
    """Return the enum member of a code from outside; raises InvalidInput `model.<what>` when unknown."""
    try:
        return kind(code)
    except ValueError as error:
        raise InvalidInput(f"model.{what}", f"unknown {what} code", found=code) from error


def encode_tensor_type(writer: Writer, tensor: TensorType) -> None:
    """Append dtype u8, rank u8, each dimension u32, low i64, high i64."""
    writer.u8(tensor.dtype)
    writer.u8(len(tensor.shape))
    for size in tensor.shape:
        writer.u32(size)
    writer.u64(tensor.low % _SIGN_64)
    writer.u64(tensor.high % _SIGN_64)


def decode_tensor_type(reader: Reader) -> TensorType:
    """Read one tensor type; raises InvalidInput `model.dtype`, `model.shape`, `model.range` or `codec.*`."""
    dtype = code_of(DType, reader.u8(), "dtype")
    rank = reader.u8()
    if rank > MAX_RANK:
        raise InvalidInput("model.shape", "rank out of bounds", rank=rank)
    shape = tuple(reader.u32() for _ in range(rank))
    tensor = TensorType(dtype, shape, read_i64(reader), read_i64(reader))
    require_tensor_type(tensor)
    return tensor


def read_i64(reader: Reader) -> int:
    """Read a big-endian two's complement 64-bit integer."""
    value = reader.u64()
    return value - _SIGN_64 if value >> 63 else value


def encode_tensor(tensor: TensorType, values: Integers) -> bytes:
    """Return the elements in wire order; `values` must have the tensor's elements, any leading shape.

    Raises InvalidInput `model.tensor_size` or `model.tensor_value`.
    """
    if values.size != tensor.elements:
        raise InvalidInput(
            "model.tensor_size", "wrong number of elements", expected=tensor.elements, found=values.size
        )
    if int(values.min()) < tensor.low or int(values.max()) > tensor.high:
        raise InvalidInput("model.tensor_value", "element outside the declared range")
    return values.astype(_wire_dtype(tensor.dtype)).tobytes()


def decode_tensor(tensor: TensorType, data: bytes | memoryview) -> Integers:
    """Return the elements of `data` in the tensor's shape and native byte order.

    Raises InvalidInput `model.tensor_size` (length is checked before anything is read) or
    `model.tensor_value`.
    """
    if len(data) != tensor.byte_count:
        raise InvalidInput("model.tensor_size", "wrong length", expected=tensor.byte_count, found=len(data))
    values = np.frombuffer(data, dtype=_wire_dtype(tensor.dtype)).astype(_NATIVE[tensor.dtype])
    if int(values.min()) < tensor.low or int(values.max()) > tensor.high:
        raise InvalidInput("model.tensor_value", "element outside the declared range")
    return values.reshape(tensor.shape)


def _wire_dtype(dtype: DType) -> np.dtype[Any]:
    return np.dtype(_NATIVE[dtype]).newbyteorder(">")
