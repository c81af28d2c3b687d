"""Read an inscribed model: what the registry is told of it, and the bytes that every node stores. Pure."""

from typing import NamedTuple

from primitives.ids import ModelId
from vm.inference.artifact import encode_announcement, parse_announcement, parse_artifact
from vm.inference.manifest import Tier
from vm.registry import ModelFacts


class InscribedModel(NamedTuple):
    """A valid model; `container` is all of it on-chain, the announcement alone of a neuron model."""

    facts: ModelFacts
    container: bytes

    @property
    def model_id(self) -> ModelId:
        """Return its id."""
        return self.facts.model_id


def read_inscribed_model(data: bytes, l1_height: int) -> InscribedModel:
    """Judge a complete artifact; raises InvalidInput `model.*`, `codec.*` for what is no model.

    Weights of a neuron model may stand beside it; the chain has no use for them, and no node stores them.
    """
    announcement = parse_announcement(data)
    manifest = announcement.manifest
    container = encode_announcement(announcement)
    if manifest.tier is Tier.ON_CHAIN:
        parse_artifact(data)
        container = data
    facts = ModelFacts(
        model_id=announcement.model_id,
        active=True,
        tier=manifest.tier,
        profile=manifest.profile,
        input_bytes=manifest.input_bytes,
        output_bytes=manifest.output_bytes,
        macs=manifest.macs,
        l1_height=l1_height,
    )
    return InscribedModel(facts, container)
