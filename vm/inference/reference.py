"""The reference interpreter: run a graph node by node in int64 and keep every value.

It is written to be read and to be right; `exact_blas` is the fast route and must never differ from it.
"""

from collections.abc import Sequence

import numpy as np

from vm.inference.graph import Graph
from vm.inference.ops import KERNELS
from vm.inference.tensors import Int64, Integers


def evaluate(graph: Graph, constants: Sequence[Integers], inputs: Sequence[Int64]) -> tuple[Int64, ...]:
    """Return every value of a graph: the inputs, then each node's result, with their leading batch axis."""
    values = [np.asarray(value, dtype=np.int64) for value in inputs]
    for node in graph.nodes:
        operands = [constants[index] for index in node.constants]
        values.append(KERNELS[node.op](values[node.source], operands, node.attributes))
    return tuple(values)
