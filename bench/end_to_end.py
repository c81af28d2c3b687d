"""Transfers a second through the front door: a dev node's JSON-RPC, beside anvil on the same machine.

Both get the same signed bytes from a load process of its own: a token is deployed, senders are funded, then runs of
token transfers are sent, each transaction alone over keep-alive connections, or a hundred in one array. A run ends
when the last receipt is there. Each run is played to the one and then to the other, the other's processes stopped
meanwhile; what is compared is the pair. Both chains have real state roots.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.measuring import Figure
from bench.workload import (
    CHAIN_ID,
    ROOT,
    Signer,
    created_address,
    deploy_token,
    make_holders,
    make_signers,
    token_transfers,
)
from bitai.ports import choose_port
from tests.functional.harness import JsonRpc, NodeProcess, dev_node, wait_until
from vm._core import keccak256
from vm.dev_accounts import DEV_ACCOUNTS

CONNECTIONS: Final = 32
SENDERS: Final = 64
HOLDERS: Final = 2_000
SINGLE_RUN: Final = 6_400
BATCH_RUN: Final = 12_800
"""Long enough that a block's interval at the end, up to 0.1 s, is little of it."""
WARM_UP: Final = 640
BATCH: Final = 100
SETTLE_S: Final = 0.3
"""For timers that fire when a stopped process goes on."""
ANVIL: Final = ROOT / "tests/node/node_modules/.bin/anvil"
ANVIL_BLOCK_S: Final = "0.1"
"""Its blocks at once leave transactions behind under load, for ever; of the intervals this is its quickest."""
NODE_FLAGS: Final = ("--block-time-mode", "on-demand", "--mine-interval", "2", "--no-neuron")
_FUNDS_WEI: Final = 100 * 10**18
_SUPPLY: Final = 10**30


@dataclass(frozen=True)
class Run:
    """One run's transactions: each connection's share, and each sender's last hash."""

    name: str
    batch: int
    shares: list[list[str]]
    last: list[str]
    hashes: list[str]


@dataclass(frozen=True)
class Script:
    """Everything that is sent to a chain, in this order; every run waits for the receipts of the one before."""

    setup: list[Run]
    runs: list[Run]


