"""What the state says about models and neurons: the facts that execution and record checking read.

Models live in the storage of the ModelRegistry contract; a test compares the slots used here with the
compiler's layout. Neurons are read through a port that staking will fill; until then the genesis list answers
it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from primitives.ids import Address, Hash32, L1Hash, ModelId
from vm._core import keccak256
from vm.inference.manifest import Profile, Tier
from vm.predeploys import MODEL_REGISTRY

ANSWERERS: Final = 3
"""How many assigned neurons may answer one request (protocol: k)."""

MODELS_SLOT: Final = 0
IDS_SLOT: Final = 1

StorageReader: TypeAlias = Callable[[bytes, bytes], int]
"""(address, 32-byte slot) -> value."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the chain knows of a model; `macs` is the cost of one call in multiply-accumulate units.

    `input_bytes` and `output_bytes` are exact for the tensor profile, limits for the language profile.
    """

    model_id: ModelId
    active: bool
    tier: Tier
    profile: Profile
    input_bytes: int
    output_bytes: int
    macs: int
    l1_height: int


class NeuronRegistry(Protocol):
    """Who may answer: read from the chain, never from the sequencer's word."""

    def eligible(self, model_id: ModelId, ask_height: int) -> tuple[Address, ...]:
        """Return the neurons that could be asked for this model at an L1 height."""
        ...


class ListedNeurons:
    """The registry of a chain without staking: a fixed list of neurons and the models that each serves."""

    def __init__(self, served: Sequence[tuple[Address, tuple[ModelId, ...]]]) -> None:
        """No models means every neuron model."""
        self._served = [(neuron, frozenset(models)) for neuron, models in served]

    def eligible(self, model_id: ModelId, ask_height: int) -> tuple[Address, ...]:
        """See `NeuronRegistry.eligible`; the list holds at every height."""
        del ask_height
        return tuple(neuron for neuron, models in self._served if not models or model_id in models)


def read_model(storage: StorageReader, model_id: ModelId) -> ModelFacts | None:
    """Return a registered model's facts, or None."""
    word = storage(MODEL_REGISTRY, keccak256(model_id + MODELS_SLOT.to_bytes(32, "big")))
    fields = word.to_bytes(32, "little")
    registered, active, tier, profile = fields[:4]
    if not registered:
        return None
    return ModelFacts(
        model_id=model_id,
        active=bool(active),
        tier=Tier(tier),
        profile=Profile(profile),
        input_bytes=int.from_bytes(fields[4:8], "little"),
        output_bytes=int.from_bytes(fields[8:12], "little"),
        macs=int.from_bytes(fields[12:20], "little"),
        l1_height=int.from_bytes(fields[20:28], "little"),
    )


def read_models(storage: StorageReader) -> Iterator[ModelFacts]:
    """Yield all registered models, in the order of registration."""
    count = storage(MODEL_REGISTRY, IDS_SLOT.to_bytes(32, "big"))
    first = int.from_bytes(keccak256(IDS_SLOT.to_bytes(32, "big")), "big")
    for index in range(count):
        slot = ((first + index) % 2**256).to_bytes(32, "big")
        facts = read_model(storage, ModelId(storage(MODEL_REGISTRY, slot).to_bytes(32, "big")))
        if facts is not None:
            yield facts


def assigned_neurons(
    eligible: Sequence[Address], beacon: L1Hash, request_hash: Hash32
) -> tuple[Address, ...]:
    """Return those of the eligible who may answer a request: the first few in an order nobody can choose.

    The order is by keccak256("BitAI/assignment" | beacon | request hash | neuron), the beacon being the hash
    of the L1 block at the ask height.
    """
    prefix = b"BitAI/assignment" + beacon + request_hash
    return tuple(sorted(eligible, key=lambda neuron: keccak256(prefix + neuron))[:ANSWERERS])
