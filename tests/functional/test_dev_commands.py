"""`dev up`, `env`, `logs` and `down` do what a developer expects of them, also where the usual ports are taken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.functional.harness import ROOT, JsonRpc

pytestmark = pytest.mark.functional


def _command(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BITAI_")}
    argv = [sys.executable, "-m", "bitai.cli", "dev", *words]
    return subprocess.run(
        argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110, check=False
    )


def test_a_node_comes_up_in_the_background_and_goes_down(tmp_path: Path) -> None:
    """Ready when the command ends; its addresses and keys are in the file, in `env` and true; gone after `down`."""
    folder, told = ("--datadir", str(tmp_path / "dev")), tmp_path / "dev.json"
    up = _command("up", "--detach", "--no-neuron", "--on-demand", "--config-out", str(told), *folder)
    assert up.returncode == 0, up.stderr
    try:
        known = json.loads(told.read_text())
        assert known["accounts"][0] in up.stdout
        assert known["rpc_url"] in up.stdout
        client = JsonRpc(known["rpc_url"])
        assert int(client("eth_chainId"), 16) == known["chain_id"]
        assert client("eth_accounts") == known["accounts"]
        client.close()
        env = json.loads(_command("env", "--json", *folder).stdout)
        assert {name: env[name] for name in known} == known
        assert f"export DEV_RPC_URL={known['rpc_url']}" in _command("env", *folder).stdout
        assert "ready" in _command("logs", *folder).stdout
        assert _command("reset", *folder).stdout == "the shared chain was never left\n"
    finally:
        down = _command("down", *folder)
    assert down.returncode == 0, down.stderr
    assert _command("down", *folder).returncode == 3


def test_a_node_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The last line of its log comes with the refusal."""
    failed = _command(
        "up", "--detach", "--replay-answers", str(tmp_path / "none"), "--datadir", str(tmp_path / "dev")
    )
    assert failed.returncode != 0
    assert "dev.did_not_start" in failed.stderr


def test_flags_that_do_not_fit_are_refused() -> None:
    """A folder that goes away cannot be left running."""
    failed = _command("up", "--ephemeral", "--detach")
    assert failed.returncode == 2
    assert "dev.ephemeral" in failed.stderr