def make_script(rounds: int) -> Script:
    """Sign everything: deployment and funding, a warm-up, then `rounds` runs of each kind."""
    funders = [Signer(account.secret) for account in DEV_ACCOUNTS]
    token = created_address(funders[0].address, 0)
    signers, holders = make_signers(SENDERS), make_holders(HOLDERS)
    created = [deploy_token(funders[0], _SUPPLY)]
    funds = [funders[i % len(funders)].pay(each.address, _FUNDS_WEI) for i, each in enumerate(signers)]
    tokens = [funders[0].pay_token(token, each.address, _SUPPLY // 1_000) for each in signers]
    setup = [_run("setup", 1, [each], ends=each) for each in (created, funds, tokens)]

    def transfers(name: str, count: int, batch: int) -> Run:
        raws = token_transfers(signers, holders, token, count)
        shares = [raws[at::CONNECTIONS] for at in range(CONNECTIONS)]
        return _run(name, batch, shares if batch == 1 else _lanes(raws), ends=raws[-SENDERS:])

    setup.append(transfers("warm-up", WARM_UP, 1))
    runs = [transfers("single", SINGLE_RUN, 1) for _ in range(rounds)]
    runs += [transfers("batch", BATCH_RUN, BATCH) for _ in range(rounds)]
    return Script(setup, runs)


def _lanes(raws: Sequence[bytes]) -> list[list[bytes]]:
    """Deal transactions to fewer connections, so that each sends several arrays one after the other."""
    lanes = CONNECTIONS // 4
    return [
        [raw for index, raw in enumerate(raws) if index % SENDERS % lanes == lane] for lane in range(lanes)
    ]


def _run(name: str, batch: int, shares: Sequence[Sequence[bytes]], ends: Sequence[bytes]) -> Run:
    """Return a run; `ends` are the last transactions of each sender."""
    shown = [["0x" + raw.hex() for raw in share] for share in shares]
    hashes = ["0x" + keccak256(raw).hex() for share in shares for raw in share]
    return Run(name, batch, shown, ["0x" + keccak256(raw).hex() for raw in ends], hashes)


def send(url: str, run: Run) -> dict[str, Any]:
    """Have the load process send a run; return its report."""
    job = {"url": url, "batch": run.batch, "shares": run.shares, "last": run.last}
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        cwd=ROOT,
        input=json.dumps(job).encode(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-2_000:]
    report: dict[str, Any] = json.loads(done.stdout)
    assert not report["refused"], report["refused"]
    return report


def require_receipts(rpc: JsonRpc, hashes: Sequence[str]) -> None:
    """Make sure, after the clock stopped, that every transaction of a run succeeded."""
    for start in range(0, len(hashes), BATCH):
        calls = [("eth_getTransactionReceipt", [each]) for each in hashes[start : start + BATCH]]
        for reply in rpc.batch(calls):
            assert reply["result"]["status"] == "0x1", reply


@dataclass(frozen=True)
class Side:
    """One of those that are compared: where it listens, and the groups of its processes."""

    name: str
    url: str
    groups: tuple[int, ...]

    def prepare(self, script: Script) -> None:
        """Play what comes before the measured runs."""
        rpc = JsonRpc(self.url)
        for run in script.setup:
            send(self.url, run)
            require_receipts(rpc, run.hashes)

    def signal(self, number: int) -> None:
        """Send a signal to all its processes."""
        for group in self.groups:
            os.killpg(group, number)


Reports = dict[str, list[dict[str, Any]]]
"""What the load process told of the runs of each kind."""


def play(script: Script, sides: Sequence[Side]) -> dict[str, Reports]:
    """Play each run to every side in turn, the others stopped meanwhile; return the reports by side."""
    told: dict[str, Reports] = {side.name: {} for side in sides}
    for side in sides:
        side.prepare(script)
    for side in sides:
        side.signal(signal.SIGSTOP)
    for run in script.runs:
        for side in sides:
            side.signal(signal.SIGCONT)
            time.sleep(SETTLE_S)
            report = send(side.url, run)
            report["tx_s"] = len(run.hashes) / report["seconds"]
            told[side.name].setdefault(run.name, []).append(report)
            side.signal(signal.SIGSTOP)
    for side in sides:
        side.signal(signal.SIGCONT)
        for run in script.runs:
            require_receipts(JsonRpc(side.url), run.hashes[:: len(run.hashes) // BATCH])
    return told


@contextmanager
def anvil() -> Iterator[Side]:
    """Run anvil."""
    port = choose_port(0, name="anvil", flag="", may_move=True)
    command = [str(ANVIL), "--quiet", "--port", str(port), "--chain-id", str(CHAIN_ID)]
    command += ["--gas-limit", "60000000", "--block-time", ANVIL_BLOCK_S]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: JsonRpc(url)("eth_chainId"), "anvil answers")
        yield Side("anvil", url, (process.pid,))
    finally:
        process.terminate()
        process.wait(10)


def anvil_version() -> str:
    """Name the anvil that is compared with."""
    shown = subprocess.run([str(ANVIL), "--version"], capture_output=True, check=True).stdout.decode()
    return shown.splitlines()[0].replace(" Version:", "")


@contextmanager
def bench_node(folder: Path) -> Iterator[NodeProcess]:
    """Run a dev node that makes blocks on demand over an embedded Bitcoin."""
    with dev_node(folder, *NODE_FLAGS) as node:
        yield node
        node.stop()


def shares(told: dict[str, Reports]) -> Iterator[Figure]:
    """Compare the two sides run by run: they were played one after the other."""
    words = {"single": ("sent one by one", 100), "batch": (f"in arrays of {BATCH}", 200)}
    for kind, (how, aim) in words.items():
        pairs = zip(told["node"][kind], told["anvil"][kind], strict=True)
        values = tuple(100 * ours["tx_s"] / theirs["tx_s"] for ours, theirs in pairs)
        name = f"node, ERC-20 over RPC, {how}, as a share of anvil's run beside it"
        yield Figure(f"e2e_{kind}_node_share", name, "%", values, aim=aim, by_median=True)


def figures(who: str, reports: Reports) -> Iterator[Figure]:
    """Turn reports into figures."""
    ours = who == "node"
    words = {"single": "sent one by one", "batch": f"in arrays of {BATCH}"}
    for kind, found in reports.items():
        yield Figure(
            f"e2e_{kind}_{who}",
            f"{who}, ERC-20 over RPC, {words[kind]}",
            "tx/s",
            tuple(report["tx_s"] for report in found),
            aim=1_500 if ours and kind == "single" else None,
        )
    yield Figure(
        f"e2e_latency_{who}",
        f"{who}, answer to eth_sendRawTransaction under that load, median",
        "ms",
        tuple(report["median_ms"] for report in reports["single"]),
        low_is_good=True,
    )
