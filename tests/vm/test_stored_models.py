"""Artifacts in the chain database answer as the engine does, inside a transaction too."""

from dataclasses import replace
from importlib import resources

import pytest

from primitives.errors import InvariantViolation
from primitives.ids import ModelId
from tests.vm.world import ON_CHAIN_MODEL, World, ask, chain_spec
from vm.executor import Executor
from vm.inference import engine
from vm.inference.artifact import parse_announcement, parse_artifact
from vm.schema import artifact_key
from vm.store import MemoryStore, WriteBatch
from vm.stored_models import StoredModels

SEVEN = bytes.fromhex(
    "000007080d100f0100000707040b0c0000000000080d0100000408080f0f0600"
    "00020b0f0f04000000000010050000000000090f0100000000000d0500000000"
)
"""A handwritten seven of scikit-learn's digits, 8 x 8 pixels."""


def shipped(name: str) -> bytes:
    """A model file of the wheel."""
    return (resources.files("vm.inference.models") / name).read_bytes()


@pytest.fixture
def stored():
    """A store with the digits models of both tiers, and their manifests."""
    store, batch = MemoryStore(), WriteBatch()
    on_chain = parse_artifact(shipped("digits-onchain.bitai"))
    neuron = parse_announcement(shipped("digits-neuron.announcement.bitai"))
    batch.put(artifact_key(on_chain.model_id), shipped("digits-onchain.bitai"))
    batch.put(artifact_key(neuron.model_id), shipped("digits-neuron.announcement.bitai"))
    store.write(batch, sync=False)
    return store, on_chain, neuron


def test_answers_are_the_engines(stored):
    """An on-chain model from the store computes what its artifact computes."""
    store, artifact, _ = stored
    models = StoredModels(store)
    for params, longest in ((b"", 21), (b"", 20), (b"x", 21)):
        expected = tuple(engine.run(artifact, SEVEN, params, longest))
        assert tuple(models.run_on_chain(artifact.model_id, SEVEN, params, longest)) == expected


def test_manifests_judge_requests(stored):
    """A request that the manifest refuses is BAD_INPUT without anybody being asked."""
    store, _, announcement = stored
    models = StoredModels(store)
    model_id = announcement.model_id
    assert models.check(model_id, SEVEN, b"", 21) == 0
    for image, params, longest in (
        (SEVEN[:-1], b"", 21),
        (b"\x11" * 64, b"", 21),
        (SEVEN, b"x", 21),
        (SEVEN, b"", 20),
    ):
        assert models.check(model_id, image, params, longest) == 1


def test_a_missing_artifact_is_our_mistake():
    """A registered model whose artifact is not there stops the node instead of inventing an answer."""
    with pytest.raises(InvariantViolation, match=r"model\.artifact_missing"):
        StoredModels(MemoryStore()).check(ModelId(bytes(32)), b"", b"", 0)


def test_a_contract_reads_a_digit(stored):
    """DigitReader asks the shipped network in a transaction and stores its answer."""
    store, artifact, _ = stored
    world = World(store=store, spec=chain_spec())
    world.executor = Executor(world.spec, store, StoredModels(store))
    manifest = artifact.manifest
    facts = replace(ON_CHAIN_MODEL, model_id=artifact.model_id, macs=manifest.macs)
    assert (manifest.input_bytes, manifest.output_bytes) == (facts.input_bytes, facts.output_bytes)
    world.register(facts)
    reader = world.deploy("DigitReader")
    block = world.run(world.alice.sign(reader, data=ask(facts, SEVEN), gas=5_000_000))
    assert block.sealed.receipts[0].status == 1
    digit, confidence, asker, model_id = world.read(
        reader, "reading(uint256)", 0, returns=["(uint8,uint16,address,bytes32)"]
    )
    answer = engine.run(artifact, SEVEN, b"", 21).output
    assert (digit, model_id) == (answer[0], artifact.model_id)
    assert confidence == int.from_bytes(answer[1 + 2 * digit :][:2], "big")
    assert asker == "0x" + world.alice.address.hex()
