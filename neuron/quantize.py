"""From float layers to an integer graph: the publisher's one-way step, whose result alone is canonical.

Weights become int8 per output channel, activations int8 with a static scale from calibration, biases int32 in
the scale of their accumulator; each product is brought to the next scale by a 31-bit multiplier and a shift.
Floats are free here: nobody recomputes this, the integers are what is published.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from enum import Enum
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from primitives.errors import InvalidInput
from vm.inference.analyse import EXP2_ENTRIES, EXP2_HIGH, EXP2_LOW, MAX_SHIFT, SOFTMAX_LOGIT_LIMIT
from vm.inference.graph import Constant, Convolution, Graph, Node, Op, Pooling, Requantization, Role
from vm.inference.tensors import DType, Integers, TensorType

Floats: TypeAlias = npt.NDArray[np.float64]

CODE_LIMIT: Final = 127
BIAS_LIMIT: Final = 1 << 30
MULTIPLIER_BITS: Final = 31
SOFTMAX_FRACTION_BITS: Final = 10
LOGIT_FRACTION_BITS: Final = 16
_TABLE_DIGITS: Final = 40


class Head(Enum):
    """What a model puts out: class index and probabilities (Q.15), or raw logits (Q.16)."""

    CLASSES = "classes"
    LOGITS = "logits"


@dataclass(frozen=True, slots=True)
class ProductLayer:
    """A convolution (weights (O, KH, KW, C)), depthwise one ((C, KH, KW)) or dense layer ((N, K)).

    `peak` is the greatest absolute output seen in calibration, after the rectifier where `rectified`; None on
    the last layer, whose output scale is the head's.
    """

    op: Op
    weights: Floats
    bias: Floats
    peak: float | None
    rectified: bool
    window: Convolution | None = None


@dataclass(frozen=True, slots=True)
class PoolLayer:
    """A maximum or average pooling; it keeps the scale."""

    op: Op
    pooling: Pooling


@dataclass(frozen=True, slots=True)
class FlattenLayer:
    """Row-major flattening of (height, width, channels)."""


Layer: TypeAlias = ProductLayer | PoolLayer | FlattenLayer


@dataclass(slots=True)
class GraphBuilder:
    """Grow a graph one node at a time along a single path."""

    source: TensorType
    constants: list[Constant] = field(default_factory=list)
    arrays: list[Integers] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)

    @property
    def last(self) -> int:
        """Return the value made last."""
        return len(self.nodes)

    def constant(self, array: Integers, bounds: TensorType, role: Role = Role.WEIGHT) -> int:
        """Add a constant with the dtype and range of `bounds` and the shape of the array."""
        tensor = TensorType(bounds.dtype, tuple(array.shape), bounds.low, bounds.high)
        self.constants.append(Constant(role, tensor))
        self.arrays.append(array)
        return len(self.constants) - 1

    def node(
        self, op: Op, constants: tuple[int, ...] = (), attributes: Sequence[int] = (), source: int = -1
    ) -> int:
        """Add a node reading `source`, by default the last value, and return its value."""
        self.nodes.append(Node(op, self.last if source < 0 else source, constants, tuple(attributes)))
        return self.last

    def graph(self, outputs: tuple[int, ...]) -> Graph:
        """Return the graph with these outputs."""
        return Graph((self.source,), tuple(self.constants), tuple(self.nodes), outputs)


WEIGHTS: Final = TensorType(DType.I8, (), -CODE_LIMIT, CODE_LIMIT)
BIASES: Final = TensorType(DType.I32, (), -BIAS_LIMIT, BIAS_LIMIT)
MULTIPLIERS: Final = TensorType(DType.I32, (), 0, (1 << MULTIPLIER_BITS) - 1)
SHIFTS: Final = TensorType(DType.U8, (), 1, MAX_SHIFT)
EXP2_TABLE: Final = TensorType(DType.I32, (), EXP2_LOW, EXP2_HIGH)


def quantize(
    layers: Sequence[Layer], source: TensorType, source_scale: float, head: Head
) -> tuple[Graph, list[Integers]]:
    """Return the integer graph of float layers and its constants.

    An input code times `source_scale` is the real number that the float network saw. The last layer must be a
    product. Raises InvalidInput `convert.*` where a layer cannot be brought to integers.
    """
    builder = GraphBuilder(source)
    scale = source_scale
    for position, layer in enumerate(layers):
        final = position == len(layers) - 1
        if isinstance(layer, ProductLayer):
            scale = _product(builder, layer, scale, _head_scale(head) if final else _code_scale(layer))
        elif isinstance(layer, PoolLayer):
            builder.node(layer.op, (), layer.pooling)
        else:
            builder.node(Op.FLATTEN)
    if not layers or not isinstance(layers[-1], ProductLayer):
        raise InvalidInput("convert.last_layer", "the last layer must be a product; the head follows it")
    return builder.graph(_head(builder, head)), builder.arrays


def fixed_point(factor: float) -> tuple[int, int]:
    """Return (multiplier, shift) with multiplier / 2^shift nearest to `factor`, multiplier below 2^31.

    Raises InvalidInput `convert.scale` for a factor of 2^29 or more, or not positive.
    """
    if not 0 < factor < 1 << (MULTIPLIER_BITS - 2):
        raise InvalidInput("convert.scale", "a scale factor is out of range", factor=factor)
    shift = min(MAX_SHIFT, MULTIPLIER_BITS - 1 - math.floor(math.log2(factor)))
    multiplier = round(math.ldexp(factor, shift))
    if multiplier == 1 << MULTIPLIER_BITS:
        multiplier, shift = multiplier // 2, shift - 1
    return multiplier, shift


def exp2_table() -> Integers:
    """Return round(2^30 * 2^(-i/1024)) for i below 1024."""
    with localcontext() as context:
        context.prec = _TABLE_DIGITS
        entries = [
            int((EXP2_HIGH * Decimal(2) ** (Decimal(-index) / EXP2_ENTRIES)).to_integral_value())
            for index in range(EXP2_ENTRIES)
        ]
    return np.array(entries, dtype=np.int64)


def _product(builder: GraphBuilder, layer: ProductLayer, scale: float, target: float) -> float:
    """Add a product and its requantisation; return the scale of the result."""
    rows = layer.weights.reshape(layer.weights.shape[0], -1)
    row_peaks = np.abs(rows).max(axis=1)
    steps = np.where(row_peaks > 0, row_peaks, CODE_LIMIT) / CODE_LIMIT
    codes = np.rint(rows / steps[:, np.newaxis]).astype(np.int64).reshape(layer.weights.shape)
    bias = np.rint(layer.bias / (scale * steps)).astype(np.int64)
    if int(np.abs(bias).max()) > BIAS_LIMIT:
        raise InvalidInput("convert.bias", "a bias is too large for its accumulator", op=layer.op.name)
    operands = (builder.constant(codes, WEIGHTS), builder.constant(bias, BIASES))
    builder.node(layer.op, operands, layer.window or ())
    pairs = [fixed_point(scale * float(step) / target) for step in steps]
    scales = (
        builder.constant(np.array([multiplier for multiplier, _ in pairs]), MULTIPLIERS),
        builder.constant(np.array([shift for _, shift in pairs]), SHIFTS),
    )
    builder.node(Op.REQUANT, scales, _clamp(layer))
    return target


def _clamp(layer: ProductLayer) -> Requantization:
    if layer.peak is None:
        least = 0 if layer.rectified else -SOFTMAX_LOGIT_LIMIT
        return Requantization(DType.I32, least, SOFTMAX_LOGIT_LIMIT)
    return Requantization(DType.I8, 0 if layer.rectified else -CODE_LIMIT, CODE_LIMIT)


def _code_scale(layer: ProductLayer) -> float:
    if layer.peak is None:
        raise InvalidInput("convert.last_layer", "only the last layer goes without calibration")
    return (layer.peak or 1.0) / CODE_LIMIT


def _head_scale(head: Head) -> float:
    """Return the unit of the last requantisation: base-2 logits for a softmax, else natural ones."""
    if head is Head.CLASSES:
        return math.log(2) / (1 << SOFTMAX_FRACTION_BITS)
    return 1 / (1 << LOGIT_FRACTION_BITS)


def _head(builder: GraphBuilder, head: Head) -> tuple[int, ...]:
    logits = builder.last
    if head is Head.LOGITS:
        return (logits,)
    table = builder.constant(exp2_table(), EXP2_TABLE, Role.TABLE)
    best = builder.node(Op.ARGMAX, source=logits)
    probabilities = builder.node(Op.SOFTMAX, (table,), source=logits)
    return best, probabilities


def as_floats(array: Any) -> Floats:
    """Return anything array-like as float64."""
    return np.asarray(array, dtype=np.float64)
