"""A transaction whose model call fails ends in a clear status, or waits, and never holds up anybody else."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from bitai.datadir import DataDir
from bitai.node_keys import open_node_keys
from primitives.hashes import keccak256
from tests.functional.conftest import reference_digit, wait_for_models
from tests.functional.harness import (
    ROOT,
    CallFailed,
    NodeProcess,
    assert_same_chain,
    dev_node,
    full_node,
    wait_until,
)
from tests.functional.load import READ, Sender, deploy_reader, digit_of, encode_question
from tests.functional.probes import (
    CALL,
    CALLCODE,
    DELEGATECALL,
    INFER,
    STATICCALL,
    Called,
    called,
    decode_called,
    encode_infer,
    probe,
    with_gas,
)
from vm.dev_accounts import DEV_ACCOUNTS
from vm.inference.artifact import Artifact

pytestmark = [pytest.mark.functional, pytest.mark.timeout(150)]
TRY_READ = keccak256(b"tryRead(bytes32,bytes)")[:4]
PEEK = keccak256(b"peek(bytes32,bytes)")[:4]
DIGIT_NOT_READ = "0x" + keccak256(b"DigitNotRead(address,bytes32,uint8)").hex()
NO_ANSWER = keccak256(b"NoAnswer(bytes32,uint8)")[:4]
BASE_GAS, WORD_GAS = 10_000, 6
"""Of a call that gets no answer: so much, and so much for each word it hands over."""
PLENTY_GAS = 8_000_000
BAD_INPUT, UNKNOWN_MODEL = 1, 4
NO_MODEL = "0x" + "ab" * 32
TIERS = ["on-chain", "neuron"]


class Waiting(NamedTuple):
    """What waits for a neuron: an image, and the hashes of the question and of the transfer behind it."""

    image: bytes
    question: str
    later: str


@dataclass
class World:
    """A dev node that starts without a neuron, a contract that asks, and an account for each test."""

    node: NodeProcess
    models: dict[str, dict[str, Any]]
    reader: bytes
    folder: Path
    sender: Sender
    images: Iterator[bytes]

    def ask(self, code: bytes, data: bytes, *, gas: int = PLENTY_GAS) -> dict[str, Any]:
        """Deploy a probe, have it pass `data` on with this gas, and return the receipt."""
        return self.run(self.deploy(code), with_gas(gas, data))

    def deploy(self, code: bytes) -> bytes:
        """Deploy a contract and return its address."""
        receipt = self.sender.receipt(self.sender.send(None, data=code))
        assert receipt["status"] == "0x1"
        return bytes.fromhex(receipt["contractAddress"][2:])

    def run(self, to: bytes, data: bytes, *, gas: int = 12_000_000) -> dict[str, Any]:
        """Send a transaction and return its receipt."""
        return self.sender.receipt(self.sender.send(to, data=data, gas=gas))

    def records(self, receipt: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the inference records of a transaction."""
        found: list[dict[str, Any]] = self.node.rpc("bitai_getInference", receipt["transactionHash"])
        return found

    def metric(self, name: str) -> float:
        """Return a number that the node exports; 0 before it was first counted."""
        text = httpx.get(self.node.run_file["admin_url"] + "/metrics", trust_env=False).text
        values = [line.split()[-1] for line in text.splitlines() if line.startswith("bitai_" + name)]
        return float(values[0]) if values else 0.0


def fresh_images() -> Iterator[bytes]:
    """Yield images that nobody has asked before, so that no answer is known."""
    return (bytes((number >> shift) % 2 * 15 for shift in range(64)) for number in count(12_345, 7_919))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A chain with both models and nobody to answer for the neuron's."""
    folder = tmp_path_factory.mktemp("infer")
    with dev_node(folder, "--mine-interval", "1", "--no-neuron", "--block-time-mode", "on-demand") as node:
        wait_for_models(node)
        models = {model["tier"]: model for model in node.rpc("bitai_getModels")}
        sender = Sender(node, DEV_ACCOUNTS[0])
        yield World(node, models, deploy_reader(sender), folder, sender, fresh_images())


