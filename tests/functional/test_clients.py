"""Wallets' and scripts' libraries against a running node: each deploys, sends, watches, reverts and proves."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.functional.clients import anvils_gas_of, check_report, job_for, run
from tests.functional.conftest import NODE_TESTS
from tests.functional.harness import ROOT, NodeProcess
from vm.dev_accounts import DEV_ACCOUNTS

pytestmark = pytest.mark.functional

OTHER_WEB3 = ROOT / ".venv-web3-7" / "bin" / "python"
STORY = str(ROOT / "tests" / "functional" / "shop_web3.py")
CLIENTS = {
    "viem": (["node", "shop_viem.mjs"], 1),
    "ethers 6": (["node", "shop_ethers.mjs"], 2),
    "web3.py 8": ([sys.executable, STORY], 3),
    "web3.py 7": ([str(OTHER_WEB3), STORY], 4),
}
"""How each is started, and the dev account that is its own."""


@pytest.fixture(scope="module")
def anvils_gas() -> dict[str, int]:
    """What the same story costs on anvil."""
    return anvils_gas_of(DEV_ACCOUNTS[1])


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_tells_the_shops_story(
    tool_node: NodeProcess,
    anvils_gas: dict[str, int],
    client: str,
    record_property: Callable[[str, object], None],
) -> None:
    """Every transaction type, logs on three ways, estimate, errors by name, and a proof: all as the node says."""
    command, place = CLIENTS[client]
    if client == "web3.py 7" and not OTHER_WEB3.exists():
        pytest.skip("web3.py 7 has an environment of its own: `tools/setup.sh clients` makes it")
    account = DEV_ACCOUNTS[place]
    job = job_for(tool_node.run_file["rpc_url"], account)
    report: dict[str, Any] = json.loads(run(command, cwd=NODE_TESTS, input=job))
    assert report.get("software", client).startswith(client)
    check_report(tool_node.rpc, account, report, anvils_gas)
    record_property(
        "said", f"{client}: {sum(each['gasUsed'] for each in report['sent'].values()):,} gas, as on anvil"
    )
