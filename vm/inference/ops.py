"""The meaning of every op, one function each, in numpy int64 with no float anywhere.

Values carry a leading batch axis B, which no op mixes: row b of a result depends on row b of the source
alone, so a batch of one and a batch of many agree. All arithmetic is int64; `analyse` has proven that nothing
leaves it. One rounding exists, half up: `round_shift` for powers of two, `round_divide` for other divisors.
Formulas and bounds: docs/spec/inference.md section 3.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from vm.inference.graph import Convolution, Op, Pooling, Requantization
from vm.inference.tensors import Int64, Integers

Kernel: TypeAlias = Callable[[Int64, Sequence[Integers], Sequence[int]], Int64]
"""Compute one node: source value (B, ...), its constants, its attributes."""

SOFTMAX_TABLE_BITS: Final = 10
SOFTMAX_TABLE_MASK: Final = (1 << SOFTMAX_TABLE_BITS) - 1
SOFTMAX_EXPONENT_SHIFT: Final = 15
SOFTMAX_MAX_OCTAVES: Final = 40
"""2^30 shifted right by 15 + 40 is 0 after rounding: farther logits add nothing, and shifts stay below 64."""
PROBABILITY_BITS: Final = 15
_LEAST: Final = int(np.iinfo(np.int64).min)


class Axis(NamedTuple):
    """How windows lie along the height or the width of an image, `before` and `after` being its padding."""

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def extent(self) -> int:
        """Return the number of windows."""
        span = self.dilation * (self.kernel - 1) + 1
        return (self.size + self.before + self.after - span) // self.stride + 1

    def meet(self, position: int) -> tuple[slice, slice] | None:
        """Return the windows whose element at a kernel position is inside the image, and those elements.

        Padding is never laid out: it may be ten thousand times the image.
        """
        offset = position * self.dilation - self.before
        first = max(0, -(offset // self.stride))
        last = min(self.extent - 1, (self.size - 1 - offset) // self.stride)
        if last < first:
            return None
        start = offset + first * self.stride
        return slice(first, last + 1), slice(start, start + (last - first) * self.stride + 1, self.stride)


Axes: TypeAlias = tuple[Axis, Axis]
"""Height and width."""


Region: TypeAlias = tuple[slice, slice, slice]
"""Batch, height and width."""


class Tap(NamedTuple):
    """One kernel position: where the elements are that it meets, and the place of their windows."""

    row: int
    column: int
    place: Region
    met: Region


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
    axes = convolution_axes(source.shape, weights.shape[1:3], Convolution(*attributes))
    total = everywhere(bias, source.shape[0], axes)
    for tap in taps(axes):
        part = total[tap.place]
        part += source[tap.met] @ weights[:, tap.row, tap.column, :].T
    return total


def depthwise_conv2d(source: Int64, constants: Sequence[Integers], attributes: Sequence[int]) -> Int64:
    """Correlate each channel of (B, H, W, C) with its own weights (C, KH, KW); bias (C,), result i32.

    acc[y, x, c] = bias[c] + sum over r, s of source[y*sy + r*dy - top, x*sx + s*dx - left, c] * weights[c, r,
    s].
    """
    weights, bias = (constant.astype(np.int64) for constant in constants)
    axes = convolution_axes(source.shape, weights.shape[1:3], Convolution(*attributes))
    total = everywhere(bias, source.shape[0], axes)
    for tap in taps(axes):
        part = total[tap.place]
        part += source[tap.met] * weights[:, tap.row, tap.column]
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
    axes = pooling_axes(source.shape, Pooling(*attributes))
    best = everywhere(np.full(source.shape[3], _LEAST, dtype=np.int64), source.shape[0], axes)
    for tap in taps(axes):
        part = best[tap.place]
        np.maximum(part, source[tap.met], out=part)
    return best


def average_pool2d(source: Int64, _constants: Sequence[Integers], attributes: Sequence[int]) -> Int64:
    """Average each window of (B, H, W, C) over its n elements inside the image: round_divide(sum, n)."""
    axes = pooling_axes(source.shape, Pooling(*attributes))
    total = everywhere(np.zeros(source.shape[3], dtype=np.int64), source.shape[0], axes)
    count = everywhere(np.zeros(1, dtype=np.int64), 1, axes)
    for tap in taps(axes):
        part, met = total[tap.place], count[tap.place]
        part += source[tap.met]
        met += 1
    return round_divide(total, count)


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


def convolution_axes(shape: Sequence[int], kernel: Sequence[int], window: Convolution) -> Axes:
    """Return how the windows of a convolution lie on (B, H, W, C)."""
    return (
        Axis(
            shape[1],
            kernel[0],
            window.stride_height,
            window.dilation_height,
            window.pad_top,
            window.pad_bottom,
        ),
        Axis(
            shape[2], kernel[1], window.stride_width, window.dilation_width, window.pad_left, window.pad_right
        ),
    )


def pooling_axes(shape: Sequence[int], pooling: Pooling) -> Axes:
    """Return how the windows of a pooling lie on (B, H, W, C)."""
    return (
        Axis(shape[1], pooling.kernel_height, pooling.stride_height, 1, pooling.pad_top, pooling.pad_bottom),
        Axis(shape[2], pooling.kernel_width, pooling.stride_width, 1, pooling.pad_left, pooling.pad_right),
    )


def taps(axes: Axes) -> Iterator[Tap]:
    """Yield the kernel positions that meet the image (B, H, W, C) at all."""
    lines, posts = ([axis.meet(position) for position in range(axis.kernel)] for axis in axes)
    for row, rows in enumerate(lines):
        for column, columns in enumerate(posts):
            if rows is not None and columns is not None:
                batch = slice(None)
                yield Tap(row, column, (batch, rows[0], columns[0]), (batch, rows[1], columns[1]))


def everywhere(channels: Integers, batch: int, axes: Axes) -> Integers:
    """Return (B, H', W', C) with the same channels (C,) at every window."""
    return np.broadcast_to(channels, (batch, axes[0].extent, axes[1].extent, channels.size)).copy()


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
