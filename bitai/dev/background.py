"""Start a development node as a process of its own, wait until it is ready, say how to use it, and stop it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from bitai.node_client import NodeClient
from bitai.run_file import RunFile, find_running
from primitives.errors import ConfigError, Temporary
from vm.dev_accounts import DEV_ACCOUNTS, DEV_BALANCE_WEI, MNEMONIC

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bitai.datadir import DataDir

READY_LIMIT_S: Final = 120.0
STOP_LIMIT_S: Final = 60.0
POLL_S: Final = 0.1
LOG_FILE: Final = "node.log"
TAIL_BYTES: Final = 4_096


def log_path(files: DataDir) -> Path:
    """Where a node in the background writes what it says."""
    return files.root / LOG_FILE


def start(files: DataDir, flags: Sequence[str], *, detach: bool) -> subprocess.Popen[bytes]:
    """Start `bitai-node run` in role dev; in the background it writes a log and outlives its terminal."""
    argv = [sys.executable, "-m", "bitai.cli", "run", "--role", "dev", "--datadir", str(files.root), *flags]
    files.prepare()
    if not detach:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    with log_path(files).open("ab") as output:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )


def await_ready(files: DataDir, process: subprocess.Popen[bytes]) -> RunFile:
    """Return the addresses of a node once it serves.

    Errors: `ConfigError` "dev.did_not_start" when it ended; `Temporary` "dev.not_ready" when it takes too long.
    """
    deadline = time.monotonic() + READY_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ConfigError(
                "dev.did_not_start",
                f"the node ended with status {process.returncode}",
                why=_tail(files),
                fix=f"bitai-node run --datadir {files.root}",
            )
        if (running := _ready(files, process.pid)) is not None:
            return running
        time.sleep(POLL_S)
    raise Temporary(
        "dev.not_ready",
        f"the node is not ready after {READY_LIMIT_S:.0f} s; it goes on",
        fix=f"bitai-node status --datadir {files.root}",
    )


def _ready(files: DataDir, pid: int) -> RunFile | None:
    try:
        client = NodeClient(files)
        serves = client.running.pid == pid and client.get("/status")["readiness"]["ready"]
        return find_running(files) if serves else None
    except Temporary:  # not listening yet
        return None


def _tail(files: DataDir) -> str:
    path = log_path(files)
    if not path.exists():
        return "see what it said above"
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - TAIL_BYTES))
        lines = log.read().decode(errors="replace").splitlines()
    return lines[-1] if lines else "it said nothing"


def stop(files: DataDir) -> int:
    """Stop the node of a folder as Ctrl-C would; return its process id.

    Errors: `Temporary` "node.not_running"; "dev.still_running" when it takes too long.
    """
    running = find_running(files)
    os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_LIMIT_S
    while time.monotonic() < deadline:
        if not _lives(running.pid):
            return running.pid
        time.sleep(POLL_S)
    raise Temporary(
        "dev.still_running",
        f"process {running.pid} is still stopping after {STOP_LIMIT_S:.0f} s",
        fix=f"bitai-node dev down --datadir {files.root}",
    )


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Tell whether a process has ended and only waits for its parent to look."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123 -- no such file elsewhere than on Linux
            return stat.read().rpartition(b")")[2].split()[0] == b"Z"
    except (OSError, IndexError):
        return False


def facts(running: RunFile, chain_id: int) -> dict[str, Any]:
    """Return what a program needs to use the node."""
    return {
        "chain_id": chain_id,
        "rpc_url": running.rpc_url,
        "ws_url": running.rpc_url.replace("http", "ws", 1),
        "web_url": running.web_url,
        "neuron_url": running.neuron_url,
        "admin_url": running.admin_url,
        "l1_url": running.l1_url,
        "pid": running.pid,
        "mnemonic": MNEMONIC,
        "balance_wei": str(DEV_BALANCE_WEI),
        "accounts": ["0x" + each.address.hex() for each in DEV_ACCOUNTS],
        "private_keys": ["0x" + each.secret.hex() for each in DEV_ACCOUNTS],
    }


def banner(known: dict[str, Any]) -> str:
    """Return the same for a person."""
    accounts = zip(known["accounts"], known["private_keys"], strict=True)
    return "\n".join(
        [
            "Accounts with 10,000 BTC each; everyone knows their keys, use them for tests only:",
            *(f"  {address}  {key}" for address, key in accounts),
            f"  mnemonic: {known['mnemonic']}",
            "",
            f"chain id  {known['chain_id']}",
            f"rpc       {known['rpc_url']}",
            f"page      {known['web_url']}",
            f"bitcoin   {known['l1_url']} (regtest)",
            f"neurons   {known['neuron_url']}",
        ]
    )


def shell_lines(known: dict[str, Any]) -> str:
    """Return lines that a shell can `eval`; names begin with DEV, for BITAI_ is the node's own settings'."""
    return "\n".join(
        [
            f"export DEV_RPC_URL={known['rpc_url']}",
            f"export DEV_CHAIN_ID={known['chain_id']}",
            f"export DEV_ACCOUNT={known['accounts'][0]}",
            f"export DEV_PRIVATE_KEY={known['private_keys'][0]}",
        ]
    )
