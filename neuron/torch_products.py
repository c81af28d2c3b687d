"""Exact integer matrix products on torch, by the fastest unit that has shown that it is exact.

`Int8Product` uses int8 matrix units. They are silently wrong on processors without VNNI, which add byte
products in saturating 16-bit lanes, and picky about shapes on CUDA; so it is used only after
`int8_units_are_exact` on this very device. `Float32Product` is exact everywhere: it cuts the reduction so
that no piece can pass 2^24.
"""

from typing import Final, Protocol

import torch

from vm.inference.analyse import WEIGHT_LIMIT
from vm.inference.tensors import DType, TensorType

FLOAT32_EXACT: Final = 1 << 24
CUDA_ROWS: Final = 32
"""int8 products on CUDA want more than 16 rows; 32 and its multiples are safe on every version tried."""
CUDA_ALIGNMENT: Final = 8
KNOWN_LENGTHS: Final = (7, 64, 576, 2_048, 8_192)
KNOWN_ROWS: Final = (1, 8, 33)
KNOWN_OUTPUTS: Final = (1, 10, 64)
_PATTERN_PERIOD: Final = 251


class Product(Protocol):
    """Multiply (M, K) by the transpose of (N, K), both int8-ranged, into (M, N) int32."""

    name: str

    def lay_out(self, weights: torch.Tensor) -> torch.Tensor:
        """Return int8 weights (N, K) as this product wants to meet them."""
        ...

    def multiply(self, source: torch.Tensor, weights: torch.Tensor, kind: TensorType) -> torch.Tensor:
        """Return source @ weights.T; `source` is int32 holding values of `kind`, weights as laid out."""
        ...


class Float32Product:
    """Sum exact pieces: each is at most 2^24 in absolute products, which float32 holds."""

    name = "float32 pieces"

    def lay_out(self, weights: torch.Tensor) -> torch.Tensor:
        """Return (K, N) float32."""
        return weights.to(torch.float32).t().contiguous()

    def multiply(self, source: torch.Tensor, weights: torch.Tensor, kind: TensorType) -> torch.Tensor:
        """Return source @ weights.T in int32; int32 holds every partial sum, as the analyser has proven."""
        piece = FLOAT32_EXACT // (max(1, kind.magnitude) * WEIGHT_LIMIT)
        floats = source.to(torch.float32)
        total = torch.zeros((source.shape[0], weights.shape[1]), dtype=torch.int32, device=source.device)
        for start in range(0, source.shape[1], piece):
            total += (floats[:, start : start + piece] @ weights[start : start + piece]).to(torch.int32)
        return total


class Int8Product:
    """Use int8 matrix units where the values fit; bytes above 127 go to the float32 pieces."""

    name = "int8 units"

    def __init__(self) -> None:
        """Keep the other route at hand."""
        self._floats = Float32Product()

    def lay_out(self, weights: torch.Tensor) -> torch.Tensor:
        """Return (N, K) int8 as it is: the unit reads it as a transposed view, its fastest layout."""
        return weights.to(torch.int8).contiguous()

    def multiply(self, source: torch.Tensor, weights: torch.Tensor, kind: TensorType) -> torch.Tensor:
        """Return source @ weights.T in int32."""
        if kind.low < DType.I8.low or kind.high > DType.I8.high:
            return self._floats.multiply(source, self._floats.lay_out(weights), kind)
        return int8_product(source.to(torch.int8), weights)


def int8_product(source: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Multiply (M, K) int8 by (N, K) int8 transposed, padded with zeros to what CUDA accepts."""
    rows, outputs = source.shape[0], weights.shape[0]
    if source.is_cuda:
        source = _padded(source, CUDA_ROWS, CUDA_ALIGNMENT)
        weights = _padded(weights, CUDA_ALIGNMENT, CUDA_ALIGNMENT)
    product = torch._int_mm(source.contiguous(), weights.t())  # noqa: SLF001 (it has no public name)
    return product[:rows, :outputs]


def int8_units_are_exact(device: torch.device) -> bool:
    """Tell whether int8 products are right on this device, at the values where wrong ones show."""
    try:
        return all(
            _known_answer_holds(device, length, rows, outputs)
            for length in KNOWN_LENGTHS
            for rows in KNOWN_ROWS
            for outputs in KNOWN_OUTPUTS
        )
    except (RuntimeError, NotImplementedError, AttributeError):
        return False


def _known_answer_holds(device: torch.device, length: int, rows: int, outputs: int) -> bool:
    for left, right in ((127, 127), (-128, -127), (127, -127), (None, None)):
        source, weights = (
            _pattern(rows, length, left),
            _pattern(outputs, length, right).clamp(min=-WEIGHT_LIMIT),
        )
        wanted = source.to(torch.float64) @ weights.to(torch.float64).t()
        found = int8_product(source.to(device), weights.to(device))
        if not torch.equal(found.cpu().to(torch.float64), wanted):
            return False
    return True


def _pattern(rows: int, columns: int, value: int | None) -> torch.Tensor:
    """Return a constant, or values that run through -125..125 unevenly."""
    if value is not None:
        return torch.full((rows, columns), value, dtype=torch.int8)
    counted = torch.arange(rows * columns, dtype=torch.int64).reshape(rows, columns)
    return ((counted * counted + 7 * counted) % _PATTERN_PERIOD - _PATTERN_PERIOD // 2).to(torch.int8)


def _padded(matrix: torch.Tensor, row_step: int, column_step: int) -> torch.Tensor:
    rows, columns = -matrix.shape[0] % row_step, -matrix.shape[1] % column_step
    return torch.nn.functional.pad(matrix, (0, columns, 0, rows)) if rows or columns else matrix
