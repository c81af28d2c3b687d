"""Foundry against a running node: cast from the shell, forge's scripts and tests, with npm's solc as the compiler."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.functional.clients import (
    DELEGATED,
    SALES,
    SOLC,
    SOLD_SLOT,
    SOLIDITY,
    anvil,
    check_report,
    checked_proof,
    compiled,
    foundry,
    proven,
    run,
)
from tests.functional.harness import NodeProcess, wait_until
from vm.dev_accounts import DEV_ACCOUNTS, DevAccount

pytestmark = pytest.mark.functional

BUY = "buy(uint256,uint256,string)"
SOLD = "Sold(address indexed,uint256 indexed,uint256,string)"
SOLD_OUT = "SoldOut(uint256,uint256,uint256)"


class Cast:
    """The shop's story as someone types it into a shell."""

    def __init__(self, url: str, account: DevAccount) -> None:
        self.url = url
        self.key = "0x" + account.secret.hex()
        self.address = "0x" + account.address.hex()
        self.report: dict[str, Any] = {"sent": {}}

    def ask(self, *words: str) -> str:
        """Run cast, and return what it printed."""
        return run([foundry("cast"), words[0], "--rpc-url", self.url, *words[1:]]).strip()

    def send(self, *words: str) -> dict[str, Any]:
        """Sign and send, and return the receipt."""
        receipt: dict[str, Any] = json.loads(self.ask("send", "--private-key", self.key, "--json", *words))
        assert receipt["status"] == "0x1", receipt
        return receipt

    def note(self, kind: str, receipt: dict[str, Any]) -> None:
        """Write down what cast shows of a transaction."""
        shown = json.loads(self.ask("tx", receipt["transactionHash"], "--json"))
        self.report["sent"][kind] = {
            "hash": receipt["transactionHash"],
            "type": shown["type"],
            "gasUsed": int(receipt["gasUsed"], 16),
        }

    def deploy(self, name: str, *arguments: str) -> str:
        """Deploy a contract of the project and return its address."""
        receipt = self.send("--create", compiled("clients")[name]["bytecode"], *arguments)
        return str(receipt["contractAddress"])

    def open_shop(self) -> dict[str, str]:
        """Deploy the three contracts and tell the till of its shop."""
        till = self.deploy("Till")
        shop = self.deploy("Shop", "constructor(address,uint256,uint256)", till, "9", "100")
        errands = self.deploy("Errands")
        self.send(till, "choose(address)", shop)
        return {"till": till, "shop": shop, "errands": errands}

    def buy_with_each_type(self, contracts: dict[str, str]) -> None:
        """Send the four purchases."""
        shop, value = contracts["shop"], ("--value", "10")
        listed = json.dumps([{"address": contracts["till"], "storageKeys": ["0x" + "00" * 32]}])
        self.note("legacy", self.send(shop, BUY, "1", "1", "legacy", *value, "--legacy"))
        wanted = (shop, BUY, "1", "2", "access list", *value, "--legacy", "--access-list", listed)
        self.note("accessList", self.send(*wanted))
        wanted = (shop, BUY, "2", "3", "dynamic fee", *value)
        self.report["estimate"] = int(self.ask("estimate", "--from", self.address, *wanted))
        self.note("dynamicFee", self.send(*wanted, "--gas-limit", str(self.report["estimate"])))
        inner = run([foundry("cast"), "calldata", BUY, "3", "4", "set code"]).strip()
        errands = ("run((address,uint256,bytes)[])", f"[({shop},5,{inner})]")
        self.note("setCode", self.send(self.address, *errands, "--auth", contracts["errands"]))

    def failure(self, *words: str) -> str:
        """Call what reverts and return cast's words."""
        command = [foundry("cast"), "call", "--from", self.address, *words, "--rpc-url", self.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1, done.stdout
        return done.stderr

    def read_failures(self, shop: str) -> None:
        """Decode the three ways in which the shop refuses."""
        data = re.search(r'data: "(0x[0-9a-f]+)"', self.failure(shop, BUY, "1", "1000", ""))
        assert data is not None
        told = run([foundry("cast"), "decode-error", "--sig", SOLD_OUT, data[1]]).split()
        self.report["custom"] = {"name": "SoldOut", "args": told}
        assert "execution reverted: nothing wanted" in self.failure(shop, BUY, "1", "0", "")
        self.report["words"] = {"name": "Error", "args": ["nothing wanted"]}
        assert "panic: division or modulo by zero (0x12)" in self.failure(shop, "share(uint256)", "0")
        self.report["panic"] = {"name": "Panic", "args": ["18"]}


def sales_of(logs: list[dict[str, Any]]) -> list[list[Any]]:
    """Decode the sales in raw logs with cast."""
    found = []
    for log in logs:
        told = run([foundry("cast"), "abi-decode", "f()(uint256,string)", log["data"]])
        count, note = told.strip().split("\n")
        customer, item = "0x" + log["topics"][1][26:], int(log["topics"][2], 16)
        found.append([log["transactionHash"], customer, item, int(count), json.loads(note)])
    return found


@contextmanager
def listening(cast: Cast, contracts: dict[str, str], folder: Path) -> Iterator[Callable[[], list[str]]]:
    """Let `cast logs --subscribe` listen meanwhile; yields a function that returns the hashes of the sales heard."""
    heard = folder / "heard.txt"
    socket = cast.url.replace("http", "ws")
    command = [foundry("cast"), "logs", "--subscribe", "--rpc-url", socket]
    with heard.open("w") as output:
        listener = subprocess.Popen(command, stdout=output, stdin=subprocess.DEVNULL)

    def hears() -> bool:
        cast.send(contracts["till"], "choose(address)", contracts["shop"])
        return "transactionHash" in heard.read_text()

    def sales() -> list[str]:
        logs = heard.read_text().split("- address:")
        of_shop = [log for log in logs if log.strip().lower().startswith(contracts["shop"].lower())]
        return [
            found[1] for log in of_shop if (found := re.search(r"transactionHash: (0x[0-9a-f]{64})", log))
        ]

    try:
        wait_until(hears, "cast hears of the till")
        yield sales
    finally:
        listener.kill()
        listener.wait(10)


def test_cast_tells_the_shops_story(tool_node: NodeProcess, tmp_path: Path) -> None:
    """Cast deploys, sends each transaction type, estimates, listens, decodes reverts and fetches a proof."""
    account = DEV_ACCOUNTS[5]
    cast = Cast(tool_node.run_file["rpc_url"], account)
    contracts = cast.report["contracts"] = cast.open_shop()
    shop, first = contracts["shop"], tool_node.rpc("eth_blockNumber")
    watch = tool_node.rpc("eth_newFilter", {"address": shop})
    with listening(cast, contracts, tmp_path) as sales:
        cast.buy_with_each_type(contracts)
        wait_until(lambda: len(sales()) == len(SALES), "cast heard of each sale")
        assert sales() == [each["hash"] for each in cast.report["sent"].values()]
    ranged = json.loads(cast.ask("logs", "--json", "--from-block", first, "--address", shop, SOLD))
    cast.report["logs"] = {
        "filter": sales_of(tool_node.rpc("eth_getFilterChanges", watch)),
        "range": sales_of(ranged),
    }
    cast.read_failures(shop)
    cast.report["delegation"] = cast.ask("code", cast.address)
    bought = cast.report["sent"]["dynamicFee"]["hash"]
    tracer = json.dumps({"tracer": "callTracer"})
    cast.report["trace"] = json.loads(cast.ask("rpc", "debug_traceTransaction", bought, tracer))
    listed = cast.ask("access-list", "--from", cast.address, shop, BUY, "2", "3", "again", "--value", "10")
    assert contracts["till"] in listed.lower()
    block = json.loads(cast.ask("block", "--json"))
    proof = json.loads(cast.ask("proof", shop, str(SOLD_SLOT), "--block", str(int(block["number"], 16))))
    cast.report["proven"] = checked_proof(block["stateRoot"], proof)
    with anvil() as url:
        other = Cast(url, account)
        other.buy_with_each_type(other.open_shop())
    gas = {kind: each["gasUsed"] for kind, each in other.report["sent"].items()}
    check_report(tool_node.rpc, account, cast.report, gas)


class ForgeProject:
    """A folder as `forge init` makes one, with the shop's sources and npm's compiler."""

    def __init__(self, folder: Path, url: str, account: DevAccount) -> None:
        self.folder, self.url, self.account = folder, url, account
        shutil.copytree(SOLIDITY / "clients", folder / "src")
        for place, name in (("script", "OpenShop.s.sol"), ("test", "ForkedShop.t.sol")):
            (folder / place).mkdir()
            for source in (name, "Vm.sol"):
                shutil.copy(SOLIDITY / "forge" / source, folder / place)
        settings = f'[profile.default]\nevm_version = "osaka"\noffline = true\nsolc = "{SOLC}"\n'
        (folder / "foundry.toml").write_text(settings)

    def forge(self, *words: str, fails: bool = False, **environment: str) -> str:
        """Run forge in the project and return all that it printed."""
        done = subprocess.run(
            [foundry("forge"), *words],
            cwd=self.folder,
            env={**os.environ, "NO_COLOR": "1", "SHOP_KEY": "0x" + self.account.secret.hex(), **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def script(self, *words: str, **more: Any) -> str:
        """Run the script against the node and let it send."""
        return self.forge(
            "script", "script/OpenShop.s.sol:OpenShop", "--rpc-url", self.url, "--broadcast", *words, **more
        )

    def sent_by(self, function: str, chain_id: int) -> dict[str, Any]:
        """Return what forge wrote down of its last broadcast."""
        path = self.folder / "broadcast" / "OpenShop.s.sol" / str(chain_id) / f"{function}-latest.json"
        told: dict[str, Any] = json.loads(path.read_text())
        return told


def test_forge_scripts_send_and_fork(tool_node: NodeProcess, tmp_path: Path) -> None:
    """`forge script --broadcast` deploys the project and buys, also by delegation; `forge test` forks the node."""
    account = DEV_ACCOUNTS[6]
    project = ForgeProject(tmp_path, tool_node.run_file["rpc_url"], account)
    chain_id = int(tool_node.rpc("eth_chainId"), 16)
    project.script()
    opened = project.sent_by("run", chain_id)
    receipts = opened["receipts"]
    assert [receipt["type"] for receipt in receipts] == ["0x2"] * 5 + ["0x4"]
    for receipt in receipts:
        ours = tool_node.rpc("eth_getTransactionReceipt", receipt["transactionHash"])
        assert ours["status"] == receipt["status"] == "0x1"
        assert ours["gasUsed"] == receipt["gasUsed"]
    _, shop, errands = (entry["contractAddress"] for entry in opened["transactions"][:3])

    project.script("--sig", "buy(address)", shop, "--legacy")
    (bought,) = project.sent_by("buy", chain_id)["receipts"]
    assert (bought["type"], bought["status"]) == ("0x0", "0x1")
    refused = project.script("--sig", "buyTooMuch(address)", shop, fails=True)
    assert "script failed: SoldOut(1, 1000, 99)" in refused

    logs = tool_node.rpc("eth_getLogs", {"address": shop, "fromBlock": "earliest"})
    assert [sale[2:] for sale in sales_of(logs)] == [
        SALES["dynamicFee"],
        SALES["setCode"],
        SALES["legacy"],
    ]
    assert tool_node.rpc("eth_getCode", "0x" + account.address.hex()) == DELEGATED + errands[2:].lower()
    assert proven(tool_node.rpc, shop)["slots"] == {str(SOLD_SLOT): 8}
    # cast runs it again by itself, from state it fetches: the same gas, and the call to the till with its coins.
    again = run([foundry("cast"), "run", "--rpc-url", project.url, bought["transactionHash"]])
    assert re.search(r"\[\d+\] .*::.*\{value: 10\}", again), again
    assert f"Gas used: {int(bought['gasUsed'], 16)}" in again

    tested = project.forge("test", "--fork-url", project.url, SHOP_ADDRESS=shop)
    assert "2 tests passed, 0 failed" in tested
    key = "0x" + account.secret.hex()
    created = project.forge(
        "create", "src/Till.sol:Till", "--rpc-url", project.url, "--private-key", key, "--broadcast"
    )
    address = re.search(r"Deployed to: (0x[0-9a-fA-F]{40})", created)
    assert address is not None
    assert tool_node.rpc("eth_getCode", address[1]) != "0x"
