"""Blocks keep their schedule while transactions come at a good part of the rate that the machine can take at most."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Self

import pytest

from bench.workload import Signer, created_address, deploy_token, make_signers
from rollup.config import RollupConfig
from tests.functional.harness import FREE_PORTS, ROOT, NodeProcess, wait_until
from vm.dev_accounts import DEV_ACCOUNTS

BLOCK_S = 2
GAS_LIMIT = 1_000_000_000
"""Ordinary blocks are full long before the machine is; these never are, and so the fee stays where it is."""
SENDERS = 32
FLOOD_S = 8
PAUSE_S = 4
"""Two blocks after what the flood has piled up is worked off."""
GROWTH = 1.25
"""Resident memory at the end, in terms of that after a third of the time; caches are full by then, or nearly."""
GROWTH_BYTES = 96 << 20

pytestmark = pytest.mark.functional


@contextmanager
def roomy_node(folder: Path) -> Iterator[NodeProcess]:
    """Run a dev node in interval mode whose chain has room: its rules are changed before its first block."""
    flags = (*FREE_PORTS, "--l1-port", "0", "--mine-interval", "2", "--no-neuron")
    with NodeProcess(folder / "dev", *flags) as node:
        node.start()
        assert node.stop() == 0
        rules = RollupConfig.from_json(node.rollup_config.read_bytes())
        roomy = replace(rules, parameters=replace(rules.parameters, gas_limit=GAS_LIMIT))
        node.rollup_config.write_text(roomy.to_json())
        shutil.rmtree(node.datadir / "chain")
        yield node.start()
        assert node.stop() == 0


class Load:
    """Sends token transfers from a process of its own; remembers where each sender is."""

    def __init__(self, node: NodeProcess) -> None:
        """Deploy the token, and fund the senders."""
        self._node = node
        funder, signers = Signer(DEV_ACCOUNTS[0].secret), make_signers(SENDERS)
        self._token = created_address(funder.address, 0)
        raws = [deploy_token(funder, 10**30)]
        raws += [funder.pay(each.address, 200 * 10**18) for each in signers]
        raws += [funder.pay_token(self._token, each.address, 10**26) for each in signers]
        hashes = [node.rpc("eth_sendRawTransaction", "0x" + raw.hex()) for raw in raws]
        wait_until(lambda: node.rpc("eth_getTransactionReceipt", hashes[-1]), "senders funded")
        self._senders = [(each.secret.hex(), 0) for each in signers]

    def run(self, rate: float, seconds: float) -> dict[str, Any]:
        """Send at a rate, 0 for as fast as it goes; return the report."""
        job = {
            "url": self._node.run_file["rpc_url"],
            "rate": rate,
            "seconds": seconds,
            "token": self._token.hex(),
            "senders": self._senders,
            "holders": 2_000,
        }
        done = subprocess.run(
            [sys.executable, "-m", "tests.functional.steady"],
            cwd=ROOT,
            input=json.dumps(job).encode(),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        report: dict[str, Any] = json.loads(done.stdout)
        self._senders = report["senders"]
        return report

    def recount(self) -> None:
        """Ask the node where each sender is: a full pool lets go of what it had taken, a lane's end first."""
        signers = [Signer(bytes.fromhex(secret), 0) for secret, _ in self._senders]
        asked = [("eth_getTransactionCount", ["0x" + each.address.hex(), "pending"]) for each in signers]
        counts = [int(reply["result"], 16) for reply in self._node.rpc.batch(asked)]
        self._senders = [(secret, count) for (secret, _), count in zip(self._senders, counts, strict=True)]


class Watch:
    """Notes when each block comes, until it is told to stop."""

    def __init__(self, node: NodeProcess) -> None:
        """Watch this node."""
        self._rpc = node.rpc
        self._stopping = threading.Event()
        self.came: dict[int, float] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stopping.wait(0.05):
            self.came.setdefault(int(self._rpc("eth_blockNumber"), 16), time.monotonic())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stopping.set()
        self._thread.join(30)


def headers(node: NodeProcess, first: int, last: int) -> list[dict[str, Any]]:
    """The blocks from one number to another."""
    calls = [("eth_getBlockByNumber", [hex(number), False]) for number in range(first, last + 1)]
    return [reply["result"] for reply in node.rpc.batch(calls)]


def measure_peak(node: NodeProcess, load: Load) -> float:
    """Transfers a second in blocks while as many come as the node lets in."""
    first = int(node.rpc("eth_blockNumber"), 16) + 1
    load.run(0, FLOOD_S)
    last = int(node.rpc("eth_blockNumber"), 16)
    counts = [len(each["transactions"]) for each in headers(node, first, last)]
    return max(sum(pair) for pair in pairwise(counts)) / (2 * BLOCK_S)


def keep_pace(folder: Path, *, share: float, seconds: float, late_s: float) -> None:
    """Load a node at a share of its peak, and hold every block to its turn.

    `late_s` is how far a block may come from where the others, by their median, put its turn.
    """
    with roomy_node(folder) as node:
        load = Load(node)
        peak = measure_peak(node, load)
        wait_until(lambda: node.rpc("txpool_status")["pending"] == "0x0", "the flood worked off")
        time.sleep(PAUSE_S)
        load.recount()
        before, memory = int(node.rpc("eth_blockNumber"), 16), []
        with Watch(node) as watch:
            for _ in range(3):
                report = load.run(share * peak, seconds / 3)
                memory.append(node.resident_bytes())
                assert not report["refused"], report["refused"]
        numbers = sorted(watch.came)
        offsets = [watch.came[number] - BLOCK_S * number for number in numbers[1:]]
        lateness = [each - median(offsets) for each in offsets]
        blocks = headers(node, before, numbers[-1])
        times = [int(each["timestamp"], 16) for each in blocks]
        held = sum(len(each["transactions"]) for each in blocks)
        print(
            f"peak {peak:.0f} tx/s; {held} transactions in {len(blocks)} blocks; lateness {min(lateness):.2f} to "
            f"{max(lateness):.2f} s; memory {[each >> 20 for each in memory]} MiB"
        )
        assert len(numbers) >= seconds / BLOCK_S - 2, "blocks are missing"
        assert numbers == list(range(numbers[0], numbers[-1] + 1)), "two blocks came at once"
        assert {later - earlier for earlier, later in pairwise(times)} == {BLOCK_S}
        assert max(map(abs, lateness)) <= late_s
        full_s = seconds - BLOCK_S  # what came last waits for a block that nobody watches
        assert held >= 0.8 * share * peak * full_s, "the load was not what it should be"
        assert memory[-1] <= GROWTH * memory[0] + GROWTH_BYTES


@pytest.mark.timeout(300)
def test_blocks_stay_on_schedule_under_load(folder: Path) -> None:
    """For half a minute at half the peak each block comes at its turn, with the time that its turn has.

    Other tests may run beside this one, so a block may be late by a block time, but none may be missing.
    """
    keep_pace(folder, share=0.5, seconds=30, late_s=BLOCK_S)


@pytest.mark.soak
@pytest.mark.timeout(1_200)
def test_blocks_stay_on_schedule_for_ten_minutes(folder: Path) -> None:
    """The same for ten minutes at four fifths of the peak; memory does not grow."""
    keep_pace(folder, share=0.8, seconds=600, late_s=BLOCK_S / 2)
