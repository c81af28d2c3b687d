"""The models as execution asks for them: facts of one state, callable while somebody can answer."""

from typing import TYPE_CHECKING

from primitives.ids import ModelId
from vm.inference.manifest import Profile, Tier
from vm.registry import ModelFacts, NeuronRegistry, StorageReader, read_model

if TYPE_CHECKING:
    from vm._core import ModelFacts as CoreModelFacts


class ModelView:
    """One state's models."""

    def __init__(self, storage: StorageReader, neurons: NeuronRegistry, origin_height: int) -> None:
        """Read the registry through `storage`; neurons count as of an L1 height."""
        self._storage = storage
        self._neurons = neurons
        self._origin_height = origin_height
        self._found: dict[ModelId, ModelFacts] = {}

    def facts(self, model_id: ModelId) -> ModelFacts | None:
        """Return a model's facts; None if it is unknown or switched off."""
        facts = self._found.get(model_id) or read_model(self._storage, model_id)
        if facts is None or not facts.active:
            return None
        self._found[model_id] = facts  # asked again for every record
        return facts

    def core_facts(self, model_id: bytes) -> "CoreModelFacts | None":
        """Return the same as the core takes them."""
        facts = self.facts(ModelId(model_id))
        if facts is None:
            return None
        answerable = facts.tier == Tier.ON_CHAIN or bool(
            self._neurons.eligible(facts.model_id, self._origin_height)
        )
        input_length = facts.input_bytes if facts.profile == Profile.TENSOR else None
        return int(facts.tier), facts.macs, input_length, facts.output_bytes, answerable
