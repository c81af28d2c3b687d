"""Merkle commitments to tensors, cut so that a court can open one row of one tensor.

A tensor's elements (wire encoding) are cut into rows along its first dimension; a tensor of rank 0 or 1, or
with rows shorter than 64 bytes, is one row. A row is cut into leaves of 1 KiB, the last one shorter. Row
root = tree over its leaves; tensor root = tree over its row roots; section root = tree over the tensor
roots. Trees are `primitives.merkle` (SHA-256, leaves and nodes apart).
"""

from collections.abc import Sequence
from typing import Final

from primitives.ids import Hash32
from primitives.merkle import merkle_root
from vm.inference.tensors import TensorType

LEAF_BYTES: Final = 1_024
MIN_ROW_BYTES: Final = 64
"""Shorter rows are not cut apart: a tensor of one-byte rows would cost more to hash than to run."""


def row_count(tensor: TensorType) -> int:
    """Return how many rows the tensor is cut into."""
    if len(tensor.shape) < 2:
        return 1
    rows = tensor.shape[0]
    return rows if tensor.byte_count >= rows * MIN_ROW_BYTES else 1


def tensor_root(tensor: TensorType, data: bytes | memoryview) -> Hash32:
    """Return the root of one tensor from its wire encoding, whose length the caller has checked."""
    row_bytes = tensor.byte_count // row_count(tensor)
    return merkle_root(
        [_row_root(data[start : start + row_bytes]) for start in range(0, len(data), row_bytes)]
    )


def section_root(tensors: Sequence[tuple[TensorType, bytes | memoryview]]) -> Hash32:
    """Return the root over several tensors in order; of none it is the empty root."""
    return merkle_root([tensor_root(tensor, data) for tensor, data in tensors])


def _row_root(row: bytes | memoryview) -> Hash32:
    return merkle_root([bytes(row[start : start + LEAF_BYTES]) for start in range(0, len(row), LEAF_BYTES)])