@contextmanager
def neuron(world: World) -> Iterator[subprocess.Popen[bytes]]:
    """Run the neuron that the chain lists, by hand."""
    key = world.folder / "neuron.key"
    key.touch(mode=0o600)
    key.write_text(open_node_keys(DataDir(world.node.datadir), "regtest").neuron.hex())
    argv = [
        sys.executable,
        "-m",
        "neuron",
        "--connect",
        world.node.run_file["neuron_url"],
        "--key-file",
        str(key),
    ]
    argv += ["--datadir", str(world.folder / "neuron")]
    with (world.folder / "neuron.log").open("ab") as log:
        process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_until(lambda: world.node.status()["neurons"], "the neuron has connected")
        yield process
    finally:
        process.terminate()
        process.wait(20)


# -- nobody is there to answer ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def waiting(world: World) -> Waiting:
    """A question that nobody is there to answer, and a transfer of the same sender behind it."""
    image, asking = next(world.images), Sender(world.node, DEV_ACCOUNTS[1])
    data = encode_question(READ, world.models["neuron"]["modelId"], image)
    question = asking.send(world.reader, data=data)
    return Waiting(image, question, asking.send(DEV_ACCOUNTS[3].address, value=1, gas=21_000))


def test_without_a_neuron_a_question_waits_and_holds_up_nobody(world: World, waiting: Waiting) -> None:
    """Parked, it waits past its ask height, and its sender's later ones behind it; others go on."""
    other = Sender(world.node, DEV_ACCOUNTS[2])
    wait_until(lambda: world.node.status()["mempool"]["parked"] == 1, "the question is parked")
    asked_at = world.node.status()["l1"]["height"]
    for _ in range(3):
        receipt = other.receipt(other.send(DEV_ACCOUNTS[3].address, value=1, gas=21_000), limit_s=10)
        assert receipt["status"] == "0x1"
    on_chain = encode_question(READ, world.models["on-chain"]["modelId"], waiting.image)
    assert other.receipt(other.send(world.reader, data=on_chain), limit_s=10)["status"] == "0x1"
    wait_until(lambda: world.node.status()["l1"]["height"] > asked_at + 7, "the ask height has expired")
    assert world.node.status()["mempool"]["parked"] == 1
    for each in (waiting.question, waiting.later):
        assert world.node.rpc("eth_getTransactionReceipt", each) is None
        assert world.node.rpc("eth_getTransactionByHash", each)["blockNumber"] is None


def test_without_a_neuron_a_call_says_so(world: World) -> None:
    """An eth_call that needs an answer ends with a code after a while; transactions get in meanwhile."""
    data = encode_question(PEEK, world.models["neuron"]["modelId"], next(world.images))
    told: list[CallFailed] = []

    def call() -> None:
        try:
            world.node.rpc("eth_call", {"to": "0x" + world.reader.hex(), "data": "0x" + data.hex()}, "latest")
        except CallFailed as error:
            told.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    started = time.monotonic()
    assert world.run(DEV_ACCOUNTS[3].address, b"", gas=21_000)["status"] == "0x1"
    assert time.monotonic() - started < 8
    thread.join(30)
    (error,) = told
    assert error.data["code"] == "infer.no_answer_yet"


@pytest.mark.parametrize("tier", TIERS)
def test_what_needs_no_answer_needs_no_neuron(world: World, tier: str) -> None:
    """Every node finds these statuses itself: a receipt says so at once, for the base gas, and no record is left."""
    model, image = world.models[tier]["modelId"], next(world.images)
    cases = [
        (encode_infer(NO_MODEL, image), UNKNOWN_MODEL, 2),
        (encode_infer(model, image[:-1]), BAD_INPUT, 2),
        (encode_infer(model, image + b"\0"), BAD_INPUT, 3),
        (encode_infer(model, b""), BAD_INPUT, 0),
        (encode_infer(model, image[:-1] + bytes([17])), BAD_INPUT, 2),
        (encode_infer(model, image, max_output=20), BAD_INPUT, 2),
        (encode_infer(model, image, params=b"hot"), BAD_INPUT, 3),
    ]
    for opcode in (CALL, STATICCALL):
        contract = world.deploy(probe(opcode))
        for data, status, words in cases:
            receipt = world.run(contract, with_gas(PLENTY_GAS, data))
            assert receipt["status"] == "0x1"
            assert called(receipt).success
            assert called(receipt).answer == (status, b"")
            assert int(receipt["inferGasUsed"], 16) == BASE_GAS + WORD_GAS * words
            assert world.records(receipt) == []


