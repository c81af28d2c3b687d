"""An inscribed artifact is a model of one tier, or is refused with a code; no bytes do anything else."""

from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitai.model_inscription import read_inscribed_model
from primitives.errors import InvalidInput
from vm.inference.artifact import encode_announcement, parse_announcement, parse_artifact
from vm.inference.manifest import Tier

MODELS = resources.files("vm.inference.models")
ON_CHAIN = (MODELS / "digits-onchain.bitai").read_bytes()
NEURON = (MODELS / "digits-neuron.bitai").read_bytes()
ANNOUNCED = (MODELS / "digits-neuron.announcement.bitai").read_bytes()


def test_an_on_chain_model_is_stored_whole():
    """Every node runs it, so every node keeps its weights; without them it is refused."""
    model = read_inscribed_model(ON_CHAIN, 120)
    assert model.container == ON_CHAIN
    assert model.model_id == parse_artifact(ON_CHAIN).model_id
    assert (model.facts.tier, model.facts.active, model.facts.l1_height) == (Tier.ON_CHAIN, True, 120)
    with pytest.raises(InvalidInput, match=r"model\.no_weights"):
        read_inscribed_model(encode_announcement(parse_announcement(ON_CHAIN)), 120)


def test_a_neuron_model_is_stored_without_weights():
    """Whoever inscribes the weights too pays for nothing: what is stored is the announcement, the same bytes."""
    for data in (NEURON, ANNOUNCED):
        model = read_inscribed_model(data, 120)
        assert model.container == ANNOUNCED
        assert model.facts.tier is Tier.NEURON
        assert (model.facts.input_bytes, model.facts.output_bytes) == (64, 21)


@given(
    st.sampled_from([ON_CHAIN, ANNOUNCED]), st.integers(0, 10**6), st.integers(1, 255), st.binary(max_size=99)
)
def test_hostile_bytes_have_a_code(container, at, bit, noise):
    """Noise, cut models and models with one byte changed are refused, unless they are models all the same."""
    changed = bytearray(container)
    changed[at % len(changed)] ^= bit
    for data in (noise, bytes(changed), container[: at % len(container)], container + noise):
        _judge(data)


def _judge(data):
    try:
        assert read_inscribed_model(data, 1).container
    except InvalidInput as error:
        if not error.code.startswith(("model.", "codec.")):
            raise
