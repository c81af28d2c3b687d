"""The torch engine gives the reference's integers, bit for bit, however it is run."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from tests.vm.inference.random_graphs import random_model
from vm.inference import reference
from vm.inference.artifact import Labels, build_artifact
from vm.inference.conformance import failed_cases
from vm.inference.engine import Result
from vm.inference.graph import Constant, Graph, Node, Op, Role
from vm.inference.manifest import Tier
from vm.inference.tensors import DType, TensorType
from vm.inference.wire import Request, Status

torch = pytest.importorskip("torch", reason="torch is not installed")

from neuron import engine as engines  # noqa: E402 (torch decides whether there is anything to test)
from neuron import torch_ops, torch_products  # noqa: E402
from neuron.torch_engine import TorchEngine, candidate_engines  # noqa: E402
from neuron.torch_products import Float32Product, Int8Product, int8_units_are_exact  # noqa: E402

PRODUCTS = {"float32": Float32Product, "int8": Int8Product}
if not int8_units_are_exact(torch.device("cpu")):
    del PRODUCTS["int8"]  # not exact on this processor, and so never used on it


def reference_outputs(artifact, inputs):
    """Return the outputs by the int64 reference."""
    values = reference.evaluate(artifact.graph, artifact.constants, inputs)
    return [values[index] for index in artifact.graph.outputs]


@pytest.fixture(scope="module", params=PRODUCTS)
def engine(request):
    """A CPU engine per way to multiply."""
    return TorchEngine("cpu", PRODUCTS[request.param]())


def test_pinned_digests(engine):
    """Every start-up case has its pinned digest."""
    assert failed_cases(lambda artifact, inputs: engine.prepare(artifact).evaluate(inputs)) == ()


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), product=st.sampled_from(sorted(PRODUCTS)))
def test_equals_the_reference_on_random_graphs(seed, product):
    """On any accepted graph every output equals the int64 reference."""
    artifact, inputs = random_model(seed)
    found = TorchEngine("cpu", PRODUCTS[product]()).prepare(artifact).evaluate(inputs)
    for left, right in zip(reference_outputs(artifact, inputs), found, strict=True):
        assert np.array_equal(left, right)


def test_all_digits(engine, digits):
    """All 1,797 images give the reference's outputs in one batch, and so do batches of eight."""
    datasets = pytest.importorskip("sklearn.datasets")
    images = datasets.load_digits().images.astype(np.int64)[..., np.newaxis]
    wanted = reference_outputs(digits, [images])
    model = engine.prepare(digits)
    for left, right in zip(wanted, model.evaluate([images]), strict=True):
        assert np.array_equal(left, right)
    pieces = [model.evaluate([images[start : start + 8]]) for start in range(0, 240, 8)]
    for index, left in enumerate(wanted):
        assert np.array_equal(left[:240], np.concatenate([piece[index] for piece in pieces]))


def test_threads_change_nothing(engine, digits, images):
    """One thread and two give the same integers."""
    batch = np.frombuffer(b"".join(images), dtype=np.uint8).astype(np.int64).reshape(-1, 8, 8, 1)
    model = engine.prepare(digits)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(model.evaluate([batch]))
    finally:
        torch.set_num_threads(before)
    assert all(np.array_equal(left, right) for left, right in zip(*results, strict=True))


def test_batch_of_one(engine, digits, images):
    """One image alone gives what it gives in a batch."""
    batch = np.frombuffer(b"".join(images[:20]), dtype=np.uint8).astype(np.int64).reshape(-1, 8, 8, 1)
    model = engine.prepare(digits)
    together = model.evaluate([batch])
    for index in range(len(batch)):
        alone = model.evaluate([batch[index : index + 1]])
        assert all(
            np.array_equal(left[index : index + 1], right)
            for left, right in zip(together, alone, strict=True)
        )


@pytest.mark.parametrize("elements", [1, 400, 2_000])
def test_convolution_in_blocks(engine, digits, images, elements, monkeypatch):
    """Cutting the patches of a convolution into blocks, one window or some rows of them, changes nothing."""
    batch = np.frombuffer(images[0], dtype=np.uint8).astype(np.int64).reshape(1, 8, 8, 1)
    model = engine.prepare(digits)
    wanted = model.evaluate([batch])
    monkeypatch.setattr(torch_ops, "PATCH_ELEMENTS", elements)
    assert all(
        np.array_equal(left, right) for left, right in zip(wanted, model.evaluate([batch]), strict=True)
    )


