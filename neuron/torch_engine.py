"""The torch engine: models on CPU or CUDA, equal to the reference bit for bit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from neuron.torch_ops import Step, apply
from neuron.torch_products import Float32Product, Int8Product, Product, int8_units_are_exact
from vm.inference.artifact import Artifact
from vm.inference.graph import Graph, Node, Op
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
        last_use = _last_uses(self.graph)
        values: dict[int, torch.Tensor] = {}
        with torch.inference_mode():
            for index, array in enumerate(inputs):
                values[index] = torch.from_numpy(np.ascontiguousarray(array, dtype=np.int32)).to(self.device)
            for position, step in enumerate(self.steps):
                source = values[step.node.source]
                if last_use[step.node.source] == position:
                    del values[step.node.source]
                values[len(self.graph.inputs) + position] = apply(step, source, self.product)
            return [values[index].cpu().numpy().astype(np.int64) for index in self.graph.outputs]


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
        graph, values = artifact.graph, artifact.analysis.values
        steps = []
        for node in graph.nodes:
            arrays = [artifact.constants[index] for index in node.constants]
            tensors = [torch.from_numpy(array.astype(np.int64)).to(self._device) for array in arrays]
            kernel = (arrays[0].shape[1], arrays[0].shape[2]) if _has_kernel(node) else (1, 1)
            steps.append(Step(node, self._layout(node, tensors), values[node.source], kernel))
        return TorchModel(graph, tuple(steps), self._product, self._device)

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


def _has_kernel(node: Node) -> bool:
    return node.op in (Op.CONV2D, Op.DEPTHWISE_CONV2D)


def _last_uses(graph: Graph) -> dict[int, int]:
    """Return, per value, the position of the last node that reads it; outputs are never done with."""
    uses = {node.source: position for position, node in enumerate(graph.nodes)}
    return uses | dict.fromkeys(graph.outputs, len(graph.nodes))
