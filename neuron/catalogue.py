"""The models a neuron serves: read, prepared, and compared with the exact route before the first job."""

import hashlib
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from neuron.desk import ServedModel
from neuron.engine import Engine, ExactEngine, Model
from primitives.errors import ConfigError, InvalidInput
from primitives.ids import ModelId
from vm.inference.artifact import Artifact, parse_artifact
from vm.inference.manifest import Tier
from vm.inference.tensors import Int64, TensorType

SHIPPED_MODEL: Final = "digits-neuron.bitai"
CHECKED_INPUTS: Final = 4

_log = structlog.get_logger("neuron.catalogue")


def load_models(paths: Iterable[Path], engine: Engine) -> dict[ModelId, ServedModel]:
    """Return the models in these files, or the shipped one when there are none.

    Raises ConfigError `model.unreadable`, `model.refused`, `model.tier` or `model.not_exact`.
    """
    sources = [(str(path), _read(path)) for path in paths]
    if not sources:
        shipped = files("vm.inference.models").joinpath(SHIPPED_MODEL)
        sources = [(SHIPPED_MODEL, shipped.read_bytes())]
    served = {}
    for source, data in sources:
        artifact = _parse(source, data)
        model = engine.prepare(artifact)
        _require_exact(source, artifact, model)
        served[artifact.model_id] = ServedModel(artifact, model)
        _log.info(
            "serving", model=artifact.model_id.hex(), name=artifact.manifest.name, macs=artifact.manifest.macs
        )
    return served


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            "model.unreadable", f"cannot read the model {path}: {error}", fix=f"ls -l {path}"
        ) from error


def _parse(source: str, data: bytes) -> Artifact:
    try:
        artifact = parse_artifact(data)
    except InvalidInput as error:
        check = f"bitai-node model check {source}"
        raise ConfigError("model.refused", f"{source} is not a model: {error}", fix=check) from error
    if artifact.manifest.tier is not Tier.NEURON:
        message = f"{source} is an on-chain model; every node runs it, and no neuron is asked"
        raise ConfigError("model.tier", message, fix="name the neuron-tier artifact")
    return artifact


def _require_exact(source: str, artifact: Artifact, model: Model) -> None:
    """Compare a model's outputs with the exact route: no pinned case may have its shapes."""
    inputs = [_probe(tensor, index) for index, tensor in enumerate(artifact.manifest.inputs)]
    wanted = ExactEngine().prepare(artifact).evaluate(inputs)
    found = model.evaluate(inputs)
    if not all(np.array_equal(left, right) for left, right in zip(wanted, found, strict=True)):
        raise ConfigError(
            "model.not_exact", f"this engine gives wrong integers for {source}", fix="run with --device exact"
        )


def _probe(tensor: TensorType, index: int) -> Int64:
    """Return a batch of inputs spread over the declared range, the same on every machine."""
    count = CHECKED_INPUTS * tensor.elements
    stream = hashlib.shake_256(f"BitAI probe {index}".encode()).digest(8 * count)
    words = np.frombuffer(stream, dtype=">u8") % np.uint64(tensor.high - tensor.low + 1)
    return (words.astype(np.int64) + tensor.low).reshape(CHECKED_INPUTS, *tensor.shape)
