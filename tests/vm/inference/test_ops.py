"""The ops against vectors made with unbounded integers, and their roundings at every edge."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT
from vm.inference import ops
from vm.inference.graph import Op

VECTORS = json.loads((ROOT / "tests/vectors/inference/ops.json").read_text())


def array(described):
    """Return the tensor that a vector describes."""
    return np.array(described["values"], dtype=np.int64).reshape(described["shape"])


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_op_equals_its_vector(vector):
    """An op gives, element for element, what the page's formula gives in unbounded integers."""
    source = array(vector["source"])[np.newaxis]
    constants = [array(constant) for constant in vector["constants"]]
    result = ops.KERNELS[Op[vector["op"]]](source, constants, vector["attributes"])
    assert result.dtype == np.int64
    assert result.shape == (1, *vector["result"]["shape"])
    assert result.ravel().tolist() == vector["result"]["values"]


def test_every_op_has_a_vector():
    """No op can be added without being pinned."""
    assert {vector["op"] for vector in VECTORS} == {op.name for op in Op}


@given(st.integers(-(2**62) + 1, 2**62 - 1), st.integers(1, 62))
def test_round_shift_rounds_half_up(value, shift):
    """round_shift is floor(x / 2^s + 1/2), for either sign and any shift."""
    rounded = int(ops.round_shift(np.int64(value), shift))
    assert rounded == (value + 2 ** (shift - 1)) // 2**shift


@given(st.integers(-(2**61), 2**61), st.integers(1, 2**32))
def test_round_divide_floors(numerator, divisor):
    """round_divide floors toward minus infinity; truncation would differ for negative numerators."""
    assert int(ops.round_divide(np.int64(numerator), divisor)) == (2 * numerator + divisor) // (2 * divisor)
