"""Real processes for functional tests: start a node, ask it, kill it, and read what it said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx

ROOT = Path(__file__).resolve().parents[2]
Value = TypeVar("Value")
ARRAY_CALLS = 500
"""Half of what the node takes in one array."""


class CallFailed(Exception):
    """A JSON-RPC call was answered with an error object."""

    def __init__(self, method: str, error: dict[str, Any]) -> None:
        super().__init__(f"{method}: {error}")
        self.code = error.get("code")
        self.message = error.get("message", "")
        self.data = error.get("data")


def wait_until(condition: Callable[[], Value | None], what: str, *, limit_s: float = 60.0) -> Value:
    """Poll until the condition gives something true, and return it; fail naming what was awaited."""
    deadline = time.monotonic() + limit_s
    last: object = None
    while time.monotonic() < deadline:
        try:
            value = condition()
        except (httpx.HTTPError, CallFailed, OSError) as error:
            last, value = error, None
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {limit_s} s: {what} (last: {last})")


class JsonRpc:
    """One JSON-RPC endpoint."""

    def __init__(self, url: str, auth: tuple[str, str] | None = None) -> None:
        self.url = url
        self._client = httpx.Client(auth=auth, timeout=60, trust_env=False)

    def __call__(self, method: str, *params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        answer = self._client.post(self.url, json=body).json()
        if answer.get("error"):
            raise CallFailed(method, answer["error"])
        return answer["result"]

    def batch(self, calls: list[tuple[str, list[Any]]]) -> list[Any]:
        """Send calls in arrays as long as the node takes, and return the raw reply objects in order."""
        body = [{"jsonrpc": "2.0", "id": n, "method": m, "params": p} for n, (m, p) in enumerate(calls)]
        replies: list[Any] = []
        for start in range(0, len(body), ARRAY_CALLS):
            part = self._client.post(self.url, json=body[start : start + ARRAY_CALLS]).json()
            assert isinstance(part, list), part
            replies += part
        return sorted(replies, key=lambda each: each["id"])

    def close(self) -> None:
        """Close the connection now; a test that catches a refusal keeps this object in a cycle."""
        self._client.close()

    def __del__(self) -> None:
        self._client.close()


class NodeProcess:
    """A `bitai-node run` in a process group of its own."""

    def __init__(self, datadir: Path, *flags: str) -> None:
        self.datadir = datadir
        self.flags = flags
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.datadir.with_suffix(".log")

    def start(self, *, ready: bool = True, limit_s: float = 90.0) -> NodeProcess:
        """Start the node; wait until it says that it is ready."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BITAI_")}
        (self.datadir / "node.json").unlink(missing_ok=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "bitai.cli",
                    "run",
                    "--datadir",
                    str(self.datadir),
                    "--json-logs",
                    *self.flags,
                ],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        if ready:
            self.wait_ready(limit_s)
        return self

    def wait_ready(self, limit_s: float = 90.0) -> None:
        def ready() -> bool:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"node ended with {self.process.returncode}:\n{self.tail()}")
            if not (self.datadir / "node.json").exists():
                return False
            return httpx.get(self.run_file["admin_url"] + "/readyz", trust_env=False).status_code == 200

        try:
            wait_until(ready, "node ready", limit_s=limit_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from error

    @property
    def run_file(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.datadir / "node.json").read_text())
        return value

    @property
    def rpc(self) -> JsonRpc:
        return JsonRpc(self.run_file["rpc_url"])

    @property
    def bitcoin(self) -> JsonRpc:
        user, password = (self.datadir / "bitcoin" / ".cookie").read_text().split(":")
        return JsonRpc(self.run_file["l1_url"], (user, password))

    @property
    def rollup_config(self) -> Path:
        return self.datadir / "rollup.json"

    def status(self) -> dict[str, Any]:
        value: dict[str, Any] = self.rpc("bitai_status")
        return value

    def tail(self, lines: int = 60) -> str:
        return (
            "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""
        )

    def children(self) -> dict[str, int]:
        """Process ids of the node's children by role, as /status names them."""
        value: dict[str, int] = {each["name"]: each["pid"] for each in self.status()["children"]}
        return value

    def resident_bytes(self) -> int:
        """Return the memory that the node's own process holds."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1_024 * int(status.split("VmRSS:")[1].split()[0])

    def kill(self) -> None:
        """Kill the node alone with SIGKILL; its children must notice and end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(30)

    def stop(self, limit_s: float = 30.0) -> int:
        """Stop the node as Ctrl-C would and return its exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(limit_s)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(10)
                raise AssertionError(f"node did not stop within {limit_s} s:\n{self.tail()}") from None
        return self.process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)


FREE_PORTS = ("--rpc-port", "0", "--web-port", "0", "--neuron-port", "0", "--metrics-port", "0")


@contextmanager
def dev_node(folder: Path, *flags: str) -> Iterator[NodeProcess]:
    """Run a dev node with an embedded Bitcoin on free ports."""
    with NodeProcess(folder / "dev", *FREE_PORTS, "--l1-port", "0", *flags) as node:
        yield node.start()


def full_node(folder: Path, of: NodeProcess, name: str, *flags: str) -> NodeProcess:
    """Make a full node that knows only a Bitcoin and the rollup's configuration; not started."""
    return NodeProcess(
        folder / name,
        *FREE_PORTS,
        "--role",
        "full",
        "--l1-rpc",
        of.run_file["l1_url"],
        "--l1-cookie",
        str(of.datadir / "bitcoin" / ".cookie"),
        "--rollup-config",
        str(of.rollup_config),
        *flags,
    )


def assert_same_chain(first: NodeProcess, second: NodeProcess, upto: int) -> None:
    """Both nodes give the same hash, state root and receipts for every block up to this number."""
    for start in range(0, upto + 1, 200):
        numbers = range(start, min(start + 200, upto + 1))
        blocks = [("eth_getBlockByNumber", [hex(number), False]) for number in numbers]
        receipts = [("eth_getBlockReceipts", [hex(number)]) for number in numbers]
        for calls in (blocks, receipts):
            ours, theirs = first.rpc.batch(calls), second.rpc.batch(calls)
            for number, mine, other in zip(numbers, ours, theirs, strict=True):
                assert mine.get("result") is not None, f"block {number}: {mine}"
                assert mine["result"] == other.get("result"), f"block {number} differs: {mine} {other}"
