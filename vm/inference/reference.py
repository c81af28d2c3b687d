"""The reference interpreter: run a graph node by node in int64 and keep every value.

It is written to be read and to be right; `exact_blas` is the fast route and must never differ from it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from vm.inference.graph import Graph, Op
from vm.inference.ops import KERNELS, Kernel
from vm.inference.tensors import Int64, Integers


def evaluate(graph: Graph, constants: Sequence[Integers], inputs: Sequence[Int64]) -> tuple[Int64, ...]:
    """Return every value of a graph: the inputs, then each node's result, with their leading batch axis."""
    operands = [tuple(constants[index] for index in node.constants) for node in graph.nodes]
    return evaluate_with(KERNELS, graph, operands, inputs)


def evaluate_with(
    kernels: Mapping[Op, Kernel],
    graph: Graph,
    operands: Sequence[Sequence[Integers]],
    inputs: Sequence[Int64],
) -> tuple[Int64, ...]:
    """Run the nodes in order; `operands` are each node's constants as its kernel wants them."""
    values = [np.asarray(value, dtype=np.int64) for value in inputs]
    for node, constants in zip(graph.nodes, operands, strict=True):
        values.append(kernels[node.op](values[node.source], constants, node.attributes))
    return tuple(values)
