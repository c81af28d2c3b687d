"""The static analyser: prove from types alone that a graph computes exactly, and count its cost.

Every value gets a dtype, shape and range by interval arithmetic over the declared ranges of inputs and
constants. A graph is refused unless every accumulator stays inside int32 in any order of summation (so int8
matrix units, chunked float32 and float64 all give the same integers), every temporary inside int64, every
divisor is at least 1 and every element can be opened in court within `MAX_WITNESS_BYTES`. After that,
execution cannot fail. Rules: docs/spec/inference.md section 3.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from primitives.errors import InvalidInput
from vm.inference.commitment import LEAF_BYTES, row_count
from vm.inference.graph import Convolution, Graph, Node, Op, Pooling, Requantization
from vm.inference.manifest import Tier
from vm.inference.tensors import MAX_DIMENSION, DType, TensorType, code_of
from vm.inference.wire import MAX_INPUT_BYTES, MAX_OUTPUT_BYTES

INT32_LIMIT: Final = 1 << 31
WEIGHT_LIMIT: Final = 127
"""Weights are symmetric: without -128 their negation fits too, and saturating int8 units lose one hazard."""
MAX_VALUE_ELEMENTS: Final = 1 << 24
MAX_REDUCTION: Final = 16_384
MAX_WINDOW: Final = 64
"""Kernel side, stride and dilation."""
MAX_SHIFT: Final = 62
EXP2_ENTRIES: Final = 1_024
EXP2_LOW: Final = 1 << 29
EXP2_HIGH: Final = 1 << 30
SOFTMAX_LOGIT_LIMIT: Final = 1 << 24
PROBABILITY_ONE: Final = 1 << 15
MAX_WITNESS_BYTES: Final = 60 * 1_024
MAX_ON_CHAIN_MACS: Final = 50_000_000

NODE_MACS: Final = 16_384
"""Charge of a node whatever its size: an interpreter's step costs about as much time."""
POSITION_MACS: Final = 4_096
"""Charge of one kernel position, for the same reason: large kernels meet small images."""
REQUANT_MACS: Final = 8
POOL_MACS: Final = 4
DEPTHWISE_MACS: Final = 8
SOFTMAX_MACS: Final = 32
MOVE_MACS: Final = 4
"""Charge of reading and writing one element that is only moved, compared or clamped."""

_HASH_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Analysis:
    """State what was proven: the type of every value (inputs first, then nodes), the outputs, and the cost.

    `witness_bytes` is the most that opening one element of any node takes.
    """

    values: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    macs: int
    witness_bytes: int


class Step(NamedTuple):
    """Type and cost of one node's result."""

    result: TensorType
    macs: int
    witness_bytes: int


def analyse(graph: Graph) -> Analysis:
    """Return the facts about a graph.

    Raises InvalidInput `model.shape`, `model.dtype`, `model.range`, `model.attribute`, `model.accumulator`,
    `model.reduction`, `model.witness` or `model.value_size`.
    """
    values = [_require_value(tensor) for tensor in graph.inputs]
    macs = sum(tensor.elements for tensor in graph.inputs) * MOVE_MACS
    witness_bytes = 0
    for position, node in enumerate(graph.nodes):
        operands = tuple(graph.constants[index].type for index in node.constants)
        step = _RULES[node.op](node, values[node.source], operands)
        if step.witness_bytes > MAX_WITNESS_BYTES:
            raise InvalidInput(
                "model.witness", "an element cannot be opened", node=position, size=step.witness_bytes
            )
        values.append(_require_value(step.result))
        macs += step.macs + NODE_MACS
        witness_bytes = max(witness_bytes, step.witness_bytes)
    outputs = tuple(values[index] for index in graph.outputs)
    return Analysis(tuple(values), outputs, macs, witness_bytes)


def require_tier(tier: Tier, inputs: tuple[TensorType, ...], analysis: Analysis) -> None:
    """Refuse what could never be run on its tier: by no block, or for want of a message that carries it.

    Raises InvalidInput `model.too_large`.
    """
    if tier is Tier.ON_CHAIN and analysis.macs > MAX_ON_CHAIN_MACS:
        raise InvalidInput(
            "model.too_large", "too costly for every node", macs=analysis.macs, limit=MAX_ON_CHAIN_MACS
        )
    input_bytes, output_bytes = (
        sum(tensor.byte_count for tensor in tensors) for tensors in (inputs, analysis.outputs)
    )
    if tier is Tier.NEURON and (input_bytes > MAX_INPUT_BYTES or output_bytes > MAX_OUTPUT_BYTES):
        raise InvalidInput(
            "model.too_large",
            "no message carries its input or output",
            input=input_bytes,
            output=output_bytes,
        )


