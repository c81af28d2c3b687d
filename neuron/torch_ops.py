"""The ops of `vm.inference.ops` on torch tensors, value for value, on CPU and CUDA.

Values are int32 with a leading batch axis; whatever may pass int32 is computed in int64. Only products use
floats, and only through `torch_products`.
"""

from collections.abc import Iterator, Sequence
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
)
from vm.inference.tensors import TensorType

PATCH_ELEMENTS: Final = 1 << 26
"""Largest matrix of image patches held at once."""
_LEAST: Final = -(1 << 31)


class Step(NamedTuple):
    """Hold a node with its constants on the device, and the type of the value it reads."""

    node: Node
    constants: tuple[torch.Tensor, ...]
    source: TensorType
    kernel: tuple[int, int]


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
    """Gather patches (B * rows * W', KH * KW * C), a block of rows at a time, and multiply."""
    weights, bias = step.constants
    window = Convolution(*step.node.attributes)
    strides, dilations = window[0:2], window[2:4]
    padded = _pad(source, window[4:], 0)
    height, width = _extent(padded, step.kernel, strides, dilations)
    row_elements = source.shape[0] * width * step.kernel[0] * step.kernel[1] * source.shape[3]
    block = max(1, PATCH_ELEMENTS // row_elements)
    results = []
    for top in range(0, height, block):
        rows = min(block, height - top)
        lines = padded[:, top * strides[0] :, :, :]
        taps = torch.stack(list(_taps(lines, (step.kernel, strides, dilations), (rows, width))), dim=3)
        patches = taps.reshape(source.shape[0] * rows * width, -1)
        result = product.multiply(patches, weights, step.source) + bias
        results.append(result.reshape(source.shape[0], rows, width, -1))
    return torch.cat(results, dim=1)


def depthwise_conv2d(step: Step, source: torch.Tensor) -> torch.Tensor:
    """Multiply and add each kernel position in int32, which holds every partial sum."""
    weights, bias = step.constants
    window = Convolution(*step.node.attributes)
    padded = _pad(source, window[4:], 0)
    shape = _extent(padded, step.kernel, window[0:2], window[2:4])
    planes = weights.reshape(weights.shape[0], -1)
    total = bias
    for position, met in enumerate(_taps(padded, (step.kernel, window[0:2], window[2:4]), shape)):
        total = total + met * planes[:, position]
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
    kernel, strides = pooling[0:2], pooling[2:4]
    padded = _pad(source, pooling[4:], _LEAST)
    shape = _extent(padded, kernel, strides, (1, 1))
    taps = _taps(padded, (kernel, strides, (1, 1)), shape)
    best = next(taps)
    for met in taps:
        best = torch.maximum(best, met)
    return best


def average_pool2d(source: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Average over the elements inside the image, in int64."""
    kernel, strides = pooling[0:2], pooling[2:4]
    inside = torch.ones((1, *source.shape[1:3], 1), dtype=torch.int64, device=source.device)
    sums = []
    for plane in (source.to(torch.int64), inside):
        padded = _pad(plane, pooling[4:], 0)
        shape = _extent(padded, kernel, strides, (1, 1))
        taps = _taps(padded, (kernel, strides, (1, 1)), shape)
        total = next(taps).clone()
        for met in taps:
            total += met
        sums.append(total)
    return round_divide(sums[0], sums[1]).to(torch.int32)


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


def _extent(
    padded: torch.Tensor, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[int, int]:
    height = (padded.shape[1] - dilations[0] * (kernel[0] - 1) - 1) // strides[0] + 1
    width = (padded.shape[2] - dilations[1] * (kernel[1] - 1) - 1) // strides[1] + 1
    return height, width


def _taps(
    padded: torch.Tensor, steps: Sequence[Sequence[int]], shape: Sequence[int]
) -> Iterator[torch.Tensor]:
    """Yield, per kernel position, the elements (B, H', W', C) it meets."""
    kernel, strides, dilations = steps
    for row in range(kernel[0]):
        top = row * dilations[0]
        rows = slice(top, top + (shape[0] - 1) * strides[0] + 1, strides[0])
        for column in range(kernel[1]):
            left = column * dilations[1]
            columns = slice(left, left + (shape[1] - 1) * strides[1] + 1, strides[1])
            yield padded[:, rows, columns, :]


def _pad(source: torch.Tensor, pads: Sequence[int], fill: int) -> torch.Tensor:
    top, bottom, left, right = pads
    return (
        torch.nn.functional.pad(source, (0, 0, left, right, top, bottom), value=fill) if any(pads) else source
    )
