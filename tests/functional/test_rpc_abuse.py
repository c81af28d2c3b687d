"""Whoever abuses the JSON-RPC door hears its limits, costs bounded memory, and does not hold up blocks."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import aiohttp
import httpx
import pytest

from tests.functional.harness import CallFailed, JsonRpc, NodeProcess, dev_node, wait_until

pytestmark = [pytest.mark.functional, pytest.mark.timeout(240)]
MIB = 1 << 20
MEMORY_BOUND_BYTES = 400 * MIB
"""What a node may grow by under all of this: replies under way, buffers of slow readers, threads."""
READERS = 8
READER_BYTES = 140 * MIB
"""What one WebSocket that reads nothing may cost: an array's replies (25 MiB) gathered and joined, an outbox (32 MiB
and one reply more), and the reply that is on its way."""
BLOCK_TIME_S = 2.0
LATE_S = 2.5
"""How late a block may be seen on a busy machine: it is still before the next one is due by more than one."""
HERE = "0x" + "c0" * 20
LOOP = {HERE: {"code": "0x5b600056"}}


class BlockWatch:
    """Sees when blocks come, from a connection of its own; and the most memory that the node held."""

    def __init__(self, node: NodeProcess) -> None:
        self.node = node
        self.seen: list[float] = []
        self.most_bytes = 0
        self.bound_bytes = MEMORY_BOUND_BYTES

    def __enter__(self) -> Self:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join(10)

    def _run(self) -> None:
        rpc, last = self.node.rpc, 0
        while not self._stopping.wait(0.1):
            self.most_bytes = max(self.most_bytes, self.node.resident_bytes())
            try:
                number = int(rpc("eth_blockNumber"), 16)
            except (CallFailed, httpx.HTTPError):
                continue
            self.seen += [time.monotonic()] * (number - last if last else 0)
            last = number

    def gaps(self) -> list[float]:
        """Seconds between blocks."""
        return [after - before for before, after in zip(self.seen, self.seen[1:], strict=False)]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A dev node whose blocks come every two seconds."""
    flags = ("--no-neuron", "--rpc-log-blocks", "4", "--rpc-filters", "200")
    with dev_node(tmp_path_factory.mktemp("abuse"), *flags) as node:
        wait_until(lambda: int(node.rpc("eth_blockNumber"), 16) >= 6, "six blocks")
        yield node


@pytest.fixture
def watch(node: NodeProcess) -> Iterator[BlockWatch]:
    """Sees that blocks keep coming on time and memory stays bounded while a test runs."""
    before = node.resident_bytes()
    with BlockWatch(node) as watch:
        yield watch
        wait_until(lambda: len(watch.seen) >= 2, "two blocks under abuse", limit_s=20)
    assert max(watch.gaps(), default=0.0) < BLOCK_TIME_S + LATE_S, watch.gaps()
    assert watch.most_bytes - before < watch.bound_bytes


def post(node: NodeProcess, body: bytes) -> httpx.Response:
    """Send a body as it is."""
    headers = {"Content-Type": "application/json"}
    return httpx.post(node.run_file["rpc_url"], content=body, headers=headers, timeout=60, trust_env=False)


