"""Random models for equality tests: any op may follow any other that its types allow."""

import numpy as np

from vm.inference.analyse import analyse
from vm.inference.artifact import Labels, build_artifact
from vm.inference.graph import Constant, Graph, Node, Op, Role
from vm.inference.manifest import Tier
from vm.inference.tensors import DType, TensorType


def random_model(seed, batch=2):
    """Return a random artifact and a batch of inputs that reach the ends of their ranges."""
    rng = np.random.default_rng(seed)
    grower = _Grower(rng)
    for _ in range(int(rng.integers(1, 5))):
        grower.grow_image()
    grower.add(Op.FLATTEN)
    grower.grow_rows()
    graph = grower.graph(tuple(range(1, 1 + len(grower.nodes)))[-16:])
    artifact = build_artifact(graph, grower.arrays, Labels("random", "MIT", Tier.NEURON))
    source = graph.inputs[0]
    return artifact, [values_of(rng, source, (batch, *source.shape))]


def values_of(rng, tensor, shape):
    """Draw elements, two in five at a bound."""
    spread = rng.integers(tensor.low, tensor.high, shape, endpoint=True)
    extreme = rng.choice([tensor.low, tensor.high], shape)
    return np.where(rng.random(shape) < 0.4, extreme, spread)


class _Grower:
    def __init__(self, rng):
        self.rng = rng
        shape = (int(rng.integers(3, 9)), int(rng.integers(3, 9)), int(rng.integers(1, 5)))
        dtype, low, high = [(DType.U8, 0, 255), (DType.I8, -128, 127), (DType.U8, 0, 16)][rng.integers(3)]
        self.source = TensorType(dtype, shape, low, high)
        self.constants, self.arrays, self.nodes = [], [], []
        self.value = self.source

    def graph(self, outputs):
        return Graph((self.source,), tuple(self.constants), tuple(self.nodes), outputs)

    def constant(self, dtype, shape, bounds):
        tensor = TensorType(dtype, shape, *bounds)
        self.constants.append(Constant(Role.WEIGHT, tensor))
        self.arrays.append(values_of(self.rng, tensor, shape))
        return len(self.constants) - 1

    def add(self, op, constants=(), attributes=()):
        self.nodes.append(Node(op, len(self.nodes), tuple(constants), tuple(int(a) for a in attributes)))
        position = len(self.nodes)
        self.value = analyse(self.graph((position,))).values[position]

    def grow_image(self):
        height, width, channels = self.value.shape
        choice = int(self.rng.integers(6))
        if choice < 3 and self.value.dtype in (DType.U8, DType.I8):
            self._convolve(height, width, channels)
        elif choice == 3:
            self.add(Op.RELU)
        else:
            kernel = [int(self.rng.integers(1, 1 + min(3, size))) for size in (height, width)]
            pads = [int(self.rng.integers(0, kernel[axis])) for axis in (0, 0, 1, 1)]
            op = Op.MAX_POOL2D if choice == 4 else Op.AVERAGE_POOL2D
            self.add(op, (), (*kernel, *self.rng.integers(1, 5, 2), *pads))

    def _convolve(self, height, width, channels):
        dilation = [int(size) for size in self.rng.integers(1, 3, 2)]
        kernel = [
            int(self.rng.integers(1, 1 + min(3, 1 + (size - 1) // step)))
            for size, step in zip((height, width), dilation, strict=True)
        ]
        farthest = int(self.rng.choice([3, 9]))  # beyond the kernel: some windows meet padding alone
        attributes = (*self.rng.integers(1, 5, 2), *dilation, *self.rng.integers(0, farthest, 4))
        depthwise = bool(self.rng.integers(2))
        outputs = channels if depthwise else int(self.rng.integers(1, 6))
        shape = (outputs, *kernel) if depthwise else (outputs, *kernel, channels)
        weights = self.constant(DType.I8, shape, (-127, 127))
        bias = self.constant(DType.I32, (outputs,), (-(1 << 30), 1 << 30))
        self.add(Op.DEPTHWISE_CONV2D if depthwise else Op.CONV2D, (weights, bias), attributes)
        self.requantize((DType.I8, -128, 127))

    def requantize(self, target):
        channels = self.value.shape[-1] if self.rng.integers(2) else 1
        multiplier = self.constant(DType.I32, (channels,), (0, (1 << 31) - 1))
        shift = self.constant(DType.U8, (channels,), (20, 50))
        self.add(Op.REQUANT, (multiplier, shift), target)

    def grow_rows(self):
        if self.value.dtype not in (DType.U8, DType.I8):
            self.requantize((DType.I8, -127, 127))
        outputs = int(self.rng.integers(1, 12))
        weights = self.constant(DType.I8, (outputs, self.value.shape[-1]), (-127, 127))
        bias = self.constant(DType.I32, (outputs,), (-(1 << 20), 1 << 20))
        self.add(Op.DENSE, (weights, bias))
        self.requantize((DType.I32, -(1 << 24), 1 << 24))
        if self.rng.integers(2):
            self.add(Op.ARGMAX)
        else:
            self.add(Op.SOFTMAX, (self.constant(DType.I32, (1024,), (1 << 29, 1 << 30)),))
