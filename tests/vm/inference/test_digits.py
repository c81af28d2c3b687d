"""The shipped digits model: its ids, its accuracy, and its output on every held-out image, pinned."""

import hashlib
import json
from importlib.resources import files

import numpy as np
import pytest

from tests.conftest import ROOT
from vm.inference import reference
from vm.inference.artifact import encode_announcement, encode_artifact, parse_announcement, parse_artifact
from vm.inference.engine import run
from vm.inference.manifest import Tier
from vm.inference.wire import Status

MODELS = files("vm.inference.models")
VECTORS = json.loads((ROOT / "tests/vectors/inference/models.json").read_text())
REPORT = json.loads((ROOT / "models/digits/report.json").read_text())
TIERS = {"digits-onchain": Tier.ON_CHAIN, "digits-neuron": Tier.NEURON}


def load(name):
    """Return a shipped model."""
    return parse_artifact(MODELS.joinpath(f"{name}.bitai").read_bytes())


@pytest.fixture(scope="module")
def held_out():
    """The 360 images (n, 64) and labels that training never saw."""
    records = np.frombuffer(MODELS.joinpath("digits-heldout.bin").read_bytes(), dtype=np.uint8).reshape(
        -1, 65
    )
    return records[:, :64], records[:, 64]


@pytest.mark.parametrize("name", TIERS)
def test_identity(name):
    """Each file is canonical, has the pinned id, and its size keeps it cheap to inscribe."""
    data = MODELS.joinpath(f"{name}.bitai").read_bytes()
    artifact = parse_artifact(data)
    assert encode_artifact(artifact) == data
    assert artifact.model_id.hex() == VECTORS[name]["model_id"] == REPORT["model_ids"][name]
    assert artifact.manifest.tier is TIERS[name]
    assert artifact.manifest.macs == VECTORS[name]["macs"]
    assert 20_000 < len(data) < 40_000


def test_announcement_belongs_to_the_neuron_model():
    """The shipped announcement is the neuron model's, without weights."""
    data = MODELS.joinpath("digits-neuron.announcement.bitai").read_bytes()
    artifact = load("digits-neuron")
    assert data == encode_announcement(artifact.announcement)
    assert parse_announcement(data).model_id == artifact.model_id


def test_both_tiers_have_the_same_weights():
    """The tiers differ in who runs the model, not in what it says."""
    assert load("digits-onchain").weights == load("digits-neuron").weights


@pytest.mark.parametrize("name", TIERS)
def test_outputs_are_pinned(name, held_out):
    """The outputs on all held-out images have the digest in the vectors; ten are spelled out."""
    artifact, (images, _) = load(name), held_out
    results = [run(artifact, image.tobytes(), b"", 21) for image in images]
    assert {result.status for result in results} == {Status.OK}
    outputs = [result.output for result in results]
    assert [output.hex() for output in outputs[:10]] == VECTORS[name]["first_outputs"]
    assert hashlib.sha256(b"".join(outputs)).hexdigest() == VECTORS[name]["outputs_sha256"]


def test_accuracy(held_out):
    """The integer model is within one image of the float model on the held-out split, as reported."""
    images, labels = held_out
    artifact = load("digits-onchain")
    classes = np.array([run(artifact, image.tobytes(), b"", 21).output[0] for image in images])
    floats = np.array([int(digit) for digit in REPORT["float_classes"]])
    correct, float_correct = int((classes == labels).sum()), int((floats == labels).sum())
    assert len(labels) == REPORT["held_out"] == 360
    assert (correct, float_correct) == (REPORT["integer_correct"], REPORT["float_correct"])
    assert abs(correct - float_correct) <= 1
    assert correct >= 350


def test_reference_agrees_on_all_held_out_images(held_out):
    """The int64 reference, in one batch, gives the bytes that the engine gave one by one."""
    artifact, (images, _) = load("digits-onchain"), held_out
    values = reference.evaluate(
        artifact.graph, artifact.constants, [images.reshape(-1, 8, 8, 1).astype(np.int64)]
    )
    best, probabilities = (values[index] for index in artifact.graph.outputs)
    joined = [bytes([b[0]]) + p.astype(">u2").tobytes() for b, p in zip(best, probabilities, strict=True)]
    assert hashlib.sha256(b"".join(joined)).hexdigest() == VECTORS["digits-onchain"]["outputs_sha256"]
