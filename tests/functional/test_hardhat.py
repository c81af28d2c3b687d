"""Hardhat 3 against a running node: Ignition deploys, Hardhat signs, and the shop's story comes out the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.functional.clients import MODULES, SOLIDITY, anvils_gas_of, check_report, hardhat
from tests.functional.harness import NodeProcess
from vm.dev_accounts import DEV_ACCOUNTS

pytestmark = pytest.mark.functional


def test_hardhat_tells_the_shops_story(tool_node: NodeProcess, tmp_path: Path) -> None:
    """A project compiles with npm's solc, Ignition deploys it, and each transaction type is sent and understood."""
    account = DEV_ACCOUNTS[7]
    project = tmp_path / "project"
    shutil.copytree(SOLIDITY / "hardhat", project)
    shutil.copytree(SOLIDITY / "clients", project / "contracts")
    told = hardhat(
        project,
        "run",
        "scripts/story.js",
        "--network",
        "bitai",
        SHOP_URL=tool_node.run_file["rpc_url"],
        SHOP_KEY="0x" + account.secret.hex(),
        SOLJSON=str(MODULES / "solc" / "soljson.js"),
    )
    report: dict[str, Any] = json.loads(told.strip().splitlines()[-1])
    check_report(tool_node.rpc, account, report, anvils_gas_of(account))
