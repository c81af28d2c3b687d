"""What the neuron's tests share: the digits model, its images, and the bytes it must answer with."""

from importlib.resources import files

import numpy as np
import pytest

from vm.inference.artifact import parse_artifact
from vm.inference.engine import run

MODELS = files("vm.inference.models")


@pytest.fixture(scope="session")
def digits():
    """The neuron-tier digits model."""
    return parse_artifact(MODELS.joinpath("digits-neuron.bitai").read_bytes())


@pytest.fixture(scope="session")
def images():
    """The held-out images, 64 bytes each."""
    records = np.frombuffer(MODELS.joinpath("digits-heldout.bin").read_bytes(), dtype=np.uint8)
    return [record[:64].tobytes() for record in records.reshape(-1, 65)]


@pytest.fixture(scope="session")
def expected(digits):
    """Return the output that every honest machine gives."""
    return lambda data: run(digits, data, b"", 21).output
