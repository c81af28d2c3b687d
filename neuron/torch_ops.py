"""The ops of `vm.inference.ops` on torch tensors, value for value, on CPU and CUDA.

Values are int32 with a leading batch axis; whatever may pass int32 is computed in int64. Only products use
floats, and only through `torch_products`.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch

from neuron.torch_products import Product
from vm.inference.graph import Convolution, Node, Op, Pooling, Requantization
from vm.inference.ops import (
    PROBABILITY_BITS,
    SOFTMAX_EXPONENT_SHIFT,
    SOFTMAX_MAX_OCTAVES,
    SOFTMAX_TABLE_BITS,
    SOFTMAX_TABLE_MASK,
    Axes,
    Axis,
    convolution_axes,
    pooling_axes,
    taps,
)
from vm.inference.tensors import TensorType

PATCH_ELEMENTS: Final = 1 << 26
"""Largest matrix of image patches held at once."""
KEPT_INDEX: Final = 1 << 14
"""Longest index of patches kept with a model; a longer one costs little beside its product."""
_LEAST: Final = -(1 << 31)


class Step(NamedTuple):
    """Hold a node with its constants on the device, and the type of the value it reads.

    A convolution has the height and width of its `kernel` too, and its `gather_index` where that is short.
    """

    node: Node
    constants: tuple[torch.Tensor, ...]
    source: TensorType
    kernel: tuple[int, int] = (1, 1)
    gather: torch.Tensor | None = None


def apply(step: Step, source: torch.Tensor, product: Product) -> torch.Tensor:  # noqa: C901, PLR0911 (dispatch)
    """Return the node's result for a source value (B, ...) int32."""
    attributes, constants = step.node.attributes, step.constants
    match step.node.op:
        case Op.CONV2D:
            return conv2d(step, source, product)
        case Op.DEPTHWISE_CONV2D:
            return depthwise_conv2d(step, source)
        case Op.DENSE:
            return dense(step, source, product)
        case Op.REQUANT:
            return requant(source, constants, Requantization(*attributes))
        case Op.MAX_POOL2D:
            return max_pool2d(source, Pooling(*attributes))
        case Op.AVERAGE_POOL2D:
            return average_pool2d(source, Pooling(*attributes))
        case Op.RELU:
            return source.clamp(min=0)
        case Op.FLATTEN:
            return source.reshape(source.shape[0], -1)
        case Op.SOFTMAX:
            return softmax(source, constants[0])
        case Op.ARGMAX:
            return argmax(source)


