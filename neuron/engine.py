"""Choose an engine that has proven itself on this machine, and answer requests with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import structlog

from primitives.errors import ConfigError
from vm.inference import exact_blas
from vm.inference.artifact import Artifact
from vm.inference.conformance import failed_cases
from vm.inference.engine import BAD_INPUT, Result, decode_request, encode_output
from vm.inference.tensors import Int64
from vm.inference.wire import Request, Status

DEVICES: Final = ("auto", "cpu", "cuda", "exact")

_log = structlog.get_logger("neuron.engine")


class Model(Protocol):
    """Evaluate one model."""

    def evaluate(self, inputs: Sequence[Int64]) -> list[Int64]:
        """Return the outputs for a batch of inputs, each with a leading batch axis."""
        ...


class Engine(Protocol):
    """Prepare models."""

    @property
    def name(self) -> str:
        """Return what a log line should say."""
        ...

    def prepare(self, artifact: Artifact) -> Model:
        """Make a model ready to be evaluated many times."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ExactModel:
    """Evaluate by float64 BLAS, as every node does."""

    model: exact_blas.PreparedModel

    def evaluate(self, inputs: Sequence[Int64]) -> list[Int64]:
        """Return the outputs for a batch of inputs."""
        return exact_blas.evaluate(self.model, inputs)


class ExactEngine:
    """Run models by the exact route of `vm.inference`: slower than torch, always right."""

    name = "numpy float64 (exact route)"

    def prepare(self, artifact: Artifact) -> ExactModel:
        """Make a model ready."""
        return ExactModel(exact_blas.prepare(artifact))


def choose_engine(device: str, threads: int | None = None) -> Engine:
    """Return the fastest engine that gives every pinned digest on this machine.

    `device` is auto, cpu, cuda, or exact (no torch). Raises ConfigError `engine.no_torch` when torch was
    asked for by name and is not installed, `engine.no_cuda` when CUDA was and is not there.
    """
    if device == "exact":
        return _proven(ExactEngine())
    for candidate in _torch_engines(device, threads):
        failed = _failures(candidate)
        if not failed:
            return candidate
        _log.warning(
            "engine refused: it gives wrong integers here", engine=candidate.name, failed_cases=failed
        )
    return _proven(ExactEngine())


def answer(model: Model, artifact: Artifact, request: Request) -> Result:
    """Answer one request; total, as `vm.inference.engine.run`."""
    inputs = decode_request(artifact.announcement, request.input, request.params, request.max_output)
    if inputs is None:
        return BAD_INPUT
    outputs = model.evaluate([tensor[np.newaxis] for tensor in inputs])
    return Result(Status.OK, encode_output(artifact.announcement, [output[0] for output in outputs]))


def _torch_engines(device: str, threads: int | None) -> Sequence[Engine]:
    try:
        from neuron import torch_engine
    except ImportError as error:
        if device != "auto":
            raise ConfigError(
                "engine.no_torch", "torch is not installed", fix="pip install 'bitai-node[neuron]'"
            ) from error
        _log.warning(
            "torch is not installed: models run on the exact numpy route, which is slower",
            fix="pip install 'bitai-node[neuron]'",
        )
        return ()
    chosen = torch_engine.available_device() if device == "auto" else device
    if chosen == "cuda" and torch_engine.available_device() != "cuda":
        raise ConfigError("engine.no_cuda", "torch finds no CUDA device", fix="use --device cpu")
    return torch_engine.candidate_engines(chosen, threads)


def _proven(engine: Engine) -> Engine:
    failed = _failures(engine)
    if failed:
        raise ConfigError(
            "engine.not_exact",
            "this machine's numpy gives wrong integers; a neuron here would be slashed",
            fix="pip install --force-reinstall numpy",
            failed_cases=failed,
        )
    return engine


def _failures(engine: Engine) -> tuple[str, ...]:
    return failed_cases(lambda artifact, inputs: engine.prepare(artifact).evaluate(inputs))
