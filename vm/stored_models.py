"""The models of the chain database, run by the exact engine."""

from collections import OrderedDict
from typing import Final, TypeVar

from primitives.errors import InvariantViolation
from primitives.ids import ModelId
from vm.inference import engine
from vm.inference.artifact import Announcement, Artifact, parse_announcement, parse_artifact
from vm.schema import artifact_key
from vm.store import KeyValueStore

T = TypeVar("T")

PARSED_MODELS: Final = 64
"""Models kept parsed, of each kind; the engine keeps as many prepared."""


class StoredModels:
    """An `InferenceLane` over the artifacts that the driver stored when their inscriptions were complete."""

    def __init__(self, store: KeyValueStore) -> None:
        """Read artifacts from this store, when they are first asked for."""
        self._store = store
        self._artifacts: OrderedDict[ModelId, Artifact] = OrderedDict()
        self._announcements: OrderedDict[ModelId, Announcement] = OrderedDict()

    def run_on_chain(
        self, model_id: ModelId, input_bytes: bytes, params: bytes, max_output: int
    ) -> tuple[int, bytes]:
        """See `InferenceLane.run_on_chain`."""
        artifact = self._artifacts.get(model_id)
        if artifact is None:
            artifact = _keep(self._artifacts, model_id, parse_artifact(self._container(model_id)))
        return engine.run(artifact, input_bytes, params, max_output)

    def check(self, model_id: ModelId, input_bytes: bytes, params: bytes, max_output: int) -> int:
        """See `InferenceLane.check`."""
        announcement = self._announcements.get(model_id)
        if announcement is None:
            announcement = _keep(self._announcements, model_id, parse_announcement(self._container(model_id)))
        return engine.check_request(announcement, input_bytes, params, max_output)

    def _container(self, model_id: ModelId) -> bytes:
        container = self._store.get(artifact_key(model_id))
        if container is None:
            raise InvariantViolation(
                "model.artifact_missing", "registered, but not stored", model=model_id.hex()
            )
        return container


def _keep(parsed: OrderedDict[ModelId, T], model_id: ModelId, model: T) -> T:
    """Remember a parsed model in place of the one parsed longest ago."""
    parsed[model_id] = model
    if len(parsed) > PARSED_MODELS:
        parsed.popitem(last=False)
    return model
