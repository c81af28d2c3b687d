"""Artifacts in the chain database answer as the engine does, inside a transaction too."""

import gc
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import resources

import pytest

from primitives.errors import InvariantViolation
from primitives.ids import ModelId
from tests.vm.inference.small_model import small_constants, small_graph
from tests.vm.world import ON_CHAIN_MODEL, World, ask, chain_spec
from vm.executor import Executor
from vm.inference import engine
from vm.inference.artifact import (
    Labels,
    build_artifact,
    encode_artifact,
    parse_announcement,
    parse_artifact,
)
from vm.inference.manifest import Tier
from vm.schema import artifact_key
from vm.store import MemoryStore, WriteBatch
from vm.stored_models import PARSED_MODELS, StoredModels

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


def parsed_by(models):
    """Note what `StoredModels` reads from its store."""
    reads, original = [], models._container
    models._container = lambda model_id: reads.append(model_id) or original(model_id)
    return reads


@pytest.fixture
def many():
    """A store with 66 tiny models, and their ids."""
    store, batch, ids = MemoryStore(), WriteBatch(), []
    for number in range(PARSED_MODELS + 2):
        labels = Labels(f"small-{number}", "MIT", Tier.ON_CHAIN)
        artifact = build_artifact(small_graph(), small_constants(), labels)
        batch.put(artifact_key(artifact.model_id), encode_artifact(artifact))
        ids.append(artifact.model_id)
    store.write(batch, sync=False)
    return store, ids


@pytest.mark.parametrize("method", ["run_on_chain", "check"])
def test_the_models_in_use_stay_parsed(many, method):
    """Whoever asks models for once, however many, does not put out the one that is asked all the time."""
    store, (busy, *others) = many
    models = StoredModels(store)
    reads = parsed_by(models)
    for other in others:
        for model_id in (busy, other):
            getattr(models, method)(model_id, b"", b"", 0)
    assert reads == [busy, *others]
    getattr(models, method)(others[0], b"", b"", 0)
    assert reads[-1] == others[0]


def test_large_models_do_not_add_up(many, monkeypatch):
    """Parsed models are bounded by their memory too, with their weights laid out; the last one always stays."""
    store, ids = many
    small = parse_artifact(store.get(artifact_key(ids[0])))
    question = (bytes(4), b"", small.manifest.output_bytes)
    monkeypatch.setattr("vm.stored_models.PARSED_BYTES", 3 * 10 * 1_024)
    models = StoredModels(store)
    reads = parsed_by(models)
    gc.collect()
    before = len(engine._PREPARED)
    for model_id in ids:
        assert models.run_on_chain(model_id, *question)[0] == 0
    gc.collect()
    assert 1 <= len(engine._PREPARED) - before <= 3
    models.run_on_chain(ids[-1], *question)
    assert reads == ids
    monkeypatch.setattr("vm.stored_models.PARSED_BYTES", 1)
    models = StoredModels(store)
    reads = parsed_by(models)
    for model_id in (ids[0], ids[0], ids[1], ids[0]):
        models.run_on_chain(model_id, *question)
    assert reads == [ids[0], ids[1], ids[0]]


def test_the_bound_is_of_memory_truly_held(stored):
    """What a model is charged covers what parsing it and laying its weights out takes."""
    store, artifact, announcement = stored
    models = StoredModels(store)
    gc.collect()
    tracemalloc.start()
    try:
        models.run_on_chain(artifact.model_id, SEVEN, b"", 21)
        models.check(announcement.model_id, SEVEN, b"", 21)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    charged = sum(
        each.size for kept in (models._artifacts, models._announcements) for each in kept._held.values()
    )
    assert charged / 3 < held <= charged


def test_threads_may_ask_at_once(many):
    """RPC threads and the block builder share the parsed models; none ever sees them change."""
    store, ids = many
    models = StoredModels(store)
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(models.check, each, b"", b"", 0) for each in ids * 20]
    assert {each.result() for each in asked} == {1}


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
