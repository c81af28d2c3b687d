"""The graph of a tensor model: what is computed, said without weights.

A graph is a list of nodes in the order they run. Values are numbered: the inputs first, then one per node.
Constants (weights, scales, tables) are numbered apart and declared here by type and role; their elements live
elsewhere in the artifact. Shapes of values are not stored: `analyse` derives them, so they cannot contradict
the nodes. Encoding: docs/spec/inference.md section 4.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from primitives.codec import Reader, Writer
from primitives.errors import InvalidInput
from vm.inference.tensors import TensorType, code_of, decode_tensor_type, encode_tensor_type

MAX_INPUTS = 16
MAX_OUTPUTS = 16
MAX_CONSTANTS = 4_096
MAX_NODES = 4_096

_SIGN_32 = 1 << 32


class Op(IntEnum):
    """Operation of a node; the value is its code. A new code means a new IR version."""

    CONV2D = 1
    DEPTHWISE_CONV2D = 2
    DENSE = 3
    REQUANT = 4
    MAX_POOL2D = 5
    AVERAGE_POOL2D = 6
    RELU = 7
    FLATTEN = 8
    SOFTMAX = 9
    ARGMAX = 10


class Role(IntEnum):
    """Where a constant's elements are kept; tables are public even where weights are not."""

    WEIGHT = 0
    TABLE = 1


class Constant(NamedTuple):
    """Declare one constant tensor of the graph."""

    role: Role
    type: TensorType


class Signature(NamedTuple):
    """Count the operands of an op. Every op reads one value and makes one."""

    constants: int
    attributes: int


SIGNATURES: dict[Op, Signature] = {
    Op.CONV2D: Signature(2, 8),
    Op.DEPTHWISE_CONV2D: Signature(2, 8),
    Op.DENSE: Signature(2, 0),
    Op.REQUANT: Signature(2, 3),
    Op.MAX_POOL2D: Signature(0, 8),
    Op.AVERAGE_POOL2D: Signature(0, 8),
    Op.RELU: Signature(0, 0),
    Op.FLATTEN: Signature(0, 0),
    Op.SOFTMAX: Signature(1, 0),
    Op.ARGMAX: Signature(0, 0),
}


class Convolution(NamedTuple):
    """Attributes of CONV2D and DEPTHWISE_CONV2D, in encoding order. Padding is with zeros."""

    stride_height: int
    stride_width: int
    dilation_height: int
    dilation_width: int
    pad_top: int
    pad_bottom: int
    pad_left: int
    pad_right: int


class Pooling(NamedTuple):
    """Attributes of the pooling ops, in encoding order. Padded positions take no part."""

    kernel_height: int
    kernel_width: int
    stride_height: int
    stride_width: int
    pad_top: int
    pad_bottom: int
    pad_left: int
    pad_right: int


class Requantization(NamedTuple):
    """Attributes of REQUANT, in encoding order: dtype code and clamp of the result."""

    dtype: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Node:
    """Apply one op to an earlier value."""

    op: Op
    source: int
    constants: tuple[int, ...] = ()
    attributes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """List inputs, constants, nodes in execution order, and the values that are the output."""

    inputs: tuple[TensorType, ...]
    constants: tuple[Constant, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]


def encode_graph(graph: Graph) -> bytes:
    """Return the one encoding of a graph: its leaves, joined."""
    return b"".join(graph_leaves(graph))


def graph_leaves(graph: Graph) -> tuple[bytes, ...]:
    """Return the leaves of the graph root, one a node after the preamble: a node can be opened alone."""
    preamble = Writer()
    preamble.u8(len(graph.inputs))
    for tensor in graph.inputs:
        encode_tensor_type(preamble, tensor)
    preamble.u16(len(graph.constants))
    for constant in graph.constants:
        preamble.u8(constant.role)
        encode_tensor_type(preamble, constant.type)
    preamble.u8(len(graph.outputs))
    for value in graph.outputs:
        preamble.u16(value)
    preamble.u16(len(graph.nodes))
    return (preamble.finish(), *(_encode_node(node) for node in graph.nodes))


def decode_graph(data: bytes | memoryview) -> Graph:
    """Parse an encoded graph; every field is bounded before it is used.

    Raises InvalidInput `model.*` or `codec.*`.
    """
    reader = Reader(data)
    inputs = tuple(decode_tensor_type(reader) for _ in range(_count(reader.u8(), MAX_INPUTS, "inputs")))
    constants = tuple(
        _decode_constant(reader) for _ in range(_count(reader.u16(), MAX_CONSTANTS, "constants", 0))
    )
    outputs = tuple(reader.u16() for _ in range(_count(reader.u8(), MAX_OUTPUTS, "outputs")))
    nodes = tuple(_decode_node(reader) for _ in range(_count(reader.u16(), MAX_NODES, "nodes")))
    reader.done()
    graph = Graph(inputs, constants, nodes, outputs)
    require_connected(graph)
    return graph


def require_connected(graph: Graph) -> None:
    """Refuse references that point forward or nowhere, and inputs, constants or nodes that nothing uses.

    What is unused could be changed without changing the function, so one function would have many ids.
    Raises InvalidInput `model.reference` or `model.unused`.
    """
    first = len(graph.inputs)
    used_values = set(graph.outputs)
    used_constants: set[int] = set()
    for position, node in enumerate(graph.nodes):
        if node.source >= first + position or any(index >= len(graph.constants) for index in node.constants):
            raise InvalidInput("model.reference", "node refers forward or nowhere", node=position)
        used_values.add(node.source)
        used_constants.update(node.constants)
    values = first + len(graph.nodes)
    if max(graph.outputs) >= values or len(set(graph.outputs)) != len(graph.outputs):
        raise InvalidInput("model.reference", "outputs repeat or refer nowhere", outputs=graph.outputs)
    if len(used_values) != values or len(used_constants) != len(graph.constants):
        raise InvalidInput("model.unused", "an input, constant or node is not used")


def _encode_node(node: Node) -> bytes:
    writer = Writer()
    writer.u8(node.op)
    writer.u16(node.source)
    for index in node.constants:
        writer.u16(index)
    for attribute in node.attributes:
        writer.u32(attribute % _SIGN_32)
    return writer.finish()


def _decode_node(reader: Reader) -> Node:
    op = code_of(Op, reader.u8(), "op")
    signature = SIGNATURES[op]
    source = reader.u16()
    constants = tuple(reader.u16() for _ in range(signature.constants))
    attributes = tuple(_signed(reader.u32()) for _ in range(signature.attributes))
    return Node(op, source, constants, attributes)


def _decode_constant(reader: Reader) -> Constant:
    return Constant(code_of(Role, reader.u8(), "role"), decode_tensor_type(reader))


def _signed(value: int) -> int:
    return value - _SIGN_32 if value >> 31 else value


def _count(value: int, limit: int, what: str, least: int = 1) -> int:
    if not least <= value <= limit:
        raise InvalidInput("model.count", f"number of {what} out of bounds", count=value, limit=limit)
    return value
