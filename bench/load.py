"""A process of its own that sends signed transactions as JSON-RPC and waits for their receipts.

It is given connections' shares of raw transactions on standard input, as JSON, and answers there with what it
measured. The clock runs from the first byte sent until the last transaction of every sender has a receipt; bodies
are made before it starts, so that what is measured is the node.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import urlsplit

import orjson
import uvloop

PATIENCE_S: Final = 20.0
POLL_S: Final = 0.01


class Connection(asyncio.Protocol):
    """One keep-alive HTTP connection that sends its requests one after the other."""

    def __init__(self, host: str) -> None:
        """Speak to a host."""
        self._head = (
            f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: ".encode()
        )
        self._received = bytearray()
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's says so of no class of asyncio's

    def connection_lost(self, error: Exception | None) -> None:
        """Fail whoever waits."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("the node closed the connection"))

    def data_received(self, data: bytes) -> None:
        """Collect an answer; every server measured here tells its length."""
        received = self._received
        received += data
        head = received.find(b"\r\n\r\n")
        if head < 0:
            return
        lower = bytes(received[:head]).lower()
        at = lower.find(b"content-length:")
        assert at >= 0, lower
        length = int(lower[at + 15 :].split(b"\r\n", 1)[0])
        if len(received) < head + 4 + length:
            return
        body = bytes(received[head + 4 : head + 4 + length])
        del received[: head + 4 + length]
        if self._answer is not None:
            self._answer.set_result(body)

    async def post(self, body: bytes) -> bytes:
        """Send a body and return the answer's."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(self._head + b"%d\r\n\r\n" % len(body) + body)
        return await self._answer


@dataclass
class Report:
    """What one run found."""

    seconds: float = 0.0
    """Until every receipt was there."""
    sending_s: float = 0.0
    """Until every transaction was accepted."""
    cpu_s: float = 0.0
    """Of this process."""
    refused: list[str] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)


def bodies(raws: list[str], batch: int) -> list[bytes]:
    """Return request bodies: single calls, or arrays of them."""
    calls = [
        {"jsonrpc": "2.0", "id": index, "method": "eth_sendRawTransaction", "params": [raw]}
        for index, raw in enumerate(raws)
    ]
    if batch == 1:
        return [orjson.dumps(call) for call in calls]
    return [orjson.dumps(calls[start : start + batch]) for start in range(0, len(calls), batch)]


async def send(connection: Connection, share: list[bytes], report: Report) -> None:
    """Send a connection's share in order."""
    for body in share:
        started = time.perf_counter()
        answer = await connection.post(body)
        report.latencies_ms.append(1_000 * (time.perf_counter() - started))
        if b'"error"' in answer:
            report.refused.append(answer[:300].decode(errors="replace"))


async def await_receipts(connection: Connection, last: list[str]) -> None:
    """Wait until each sender's last transaction has a receipt: then all before it have theirs."""
    deadline = time.monotonic() + PATIENCE_S
    for transaction_hash in last:
        call = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "eth_getTransactionReceipt",
            "params": [transaction_hash],
        }
        body = orjson.dumps(call)
        while orjson.loads(await connection.post(body)).get("result") is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no receipt for {transaction_hash}")
            await asyncio.sleep(POLL_S)


async def run(job: dict[str, Any]) -> Report:
    """Send everything over its connections and wait."""
    url = urlsplit(job["url"])
    loop = asyncio.get_running_loop()
    shares = [bodies(raws, job["batch"]) for raws in job["shares"]]
    connections = []
    for _ in shares:
        _, connection = await loop.create_connection(lambda: Connection(url.netloc), url.hostname, url.port)
        connections.append(connection)
    report = Report()
    cpu, started = time.process_time(), time.perf_counter()
    await asyncio.gather(*(send(*pair, report) for pair in zip(connections, shares, strict=True)))
    report.sending_s = time.perf_counter() - started
    if not report.refused:
        await await_receipts(connections[0], job["last"])
    report.seconds = time.perf_counter() - started
    report.cpu_s = time.process_time() - cpu
    return report


def main() -> None:
    """Do the job that standard input describes."""
    report = uvloop.run(run(json.load(sys.stdin)))
    latencies = sorted(report.latencies_ms)
    told = {
        "seconds": report.seconds,
        "sending_s": report.sending_s,
        "cpu_s": report.cpu_s,
        "refused": report.refused[:3],
        "median_ms": latencies[len(latencies) // 2],
        "p99_ms": latencies[len(latencies) * 99 // 100],
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
