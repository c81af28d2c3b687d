"""kill -9 under load: everything reopens, nothing that was safe is lost, and nothing is posted twice."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.functional.conftest import reference_digit, wait_for_models
from tests.functional.hammer import Hammer
from tests.functional.harness import (
    FREE_PORTS,
    NodeProcess,
    assert_same_chain,
    dev_node,
    full_node,
    wait_until,
)
from tests.functional.load import Sender, deploy_reader, digit_of
from vm.dev_accounts import DEV_ACCOUNTS
from vm.inference.artifact import Artifact

pytestmark = pytest.mark.functional
ROUNDS = [
    pytest.param(3, marks=pytest.mark.timeout(240), id="3 rounds"),
    pytest.param(20, marks=[pytest.mark.soak, pytest.mark.timeout(3_000)], id="20 rounds"),
]

FIRST_STARTS = [
    pytest.param(3, marks=pytest.mark.timeout(120), id="3 kills"),
    pytest.param(20, marks=[pytest.mark.soak, pytest.mark.timeout(600)], id="20 kills"),
]
KILLED_WHILE_SYNCING_S = 2.0


def safe_number(node: NodeProcess) -> int:
    """The safe block's number."""
    number: int = node.status()["heads"]["safe"]["number"]
    return number


@dataclass
class Witness:
    """Remembers every block that was ever safe, and complains when one is gone or another."""

    node: NodeProcess
    blocks: list[dict[str, Any]] = field(default_factory=list)

    def look(self) -> int:
        """Compare what is safe now with what was; return the safe block's number."""
        safe = safe_number(self.node)
        assert safe >= len(self.blocks) - 1, f"block {len(self.blocks) - 1} was safe, now it is {safe}"
        replies = self.node.rpc.batch([("eth_getBlockByNumber", [hex(n), False]) for n in range(safe + 1)])
        found = [reply["result"] for reply in replies]
        for before, now in zip(self.blocks, found, strict=False):
            assert before == now, f"safe block {before['number']} changed"
        self.blocks = found
        return len(found) - 1


@dataclass
class World:
    """A dev node under load."""

    node: NodeProcess
    reader: bytes
    models: dict[str, str]
    folder: Path


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A dev node whose Bitcoin finds a block each second, with both models registered."""
    with dev_node(tmp_path, "--mine-interval", "1") as node:
        wait_for_models(node)
        reader = deploy_reader(Sender(node, DEV_ACCOUNTS[0]))
        models = {model["tier"]: model["modelId"] for model in node.rpc("bitai_getModels")}
        yield World(node, reader, models, tmp_path)


def kill_node(node: NodeProcess) -> None:
    """The node dies, its children with it, and it is started again."""
    children = node.children()
    node.kill()
    wait_until(lambda: not any(map(is_alive, children.values())), "the children of the dead node have ended")
    node.start()


def kill_bitcoin(node: NodeProcess) -> None:
    """Bitcoin dies and forgets what waited in its mempool; the node starts it again."""
    height = node.bitcoin("getblockcount")
    kill_child(node, "bitcoin")
    wait_until(lambda: bitcoin_height(node) > height, "Bitcoin is back and finds blocks")


def bitcoin_height(node: NodeProcess) -> int:
    """Bitcoin's height, -1 while it knows only another cookie than the one in the file."""
    try:
        height: int = node.bitcoin("getblockcount")
    except ValueError:  # an answer without a body: not authorized
        return -1
    return height


def kill_neuron(node: NodeProcess) -> None:
    """The neuron dies; what waits for it waits until the node has started it again."""
    wait_until(lambda: node.status()["neurons"], "the neuron of the last start is there")
    kill_child(node, "neuron")


def kill_child(node: NodeProcess, name: str) -> None:
    """Kill a child and wait until another process has its place."""
    victim = node.children()[name]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: node.children().get(name) not in (None, victim), f"{name} is started again")