@pytest.mark.parametrize("tier", TIERS)
def test_a_call_without_gas_for_it_fails_alone(world: World, tier: str) -> None:
    """One gas less than the price is out of gas for that call; the transaction runs on, and nobody was asked."""
    model = world.models[tier]
    contract, data = world.deploy(probe()), encode_infer(model["modelId"], next(world.images))
    for gas in (0, BASE_GAS - 1, model["priceGas"] - 1):
        receipt = world.run(contract, with_gas(gas, data))
        assert receipt["status"] == "0x1"
        assert called(receipt) == Called(success=False, returned=b"")
        assert world.records(receipt) == []
    intrinsic = 21_000 + sum(16 if byte else 4 for byte in data)
    spent = world.run(INFER, data, gas=intrinsic + model["priceGas"] - 1)
    assert spent["status"] == "0x0"
    assert int(spent["gasUsed"], 16) == intrinsic + model["priceGas"] - 1


def test_calls_that_say_nothing_revert(world: World) -> None:
    """Calldata that does not decode, and coin sent along, revert without data."""
    good = encode_infer(world.models["on-chain"]["modelId"], next(world.images))
    for data in (b"", good[:3], good[:100], bytes(4) + good[4:], good[:36] + b"\xff" * 32 + good[68:]):
        assert called(world.ask(probe(), data)) == Called(success=False, returned=b"")
    paying = world.deploy(probe(value=1))
    world.sender.receipt(world.sender.send(paying, data=with_gas(0, b""), value=1))
    assert called(world.run(paying, with_gas(PLENTY_GAS, good))) == Called(success=False, returned=b"")


def test_the_example_contract_tells_failures_as_solidity_does(world: World) -> None:
    """`read` reverts with the reason, `tryRead` logs it."""
    image = next(world.images)
    reverted = world.run(world.reader, encode_question(READ, NO_MODEL, image))
    assert reverted["status"] == "0x0"
    assert reverted["logs"] == []
    data = encode_question(PEEK, NO_MODEL, image)
    with pytest.raises(CallFailed) as caught:
        world.node.rpc("eth_call", {"to": "0x" + world.reader.hex(), "data": "0x" + data.hex()}, "latest")
    expected = NO_ANSWER + bytes.fromhex(NO_MODEL[2:]) + UNKNOWN_MODEL.to_bytes(32, "big")
    assert caught.value.code == 3
    assert caught.value.data == "0x" + expected.hex()
    for model, asked, status in (
        (NO_MODEL, image, UNKNOWN_MODEL),
        (world.models["neuron"]["modelId"], image[:-1], BAD_INPUT),
    ):
        told = world.run(world.reader, encode_question(TRY_READ, model, asked))
        assert told["status"] == "0x1"
        (log,) = told["logs"]
        assert log["topics"][0] == DIGIT_NOT_READ
        assert int(log["data"], 16) == status


# -- somebody is there --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answered(world: World) -> Iterator[World]:
    """The same chain with its neuron."""
    with neuron(world):
        yield world


