"""Every route computes the same integers: the reference, the exact float64 route, and whatever the batch."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vm.inference.random_graphs import random_model
from vm.inference import conformance, exact_blas, reference
from vm.inference.tensors import encode_tensor


@settings(max_examples=120)
@given(st.integers(0, 2**32 - 1))
def test_exact_route_equals_the_reference(seed):
    """On any graph the analyser accepts, every value of the float64 route equals the int64 reference."""
    artifact, inputs = random_model(seed)
    wanted = reference.evaluate(artifact.graph, artifact.constants, inputs)
    found = exact_blas.evaluate(exact_blas.prepare(artifact), inputs)
    for left, right in zip(wanted, found, strict=True):
        assert right.dtype == np.int64
        assert np.array_equal(left, right)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_values_stay_in_the_proven_types(seed):
    """Shapes and ranges derived from types alone hold for the values really computed, at the extremes too."""
    artifact, inputs = random_model(seed)
    values = reference.evaluate(artifact.graph, artifact.constants, inputs)
    for tensor, value in zip(artifact.analysis.values, values, strict=True):
        for row in value:
            assert row.shape == tensor.shape
            encode_tensor(tensor, row)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_batch_changes_nothing(seed):
    """A batch of eight is eight batches of one."""
    artifact, inputs = random_model(seed, batch=8)
    model = exact_blas.prepare(artifact)
    together = exact_blas.evaluate(model, inputs)
    for index in range(8):
        alone = exact_blas.evaluate(model, [value[index : index + 1] for value in inputs])
        for left, right in zip(together, alone, strict=True):
            assert np.array_equal(left[index : index + 1], right)


def test_both_routes_have_the_pinned_digests():
    """The start-up cases give the digests written beside them, on both routes."""

    def by_reference(artifact, inputs):
        values = reference.evaluate(artifact.graph, artifact.constants, inputs)
        return [values[index] for index in artifact.graph.outputs]

    def by_blas(artifact, inputs):
        values = exact_blas.evaluate(exact_blas.prepare(artifact), inputs)
        return [values[index] for index in artifact.graph.outputs]

    assert conformance.failed_cases(by_reference) == ()
    assert conformance.failed_cases(by_blas) == ()
    assert {case.name for case in conformance.cases()} == set(conformance.PINNED)


def test_conformance_notices_one_wrong_bit():
    """An engine that is off by one in one element of one case fails that case."""

    def off_by_one(artifact, inputs):
        values = reference.evaluate(artifact.graph, artifact.constants, inputs)
        outputs = [values[index].copy() for index in artifact.graph.outputs]
        outputs[-1].flat[-1] += 1
        return outputs

    assert set(conformance.failed_cases(off_by_one)) == set(conformance.PINNED)
