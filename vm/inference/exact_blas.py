"""The fast route of every node: products in float64 BLAS, where float64 is provably exact.

`analyse` has bounded every partial sum of a product, in any order, below 2^31; float64 holds every integer
below 2^53 exactly, and a fused or reordered sum of such integers rounds nothing. So the route may use any
BLAS, any threads and any blocking. This is the one consensus module that may hold floats; all other ops are
the reference's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from vm.inference.artifact import Artifact
from vm.inference.graph import Convolution, Graph, Node, Op
from vm.inference.ops import KERNELS, Kernel, convolution_axes, everywhere, taps
from vm.inference.schedule import run_nodes
from vm.inference.tensors import Int64, Integers

BLOCK_ROWS: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class PreparedModel:
    """Hold a graph with each node's constants laid out for its kernel."""

    graph: Graph
    operands: tuple[tuple[Integers, ...], ...]


def prepare(artifact: Artifact) -> PreparedModel:
    """Lay the weights of products out as float64 matrices, once per model."""
    graph = artifact.graph
    return PreparedModel(graph, tuple(_layout(node, artifact.constants) for node in graph.nodes))


def evaluate(model: PreparedModel, inputs: Sequence[Int64]) -> list[Int64]:
    """Return the outputs of the graph, equal to those among the values of `reference.evaluate`."""

    def compute(position: int, node: Node, source: Int64) -> Int64:
        return _EXACT_KERNELS[node.op](source, model.operands[position], node.attributes)

    return run_nodes(model.graph, (np.asarray(value, dtype=np.int64) for value in inputs), compute)


def _layout(node: Node, constants: Sequence[Integers]) -> tuple[Integers, ...]:
    operands = tuple(constants[index] for index in node.constants)
    if node.op is Op.DENSE:
        return _matrix(operands[0].T), operands[1].astype(np.float64)
    if node.op is Op.CONV2D:
        return _matrix(operands[0].transpose(1, 2, 3, 0)), operands[1].astype(np.float64)
    return operands


def _matrix(weights: Integers) -> Integers:
    return np.ascontiguousarray(weights, dtype=np.float64)


def _conv2d(source: Int64, constants: Sequence[Integers], attributes: Sequence[int]) -> Int64:
    """Sum one (B*H'*W', C) by (C, O) product per kernel position; memory stays that of the result."""
    weights, bias = constants
    axes = convolution_axes(source.shape, weights.shape[:2], Convolution(*attributes))
    total = everywhere(bias, source.shape[0], axes)
    floats = source.astype(np.float64)
    for tap in taps(axes):
        part = total[tap.place]
        part += _product(floats[tap.met], weights[tap.row, tap.column])
    return total.astype(np.int64)


def _dense(source: Int64, constants: Sequence[Integers], _attributes: Sequence[int]) -> Int64:
    weights, bias = constants
    return (_product(source.astype(np.float64), weights) + bias).astype(np.int64)


def _product(source: Integers, weights: Integers) -> Integers:
    """Multiply the last axis by (K, N), a block of rows at a time.

    A BLAS call for each row of a thin image costs more than its products; one for all rows makes threads wait for
    each other.
    """
    blocks = source.size // (source.shape[-1] * BLOCK_ROWS)
    if not blocks:
        return np.asarray(source @ weights)
    rows = source.reshape(-1, source.shape[-1])
    result = np.empty((len(rows), weights.shape[1]))
    whole = blocks * BLOCK_ROWS
    stack = result[:whole].reshape(blocks, BLOCK_ROWS, -1)
    np.matmul(rows[:whole].reshape(blocks, BLOCK_ROWS, -1), weights, out=stack)
    np.matmul(rows[whole:], weights, out=result[whole:])
    return result.reshape(*source.shape[:-1], -1)


_EXACT_KERNELS: Final[dict[Op, Kernel]] = {**KERNELS, Op.CONV2D: _conv2d, Op.DENSE: _dense}