@pytest.mark.parametrize(
    ("op", "weights", "attributes"),
    [
        (Op.CONV2D, (2, 1, 1, 2_000), (64, 64, 1, 1, 64, 64, 64, 64)),
        (Op.DEPTHWISE_CONV2D, (2_000, 1, 1), (64, 64, 1, 1, 64, 64, 64, 64)),
        (Op.MAX_POOL2D, None, (8, 8, 64, 64, 7, 7, 7, 7)),
        (Op.AVERAGE_POOL2D, None, (8, 8, 64, 64, 7, 7, 7, 7)),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_padding_is_never_laid_out(engine, op, weights, attributes):
    """A model of one pixel and the widest padding takes no memory for the padding: 16,641 times the image."""
    source, constants, arrays = TensorType(DType.I8, (1, 1, 2_000), -127, 127), (), []
    if weights is not None:
        kernel, bias = TensorType(DType.I8, weights, -9, 9), TensorType(DType.I32, weights[:1], -9, 9)
        constants = (Constant(Role.WEIGHT, kernel), Constant(Role.WEIGHT, bias))
        arrays = [np.arange(np.prod(weights)).reshape(weights) % 19 - 9, np.full(weights[:1], 7)]
    graph = Graph((source,), constants, (Node(op, 0, tuple(range(len(constants))), attributes),), (1,))
    artifact = build_artifact(graph, arrays, Labels("wide", "MIT", Tier.NEURON))
    model = engine.prepare(artifact)
    inputs, largest = [np.arange(2_000).reshape(1, 1, 1, -1) % 251 - 125], 0

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    with Watch():
        (found,) = model.evaluate(inputs)
    assert 0 < largest < 100 * source.elements
    assert np.array_equal(found, reference_outputs(artifact, inputs)[0])


def test_float32_without_pieces_would_be_caught(monkeypatch):
    """The pinned cases notice a float32 product that lets its sums pass 2^24."""
    monkeypatch.setattr(torch_products, "FLOAT32_EXACT", 1 << 60)
    engine = TorchEngine("cpu", Float32Product())
    assert failed_cases(lambda artifact, inputs: engine.prepare(artifact).evaluate(inputs))


def test_saturating_int8_is_caught_at_start_up():
    """On a processor without VNNI (forced here) int8 products are wrong; the known-answer test sees it."""
    script = (
        "import torch; from neuron.torch_engine import candidate_engines;"
        "print([engine.name.split(', ')[-1] for engine in candidate_engines('cpu', 1)])"
    )
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
    )
    if "int8 units" in done.stdout:
        pytest.skip("this build of torch multiplies int8 exactly even without VNNI")
    assert "float32 pieces" in done.stdout


def test_values_pass_through_no_float(digits, images):
    """Outside the product no float tensor is made: only its own two kinds of operation may touch one."""
    seen = set()

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result.is_floating_point():
                seen.add(function.__name__)
            return result

    model = TorchEngine("cpu", Float32Product()).prepare(digits)
    batch = np.frombuffer(images[0], dtype=np.uint8).astype(np.int64).reshape(1, 8, 8, 1)
    with Watch():
        model.evaluate([batch])
    assert seen == {"to", "__getitem__", "matmul"}


def test_choice_falls_back_when_torch_is_missing(monkeypatch):
    """Without torch a neuron runs on the exact route; asked for torch by name it says how to get it."""
    monkeypatch.setitem(sys.modules, "neuron.torch_engine", None)
    monkeypatch.delattr("neuron.torch_engine")
    assert engines.choose_engine("auto").name == engines.ExactEngine.name
    with pytest.raises(engines.ConfigError) as caught:
        engines.choose_engine("cpu")
    assert caught.value.code == "engine.no_torch"
    assert "pip install" in caught.value.fix


def test_choice_refuses_a_wrong_engine(monkeypatch):
    """An engine that fails its cases is passed over, loudly, for the next one."""

    class Wrong(engines.ExactEngine):
        name = "wrong"

        def prepare(self, artifact):
            raise_by_one = super().prepare(artifact)

            class Model:
                def evaluate(self, inputs):
                    return [output + 1 for output in raise_by_one.evaluate(inputs)]

            return Model()

    monkeypatch.setattr(engines, "_torch_engines", lambda *_: [Wrong()])
    assert engines.choose_engine("auto").name == engines.ExactEngine.name


def test_no_cuda_is_said_plainly():
    """Asking for CUDA where there is none is a ConfigError with a way out."""
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(engines.ConfigError, match=r"engine\.no_cuda"):
        engines.choose_engine("cuda")


def test_answers_equal_the_node_s(digits, images, expected):
    """The neuron's answer to a request is what any node computes, and bad requests get BAD_INPUT."""
    model = candidate_engines("cpu", None)[0].prepare(digits)
    for image in images[:30]:
        request = Request(digits.model_id, image, b"", 21)
        assert engines.answer(model, digits, request) == Result(Status.OK, expected(image))
    bad = Request(digits.model_id, images[0][:-1], b"", 21)
    assert engines.answer(model, digits, bad) == Result(Status.BAD_INPUT, b"")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_the_reference(digits, images):
    """Every route on CUDA has the pinned digests and the reference's outputs."""
    for engine in candidate_engines("cuda", None):
        assert failed_cases(lambda artifact, inputs, e=engine: e.prepare(artifact).evaluate(inputs)) == ()
        batch = np.frombuffer(b"".join(images), dtype=np.uint8).astype(np.int64).reshape(-1, 8, 8, 1)
        for left, right in zip(
            reference_outputs(digits, [batch]), engine.prepare(digits).evaluate([batch]), strict=True
        ):
            assert np.array_equal(left, right)
