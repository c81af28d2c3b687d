"""The life of a node's process while it waits: it says where it is, and stops when asked."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from types import SimpleNamespace

import pytest

from bitai.assembly import _demonstrate
from bitai.bootstrap import _new_config
from bitai.datadir import DataDir
from bitai.node_keys import open_node_keys
from primitives.errors import Temporary
from rollup.config import L1Start
from tests.conftest import ROOT


@pytest.fixture
def waiting(tmp_path):
    """A full node whose Bitcoin does not answer, its data folder, and how to start it."""
    files = DataDir(tmp_path / "node")
    files.prepare()
    rollup = tmp_path / "rollup.json"
    start = L1Start(0, bytes(32), (1_296_688_602,))
    rollup.write_text(_new_config(open_node_keys(files, "regtest"), start).to_json())
    words = ["run", "--role", "full", "--datadir", str(files.root), "--rollup-config", str(rollup)]
    words += ["--l1-rpc", "http://127.0.0.1:1", "--rpc-port", "0", "--web-port", "0", "--metrics-port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bitai.cli", *words],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("BITAI_")},
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process, files
    process.kill()
    process.communicate()


def _until_published(process: subprocess.Popen[str], files: DataDir) -> str:
    deadline = time.monotonic() + 60
    while not files.run_file.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return str(json.loads(files.run_file.read_bytes())["admin_url"])


def _status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("ask", [signal.SIGTERM, signal.SIGHUP])
def test_a_node_that_waits_can_be_asked_and_stopped(waiting, ask):
    """Before Bitcoin answers: live, not ready, found by `status`; each request to stop ends it in order."""
    process, files = waiting
    url = _until_published(process, files)
    assert [_status_of(f"{url}/{page}") for page in ("livez", "readyz", "startupz", "metrics")] == [
        200,
        503,
        503,
        200,
    ]
    shown = subprocess.run(
        [sys.executable, "-m", "bitai.cli", "status", "--datadir", str(files.root), "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 4, shown.stderr
    assert json.loads(shown.stdout)["phase"]["phase"] == "connecting to bitcoin"
    process.send_signal(ask)
    assert process.wait(30) == 0
    assert not files.run_file.exists()


@pytest.mark.parametrize(
    "failure", [Temporary("demo.too_slow", "nothing came"), BrokenPipeError("nobody reads")]
)
async def test_a_demonstration_that_fails_stops_no_node(failure, monkeypatch):
    """A neuron that needs minutes to start, or a reader that left, is no reason to end a running chain."""

    async def fail(_urls: object) -> None:
        raise failure

    monkeypatch.setattr("bitai.demo.run_demo", fail)
    await _demonstrate(SimpleNamespace(report=SimpleNamespace(urls={"rpc": "r", "web": "w"})))
