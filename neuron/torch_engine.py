"""The torch engine: models on CPU or CUDA, equal to the reference bit for bit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from neuron.torch_ops import Step, apply, small_index
from neuron.torch_products import Float32Product, Int8Product, Product, int8_units_are_exact
from vm.inference.artifact import Artifact
from vm.inference.graph import Convolution, Graph, Node, Op
from vm.inference.ops import convolution_axes
from vm.inference.schedule import run_nodes
from vm.inference.tensors import Int64

_PRODUCTS = frozenset({Op.CONV2D, Op.DEPTHWISE_CONV2D, Op.DENSE})


@dataclass(frozen=True, slots=True, eq=False)
class TorchModel:
    """Hold a model's steps on a device; values are freed after their last reader."""

    graph: Graph
    steps: tuple[Step, ...]
    product: Product
    device: torch.device

    def evaluate(self, inputs: Sequence[Int64]) -> list[Int64]:
        """Return the outputs for a batch of inputs, each (B, ...)."""
        with torch.inference_mode():
            outputs = run_nodes(self.graph, map(self._to_device, inputs), self._compute)
            return [output.cpu().numpy().astype(np.int64) for output in outputs]

    def _to_device(self, array: Int64) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int32)).to(self.device)

    def _compute(self, position: int, _node: Node, source: torch.Tensor) -> torch.Tensor:
        return apply(self.steps[position], source, self.product)


class TorchEngine:
    """Prepare models for one device with one route for products."""

    def __init__(self, device: str, product: Product) -> None:
        """Forbid reduced-precision float32 products in this process: they are not exact."""
        torch.set_float32_matmul_precision("highest")
        self._device = torch.device(device)
        self._product = product

    @property
    def name(self) -> str:
        """Return what a log line should say."""
        hardware = torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else "CPU"
        return f"torch {torch.__version__}, {hardware}, {self._product.name}"

    def prepare(self, artifact: Artifact) -> TorchModel:
        """Move a model to the device."""
        steps = tuple(self._step(artifact, node) for node in artifact.graph.nodes)
        return TorchModel(artifact.graph, steps, self._product, self._device)

    def _step(self, artifact: Artifact, node: Node) -> Step:
        arrays = [artifact.constants[index] for index in node.constants]
        tensors = [torch.from_numpy(array.astype(np.int64)).to(self._device) for array in arrays]
        step = Step(node, self._layout(node, tensors), artifact.analysis.values[node.source])
        if node.op not in (Op.CONV2D, Op.DEPTHWISE_CONV2D):
            return step
        step = step._replace(kernel=(arrays[0].shape[1], arrays[0].shape[2]))
        if node.op is Op.DEPTHWISE_CONV2D:
            return step
        axes = convolution_axes((1, *step.source.shape), step.kernel, Convolution(*node.attributes))
        return step._replace(gather=small_index(axes, self._device))

    def _layout(self, node: Node, tensors: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        if node.op not in _PRODUCTS:
            return tuple(tensors)
        weights, bias = (tensor.to(torch.int32) for tensor in tensors)
        if node.op is Op.DEPTHWISE_CONV2D:
            return weights, bias
        return self._product.lay_out(weights.reshape(weights.shape[0], -1)), bias


def available_device() -> str:
    """Return "cuda" where there is a usable one, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def candidate_engines(device: str, threads: int | None) -> list[TorchEngine]:
    """Return the engines worth trying on a device, the fastest first."""
    if threads is not None:
        torch.set_num_threads(threads)
    products: list[Product] = [Int8Product()] if int8_units_are_exact(torch.device(device)) else []
    return [TorchEngine(device, product) for product in (*products, Float32Product())]
