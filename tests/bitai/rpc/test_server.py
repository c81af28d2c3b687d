"""The HTTP door: who is let in, what is carried, and what a flood or a bug cannot do."""

import asyncio
import gzip
import json
import socket

import pytest
from aiohttp import ClientSession, web

from bitai.rpc.framing import MAX_BODY_BYTES
from bitai.rpc.head_feed import HeadFeed
from bitai.rpc.limits import RpcLimits
from bitai.rpc.pending_feed import PendingFeed
from bitai.rpc.server import RpcServer, ServerOptions
from bitai.rpc.site import RpcSite
from bitai.rpc.sync_feed import SyncFeed
from bitai.rpc.workers import Workers
from primitives.errors import InvalidInput, InvariantViolation, Rejected, Temporary
from tests.bitai.neuron_peer import listening
from tests.bitai.rig import Rig, asking_world

CHAIN_ID = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}


@pytest.fixture
async def rig():
    """A node in memory."""
    async with Rig(asking_world()) as rig:
        yield rig


async def test_an_error_is_still_http_200(rig):
    """Calls fail inside the reply; HTTP says only that a reply was given."""
    status, reply = await rig.post(CHAIN_ID | {"method": "nope"})
    assert (status, reply["error"]["code"]) == (200, -32601)
    status, reply = await rig.post(b"{")
    assert (status, reply["error"]["code"], reply["id"]) == (200, -32700, None)


async def test_notifications_get_no_content(rig):
    """A body of notifications alone is answered with 204 and nothing."""
    assert await rig.post({"jsonrpc": "2.0", "method": "eth_chainId"}) == (204, "")


async def test_too_large_a_body_is_413(rig):
    """A body over the limit is refused without being read whole, and says so in JSON."""
    status, reply = await rig.post(b" " * (MAX_BODY_BYTES + 10))
    assert (status, reply["error"]["code"]) == (413, -32005)


async def test_a_compressed_bomb_is_413(rig):
    """A small body that unpacks beyond the limit is refused as a large one."""
    bomb = gzip.compress(b" " * (64 << 20))
    assert len(bomb) < 100_000
    status, _ = await rig.post(bomb, headers={"Content-Encoding": "gzip"})
    assert status == 413
    packed = gzip.compress(json.dumps(CHAIN_ID).encode())
    status, reply = await rig.post(packed, headers={"Content-Encoding": "gzip"})
    assert (status, reply["result"]) == (200, "0xb17a1")


async def test_bodies_in_memory_are_bounded(rig, monkeypatch):
    """What arrives at once is counted before it is read; beyond the bound the next is asked to come again."""
    monkeypatch.setattr("bitai.rpc.server.MAX_ARRIVING_BYTES", 1_000)
    status, reply = await rig.post(b" " * 1_001)
    assert (status, reply["error"]["code"]) == (503, -32005)
    for _ in range(50):
        assert (await rig.post(CHAIN_ID))[0] == 200


async def test_a_body_that_trickles_is_given_up(rig, monkeypatch):
    """A client that sends its body byte by byte does not hold a place for ever."""
    monkeypatch.setattr("bitai.rpc.server.BODY_LIMIT_S", 0.05)
    host, port = rig.rpc_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
    assert b" 408 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
async def test_a_body_packed_wrongly_is_the_callers_fault(rig, encoding):
    """What does not unpack is a bad request, not a fault of the node."""
    status, _ = await rig.post(b"{}", headers={"Content-Encoding": encoding})
    assert status == 400


HERE = "0x" + "c0" * 20
MEGABYTES = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "eth_call",
    "params": [{"to": HERE}, "latest", {HERE: {"code": "0x621e84805ff3"}}],
}
"""A call that returns two million bytes."""