def code_of(rpc: JsonRpc, method: str, *params: Any) -> int:
    """The code of a call that must fail."""
    with pytest.raises(CallFailed) as caught:
        rpc(method, *params)
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_oversize_and_deep_bodies(node: NodeProcess, watch: BlockWatch) -> None:
    """A body over the limit is 413, endless brackets are no JSON-RPC, a long array is refused: each at once."""
    large = b'{"jsonrpc":"2.0","id":1,"method":"web3_sha3","params":["0x' + b"00" * (3 * MIB) + b'"]}'
    for _ in range(5):
        answer = post(node, large)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, -32005)
        for deep in (b"[" * 500_000, b'{"a":' * 200_000, b"[" * 200_000 + b"]" * 200_000):
            reply = post(node, deep).json()
            assert (reply["error"]["code"] if isinstance(reply, dict) else reply[0]["error"]["code"]) < -32000
        many = json.dumps([{"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}] * 1_001).encode()
        assert post(node, many).json()["error"]["code"] == -32005


def test_ten_thousand_filters(node: NodeProcess, watch: BlockWatch) -> None:
    """Filters beyond the limit are refused, naming the setting; those that are there work."""
    replies = node.rpc.batch([("eth_newFilter", [{"address": HERE}])] * 10_000)
    made = [each["result"] for each in replies if "result" in each]
    refused = Counter(each["error"]["code"] for each in replies if "error" in each)
    assert (len(made), refused) == (200, {-32005: 9_800})
    assert "rpc_filters" in next(each["error"]["message"] for each in replies if "error" in each)
    assert node.rpc("eth_getFilterChanges", made[0]) == []
    assert [
        each["result"] for each in node.rpc.batch([("eth_uninstallFilter", [each]) for each in made])
    ] == [True] * 200


def test_logs_over_everything(node: NodeProcess, watch: BlockWatch) -> None:
    """A range over the limit names one that passes, which does, however often it is asked."""
    for _ in range(50):
        with pytest.raises(CallFailed) as caught:
            node.rpc("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest"})
        assert caught.value.code == -32005
        *_, first, _, last = caught.value.message.split()
        assert isinstance(node.rpc("eth_getLogs", {"fromBlock": first, "toBlock": last}), list)


def test_endless_calls(node: NodeProcess, watch: BlockWatch) -> None:
    """Calls that loop for ever run out of gas, each with its error, from many callers at once."""

    async def storm() -> list[Any]:
        body = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [{"to": HERE}, "latest", LOOP]}
        simulated = {"blockStateCalls": [{"stateOverrides": LOOP, "calls": [{"to": HERE}] * 4}]}
        other = body | {"method": "eth_simulateV1", "params": [simulated]}

        async def ask(session: aiohttp.ClientSession, asked: dict[str, Any]) -> Any:
            async with session.post(node.run_file["rpc_url"], json=asked) as response:
                return (await response.json())["error"]["code"]

        async with aiohttp.ClientSession() as session:
            return await asyncio.gather(*(ask(session, each) for each in [body] * 60 + [other] * 5))

    assert Counter(asyncio.run(storm())) == {-32000: 60, -32005: 5}
    assert code_of(node.rpc, "eth_estimateGas", {"to": HERE}, "latest", LOOP) == -32000


def frame(payload: bytes) -> bytes:
    """A masked text frame of a WebSocket client (RFC 6455); the mask is zero."""
    return b"\x81\xfe" + struct.pack(">H", len(payload)) + bytes(4) + payload


def sit(node: NodeProcess, asked: bytes) -> bool:
    """Open a WebSocket, ask and ask, and never read; return whether the node ended it."""
    url = httpx.URL(node.run_file["rpc_url"])
    assert url.port is not None
    with socket.create_connection((url.host, url.port), timeout=60) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        head = (
            f"GET / HTTP/1.1\r\nHost: {url.host}:{url.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        )
        head += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(12) == b"HTTP/1.1 101"
        connection.settimeout(100)
        ends_at = time.monotonic() + 100
        try:
            while time.monotonic() < ends_at:
                connection.sendall(frame(asked))
                time.sleep(0.01)
        except ConnectionError:
            return True
        except TimeoutError:  # it takes nothing more, and does not end it either
            return False
    return False


def test_readers_that_do_not_read(node: NodeProcess, watch: BlockWatch) -> None:
    """WebSocket clients that ask for much and read nothing are cut off; others are served meanwhile."""
    large = {HERE: {"code": "0x620f42405ff3"}}  # returns a million bytes
    call = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [{"to": HERE}, "latest", large]}
    asked = [json.dumps(each).encode() for each in (call, [call] * 20)]
    watch.bound_bytes = READERS * READER_BYTES
    with ThreadPoolExecutor(READERS) as sitters:
        ended = [sitters.submit(sit, node, asked[place % 2]) for place in range(READERS)]
        assert node.rpc("eth_chainId")
        assert all(each.result() for each in ended)
    assert node.rpc("eth_chainId")
