"""From a trained `torch.nn.Sequential` to float layers: ranges calibrated, batch normalisation folded in."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from neuron.quantize import FlattenLayer, Floats, Layer, PoolLayer, ProductLayer, as_floats
from primitives.errors import InvalidInput
from vm.inference.graph import Convolution, Op, Pooling

if TYPE_CHECKING:
    import torch

IMAGE_RANK: Final = 3
SUPPORTED: Final = (
    "Conv2d, Linear, BatchNorm2d, BatchNorm1d, ReLU, MaxPool2d, AvgPool2d, Flatten, Dropout, Identity"
)


def float_layers(network: "torch.nn.Sequential", samples: "torch.Tensor") -> list[Layer]:
    """Return the layers of a network; `samples` are calibration inputs (n, C, H, W) or (n, K).

    Torch keeps channels before rows; a dense layer behind a flattening has its columns put in our order.
    Raises InvalidInput `convert.layer` for a module that has no integer form yet.
    """
    import torch

    layers: list[Layer] = []
    flattened: tuple[int, ...] | None = None
    value = samples
    with torch.no_grad():
        for module in network.eval():
            before = tuple(value.shape[1:])
            _require_rows(module, before)
            value = module(value)
            if isinstance(module, torch.nn.Flatten):
                flattened = before
            _append(layers, module, flattened)
            _calibrate(layers, module, value)
            if isinstance(module, torch.nn.Linear):
                flattened = None
    if layers and isinstance(layers[-1], ProductLayer):
        layers[-1] = replace(layers[-1], peak=None)
    return layers


def _require_rows(module: Any, before: tuple[int, ...]) -> None:
    """Refuse a flattening of some axes only, and a dense layer over the width of an image."""
    from torch import nn

    if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) != (1, -1):
        raise InvalidInput("convert.layer", "a flattening takes every axis but the batch's")
    if isinstance(module, nn.Linear) and len(before) != 1:
        raise InvalidInput("convert.layer", "a dense layer reads rows; flatten the image first", shape=before)


def _append(layers: list[Layer], module: Any, flattened: tuple[int, ...] | None) -> None:
    """Add what a module means to the layers, or change the last one."""
    from torch import nn

    if isinstance(module, nn.Conv2d):
        layers.append(_convolution(module))
    elif isinstance(module, nn.Linear):
        layers.append(_dense(module, flattened))
    elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
        layers[-1] = _folded(_last_product(layers, module), module)
    elif isinstance(module, nn.ReLU):
        layers[-1] = replace(_last_product(layers, module), rectified=True)
    elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        layers.append(_pool(module))
    elif isinstance(module, nn.Flatten):
        layers.append(FlattenLayer())
    elif not isinstance(module, nn.Dropout | nn.Dropout2d | nn.Identity):
        raise InvalidInput("convert.layer", f"no integer form of {type(module).__name__}; known: {SUPPORTED}")


def _calibrate(layers: list[Layer], module: Any, value: "torch.Tensor") -> None:
    """Note the peak of the last product, as it stands after the modules folded into it."""
    from torch import nn

    if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d | nn.BatchNorm1d | nn.ReLU):
        layers[-1] = replace(_last_product(layers, module), peak=float(value.abs().max()))


def _last_product(layers: list[Layer], module: Any) -> ProductLayer:
    """Return the product that a module can be folded into."""
    if not layers or not isinstance(layers[-1], ProductLayer):
        raise InvalidInput(
            "convert.layer", f"{type(module).__name__} must follow a convolution or a dense layer"
        )
    return layers[-1]


def _convolution(module: Any) -> ProductLayer:
    weights = as_floats(module.weight.detach())
    outputs, channels, groups = module.out_channels, module.in_channels, module.groups
    if isinstance(module.padding, str) or module.padding_mode != "zeros":
        raise InvalidInput("convert.padding", "give padding as numbers, filled with zeros")
    top, left = module.padding
    window = Convolution._make((*module.stride, *module.dilation, top, top, left, left))
    bias = as_floats(module.bias.detach()) if module.bias is not None else np.zeros(outputs)
    if groups == 1:
        return ProductLayer(
            Op.CONV2D, weights.transpose(0, 2, 3, 1), bias, 0.0, rectified=False, window=window
        )
    if groups == channels == outputs:
        return ProductLayer(Op.DEPTHWISE_CONV2D, weights[:, 0], bias, 0.0, rectified=False, window=window)
    raise InvalidInput("convert.groups", "a convolution has one group, or one per channel", groups=groups)


def _dense(module: Any, flattened: tuple[int, ...] | None) -> ProductLayer:
    weights = as_floats(module.weight.detach())
    bias = as_floats(module.bias.detach()) if module.bias is not None else np.zeros(module.out_features)
    if flattened is not None and len(flattened) == IMAGE_RANK:
        channels, height, width = flattened
        planes = weights.reshape(-1, channels, height, width)
        weights = planes.transpose(0, 2, 3, 1).reshape(weights.shape)
    return ProductLayer(Op.DENSE, weights, bias, 0.0, rectified=False)


def _folded(layer: ProductLayer, module: Any) -> ProductLayer:
    """Fold y = gain * (x - mean) / sqrt(variance + eps) + shift into the product before it."""
    if layer.rectified:
        raise InvalidInput("convert.layer", "batch normalisation behind a rectifier cannot be folded")
    factor: Floats = 1 / np.sqrt(as_floats(module.running_var) + module.eps)
    shift = np.zeros_like(factor)
    if module.affine:
        factor = factor * as_floats(module.weight.detach())
        shift = as_floats(module.bias.detach())
    spread = factor.reshape(-1, *([1] * (layer.weights.ndim - 1)))
    bias = (layer.bias - as_floats(module.running_mean)) * factor + shift
    return replace(layer, weights=layer.weights * spread, bias=bias)


def _pool(module: Any) -> PoolLayer:
    from torch import nn

    kernel, stride, pad = (_pair(value) for value in (module.kernel_size, module.stride, module.padding))
    maximum = isinstance(module, nn.MaxPool2d)
    if module.ceil_mode or (maximum and _pair(module.dilation) != (1, 1)):
        raise InvalidInput("convert.pooling", "pooling with ceil_mode or dilation has no integer form")
    if not maximum and module.divisor_override is not None:
        raise InvalidInput("convert.pooling", "an average divides by the number of its elements")
    if not maximum and any(pad) and module.count_include_pad:
        raise InvalidInput(
            "convert.pooling", "average pooling must not count its padding (count_include_pad)"
        )
    pooling = Pooling(*kernel, *stride, pad[0], pad[0], pad[1], pad[1])
    return PoolLayer(Op.MAX_POOL2D if maximum else Op.AVERAGE_POOL2D, pooling)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)
