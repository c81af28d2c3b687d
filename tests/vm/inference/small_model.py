"""A model small enough to be attacked byte by byte, and the pieces tests vary."""

import numpy as np

from vm.inference.artifact import Labels, build_artifact
from vm.inference.graph import Constant, Graph, Node, Op, Role
from vm.inference.manifest import Tier
from vm.inference.tensors import DType, TensorType

SOURCE = TensorType(DType.U8, (4,), 0, 16)
WEIGHTS = TensorType(DType.I8, (3, 4), -127, 127)
BIAS = TensorType(DType.I32, (3,), -1000, 1000)
MULTIPLIER = TensorType(DType.I32, (1,), 0, (1 << 31) - 1)
SHIFT = TensorType(DType.U8, (1,), 1, 62)
TABLE = TensorType(DType.I32, (1024,), 1 << 29, 1 << 30)
LOGITS = (DType.I32, -(1 << 24), 1 << 24)


def small_graph():
    """Return dense, requant, softmax and argmax."""
    constants = [Constant(Role.WEIGHT, tensor) for tensor in (WEIGHTS, BIAS, MULTIPLIER, SHIFT)]
    nodes = (
        Node(Op.DENSE, 0, (0, 1)),
        Node(Op.REQUANT, 1, (2, 3), LOGITS),
        Node(Op.SOFTMAX, 2, (4,)),
        Node(Op.ARGMAX, 2),
    )
    return Graph((SOURCE,), (*constants, Constant(Role.TABLE, TABLE)), nodes, (4, 3))


def small_constants():
    """Return its constants."""
    weights = np.arange(12).reshape(3, 4) * 7 - 40
    table = np.array([round(2 ** (30 - index / 1024)) for index in range(1024)])
    return [weights, np.array([-5, 0, 900]), np.array([1 << 30]), np.array([28]), table]


def small_artifact(tier=Tier.ON_CHAIN):
    """Return the model."""
    return build_artifact(small_graph(), small_constants(), Labels("small", "MIT", tier))
