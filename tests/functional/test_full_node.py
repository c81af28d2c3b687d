"""A full node with a sequencer to hear, one that goes away and comes back: Bitcoin alone carries it meanwhile."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.functional.branches import Bitcoin, wait_converged
from tests.functional.harness import (
    FREE_PORTS,
    ROOT,
    CallFailed,
    JsonRpc,
    NodeProcess,
    assert_same_chain,
    wait_until,
)
from tests.functional.load import Sender
from vm.dev_accounts import DEV_ACCOUNTS

pytestmark = [pytest.mark.functional, pytest.mark.timeout(180)]
READY = re.compile(r"ready at (http://\S+) ")
SEQ_WINDOW = 12
MATURE_HEIGHT = 110


@dataclass
class OwnBitcoin:
    """A regtest Bitcoin that belongs to no node."""

    url: str
    cookie: Path

    @property
    def bitcoin(self) -> JsonRpc:
        user, password = self.cookie.read_text().split(":")
        return JsonRpc(self.url, (user, password))


@pytest.fixture
def own_bitcoin(tmp_path: Path) -> Iterator[OwnBitcoin]:
    """A Bitcoin that outlives the nodes."""
    argv = [sys.executable, "-m", "regtest", "--datadir", str(tmp_path / "bitcoin"), "--port", "0"]
    with (tmp_path / "bitcoin.log").open("wb") as log:
        process = subprocess.Popen(
            [*argv, "--premine", str(MATURE_HEIGHT)], cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        found = READY.search(process.stdout.readline())
        assert found is not None
        yield OwnBitcoin(found[1], tmp_path / "bitcoin" / ".cookie")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def make_node(folder: Path, of: OwnBitcoin, name: str, *flags: str) -> NodeProcess:
    """Make a node on this Bitcoin; not started."""
    return NodeProcess(folder / name, *FREE_PORTS, "--l1-rpc", of.url, "--l1-cookie", str(of.cookie), *flags)


def free_port() -> int:
    """Return a port that nobody has now: a sequencer that is started again must be found where it was."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def safe_number(node: NodeProcess) -> int:
    """The safe block's number."""
    number: int = node.status()["heads"]["safe"]["number"]
    return number


def mine_until_safe(bitcoin: Bitcoin, node: NodeProcess, number: int) -> None:
    """Mine at the pace of batches until a block is safe."""

    def is_safe() -> bool:
        bitcoin.mine(pause_s=0.5)
        return safe_number(node) >= number

    wait_until(is_safe, f"block {number} is safe", limit_s=40)


def test_a_full_node_forwards_hears_and_lives_on_alone(tmp_path: Path, own_bitcoin: OwnBitcoin) -> None:
    """What it forwards it sees before Bitcoin does; left alone it says so and derives; then it hears again."""
    port, bitcoin = free_port(), Bitcoin(own_bitcoin)
    sequencer = make_node(
        tmp_path, own_bitcoin, "sequencer", "--role", "sequencer", "--block-time-mode", "on-demand"
    )
    sequencer.flags += ("--rpc-port", str(port))
    with sequencer.start():
        rules = ("--role", "full", "--rollup-config", str(sequencer.rollup_config))
        url = ("--sequencer-url", f"ws://127.0.0.1:{port}")
        with make_node(tmp_path, own_bitcoin, "full", *rules, *url).start() as full:
            sender = Sender(full, DEV_ACCOUNTS[1])
            height = bitcoin.height
            receipt = sender.receipt(sender.send(DEV_ACCOUNTS[2].address, value=1, gas=21_000))
            assert bitcoin.height == height, "no Bitcoin block was needed"
            mine_until_safe(bitcoin, full, int(receipt["blockNumber"], 16))

            sequencer.kill()
            raw = "0x" + sender.sign(DEV_ACCOUNTS[2].address, value=2, gas=21_000).hex()
            with pytest.raises(CallFailed) as refused:
                full.rpc("eth_sendRawTransaction", raw)
            assert refused.value.data["code"] == "sequencer.away"
            before = safe_number(full)
            bitcoin.mine(SEQ_WINDOW + 3)
            wait_until(lambda: safe_number(full) > before, "blocks follow from Bitcoin alone")

            sequencer.start()
            wait_until(lambda: full.rpc("eth_sendRawTransaction", raw), "the sequencer takes it")
            sender.nonce += 1
            again = sender.receipt(sender.send(DEV_ACCOUNTS[2].address, value=3, gas=21_000))
            mine_until_safe(bitcoin, full, int(again["blockNumber"], 16))
            head = wait_converged(bitcoin, [sequencer, full])
            assert_same_chain(sequencer, full, head["number"])
            assert (
                int(full.rpc("eth_getTransactionCount", "0x" + sender.account.address.hex(), "safe"), 16) == 3
            )
