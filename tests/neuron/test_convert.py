"""Conversion keeps a torch network's meaning, layer by layer, and refuses what it cannot keep."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuron.quantize import Head, exp2_table, fixed_point, quantize
from primitives.errors import InvalidInput
from tests.conftest import ROOT
from vm.inference import reference
from vm.inference.artifact import Labels, build_artifact
from vm.inference.manifest import Tier
from vm.inference.tensors import DType, TensorType

torch = pytest.importorskip("torch", reason="torch is not installed")
from torch import nn  # noqa: E402 (after the skip)

from neuron.convert_torch import float_layers  # noqa: E402

SOURCE = TensorType(DType.U8, (8, 9, 2), 0, 255)


def trained(*modules):
    """Return a network in evaluation mode whose batch statistics are not the trivial ones."""
    torch.manual_seed(5)
    network = nn.Sequential(*modules)
    network.train()
    with torch.no_grad():
        for _ in range(5):
            network(torch.rand(32, 2, 8, 9))
    return network.eval()


NETWORKS = {
    "convolutions": lambda: trained(
        nn.Conv2d(2, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 6, (3, 2), stride=(1, 2), dilation=(1, 1), bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(24, 10),
    ),
    "depthwise": lambda: trained(
        nn.Conv2d(2, 8, 1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8, padding=(0, 1), stride=2),
        nn.BatchNorm2d(8),
        nn.AvgPool2d(2, 1),
        nn.Flatten(),
        nn.Linear(2 * 4 * 8, 16),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Linear(16, 10),
    ),
    "rectified": lambda: trained(nn.Flatten(), nn.Linear(2 * 8 * 9, 10), nn.ReLU()),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_integer_logits_follow_the_float_ones(name):
    """On images the calibration never saw, integer logits stay within 5 % of the float ones' range."""
    network = NETWORKS[name]()
    codes = torch.randint(0, 256, (400, 2, 8, 9))
    samples = codes.to(torch.float32) / 255
    graph, constants = quantize(float_layers(network, samples[:200]), SOURCE, 1 / 255, Head.LOGITS)
    artifact = build_artifact(graph, constants, Labels(name, "MIT", Tier.NEURON))
    images = codes[200:].permute(0, 2, 3, 1).numpy().astype(np.int64)
    found = reference.evaluate(artifact.graph, artifact.constants, [images])[graph.outputs[0]] / 2**16
    with torch.no_grad():
        wanted = network(samples[200:]).numpy()
    spread = wanted.max() - wanted.min()
    assert np.abs(found - wanted).max() < 0.05 * spread
    assert found.shape == wanted.shape


def test_classes_head_gives_probabilities():
    """The classes head's probabilities are the softmax of the float logits, to about a hundredth."""
    network = NETWORKS["convolutions"]()
    codes = torch.randint(0, 256, (64, 2, 8, 9))
    samples = codes.to(torch.float32) / 255
    graph, constants = quantize(float_layers(network, samples), SOURCE, 1 / 255, Head.CLASSES)
    images = codes.permute(0, 2, 3, 1).numpy().astype(np.int64)
    values = reference.evaluate(graph, constants, [images])
    best, probabilities = (values[index] for index in graph.outputs)
    with torch.no_grad():
        wanted = torch.softmax(network(samples), dim=1).numpy()
    assert np.abs(probabilities / 2**15 - wanted).max() < 0.03
    assert np.array_equal(best[:, 0], probabilities.argmax(axis=1))


def test_exp2_table_is_exact():
    """The published table is the one that the oracle found by exact integers."""
    vectors = json.loads((ROOT / "tests/vectors/inference/ops.json").read_text())
    softmax = next(vector for vector in vectors if vector["op"] == "SOFTMAX")
    assert exp2_table().tolist() == softmax["constants"][0]["values"]


@given(st.floats(2.0**-31, 2.0**28))
def test_fixed_point_is_close(factor):
    """A multiplier and shift are within 2^-30 of their factor, in range."""
    multiplier, shift = fixed_point(factor)
    assert 0 <= multiplier < 2**31
    assert 1 <= shift <= 62
    assert math.isclose(multiplier / 2**shift, factor, rel_tol=2**-30)


@pytest.mark.parametrize("factor", [0.0, -1.0, 2.0**29])
def test_fixed_point_refuses(factor):
    """A factor that no multiplier reaches is refused."""
    with pytest.raises(InvalidInput, match=r"convert\.scale"):
        fixed_point(factor)


@pytest.mark.parametrize(
    ("modules", "code"),
    [
        ((nn.Conv2d(2, 4, 3), nn.Sigmoid()), "convert.layer"),
        ((nn.Conv2d(2, 4, 3), nn.MaxPool2d(2), nn.ReLU()), "convert.layer"),
        ((nn.Conv2d(2, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)), "convert.layer"),
        ((nn.Conv2d(2, 4, 3, groups=2),), "convert.groups"),
        ((nn.Conv2d(2, 4, 3, padding="same"),), "convert.padding"),
        ((nn.Conv2d(2, 4, 3), nn.AvgPool2d(2, padding=1)), "convert.pooling"),
        ((nn.Conv2d(2, 4, 3), nn.MaxPool2d(2, ceil_mode=True)), "convert.pooling"),
        ((nn.Conv2d(2, 4, 3), nn.AvgPool2d(2, divisor_override=1)), "convert.pooling"),
        ((nn.Conv2d(2, 4, 3), nn.Flatten()), "convert.last_layer"),
        ((nn.Linear(9, 4),), "convert.layer"),
        ((nn.Flatten(2), nn.Linear(72, 4)), "convert.layer"),
    ],
)
def test_what_cannot_be_kept_is_refused(modules, code):
    """A module without an integer form is named, never skipped."""
    samples = torch.rand(4, 2, 8, 9)
    with pytest.raises(InvalidInput) as caught:
        quantize(float_layers(nn.Sequential(*modules), samples), SOURCE, 1 / 255, Head.LOGITS)
    assert caught.value.code == code
