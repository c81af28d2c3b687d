"""Contracts of real-world shape: the same script on anvil and on this node, with equal results, logs and gas."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.functional.clients import anvil, compiled, run
from tests.functional.conftest import NODE_TESTS
from tests.functional.harness import JsonRpc, NodeProcess
from vm.dev_accounts import DEV_ACCOUNTS

pytestmark = pytest.mark.functional

SHAPES = {"Coin", "Deed", "Router", "Pair", "Multisig", "ERC1967Proxy", "ProxyAdmin", "Workshop"}


def tell(url: str) -> dict[str, Any]:
    """Run the suite on a node and return its report."""
    job = {
        "url": url,
        "chainId": int(JsonRpc(url)("eth_chainId"), 16),
        "keys": [
            "0x" + secret.hex() for secret in (DEV_ACCOUNTS[8].secret, DEV_ACCOUNTS[9].secret, b"\x07" * 32)
        ],
        "contracts": compiled("suite"),
    }
    report: dict[str, Any] = json.loads(
        run(["node", "suite_viem.mjs"], cwd=NODE_TESTS, input=json.dumps(job))
    )
    return report


def test_the_suite_does_here_what_it_does_on_anvil(
    tool_node: NodeProcess, record_property: Callable[[str, object], None]
) -> None:
    """Token, deed, exchange, multisig, proxies and CREATE2 factory: each transaction's status, reason, logs and gas."""
    with anvil("--chain-id", str(int(tool_node.rpc("eth_chainId"), 16))) as url:
        theirs = tell(url)
    ours = tell(tool_node.run_file["rpc_url"])
    assert len(ours["steps"]) == len(theirs["steps"]) > 70
    for mine, other in zip(ours["steps"], theirs["steps"], strict=True):
        assert mine == other, mine["name"]
    assert ours["reads"] == theirs["reads"]
    assert {step["name"].partition(".")[0] for step in ours["steps"]} >= SHAPES
    gas = sum(step["gasUsed"] for step in ours["steps"])
    refused = sum(step["status"] == "reverted" for step in ours["steps"])
    record_property(
        "said",
        f"contract suite: {len(ours['steps'])} transactions, {refused} of them refused, {gas:,} gas, each as on anvil",
    )
