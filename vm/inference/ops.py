"""The meaning of every op, one function each, in numpy int64 with no float anywhere.

Values carry a leading batch axis B, which no op mixes: row b of a result depends on row b of the source
alone, so a batch of one and a batch of many agree. All arithmetic is int64; `analyse` has proven that nothing
leaves it. One rounding exists, half up: `round_shift` for powers of two, `round_divide` for other divisors.
Formulas and bounds: docs/spec/inference.md section 3.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

import numpy as np

from vm.inference.graph import Convolution, Op, Pooling, Requantization
from vm.inference.tensors import Int64, Integers

Kernel: TypeAlias = Callable[[Int64, Sequence[Integers], Sequence[int]], Int64]
"""Compute one node: source value (B, ...), its constants, its attributes."""

Taps: TypeAlias = Iterator[tuple[int, int, Int64]]
"""Yield, per kernel position, its row and column and the elements (B, H', W', C) it meets."""

SOFTMAX_TABLE_BITS: Final = 10
SOFTMAX_TABLE_MASK: Final = (1 << SOFTMAX_TABLE_BITS) - 1
SOFTMAX_EXPONENT_SHIFT: Final = 15
SOFTMAX_MAX_OCTAVES: Final = 40
"""2^30 shifted right by 15 + 40 is 0 after rounding: farther logits add nothing, and shifts stay below 64."""
PROBABILITY_BITS: Final = 15
_LEAST: Final = int(np.iinfo(np.int64).min)


def round_shift(value: Int64, shift: Integers | int) -> Int64:
    """Return floor((value + 2^(shift-1)) / 2^shift), 1 <= shift <= 62."""
    return (value + np.left_shift(np.int64(1), np.subtract(shift, 1, dtype=np.int64))) >> shift


def round_divide(numerator: Int64, divisor: Integers | int) -> Int64:
    """Return floor((2 * numerator + divisor) / (2 * divisor)), divisor >= 1."""
    return (2 * numerator + divisor) // (2 * np.asarray(divisor, dtype=np.int64))


def conv2d(source: Int64, constants: Sequence[Integers], attributes: Sequence[int]) -> Int64:
    """Correlate (B, H, W, C) 8-bit with weights (O, KH, KW, C) i8 and bias (O,) i32 into (B, H', W', O) i32.

    acc[y, x, o] = bias[o] + sum over r, s, c of source[y*sy + r*dy - top, x*sx + s*dx - left, c] * weights[o,
    r, s, c], elements outside the image being 0. |acc| < 2^31 in any order.
    """
    weights, bias = (constant.astype(np.int64) for constant in constants)
    window = Convolution(*attributes)
    total = bias
    for row, column, met in convolution_taps(source, weights.shape[1:3], window):
        total = total + met @ weights[:, row, column, :].T
    return total


def depthwise_conv2d(source: Int64, constants: Sequence[Integers], attributes: Sequence[int]) -> Int64:
    """Correlate each channel of (B, H, W, C) with its own weights (C, KH, KW); bias (C,), result i32.

    acc[y, x, c] = bias[c] + sum over r, s of source[y*sy + r*dy - top, x*sx + s*dx - left, c] * weights[c, r,
    s].
    """
    weights, bias = (constant.astype(np.int64) for constant in constants)
    window = Convolution(*attributes)
    total = bias
    for row, column, met in convolution_taps(source, weights.shape[1:3], window):
        total = total + met * weights[:, row, column]
    return total


def dense(source: Int64, constants: Sequence[Integers], _attributes: Sequence[int]) -> Int64:
    """Multiply (B, ..., K) 8-bit by weights (N, K) i8, add bias (N,) i32: (B, ..., N) i32, |acc| < 2^31."""
    weights, bias = (constant.astype(np.int64) for constant in constants)
    return source @ weights.T + bias


def requant(source: Int64, constants: Sequence[Integers], attributes: Sequence[int]) -> Int64:
    """Scale by multiplier / 2^shift per channel (last axis) or per tensor, round half up, clamp to low..high.

    |source| <= 2^31 and 0 <= multiplier < 2^31, so |product| + 2^(shift-1) <= 2^62 + 2^61 < 2^63.
    """
    multiplier, shift = (constant.astype(np.int64) for constant in constants)
    target = Requantization(*attributes)
    return round_shift(source * multiplier, shift).clip(target.low, target.high)


def max_pool2d(source: Int64, _constants: Sequence[Integers], attributes: Sequence[int]) -> Int64:
    """Take the greatest element of each window of (B, H, W, C); padding takes no part."""
    pooling = Pooling(*attributes)
    padded = _pad(source, pooling[4:], _LEAST)
    shape = pooled_extent(source.shape, pooling)
    best: Int64 | None = None
    for _, _, met in _taps(padded, (pooling[:2], pooling[2:4], (1, 1)), shape):
        best = met if best is None else np.maximum(best, met)
    return source if best is None else best


def average_pool2d(source: Int64, _constants: Sequence[Integers], attributes: Sequence[int]) -> Int64:
    """Average each window of (B, H, W, C) over its n elements inside the image: round_divide(sum, n)."""
    pooling = Pooling(*attributes)
    shape = pooled_extent(source.shape, pooling)
    inside = np.ones((1, *source.shape[1:3], 1), dtype=np.int64)
    total, count = (
        sum(
            (
                met
                for _, _, met in _taps(
                    _pad(plane, pooling[4:], 0), (pooling[:2], pooling[2:4], (1, 1)), shape
                )
            )
        )
        for plane in (source, inside)
    )
    return round_divide(np.asarray(total), np.asarray(count))


def relu(source: Int64, _constants: Sequence[Integers], _attributes: Sequence[int]) -> Int64:
    """Return max(source, 0)."""
    return np.maximum(source, 0)


def flatten(source: Int64, _constants: Sequence[Integers], _attributes: Sequence[int]) -> Int64:
    """Lay (B, ...) out as (B, n) in row-major order."""
    return source.reshape(source.shape[0], -1)


def softmax(source: Int64, constants: Sequence[Integers], _attributes: Sequence[int]) -> Int64:
    """Turn base-2 logits z in Q.10 (last axis) into probabilities in Q.15.

    d = max z - z; e = round_shift(EXP2[d mod 1024], 15 + min(d >> 10, 40)), at most 2^15 and exactly that
    where d = 0 and EXP2[0] = 2^30; p = round_divide(e * 2^15, sum e). The sum is at least 2^14 (the greatest
    logit's own e).
    """
    table = constants[0].astype(np.int64)
    distance = source.max(axis=-1, keepdims=True) - source
    octaves = np.minimum(distance >> SOFTMAX_TABLE_BITS, SOFTMAX_MAX_OCTAVES)
    weight = round_shift(table[distance & SOFTMAX_TABLE_MASK], SOFTMAX_EXPONENT_SHIFT + octaves)
    return round_divide(weight << PROBABILITY_BITS, weight.sum(axis=-1, keepdims=True))


def argmax(source: Int64, _constants: Sequence[Integers], _attributes: Sequence[int]) -> Int64:
    """Return the index of the greatest of the last axis, the lowest on a tie: (B, ..., K) to (B, ..., 1)."""
    return np.asarray(np.argmax(source, axis=-1, keepdims=True), dtype=np.int64)


def convolution_taps(source: Int64, kernel: Sequence[int], window: Convolution) -> Taps:
    """Yield what each kernel position of a convolution meets, zero padding applied."""
    strides = (window.stride_height, window.stride_width)
    dilations = (window.dilation_height, window.dilation_width)
    shape = []
    for axis in (0, 1):
        span = dilations[axis] * (kernel[axis] - 1) + 1
        padded_size = source.shape[1 + axis] + window[4 + 2 * axis] + window[5 + 2 * axis]
        shape.append((padded_size - span) // strides[axis] + 1)
    return _taps(_pad(source, window[4:], 0), (kernel, strides, dilations), shape)


def pooled_extent(shape: Sequence[int], pooling: Pooling) -> tuple[int, int]:
    """Return the height and width of a pooled (B, H, W, C)."""
    height = (
        shape[1] + pooling.pad_top + pooling.pad_bottom - pooling.kernel_height
    ) // pooling.stride_height + 1
    width = (
        shape[2] + pooling.pad_left + pooling.pad_right - pooling.kernel_width
    ) // pooling.stride_width + 1
    return height, width


def _taps(padded: Int64, steps: Sequence[Sequence[int]], shape: Sequence[int]) -> Taps:
    kernel, strides, dilations = steps
    for row in range(kernel[0]):
        top = row * dilations[0]
        rows = slice(top, top + (shape[0] - 1) * strides[0] + 1, strides[0])
        for column in range(kernel[1]):
            left = column * dilations[1]
            columns = slice(left, left + (shape[1] - 1) * strides[1] + 1, strides[1])
            yield row, column, padded[:, rows, columns, :]


def _pad(source: Int64, pads: Sequence[int], fill: int) -> Int64:
    """Surround (B, H, W, C) with pads (top, bottom, left, right) of `fill`."""
    if not any(pads):
        return source
    top, bottom, left, right = pads
    batch, height, width, channels = source.shape
    padded = np.full((batch, top + height + bottom, left + width + right, channels), fill, dtype=np.int64)
    padded[:, top : top + height, left : left + width, :] = source
    return padded


KERNELS: Final[dict[Op, Kernel]] = {
    Op.CONV2D: conv2d,
    Op.DEPTHWISE_CONV2D: depthwise_conv2d,
    Op.DENSE: dense,
    Op.REQUANT: requant,
    Op.MAX_POOL2D: max_pool2d,
    Op.AVERAGE_POOL2D: average_pool2d,
    Op.RELU: relu,
    Op.FLATTEN: flatten,
    Op.SOFTMAX: softmax,
    Op.ARGMAX: argmax,
}
