"""A process that sends token transfers at a steady rate, come what may, and tells what it met.

Standard input, as JSON: `url`; `rate` a second; `seconds`; `token`; `senders`, each a secret (hex) and its next nonce;
`holders`, a count. Arrays of a hundred go out when their time has come; each sender has a connection and one array on
its way at most, so its nonces stay in order. With rate 0 all send as fast as they are answered.
"""

import asyncio
import json
import sys
import time
from collections import deque
from typing import Any
from urllib.parse import urlsplit

import orjson
import uvloop

from bench.load import Connection
from bench.workload import Signer, make_holders, token_transfers

ARRAY = 100
REFUSED_PAUSE_S = 0.2


def body(signer: Signer, job: dict[str, Any], holders: list[Any]) -> bytes:
    """An array of transfers by one sender, who has no other on its way."""
    raws = token_transfers([signer], holders, bytes.fromhex(job["token"]), ARRAY)
    return orjson.dumps(
        [
            {"jsonrpc": "2.0", "id": n, "method": "eth_sendRawTransaction", "params": ["0x" + raw.hex()]}
            for n, raw in enumerate(raws)
        ]
    )


async def run(job: dict[str, Any]) -> dict[str, Any]:
    """Send until the time is over."""
    url = urlsplit(job["url"])
    loop = asyncio.get_running_loop()
    free: deque[tuple[Connection, Signer]] = deque()
    signers = [(secret, Signer(bytes.fromhex(secret), nonce)) for secret, nonce in job["senders"]]
    for _, signer in signers:
        _, connection = await loop.create_connection(lambda: Connection(url.netloc), url.hostname, url.port)
        free.append((connection, signer))
    holders = make_holders(job["holders"])
    report: dict[str, Any] = {"sent": 0, "refused": {}, "late_s": 0.0, "slowest_s": 0.0}
    ready = asyncio.Event()

    async def send(connection: Connection, signer: Signer) -> None:
        first, made = signer.nonce, body(signer, job, holders)
        started = time.monotonic()
        for place, reply in enumerate(orjson.loads(await connection.post(made))):
            if "result" in reply:
                report["sent"] += 1
                continue
            signer.nonce = min(signer.nonce, first + place)  # what follows is refused for the gap
            words = reply["error"]["message"].partition(":")[0]
            report["refused"][words] = report["refused"].get(words, 0) + 1
        if signer.nonce < first + ARRAY:
            await asyncio.sleep(REFUSED_PAUSE_S)
        report["slowest_s"] = max(report["slowest_s"], time.monotonic() - started)
        free.append((connection, signer))
        ready.set()

    started, sends, number = time.monotonic(), set(), 0
    while time.monotonic() < started + job["seconds"]:
        turn = started + number * ARRAY / job["rate"] if job["rate"] else started
        await asyncio.sleep(max(0.0, turn - time.monotonic()))
        while not free:
            ready.clear()
            await ready.wait()
        if job["rate"]:
            report["late_s"] = max(report["late_s"], time.monotonic() - turn)
        task = asyncio.create_task(send(*free.popleft()))
        sends.add(task)
        task.add_done_callback(sends.discard)
        number += 1
    await asyncio.gather(*sends)
    report["seconds"] = time.monotonic() - started
    report["senders"] = [(secret, signer.nonce) for secret, signer in signers]
    return report


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(json.load(sys.stdin)))))
