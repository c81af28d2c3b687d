"""Nobody keeps the port busy: not with silence, not with many connections, not without a password."""

import asyncio
import socket

import pytest
from aiohttp import web

from primitives.errors import ConfigError
from regtest.rpc.dispatch import Reply
from regtest.server import listener as listener_module
from regtest.server.http import RpcServer
from regtest.server.instance import Credentials
from regtest.server.listener import Listener

LOGIN = b"Authorization: Basic YTpi\r\n"


@pytest.fixture
async def listener():
    """A port behind which an echo answers."""

    async def answer(body: bytes) -> Reply:
        return Reply(200, body)

    listener = Listener()
    door = RpcServer(Credentials((b"a:b",)), answer, listener.note_request)
    runner = web.AppRunner(door.application())
    await runner.setup()
    await listener.open(runner.server, "127.0.0.1", 0)
    yield listener
    listener.close()
    await runner.cleanup()


def request(login: bytes) -> bytes:
    """A whole request with a body of two bytes."""
    return b"POST / HTTP/1.1\r\nHost: x\r\n" + login + b"Content-Length: 2\r\n\r\nhi"


@pytest.fixture
async def talk(listener):
    """Open a connection and send some bytes on it; closed at the end."""
    writers = []

    async def connect(data: bytes):
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writers.append(writer)
        writer.write(data)
        await writer.drain()
        return reader, writer

    yield connect
    for writer in writers:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_silence_is_ended(listener, talk, monkeypatch):
    """Half a request is no request: after a while the connection ends; one that asked in time stays."""
    monkeypatch.setattr(listener_module, "FIRST_REQUEST_SECONDS", 0.2)
    reader, writer = await talk(request(LOGIN))
    assert await reader.readuntil(b"hi")
    silent, _ = await talk(b"POST / HTT")
    assert await asyncio.wait_for(silent.read(), 30) == b""
    writer.write(request(LOGIN))
    assert await asyncio.wait_for(reader.readuntil(b"hi"), 30)
    assert listener._silent == {}


async def test_so_many_connections(talk, monkeypatch):
    """One connection too many is ended at once, and there is room again when another ends."""
    monkeypatch.setattr(listener_module, "MAX_CONNECTIONS", 1)
    first, writer = await talk(request(LOGIN))
    assert await first.readuntil(b"hi")
    second, _ = await talk(b"")
    assert await asyncio.wait_for(second.read(), 30) == b""
    writer.write(request(b""))  # without a password: answered, and ended
    assert b"401 Unauthorized" in await asyncio.wait_for(first.read(), 30)
    third, _ = await talk(request(LOGIN))
    assert await asyncio.wait_for(third.readuntil(b"hi"), 30)


async def test_taken_port(listener):
    """Who comes second is told how to see who was first."""
    with pytest.raises(ConfigError) as caught:
        await Listener().open(None, "127.0.0.1", listener.port)
    assert (caught.value.code, "ss -ltnp" in caught.value.fix) == ("server.port_in_use", True)
    with socket.create_connection(("127.0.0.1", listener.port), timeout=10):
        pass