async def test_replies_that_nobody_reads_are_bounded(rig, monkeypatch):
    """Large replies on their way count against a bound, and a reader that takes nothing is cut off."""
    monkeypatch.setattr("bitai.rpc.server.MAX_LEAVING_BYTES", 6_000_000)
    monkeypatch.setattr("bitai.rpc.server.SEND_LIMIT_S", 1.0)
    host, port = rig.rpc_url.removeprefix("http://").split(":")
    body, plain = json.dumps(MEGABYTES).encode(), {"Accept-Encoding": "identity"}
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    narrow.connect((host, int(port)))
    narrow.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await rig.until(lambda: rig.rpc.server._leaving > 0)
    assert (await rig.post(MEGABYTES, headers=plain))[0] == 503
    await rig.until(lambda: rig.rpc.server._leaving == 0)
    status, reply = await rig.post(MEGABYTES, headers=plain)
    assert (status, len(reply["result"])) == (200, 4_000_002)
    narrow.close()


async def test_large_replies_are_packed_for_who_wants_it(rig):
    """Gzip for large replies if asked for; small ones and other clients get plain bytes, with the same content."""
    async with ClientSession(auto_decompress=False) as session:

        async def ask(method, params, **headers):
            body = json.dumps(CHAIN_ID | {"method": method, "params": params})
            async with session.post(rig.rpc_url, data=body, headers=headers) as response:
                return response.headers, await response.read()

        block = ["latest", True]
        headers, packed = await ask("eth_getBlockByNumber", block, **{"Accept-Encoding": "gzip, br"})
        assert headers["Content-Encoding"] == "gzip"
        assert headers["Content-Type"] == "application/json"
        plain_headers, plain = await ask("eth_getBlockByNumber", block, **{"Accept-Encoding": "identity"})
        assert "Content-Encoding" not in plain_headers
        assert gzip.decompress(packed) == plain
        assert len(packed) < len(plain) / 2
        headers, _ = await ask("eth_chainId", [], **{"Accept-Encoding": "gzip"})
        assert "Content-Encoding" not in headers


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8545", "127.0.0.1.evil.example", "", "[::2]"])
async def test_foreign_host_names_are_refused(rig, host):
    """A page that points its own name at loopback is kept out: by POST, by WebSocket and in the preflight."""
    async with ClientSession() as session:
        headers = {"Host": host}
        for method in ("POST", "GET", "OPTIONS"):
            async with session.request(method, rig.rpc_url, headers=headers, data=b"{}") as response:
                assert response.status == 403


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:1", "127.0.0.1", "[::1]", "[::1]:8545", "LOCALHOST"]
)
async def test_our_own_names_are_served(rig, host):
    """Loopback's names, with a port or without."""
    status, reply = await rig.post(CHAIN_ID, headers={"Host": host})
    assert (status, reply["result"]) == (200, "0xb17a1")


async def test_browsers_are_told_what_they_may(rig):
    """With a foreign origin the reply carries the permission; the preflight allows what wallets send."""
    async with ClientSession() as session:
        origin = {"Origin": "https://app.example"}
        async with session.post(rig.rpc_url, json=CHAIN_ID, headers=origin) as response:
            assert response.headers["Access-Control-Allow-Origin"] == "*"
        async with session.options(rig.rpc_url, headers=origin) as response:
            assert response.status == 204
            assert "POST" in response.headers["Access-Control-Allow-Methods"]
            assert response.headers["Access-Control-Allow-Headers"] == "content-type"
        async with session.get(rig.rpc_url) as response:
            assert "JSON-RPC" in await response.text()


def serve(methods, **how):
    """A server of some methods and nothing else."""
    workers = Workers()
    return RpcServer(methods, HeadFeed(None, pending=PendingFeed(1), sync=SyncFeed(None)), workers, **how)


async def ask(server, method, **how):
    """One call, over HTTP."""
    door = lambda *where: RpcSite(where[0], server, *where[1:])  # noqa: E731 -- as the node listens
    async with listening(server.application(), door) as url, ClientSession() as session:
        body = {"jsonrpc": "2.0", "id": 1, "method": method}
        async with session.post(url.replace("ws", "http", 1), json=body, **how) as response:
            return response, await response.json()


