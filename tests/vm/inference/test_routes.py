"""Every route computes the same integers: the reference, the exact float64 route, and whatever the batch."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vm.inference.random_graphs import random_model
from vm.inference import conformance, engine, exact_blas, reference
from vm.inference.artifact import Labels, build_artifact
from vm.inference.graph import Constant, Graph, Node, Op, Role
from vm.inference.manifest import Tier
from vm.inference.tensors import DType, TensorType, encode_tensor


def reference_outputs(artifact, inputs):
    """Return the outputs by the int64 reference."""
    values = reference.evaluate(artifact.graph, artifact.constants, inputs)
    return [values[index] for index in artifact.graph.outputs]


@settings(max_examples=120)
@given(st.integers(0, 2**32 - 1))
def test_exact_route_equals_the_reference(seed):
    """On any graph the analyser accepts, every node's value by the float64 route equals the int64 reference."""
    artifact, inputs = random_model(seed)
    wanted = reference_outputs(artifact, inputs)
    assert len(wanted) == len(artifact.graph.nodes)
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


CHANNELS = 2_000
FARTHEST = (64, 64, 1, 1, 64, 64, 64, 64)
ONE_PIXEL = TensorType(DType.I8, (1, 1, CHANNELS), -127, 127)
BIAS = TensorType(DType.I32, (CHANNELS,), -9, 9)


@pytest.mark.parametrize(
    ("op", "weights", "attributes"),
    [
        (Op.CONV2D, (CHANNELS, 1, 1, CHANNELS), FARTHEST),
        (Op.DEPTHWISE_CONV2D, (CHANNELS, 1, 1), FARTHEST),
        (Op.MAX_POOL2D, None, (8, 8, 64, 64, 7, 7, 7, 7)),
        (Op.AVERAGE_POOL2D, None, (8, 8, 64, 64, 7, 7, 7, 7)),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_padding_is_never_laid_out(op, weights, attributes):
    """Whoever inscribes a model of one pixel and the widest padding takes no memory for the padding.

    Laid out, it would be 16,641 times the image: gigabytes in every node, for a model that costs next to nothing.
    """
    constants, arrays = (), []
    if weights is not None:
        kernel = TensorType(DType.I8, weights, -1, 1)
        constants = (Constant(Role.WEIGHT, kernel), Constant(Role.WEIGHT, BIAS))
        arrays = [np.ones(weights, dtype=np.int64), np.full(CHANNELS, 9)]
    graph = Graph((ONE_PIXEL,), constants, (Node(op, 0, tuple(range(len(constants))), attributes),), (1,))
    artifact = build_artifact(graph, arrays, Labels("wide", "MIT", Tier.ON_CHAIN))
    question = (bytes(CHANNELS), b"", artifact.manifest.output_bytes)
    engine.run(artifact, *question)  # lays the weights out, once
    tracemalloc.start()
    try:
        engine.run(artifact, *question)
        assert tracemalloc.get_traced_memory()[1] < 100 * 8 * CHANNELS
    finally:
        tracemalloc.stop()


def test_values_are_freed_after_their_last_reader():
    """Two hundred nodes in a row take the memory of a few: a deep model must not fill the node that checks it."""
    wide = TensorType(DType.I8, (100_000,), -127, 127)
    nodes = tuple(Node(Op.RELU, index) for index in range(200))
    artifact = build_artifact(Graph((wide,), (), nodes, (200,)), [], Labels("deep", "MIT", Tier.NEURON))
    tracemalloc.start()
    try:
        answer = engine.run(artifact, b"\xff" * 99_999 + b"\x07", b"", 100_000)
        assert tracemalloc.get_traced_memory()[1] < 6 * 8 * wide.elements
    finally:
        tracemalloc.stop()
    assert answer.output == bytes(99_999) + b"\x07"


def test_a_value_that_is_read_late_is_kept():
    """A value lives until its last reader, and an output for good, in whatever order the nodes stand."""
    source = TensorType(DType.I8, (4,), -9, 9)
    nodes = (Node(Op.RELU, 0), Node(Op.ARGMAX, 1), Node(Op.FLATTEN, 0), Node(Op.RELU, 1))
    graph = Graph((source,), (), nodes, (3, 1, 4, 2))
    artifact = build_artifact(graph, [], Labels("late", "MIT", Tier.NEURON))
    inputs = [np.array([[-3, 2, 9, 0]])]
    found = exact_blas.evaluate(exact_blas.prepare(artifact), inputs)
    for left, right in zip(reference_outputs(artifact, inputs), found, strict=True):
        assert np.array_equal(left, right)


def test_both_routes_have_the_pinned_digests():
    """The start-up cases give the digests written beside them, on both routes."""

    def by_blas(artifact, inputs):
        return exact_blas.evaluate(exact_blas.prepare(artifact), inputs)

    assert conformance.failed_cases(reference_outputs) == ()
    assert conformance.failed_cases(by_blas) == ()
    assert {case.name for case in conformance.cases()} == set(conformance.PINNED)


def test_conformance_notices_one_wrong_bit():
    """An engine that is off by one in one element of one case fails that case."""

    def off_by_one(artifact, inputs):
        outputs = [value.copy() for value in reference_outputs(artifact, inputs)]
        outputs[-1].flat[-1] += 1
        return outputs

    assert set(conformance.failed_cases(off_by_one)) == set(conformance.PINNED)