def round_shift(value: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Return floor((value + 2^(shift-1)) / 2^shift) in int64; torch shifts signed integers arithmetically."""
    half = torch.bitwise_left_shift(torch.ones_like(shift), shift - 1)
    return torch.bitwise_right_shift(value + half, shift)


def round_divide(numerator: torch.Tensor, divisor: torch.Tensor) -> torch.Tensor:
    """Return floor((2n + d) / (2d)) in int64."""
    return torch.div(2 * numerator + divisor, 2 * divisor, rounding_mode="floor")


def conv2d(step: Step, source: torch.Tensor, product: Product) -> torch.Tensor:
    """Gather patches (B * rows * columns, KH * KW * C), a block of windows at a time, and multiply."""
    weights, bias = step.constants
    axes = convolution_axes(source.shape, step.kernel, Convolution(*step.node.attributes))
    lines, posts = axes
    window = source.shape[0] * lines.kernel * posts.kernel * source.shape[3]
    columns = min(posts.extent, max(1, PATCH_ELEMENTS // window))
    rows = min(lines.extent, max(1, PATCH_ELEMENTS // (window * columns)))
    kept = step.gather if (rows, columns) == (lines.extent, posts.extent) else None
    # One pixel of zeros stands for all padding, which may be ten thousand times the image.
    pixels = torch.nn.functional.pad(source.reshape(source.shape[0], -1, source.shape[3]), (0, 0, 0, 1))
    results = []
    for top in range(0, lines.extent, rows):
        line = []
        for left in range(0, posts.extent, columns):
            block = (range(lines.extent)[top : top + rows], range(posts.extent)[left : left + columns])
            index = kept if kept is not None else gather_index(axes, block, source.device)
            patches = pixels.index_select(1, index).reshape(-1, window // source.shape[0])
            result = product.multiply(patches, weights, step.source) + bias
            line.append(result.reshape(source.shape[0], len(block[0]), len(block[1]), -1))
        results.append(torch.cat(line, dim=2))
    return torch.cat(results, dim=1)


def depthwise_conv2d(step: Step, source: torch.Tensor) -> torch.Tensor:
    """Multiply and add each kernel position in int32, which holds every partial sum."""
    weights, bias = step.constants
    axes = convolution_axes(source.shape, step.kernel, Convolution(*step.node.attributes))
    total = _everywhere(bias, source.shape[0], axes)
    for tap in taps(axes):
        total[tap.place] += source[tap.met] * weights[:, tap.row, tap.column]
    return total


def dense(step: Step, source: torch.Tensor, product: Product) -> torch.Tensor:
    """Multiply the last axis."""
    weights, bias = step.constants
    rows = source.reshape(-1, source.shape[-1])
    result = product.multiply(rows, weights, step.source) + bias
    return result.reshape(*source.shape[:-1], -1)


def requant(source: torch.Tensor, constants: Sequence[torch.Tensor], target: Requantization) -> torch.Tensor:
    """Scale in int64, round half up, clamp."""
    multiplier, shift = constants
    scaled = round_shift(source.to(torch.int64) * multiplier, shift)
    return scaled.clamp(target.low, target.high).to(torch.int32)


def max_pool2d(source: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Take the greatest element of each window; padding takes no part."""
    axes = pooling_axes(source.shape, pooling)
    best = _everywhere(source.new_full(source.shape[3:], _LEAST), source.shape[0], axes)
    for tap in taps(axes):
        part = best[tap.place]
        torch.maximum(part, source[tap.met], out=part)
    return best


def average_pool2d(source: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Average over the elements inside the image, in int64."""
    axes = pooling_axes(source.shape, pooling)
    zeros = torch.zeros(source.shape[3], dtype=torch.int64, device=source.device)
    total = _everywhere(zeros, source.shape[0], axes)
    count = _everywhere(zeros[:1], 1, axes)
    for tap in taps(axes):
        total[tap.place] += source[tap.met]
        count[tap.place] += 1
    return round_divide(total, count).to(torch.int32)


def softmax(source: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Return probabilities in Q.15, in int64 inside."""
    logits = source.to(torch.int64)
    distance = logits.amax(dim=-1, keepdim=True) - logits
    octaves = (distance >> SOFTMAX_TABLE_BITS).clamp(max=SOFTMAX_MAX_OCTAVES)
    weight = round_shift(table[distance & SOFTMAX_TABLE_MASK], SOFTMAX_EXPONENT_SHIFT + octaves)
    return round_divide(weight << PROBABILITY_BITS, weight.sum(dim=-1, keepdim=True)).to(torch.int32)


def argmax(source: torch.Tensor) -> torch.Tensor:
    """Return the lowest index of the greatest element; torch.argmax promises no order among ties."""
    length = source.shape[-1]
    indices = torch.arange(length, dtype=torch.int32, device=source.device)
    greatest = source == source.amax(dim=-1, keepdim=True)
    return torch.where(greatest, indices, length).amin(dim=-1, keepdim=True).to(torch.int32)


def small_index(axes: Axes, device: torch.device) -> torch.Tensor | None:
    """Return the index of all windows of a convolution, or None where that is too long to be kept."""
    lines, posts = axes
    if lines.extent * lines.kernel * posts.extent * posts.kernel > KEPT_INDEX:
        return None
    return gather_index(axes, (range(lines.extent), range(posts.extent)), device)


def gather_index(axes: Axes, block: tuple[range, range], device: torch.device) -> torch.Tensor:
    """Return which pixel, row-major, a block of windows meets at each kernel position; H * W is padding."""
    rows, columns = (_meet(axis, windows, device) for axis, windows in zip(axes, block, strict=True))
    rows, columns = rows[:, None, :, None], columns[None, :, None, :]
    height, width = axes[0].size, axes[1].size
    return torch.where((rows >= 0) & (columns >= 0), rows * width + columns, height * width).reshape(-1)


def _meet(axis: Axis, windows: range, device: torch.device) -> torch.Tensor:
    """Return the line or column (windows, kernel) that each window meets at each position; -1 is padding."""
    first = torch.arange(windows.start, windows.stop, dtype=torch.int32, device=device) * axis.stride
    positions = torch.arange(axis.kernel, dtype=torch.int32, device=device) * axis.dilation
    met = first[:, None] + positions - axis.before
    return torch.where((met >= 0) & (met < axis.size), met, -1)


def _everywhere(channels: torch.Tensor, batch: int, axes: Axes) -> torch.Tensor:
    """Return (B, H', W', C) with the same channels (C,) at every window."""
    return channels.expand(batch, axes[0].extent, axes[1].extent, -1).clone()
