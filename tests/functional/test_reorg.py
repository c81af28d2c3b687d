"""Bitcoin changes its mind under load, one to seven blocks deep; whoever follows ends where a fresh sync ends."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import pytest

from tests.functional.branches import Bitcoin, wait_converged
from tests.functional.conftest import reference_digit, wait_for_models
from tests.functional.harness import (
    CallFailed,
    JsonRpc,
    NodeProcess,
    assert_same_chain,
    dev_node,
    full_node,
    wait_until,
)
from tests.functional.load import Load, Sender, deploy_reader, digit_of
from vm.dev_accounts import DEV_ACCOUNTS
from vm.inference.artifact import Artifact

pytestmark = [pytest.mark.functional, pytest.mark.timeout(240)]
DEPTHS = range(1, 8)
SETTLED_BLOCKS = 9
"""Mined before the first reorg, so that even the deepest one leaves the contract and the models alone."""


@dataclass
class FinalityWatch:
    """Reads every node's finalized head all the time; `complaints` says where one moved back or was replaced."""

    nodes: list[NodeProcess]
    complaints: list[str] = field(default_factory=list)
    highest: int = 0

    def __enter__(self) -> Self:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join(10)

    def _run(self) -> None:
        clients: list[JsonRpc] = [node.rpc for node in self.nodes]
        last = [0] * len(clients)
        hashes: dict[int, str] = {}
        while not self._stopping.wait(0.1):
            for index, client in enumerate(clients):
                try:
                    head = client("bitai_status")["heads"]["finalized"]
                except (CallFailed, httpx.HTTPError):
                    continue
                number, block_hash = head["number"], head["hash"]
                if number < last[index]:
                    self.complaints.append(f"node {index}: {last[index]} -> {number}")
                if hashes.setdefault(number, block_hash) != block_hash:
                    self.complaints.append(
                        f"node {index}: block {number} is {block_hash}, was {hashes[number]}"
                    )
                last[index] = number
                self.highest = max(self.highest, number)


@dataclass
class World:
    """A sequencing node, a full node that hears it, and one that lives from Bitcoin alone."""

    dev: NodeProcess
    hearing: NodeProcess
    alone: NodeProcess
    bitcoin: Bitcoin
    models: dict[str, str]
    reader: bytes
    folder: Path

    @property
    def nodes(self) -> list[NodeProcess]:
        """All of them."""
        return [self.dev, self.hearing, self.alone]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Three nodes on one Bitcoin that is mined by hand, with both digit models registered.

    Batches come in the envelope that the other tests do not use.
    """
    folder = tmp_path_factory.mktemp("reorg")
    with dev_node(folder, "--mine-interval", "0", "--batch-codec", "drop255") as dev:
        bitcoin = Bitcoin(dev)
        url = dev.run_file["rpc_url"].replace("http://", "ws://")
        hearing = full_node(folder, dev, "hearing", "--sequencer-url", url)
        alone = full_node(folder, dev, "alone")
        with hearing.start(ready=False), alone.start(ready=False):
            for _ in range(4):
                bitcoin.mine(pause_s=0.6)
            wait_for_models(dev)
            wait_until(lambda: dev.status()["neurons"], "the neuron has connected")
            reader = deploy_reader(Sender(dev, DEV_ACCOUNTS[0]))
            bitcoin.mine(SETTLED_BLOCKS, pause_s=0.3)
            hearing.wait_ready()
            alone.wait_ready()
            models = {model["tier"]: model["modelId"] for model in dev.rpc("bitai_getModels")}
            yield World(dev, hearing, alone, bitcoin, models, reader, folder)


def wait_heard(world: World) -> None:
    """Wait until the hearing node has the sequencer's newest block, which Bitcoin does not hold yet."""
    head = world.dev.status()["heads"]["unsafe"]
    client = world.hearing.rpc

    def heard() -> bool:
        block = client("eth_getBlockByNumber", hex(head["number"]), False)
        return block is not None and block["hash"] == head["hash"]

    wait_until(heard, f"the hearing node has block {head['number']}", limit_s=20)


def mine_until_included(world: World, load: Load) -> None:
    """Mine until everything that was sent is in a block, and that block on Bitcoin."""

    def number_of(transaction_hash: str) -> int | None:
        receipt = client("eth_getTransactionReceipt", transaction_hash)
        return None if receipt is None else int(receipt["blockNumber"], 16)

    client = world.dev.rpc
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        world.bitcoin.mine(pause_s=0.4)
        wait_converged(world.bitcoin, world.nodes)
        places = [number_of(sent.hash) for sent in load.sent]
        waiting = places.count(None)
        if (
            not waiting
            and max(place for place in places if place is not None)
            <= world.dev.status()["heads"]["safe"]["number"]
        ):
            return
    raise AssertionError(
        f"{waiting} of {len(places)} transactions wait; {world.dev.status()['inscriptions'][-3:]}"
    )


def count_transactions(client: JsonRpc, upto: int) -> Counter[str]:
    """Count how often each transaction stands in the chain."""
    calls = [("eth_getBlockByNumber", [hex(number), False]) for number in range(1, upto + 1)]
    return Counter(each for reply in client.batch(calls) for each in reply["result"]["transactions"])


@pytest.mark.parametrize("kind", ["replay", "vanish"])
def test_all_converge_on_what_a_fresh_sync_gives(
    world: World, artifacts: dict[str, Artifact], kind: str
) -> None:
    """Whatever comes back or vanishes: one chain for all, every transaction once, and finality never moves back."""
    with FinalityWatch(world.nodes) as watch:
        with Load(world.dev, world.reader, world.models) as load:
            for depth in DEPTHS:
                world.bitcoin.mine(2, pause_s=0.5)
                getattr(world.bitcoin, kind)(depth)
                safe = wait_converged(world.bitcoin, world.nodes)
                wait_heard(world)
                print(
                    f"{kind} {depth}: height {world.bitcoin.height}, safe {safe['number']}, sent {len(load.sent)}"
                )
        mine_until_included(world, load)
    print(f"{len(load.sent)} sent, {len(load.refused)} refused and sent again, {watch.highest} finalized")
    assert not watch.complaints
    assert watch.highest > 0
    assert "signed two blocks for one place" not in world.hearing.log.read_text()
    safe = wait_converged(world.bitcoin, world.nodes)
    with full_node(world.folder, world.dev, f"fresh-{kind}").start() as fresh:
        wait_converged(world.bitcoin, [fresh, *world.nodes])
        for node in world.nodes:
            assert_same_chain(fresh, node, safe["number"])
        counted = count_transactions(fresh.rpc, safe["number"])
        assert {sent.hash: counted[sent.hash] for sent in load.sent if counted[sent.hash] != 1} == {}
        check_answers(fresh.rpc, load, artifacts)


def check_answers(client: JsonRpc, load: Load, artifacts: dict[str, Artifact]) -> None:
    """Every question was answered in its transaction, as the reference would."""
    by_id = {"0x" + artifact.model_id.hex(): artifact for artifact in artifacts.values()}
    asked = [sent for sent in load.sent if sent.model_id]
    replies = client.batch([("eth_getTransactionReceipt", [sent.hash]) for sent in asked])
    for sent, reply in zip(asked, replies, strict=True):
        assert digit_of(reply["result"]) == reference_digit(by_id[sent.model_id], sent.image)
    assert {sent.model_id for sent in asked} == set(by_id)
