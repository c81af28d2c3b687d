"""The models of the chain database, run by the exact engine.

Blocks and the RPC's threads ask at the same time, so what is remembered is replaced whole, never changed: the
worst of a race is that a model is parsed twice.
"""

from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeVar

from primitives.errors import InvariantViolation
from primitives.ids import ModelId
from vm.inference import engine
from vm.inference.artifact import Announcement, Artifact, parse_announcement, parse_artifact
from vm.schema import artifact_key
from vm.store import KeyValueStore

T = TypeVar("T")

PARSED_MODELS: Final = 64
"""Models kept parsed, of each kind."""
PARSED_BYTES: Final = 512 << 20
"""Memory of the models kept parsed, of each kind: anybody inscribes models of many megabytes."""
PART_BYTES: Final = 1_024
"""Memory of a node or a constant of a graph, with what was proven of it."""
WEIGHT_BYTES: Final = 10
"""Memory of a byte of weights: as it is, as an integer, and as a float64."""


class StoredModels:
    """An `InferenceLane` over the artifacts that the driver stored when their inscriptions were complete."""

    def __init__(self, store: KeyValueStore) -> None:
        """Read artifacts from this store, when they are first asked for."""
        self._store = store
        self._artifacts = Recent[Artifact](PARSED_MODELS, PARSED_BYTES)
        self._announcements = Recent[Announcement](PARSED_MODELS, PARSED_BYTES)

    def run_on_chain(
        self, model_id: ModelId, input_bytes: bytes, params: bytes, max_output: int
    ) -> tuple[int, bytes]:
        """See `InferenceLane.run_on_chain`."""
        artifact = self._artifacts.get(model_id, self._artifact)
        return engine.run(artifact, input_bytes, params, max_output)

    def check(self, model_id: ModelId, input_bytes: bytes, params: bytes, max_output: int) -> int:
        """See `InferenceLane.check`."""
        announcement = self._announcements.get(model_id, self._announcement)
        return engine.check_request(announcement, input_bytes, params, max_output)

    def _artifact(self, model_id: ModelId) -> "Held[Artifact]":
        artifact = parse_artifact(self._container(model_id))
        laid_out = WEIGHT_BYTES * (len(artifact.weights) + len(artifact.announcement.tables))
        return Held(artifact, _announcement_bytes(artifact.announcement) + laid_out)

    def _announcement(self, model_id: ModelId) -> "Held[Announcement]":
        announcement = parse_announcement(self._container(model_id))
        return Held(announcement, _announcement_bytes(announcement))

    def _container(self, model_id: ModelId) -> bytes:
        container = self._store.get(artifact_key(model_id))
        if container is None:
            raise InvariantViolation(
                "model.artifact_missing", "registered, but not stored", model=model_id.hex()
            )
        return container


class Held(NamedTuple, Generic[T]):
    """A parsed model and the memory that it takes, at most."""

    model: T
    size: int


class Recent(Generic[T]):
    """The models asked for last: as many as `count` and `size` (bytes) allow, and always the very last."""

    def __init__(self, count: int, size: int) -> None:
        """Remember nothing yet."""
        self._count = count
        self._size = size
        self._held: dict[ModelId, Held[T]] = {}
        """The one asked for longest ago first."""

    def get(self, model_id: ModelId, parse: Callable[[ModelId], Held[T]]) -> T:
        """Return a model, parsed if it is not remembered."""
        held = self._held
        found = held.get(model_id)
        if found is None or next(reversed(held)) != model_id:
            found = found or parse(model_id)
            others = {each: kept for each, kept in self._held.items() if each != model_id}
            self._held = self._within_bounds({**others, model_id: found})
        return found.model

    def _within_bounds(self, held: dict[ModelId, Held[T]]) -> dict[ModelId, Held[T]]:
        size = sum(kept.size for kept in held.values())
        while len(held) > 1 and (len(held) > self._count or size > self._size):
            size -= held.pop(next(iter(held))).size
        return held


def _announcement_bytes(announcement: Announcement) -> int:
    parts = len(announcement.graph.nodes) + len(announcement.graph.constants)
    return PART_BYTES * parts + len(announcement.tables)