async def test_named_origins_only():
    """With a list of origins others get no permission, and no WebSocket."""

    async def one(params):
        return 1

    options = ServerOptions(allowed_origins=frozenset({"https://ours.example"}))
    server = serve({"one": one}, options=options)
    response, _ = await ask(server, "one", headers={"Origin": "https://ours.example"})
    assert response.headers["Access-Control-Allow-Origin"] == "https://ours.example"
    response, _ = await ask(
        serve({"one": one}, options=options), "one", headers={"Origin": "https://other.example"}
    )
    assert "Access-Control-Allow-Origin" not in response.headers
    server = serve({}, options=options)
    async with listening(server.application()) as url, ClientSession() as session:
        upgrade = {
            "Origin": "https://other.example",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw==",
        }
        async with session.get(url.replace("ws", "http", 1), headers=upgrade) as response:
            assert response.status == 403


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Rejected("pool.full", "full"), -32005),
        (Rejected("any.thing", "words"), -32000),
        (InvalidInput("tx.malformed", "bytes"), -32000),
        (Temporary("store.io", "slow"), -32002),
        (InvariantViolation("store.corrupt", "broken"), -32603),
        (KeyError("bug"), -32603),
        (ZeroDivisionError(), -32603),
    ],
)
async def test_every_failure_has_its_code(error, code):
    """Our errors keep their stable code, and a bug is an internal error: always an answer."""

    async def failing(params):
        raise error

    _, reply = await ask(serve({"failing": failing}), "failing")
    assert reply["error"]["code"] == code
    if hasattr(error, "code"):
        assert reply["error"]["data"] == {"code": error.code}


async def test_a_call_that_hangs_is_given_up():
    """After the limit the caller hears that it took too long, and which setting bounds that."""

    async def hanging(params):
        await asyncio.sleep(60)

    _, reply = await ask(serve({"hanging": hanging}, limits=RpcLimits(call_seconds=0.02)), "hanging")
    assert reply["error"] == {
        "code": -32005,
        "message": "call took longer than 0.02 s (setting rpc_call_seconds)",
    }


async def test_workers_are_bounded():
    """Calls beyond what may wait are refused at once, and room comes back."""
    workers = Workers(threads=1, waiting=1)
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait():
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()

    running = [asyncio.create_task(workers.run(wait)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Exception, match="too many calls at once"):
        await workers.run(wait)
    release.set()
    await asyncio.gather(*running)
    assert await workers.run(len, "abc") == 3
    workers.close()


async def test_metrics_know_only_our_methods(rig):
    """Known methods are counted by name and code, everything else as "other": strangers make no time series."""
    await rig.call("eth_chainId")
    for name in ("x" * 50, "eth_evil"):
        await rig.post(CHAIN_ID | {"method": name})
    await rig.post(CHAIN_ID | {"method": "eth_getBalance"})
    assert rig.metrics.read("rpc_requests_total", method="eth_chainId", code="0") == 1
    assert rig.metrics.read("rpc_requests_total", method="other", code="-32601") == 2
    assert rig.metrics.read("rpc_requests_total", method="eth_getBalance", code="-32602") == 1
    assert b"eth_evil" not in rig.metrics.exposition()


async def test_many_clients_at_once(rig):
    """A thousand calls over many connections are all answered, each with its own."""
    address = "0x" + rig.world.alice.address.hex()

    async def one(number):
        body = {"jsonrpc": "2.0", "id": number, "method": "eth_getBalance", "params": [address]}
        _, reply = await rig.post(body)
        return reply["id"], reply["result"]

    replies = await asyncio.gather(*(one(number) for number in range(300)))
    assert [number for number, _ in replies] == list(range(300))
    assert len({balance for _, balance in replies}) == 1


async def test_stopping_ends_the_workers(rig):
    """When the application is cleaned up nothing of the RPC runs any more."""
    application = serve({}).application()
    runner = web.AppRunner(application)
    await runner.setup()
    await runner.cleanup()
