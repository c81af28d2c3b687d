"""Values that many tests of the machine start from."""

import pytest

from tests.vm.world import NEURON_MODEL, World, origin_at
from vm.system import L1Info


@pytest.fixture
def facts():
    """A neuron model's facts."""
    return NEURON_MODEL


@pytest.fixture
def info():
    """What an epoch begins with."""
    return L1Info(origin_at(107), fee_rate=4_321, finalized_number=12)


@pytest.fixture
def world():
    """A chain with its genesis block, in memory."""
    return World()