def test_once_a_neuron_is_there_what_waited_completes(
    answered: World, artifacts: dict[str, Artifact], waiting: Waiting
) -> None:
    """The answer is the reference's, its record is in the block, and the sender's next transaction follows."""
    receipt = answered.sender.receipt(waiting.question)
    assert receipt["status"] == "0x1"
    assert digit_of(receipt) == reference_digit(artifacts["neuron"], waiting.image)
    (record,) = answered.records(receipt)
    assert record["status"] == 0
    assert int(record["transactionIndex"], 16) == int(receipt["transactionIndex"], 16)
    assert answered.sender.receipt(waiting.later)["status"] == "0x1"
    assert answered.node.status()["mempool"] == {"pending": 0, "parked": 0}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("opcode", [CALL, CALLCODE, DELEGATECALL, STATICCALL])
def test_every_kind_of_call_is_answered(
    answered: World, artifacts: dict[str, Artifact], tier: str, opcode: int
) -> None:
    """With exactly the price each of them gets the model's output."""
    model, image = answered.models[tier], next(answered.images)
    receipt = answered.ask(probe(opcode), encode_infer(model["modelId"], image), gas=model["priceGas"])
    status, output = called(receipt).answer
    assert (status, len(output)) == (0, 21)
    assert output[0] == reference_digit(artifacts[tier], image)
    assert int(receipt["inferGasUsed"], 16) == model["priceGas"]
    assert len(answered.records(receipt)) == (tier == "neuron")


@pytest.mark.parametrize("tier", TIERS)
def test_a_call_in_a_frame_that_reverts_was_answered_all_the_same(
    answered: World, artifacts: dict[str, Artifact], tier: str
) -> None:
    """Its price is paid and its record is in the block; the frame around it goes on."""
    model, image = answered.models[tier], next(answered.images)
    inner = answered.deploy(probe(revert=True))
    data = with_gas(PLENTY_GAS, encode_infer(model["modelId"], image))
    outer = called(answered.ask(probe(target=inner), data, gas=9_000_000))
    assert not outer.success
    status, output = decode_called(outer.returned).answer
    assert (status, output[0]) == (0, reference_digit(artifacts[tier], image))
    alone = answered.run(inner, with_gas(PLENTY_GAS, encode_infer(model["modelId"], next(answered.images))))
    assert alone["status"] == "0x0"
    assert int(alone["inferGasUsed"], 16) == model["priceGas"]
    assert len(answered.records(alone)) == (tier == "neuron")


def test_a_question_that_changes_with_every_block_is_dropped(answered: World) -> None:
    """Who asks something else at each turn leaves the pool with a counted code; the nonce is free again."""
    changed = 'mempool_refused_total{code="infer.changed_question"}'
    before = answered.metric(changed)
    restless = answered.deploy(probe(restless=True))
    moody, other = Sender(answered.node, DEV_ACCOUNTS[6]), Sender(answered.node, DEV_ACCOUNTS[7])

    def is_refused() -> bool:
        """Ask once; false if the answer came before the next block, or Bitcoin's next block before the answer."""
        image = encode_infer(answered.models["neuron"]["modelId"], next(answered.images))
        question = moody.send(restless, data=with_gas(PLENTY_GAS, image), gas=12_000_000)
        found = {"blockNumber": None}
        while found is not None and found["blockNumber"] is None:
            other.send(DEV_ACCOUNTS[3].address, value=1, gas=21_000)
            found = answered.node.rpc("eth_getTransactionByHash", question)
        moody.nonce -= found is None
        return answered.metric(changed) > before

    wait_until(is_refused, "a question was refused because it changed")
    assert moody.receipt(moody.send(DEV_ACCOUNTS[3].address, value=1, gas=21_000))["status"] == "0x1"


def test_a_full_node_tells_the_same(answered: World) -> None:
    """Every status above is the same on a node that rebuilds the chain from Bitcoin."""
    head = answered.node.status()["heads"]["unsafe"]["number"]
    wait_until(lambda: answered.node.status()["heads"]["safe"]["number"] >= head, "the head is safe")
    with full_node(answered.folder, answered.node, "second").start() as second:
        wait_until(lambda: second.status()["heads"]["safe"]["number"] >= head, "the second node caught up")
        assert_same_chain(answered.node, second, head)
