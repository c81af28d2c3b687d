"""Filters keep their ids over a restart, and followers hear of a Bitcoin reorg what left and what came."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from tests.functional.branches import Bitcoin
from tests.functional.harness import NodeProcess, dev_node, full_node, wait_until
from tests.functional.load import Sender
from vm.dev_accounts import DEV_ACCOUNTS

pytestmark = [pytest.mark.functional, pytest.mark.timeout(240)]
RUNTIME = bytes.fromhex("60aa60006000a100")
"""Logs one topic, 0xaa, whenever it is called."""
INIT = bytes.fromhex("67") + RUNTIME + bytes.fromhex("60005260086018f3")


class World(NamedTuple):
    """A sequencing node on demand, its Bitcoin, an account, and a contract that logs."""

    dev: NodeProcess
    bitcoin: Bitcoin
    sender: Sender
    contract: bytes
    folder: Path

    def log(self) -> dict[str, Any]:
        """Have the contract log once; return the receipt."""
        receipt = self.sender.receipt(self.sender.send(self.contract, gas=100_000))
        assert receipt["status"] == "0x1"
        return receipt


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Start it."""
    flags = ("--no-neuron", "--mine-interval", "0", "--block-time-mode", "on-demand")
    with dev_node(tmp_path, *flags) as dev:
        bitcoin, sender = Bitcoin(dev), Sender(dev, DEV_ACCOUNTS[3])
        receipt = sender.receipt(sender.send(None, data=INIT, gas=500_000))
        assert receipt["status"] == "0x1"
        bitcoin.mine(12, pause_s=0.1)  # deeper than any reorg here
        yield World(dev, bitcoin, sender, bytes.fromhex(receipt["contractAddress"][2:]), tmp_path)


def places(logs: list[dict[str, Any]]) -> list[tuple[str, bool]]:
    """Where logs stand, and whether they are told as gone."""
    return [(each["blockHash"], each["removed"]) for each in logs]


def test_filters_over_a_restart(world: World) -> None:
    """Before, while it is down, after: each log is told once, under the same id, also after a kill."""
    rpc = world.dev.rpc
    wanted = rpc("eth_newFilter", {"address": "0x" + world.contract.hex()})
    blocks = rpc("eth_newBlockFilter")
    told = [world.log()["blockHash"]]
    assert places(rpc("eth_getFilterChanges", wanted)) == [(told[0], False)]
    late = world.log()["blockHash"]
    assert world.dev.stop() == 0
    world.dev.start()
    rpc = world.dev.rpc
    world.sender.rpc = rpc
    assert places(rpc("eth_getFilterChanges", wanted)) == [(late, False)]
    assert late in rpc("eth_getFilterChanges", blocks)
    world.dev.kill()
    world.dev.start()
    world.sender.rpc = world.dev.rpc
    after = world.log()["blockHash"]
    again = places(world.dev.rpc("eth_getFilterChanges", wanted))
    assert again[-1] == (after, False)
    assert set(again) <= {(late, False), (after, False)}, "only the last seconds before a kill are told again"
    assert world.dev.rpc("eth_uninstallFilter", wanted) is True


def test_a_reorg_while_a_node_is_down(world: World) -> None:
    """A full node that was down while Bitcoin changed its mind tells its filters what left and what came."""
    url = world.dev.run_file["rpc_url"].replace("http", "ws", 1)
    with full_node(world.folder, world.dev, "full", "--sequencer-url", url) as full:
        full.start()
        world.bitcoin.mine(2, pause_s=0.2)
        wanted = full.rpc("eth_newFilter", {"address": "0x" + world.contract.hex()})
        old = world.log()
        wait_until(
            lambda: full.rpc("eth_getTransactionReceipt", old["transactionHash"]), "the log at the full node"
        )
        assert places(full.rpc("eth_getFilterChanges", wanted)) == [(old["blockHash"], False)]
        assert full.stop() == 0
        world.bitcoin.vanish(2)

        def moved() -> dict[str, Any] | None:
            found = world.dev.rpc("eth_getTransactionReceipt", old["transactionHash"])
            return found if found is not None and found["blockHash"] != old["blockHash"] else None

        new: dict[str, Any] = wait_until(moved, "the transaction in another block")
        full.start()
        changes: list[tuple[str, bool]] = []

        def all_told() -> bool:
            changes.extend(places(full.rpc("eth_getFilterChanges", wanted)))
            return (new["blockHash"], False) in changes

        wait_until(all_told, "the log on the new branch")
        assert changes == [(old["blockHash"], True), (new["blockHash"], False)]


def test_subscriptions_over_a_reorg(world: World) -> None:
    """Subscribers hear of the removed log, then of heads from the fork on, each the child of the one before."""
    world.bitcoin.mine(2, pause_s=0.2)
    url = world.dev.run_file["rpc_url"].replace("http", "ws", 1)

    async def follow() -> list[tuple[str, dict[str, Any]]]:
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            kinds: dict[str, str] = {}
            for params in (["newHeads"], ["logs", {"address": "0x" + world.contract.hex()}]):
                await socket.send_json(
                    {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": params}
                )
                kinds[(await socket.receive_json(timeout=10))["result"]] = params[0]
            old = await asyncio.to_thread(world.log)
            await asyncio.to_thread(world.bitcoin.vanish, 2)
            told: list[tuple[str, dict[str, Any]]] = []
            async with asyncio.timeout(60):
                while not _is_over(told, old):
                    shown = json.loads((await socket.receive(timeout=60)).data)["params"]
                    told.append((kinds[shown["subscription"]], shown["result"]))
            return told

    told = asyncio.run(follow())
    logs = [(each["removed"], each["transactionHash"]) for kind, each in told if kind == "logs"]
    assert [removed for removed, _ in logs] == [False, True, False]
    assert len({transaction_hash for _, transaction_hash in logs}) == 1
    heads = [each for kind, each in told if kind == "newHeads"]
    numbers = [int(each["number"], 16) for each in heads]
    (fork,) = [place for place in range(1, len(heads)) if numbers[place] <= numbers[place - 1]]
    for branch in (heads[:fork], heads[fork:]):
        assert all(after["parentHash"] == before["hash"] for before, after in pairwise(branch))
    parent = world.dev.rpc("eth_getBlockByNumber", hex(numbers[fork] - 1))
    assert heads[fork]["parentHash"] == parent["hash"]


def _is_over(told: list[tuple[str, dict[str, Any]]], old: dict[str, Any]) -> bool:
    """Whether the log has been told on another block than its first, and that block's head too."""
    came = {each["blockHash"] for kind, each in told if kind == "logs" and not each["removed"]}
    return any(kind == "newHeads" and each["hash"] in came - {old["blockHash"]} for kind, each in told)