def is_alive(pid: int) -> bool:
    """Tell whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("rounds", ROUNDS)
def test_kill_each_process_under_load(world: World, artifacts: dict[str, Artifact], rounds: int) -> None:
    """After every kill all goes on; in the end a node that saw nothing of it has the same chain, each thing once."""
    node, witness = world.node, Witness(world.node)
    kills: list[Callable[[NodeProcess], None]] = [kill_neuron, kill_bitcoin, kill_node]
    with Hammer(node, world.reader, world.models) as hammer:
        for turn in range(rounds):
            for kill in kills:
                witness.look()
                started = time.monotonic()
                kill(node)
                back_s = time.monotonic() - started
                safe = witness.look()
                wait_until(
                    lambda before=safe: safe_number(node) > before, f"safe goes on after {kill.__name__}"
                )
                print(f"round {turn}: {kill.__name__}, {back_s:.1f} s, safe {safe}, sent {len(hammer.sent)}")
            wait_until(lambda: node.status()["neurons"], "the neuron is back")
    try:
        wait_until(lambda: not waiting(node, hammer), "everything that was sent is in a block")
    except AssertionError as error:
        raise AssertionError(f"{error}: {waiting(node, hammer)}; {node.status()['mempool']}") from error
    highest = max(places(node).values())
    wait_until(lambda: safe_number(node) >= highest, "all of it is safe")
    check_answers(node, hammer, artifacts)
    check_posted_once(node)
    safe = witness.look()
    with full_node(world.folder, node, "fresh").start(ready=False) as fresh:
        time.sleep(KILLED_WHILE_SYNCING_S)
        fresh.kill()
        fresh.start()
        wait_until(lambda: safe_number(fresh) >= safe, "the fresh node caught up")
        assert_same_chain(node, fresh, safe)


@pytest.mark.parametrize("kills", FIRST_STARTS)
def test_kill_a_node_that_makes_its_chain(tmp_path: Path, kills: int) -> None:
    """Keys, coins, configuration, database: wherever the first start is cut off, a later one finishes it."""
    draws = random.Random(kills)
    with NodeProcess(tmp_path / "dev", *FREE_PORTS, "--l1-port", "0", "--mine-interval", "1") as node:
        for _ in range(kills):
            moment_s = draws.uniform(0.5, 4.0)
            node.start(ready=False)
            time.sleep(moment_s)
            node.kill()
            there = sorted(each.name for each in tmp_path.glob("dev/*"))
            print(f"killed after {moment_s:.2f} s; there is {', '.join(there)}")
        node.start()
        wait_for_models(node)
        wait_until(lambda: safe_number(node) > 0, "a block is safe")
        check_posted_once(node)


def places(node: NodeProcess) -> dict[str, int]:
    """Block numbers by transaction; no transaction is in two."""
    head = node.status()["heads"]["unsafe"]["number"]
    replies = node.rpc.batch([("eth_getBlockByNumber", [hex(number), False]) for number in range(head + 1)])
    found: dict[str, int] = {}
    for reply in replies:
        for each in reply["result"]["transactions"]:
            assert each not in found, f"{each} is in two blocks"
            found[each] = int(reply["result"]["number"], 16)
    return found


def waiting(node: NodeProcess, hammer: Hammer) -> list[str]:
    """What was sent and is in no block."""
    found = places(node)
    return [sent.hash for sent in hammer.sent if sent.hash not in found]


def check_answers(node: NodeProcess, hammer: Hammer, artifacts: dict[str, Artifact]) -> None:
    """Every question was answered in its transaction, as the reference would."""
    by_id = {"0x" + artifact.model_id.hex(): artifact for artifact in artifacts.values()}
    asked = [sent for sent in hammer.sent if sent.model_id]
    assert {sent.model_id for sent in asked} == set(by_id)
    replies = node.rpc.batch([("eth_getTransactionReceipt", [sent.hash]) for sent in asked])
    for sent, reply in zip(asked, replies, strict=True):
        assert digit_of(reply["result"]) == reference_digit(by_id[sent.model_id], sent.image)


def check_posted_once(node: NodeProcess) -> None:
    """Every frame and chunk is on Bitcoin once, every channel was taken whole, and they cover each block once."""
    tip = node.status()["l1"]["processed_height"]
    replies = node.rpc.batch([("bitai_getOutcomes", [hex(height)]) for height in range(tip + 1)])
    outcomes = [each for reply in replies for each in reply["result"] or []]
    envelopes = [each for outcome in outcomes for each in outcome["envelopes"]]
    assert [each for each in envelopes if each["code"]] == []
    pieces = Counter((each["kind"], each["number"], each["piece"]) for each in envelopes)
    assert {piece: count for piece, count in pieces.items() if count > 1} == {}
    channels = [each for outcome in outcomes for each in outcome["channels"]]
    assert [each for each in channels if each["code"] or each["void"]] == []
    covered = [
        n for each in channels for n in range(each["first_block"], each["first_block"] + each["accepted"])
    ]
    assert covered == list(range(1, len(covered) + 1))
    print(f"{len(channels)} channels with {len(covered)} blocks, {len(pieces)} envelopes")
