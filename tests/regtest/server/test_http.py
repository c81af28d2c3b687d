"""Who is let in, and what the door says to everyone else."""

import asyncio
import base64
import io

import pytest
from aiohttp.test_utils import TestClient, TestServer

from regtest.limits import MAX_BODY_BYTES, WORK_QUEUE_DEPTH
from regtest.rpc.dispatch import Reply
from regtest.server import http
from regtest.server.http import RpcServer
from regtest.server.instance import Credentials


def basic(pair: str) -> dict[str, str]:
    """A Basic authorization header."""
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


@pytest.fixture
async def client(monkeypatch):
    """A door with one cookie and one user, behind which an echo answers."""
    monkeypatch.setattr(http, "WRONG_PASSWORD_PAUSE_SECONDS", 0)

    async def answer(body: bytes) -> Reply:
        return Reply(404 if body == b"lost" else 200, body)

    server = RpcServer(Credentials((b"__cookie__:abc", b"alice:pass:word")), answer)
    async with TestClient(TestServer(server.application())) as client:
        yield client


@pytest.mark.parametrize("pair", ["__cookie__:abc", "alice:pass:word"])
async def test_right_pair(client, pair):
    """The cookie and the user are let in, on any path."""
    for path in ("/", "/wallet/faucet"):
        reply = await client.post(path, data=b"hello", headers=basic(pair))
        assert (reply.status, await reply.read()) == (200, b"hello")
        assert reply.content_type == "application/json"
    assert (await client.post("/", data=b"lost", headers=basic(pair))).status == 404


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("alice:wrong"),
        basic("alice"),
        basic(""),
        {"Authorization": "Bearer abc"},
        {"Authorization": "Basic ***"},
        {"Authorization": "Basic"},
        {"Authorization": "Basic \xff"},
    ],
)
async def test_wrong_pair(client, headers):
    """Everyone else gets an empty 401 and the challenge."""
    reply = await client.post("/", data=b"hello", headers=headers)
    assert (reply.status, await reply.read()) == (401, b"")
    assert reply.headers["WWW-Authenticate"] == 'Basic realm="jsonrpc"'


async def test_only_post(client):
    """Other HTTP methods are told so, as Core tells them."""
    reply = await client.get("/")
    assert (reply.status, await reply.text()) == (405, "JSONRPC server handles only POST requests")


async def test_huge_body(client):
    """A body beyond 32 MiB is cut off."""
    reply = await client.post(
        "/", data=io.BytesIO(bytes(MAX_BODY_BYTES + 1)), headers=basic("alice:pass:word")
    )
    assert reply.status == 413


async def test_slow_body(client, monkeypatch):
    """A client that stops in the middle of its request gives its place in the queue up."""
    monkeypatch.setattr(http, "READ_BODY_SECONDS", 0.01)
    never = asyncio.Event()

    async def half():
        yield b"hel"
        await never.wait()

    call = asyncio.create_task(client.post("/", data=half(), headers=basic("alice:pass:word")))
    assert (await call).status == 408
    never.set()
    assert (await client.post("/", data=b"hello", headers=basic("alice:pass:word"))).status == 200


async def test_queue_is_bounded():
    """With 64 calls waiting the next is told so in Core's words."""
    release, full = asyncio.Event(), asyncio.Event()

    async def answer(_body: bytes) -> Reply:
        if server._waiting == WORK_QUEUE_DEPTH:
            full.set()
        await release.wait()
        return Reply(200, b"")

    server = RpcServer(Credentials((b"a:b",)), answer)
    async with TestClient(TestServer(server.application())) as client:
        calls = [asyncio.create_task(client.post("/", headers=basic("a:b"))) for _ in range(WORK_QUEUE_DEPTH)]
        await full.wait()
        reply = await client.post("/", headers=basic("a:b"))
        assert (reply.status, await reply.text()) == (503, "Work queue depth exceeded")
        release.set()
        assert {call.status for call in await asyncio.gather(*calls)} == {200}