def sliding_extent(size: int, kernel: int, stride: int, pads: tuple[int, int]) -> int:
    """Return how many windows of `kernel` (dilation included) fit along a padded axis; 0 when none does."""
    return max(0, (size + sum(pads) - kernel) // stride + 1)


def _convolution(node: Node, source: TensorType, operands: tuple[TensorType, ...]) -> Step:
    """CONV2D: x (H, W, C) by w (O, KH, KW, C) and bias (O,) to (H', W', O) int32."""
    weights, bias = operands
    _require_ranks(source, 3, weights, 4)
    outputs, kernel_height, kernel_width, channels = weights.shape
    _require(channels == source.shape[2] and bias.shape == (outputs,), "model.shape", "channels do not match")
    reduction = kernel_height * kernel_width * channels
    shape = (*_window_shape(node, source, (kernel_height, kernel_width)), outputs)
    result = _accumulator(source, operands, reduction, shape)
    witness = kernel_height * _opening(kernel_width * channels, source) + _opening(reduction, weights)
    positions = kernel_height * kernel_width
    moved = positions * shape[0] * shape[1] * (channels + outputs) * MOVE_MACS
    macs = result.elements * reduction + moved + positions * POSITION_MACS
    return Step(result, macs, witness + _opening(1, bias))


def _depthwise(node: Node, source: TensorType, operands: tuple[TensorType, ...]) -> Step:
    """DEPTHWISE_CONV2D: x (H, W, C) by w (C, KH, KW) and bias (C,) to (H', W', C) int32."""
    weights, bias = operands
    _require_ranks(source, 3, weights, 3)
    channels, kernel_height, kernel_width = weights.shape
    _require(
        channels == source.shape[2] and bias.shape == (channels,), "model.shape", "channels do not match"
    )
    reduction = kernel_height * kernel_width
    shape = (*_window_shape(node, source, (kernel_height, kernel_width)), channels)
    result = _accumulator(source, operands, reduction, shape)
    witness = kernel_height * _opening(kernel_width * channels, source) + _opening(reduction, weights)
    macs = result.elements * reduction * DEPTHWISE_MACS + reduction * POSITION_MACS
    return Step(result, macs, witness + _opening(1, bias))


def _dense(_node: Node, source: TensorType, operands: tuple[TensorType, ...]) -> Step:
    """DENSE: x (..., K) by w (N, K) and bias (N,) to (..., N) int32."""
    weights, bias = operands
    _require(
        len(source.shape) >= 1 and len(weights.shape) == 2, "model.shape", "dense wants (..., K) and (N, K)"
    )
    outputs, reduction = weights.shape
    _require(reduction == source.shape[-1] and bias.shape == (outputs,), "model.shape", "widths do not match")
    result = _accumulator(source, operands, reduction, (*source.shape[:-1], outputs))
    witness = _opening(reduction, source) + _opening(reduction, weights) + _opening(1, bias)
    return Step(result, result.elements * (reduction + MOVE_MACS), witness)


def _requant(node: Node, source: TensorType, operands: tuple[TensorType, ...]) -> Step:
    """REQUANT: multiplier (1,) or (C,) int32 >= 0, shift likewise u8 in 1..62, over the last axis."""
    multiplier, shift = operands
    attributes = Requantization(*node.attributes)
    dtype = code_of(DType, attributes.dtype, "dtype")
    channels = source.shape[-1] if source.shape else 1
    _require(multiplier.shape == shift.shape, "model.shape", "one shift per multiplier")
    _require(multiplier.shape in ((1,), (channels,)), "model.shape", "one multiplier, or one per channel")
    _require(
        multiplier.dtype is DType.I32 and shift.dtype is DType.U8, "model.dtype", "multiplier i32, shift u8"
    )
    _require(multiplier.low >= 0, "model.range", "multipliers are not negative")
    _require(shift.low >= 1 and shift.high <= MAX_SHIFT, "model.range", "shift out of bounds")
    result = TensorType(dtype, source.shape, attributes.low, attributes.high)
    witness = _opening(1, source) + _opening(1, multiplier) + _opening(1, shift)
    return Step(result, result.elements * REQUANT_MACS, witness)


def _pool(node: Node, source: TensorType, _operands: tuple[TensorType, ...]) -> Step:
    """MAX_POOL2D, AVERAGE_POOL2D: x (H, W, C) to (H', W', C), same dtype and range."""
    _require(len(source.shape) == 3, "model.shape", "pooling wants (H, W, C)")
    pooling = Pooling(*node.attributes)
    kernel = (pooling.kernel_height, pooling.kernel_width)
    _require(all(1 <= size <= MAX_WINDOW for size in kernel), "model.attribute", "kernel out of bounds")
    shape = (*_pool_shape(pooling, source), source.shape[2])
    result = TensorType(source.dtype, shape, source.low, source.high)
    witness = kernel[0] * _opening(kernel[1] * source.shape[2], source)
    return Step(result, kernel[0] * kernel[1] * (result.elements * POOL_MACS + POSITION_MACS), witness)


def _relu(_node: Node, source: TensorType, _operands: tuple[TensorType, ...]) -> Step:
    result = TensorType(source.dtype, source.shape, max(0, source.low), max(0, source.high))
    return Step(result, result.elements * MOVE_MACS, _opening(1, source))


def _flatten(_node: Node, source: TensorType, _operands: tuple[TensorType, ...]) -> Step:
    _require(source.elements <= MAX_DIMENSION, "model.shape", "too long to flatten")
    result = TensorType(source.dtype, (source.elements,), source.low, source.high)
    return Step(result, result.elements * MOVE_MACS, _opening(1, source))


def _softmax(_node: Node, source: TensorType, operands: tuple[TensorType, ...]) -> Step:
    """SOFTMAX over the last axis: base-2 logits Q.10 to probabilities Q.15 in u16."""
    (table,) = operands
    _require(len(source.shape) >= 1 and source.shape[-1] <= MAX_REDUCTION, "model.reduction", "row too long")
    _require(source.magnitude <= SOFTMAX_LOGIT_LIMIT, "model.range", "logits above 2^24")
    _require(
        table.dtype is DType.I32 and table.shape == (EXP2_ENTRIES,), "model.shape", "exp2 table is 1024 x i32"
    )
    _require(
        table.low >= EXP2_LOW and table.high <= EXP2_HIGH, "model.range", "exp2 table outside 2^29..2^30"
    )
    result = TensorType(DType.U16, source.shape, 0, PROBABILITY_ONE)
    witness = _opening(source.shape[-1], source) + _opening(1, table)
    return Step(result, result.elements * SOFTMAX_MACS, witness)


def _argmax(_node: Node, source: TensorType, _operands: tuple[TensorType, ...]) -> Step:
    """ARGMAX over the last axis; the narrowest unsigned dtype that holds the last index."""
    _require(len(source.shape) >= 1 and source.shape[-1] <= MAX_REDUCTION, "model.reduction", "row too long")
    last = source.shape[-1] - 1
    dtype = DType.U8 if last <= DType.U8.high else DType.U16
    result = TensorType(dtype, (*source.shape[:-1], 1), 0, last)
    return Step(result, source.elements * MOVE_MACS, 2 * _opening(1, source))


_RULES: Final[dict[Op, Callable[[Node, TensorType, tuple[TensorType, ...]], Step]]] = {
    Op.CONV2D: _convolution,
    Op.DEPTHWISE_CONV2D: _depthwise,
    Op.DENSE: _dense,
    Op.REQUANT: _requant,
    Op.MAX_POOL2D: _pool,
    Op.AVERAGE_POOL2D: _pool,
    Op.RELU: _relu,
    Op.FLATTEN: _flatten,
    Op.SOFTMAX: _softmax,
    Op.ARGMAX: _argmax,
}


def _accumulator(
    source: TensorType, operands: tuple[TensorType, ...], reduction: int, shape: tuple[int, ...]
) -> TensorType:
    """Bound bias + sum of `reduction` products in any order; zero padding is covered by including zero."""
    weights, bias = operands
    _require(
        source.dtype in (DType.U8, DType.I8), "model.dtype", "activations into a product are 8 bits wide"
    )
    _require(
        weights.dtype is DType.I8 and weights.magnitude <= WEIGHT_LIMIT,
        "model.range",
        "weights are -127..127",
    )
    _require(bias.dtype is DType.I32, "model.dtype", "bias is i32")
    _require(reduction <= MAX_REDUCTION, "model.reduction", "reduction too long", length=reduction)
    bound = reduction * source.magnitude * weights.magnitude + bias.magnitude
    _require(bound < INT32_LIMIT, "model.accumulator", "accumulator may leave int32", bound=bound)
    products = [a * b for a in (source.low, source.high, 0) for b in (weights.low, weights.high)]
    low, high = reduction * min(products) + bias.low, reduction * max(products) + bias.high
    return TensorType(DType.I32, shape, low, high)


def _window_shape(node: Node, source: TensorType, kernel: tuple[int, int]) -> tuple[int, int]:
    attributes = Convolution(*node.attributes)
    strides = (attributes.stride_height, attributes.stride_width)
    dilations = (attributes.dilation_height, attributes.dilation_width)
    pads = attributes[4:]
    _require(
        all(1 <= size <= MAX_WINDOW for size in (*kernel, *strides, *dilations)), "model.attribute", "window"
    )
    _require(all(0 <= pad <= MAX_WINDOW for pad in pads), "model.attribute", "padding out of bounds")
    spans = tuple(dilation * (size - 1) + 1 for dilation, size in zip(dilations, kernel, strict=True))
    height = sliding_extent(source.shape[0], spans[0], strides[0], (pads[0], pads[1]))
    width = sliding_extent(source.shape[1], spans[1], strides[1], (pads[2], pads[3]))
    return height, width


def _pool_shape(pooling: Pooling, source: TensorType) -> tuple[int, int]:
    strides = (pooling.stride_height, pooling.stride_width)
    _require(all(1 <= size <= MAX_WINDOW for size in strides), "model.attribute", "stride out of bounds")
    vertical, horizontal = (pooling.pad_top, pooling.pad_bottom), (pooling.pad_left, pooling.pad_right)
    inside = all(0 <= pad < pooling.kernel_height for pad in vertical)
    inside = inside and all(0 <= pad < pooling.kernel_width for pad in horizontal)
    _require(inside, "model.attribute", "padding as large as the kernel leaves windows without an element")
    height = sliding_extent(source.shape[0], pooling.kernel_height, strides[0], vertical)
    width = sliding_extent(source.shape[1], pooling.kernel_width, strides[1], horizontal)
    return height, width


def _opening(elements: int, tensor: TensorType) -> int:
    """Bound the bytes that open `elements` neighbours of a tensor: whole leaves, a path each side."""
    leaves = (elements * tensor.dtype.width + LEAF_BYTES - 2) // LEAF_BYTES + 1
    total_leaves = tensor.byte_count // LEAF_BYTES + row_count(tensor)
    data = min(leaves * LEAF_BYTES, tensor.byte_count)
    return data + 2 * _HASH_BYTES * total_leaves.bit_length()


def _require_value(tensor: TensorType) -> TensorType:
    """Refuse a value whose shape is empty or huge, or whose proven range does not fit its dtype."""
    if not all(1 <= size <= MAX_DIMENSION for size in tensor.shape):
        raise InvalidInput("model.shape", "a value is empty or too long", shape=tensor.shape)
    if tensor.elements > MAX_VALUE_ELEMENTS:
        raise InvalidInput("model.value_size", "a value has too many elements", shape=tensor.shape)
    if not tensor.dtype.low <= tensor.low <= tensor.high <= tensor.dtype.high:
        raise InvalidInput("model.range", "a range does not fit its dtype", low=tensor.low, high=tensor.high)
    return tensor


def _require_ranks(source: TensorType, rank: int, weights: TensorType, weight_rank: int) -> None:
    _require(len(source.shape) == rank and len(weights.shape) == weight_rank, "model.shape", "wrong rank")


def _require(holds: bool, code: str, message: str, **details: object) -> None:  # noqa: FBT001 (reads as a sentence)
    if not holds:
        raise InvalidInput(code, message, **details)
