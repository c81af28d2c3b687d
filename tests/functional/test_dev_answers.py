"""A development node answers models' questions from a recording, and with what its owner made up, without a neuron."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_abi import decode, encode

from bitai.demo import held_out_images
from bitai.dev.answers import FORMAT, encode_answer
from primitives.hashes import keccak256
from tests.functional.conftest import reference_digit, wait_for_models
from tests.functional.dev_story import ALICE
from tests.functional.harness import CallFailed, NodeProcess, dev_node, wait_until
from vm.inference import engine
from vm.inference.artifact import Artifact
from vm.inference.wire import Status

pytestmark = pytest.mark.functional
INFER = "0x0000000000000000000000000000000000100000"
KNOWN, UNKNOWN = (image for image, _ in held_out_images()[:2])


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, artifacts: dict[str, Artifact]) -> Iterator[NodeProcess]:
    """A node with one recorded answer."""
    folder = tmp_path_factory.mktemp("answers")
    recording = _record(folder / "answers.jsonl", artifacts["neuron"])
    with dev_node(folder, "--replay-answers", str(recording)) as running:
        wait_for_models(running)
        yield running


def _record(path: Path, model: Artifact) -> Path:
    size = model.manifest.output_bytes
    status, output = engine.run(model, KNOWN, b"", size)
    assert status == 0
    header = f'{{"format":"{FORMAT}","version":1}}\n'.encode()
    path.write_bytes(header + encode_answer((bytes(model.model_id), KNOWN, b"", size), (Status.OK, output)))
    return path


def _question(model: Artifact, image: bytes) -> dict[str, Any]:
    selector = keccak256(b"infer(bytes32,bytes,bytes,uint32)")[:4]
    values = [bytes(model.model_id), image, b"", model.manifest.output_bytes]
    data = selector + encode(["bytes32", "bytes", "bytes", "uint32"], values)
    return {"from": ALICE, "to": INFER, "data": "0x" + data.hex(), "gas": "0x7a1200"}


def _asked(node: NodeProcess, model: Artifact, image: bytes) -> tuple[int, bytes]:
    client = node.rpc
    try:
        answer = client("eth_call", _question(model, image))
    finally:
        client.close()
    status, output = decode(["uint8", "bytes"], bytes.fromhex(answer[2:]))
    return status, output


def test_a_recorded_answer_is_given_to_calls_and_transactions(
    node: NodeProcess, artifacts: dict[str, Artifact]
) -> None:
    """On the shared chain, signed as the neuron signs; no neuron runs."""
    model = artifacts["neuron"]
    assert "neuron" not in node.children()
    assert _asked(node, model, KNOWN)[1][0] == reference_digit(model, KNOWN)
    sent = node.rpc("eth_sendTransaction", _question(model, KNOWN))
    wait_until(lambda: node.rpc("eth_getTransactionReceipt", sent), "in a block", limit_s=30)
    receipt = node.rpc("eth_getTransactionReceipt", sent)
    assert receipt["status"] == "0x1"
    records = node.rpc("bitai_getInference", sent)
    assert records
    wait_until(
        lambda: node.status()["heads"]["safe"]["number"] >= int(receipt["blockNumber"], 16),
        "safe",
        limit_s=60,
    )
    assert node.rpc("eth_getTransactionReceipt", sent)["blockHash"] == receipt["blockHash"]


def test_a_question_that_was_not_recorded_is_named(node: NodeProcess, artifacts: dict[str, Artifact]) -> None:
    """A call is told; a transaction leaves the pool, and the log says why."""
    model = artifacts["neuron"]
    with pytest.raises(CallFailed) as refused:
        _asked(node, model, UNKNOWN)
    assert refused.value.data["code"] == "infer.no_recorded_answer"
    assert model.model_id.hex() in refused.value.message
    sent = node.rpc("eth_sendTransaction", _question(model, UNKNOWN))
    wait_until(lambda: node.rpc("eth_getTransactionByHash", sent) is None, "dropped", limit_s=30)
    assert "no recorded answer" in node.tail(30)


def test_what_was_made_up_is_answered_until_the_scratch_is_left(
    node: NodeProcess, artifacts: dict[str, Artifact]
) -> None:
    """For one input, for all others, in transactions too; and never on the shared chain."""
    model = artifacts["neuron"]
    size, model_id = model.manifest.output_bytes, "0x" + model.model_id.hex()
    first, second = bytes([77]) + bytes(size - 1), bytes([88]) + bytes(size - 1)
    node.rpc("bitai_mockInference", model_id, "0x" + KNOWN.hex(), "0x" + first.hex())
    node.rpc("bitai_mockInference", model_id, None, "0x" + second.hex())
    assert _asked(node, model, KNOWN) == (0, first)
    assert _asked(node, model, UNKNOWN) == (0, second)
    sent = node.rpc("eth_sendTransaction", _question(model, UNKNOWN))
    wait_until(lambda: node.rpc("eth_getTransactionReceipt", sent), "in a block", limit_s=30)
    assert node.rpc("eth_getTransactionReceipt", sent)["status"] == "0x1"
    node.rpc("anvil_reset")
    assert _asked(node, model, KNOWN)[1][0] == reference_digit(model, KNOWN)
