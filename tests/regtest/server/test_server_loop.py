"""The process around the node: clients wait while it opens, and damage beyond repair ends it."""

import asyncio
import threading
from base64 import b64encode

import aiohttp
import pytest

from primitives.errors import InvariantViolation
from regtest.options import ServerOptions
from regtest.server.instance import COOKIE_FILE
from regtest.server.process import Server


async def post(port, cookie, method):
    """Status and reply of one call; None where the answer is no JSON."""
    login = {"Authorization": "Basic " + b64encode(cookie.encode()).decode()}
    async with (
        aiohttp.ClientSession(headers=login) as session,
        session.post(f"http://127.0.0.1:{port}/", json={"method": method}) as reply,
    ):
        is_json = reply.content_type == "application/json"
        return reply.status, await reply.json() if is_json else None


class Running:
    """A server in this event loop."""

    def __init__(self, directory, **options):
        self.directory = directory
        self.server = Server(ServerOptions(directory, port=0, **options))
        self.ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self.server.run(self.ready.set_result))

    async def port(self) -> int:
        """The port, once calls are answered."""
        return int((await self.ready).partition("127.0.0.1:")[2].partition(" ")[0])

    @property
    def cookie(self) -> str:
        """The current secret."""
        return (self.directory / COOKIE_FILE).read_text()


async def test_serves_and_stops(tmp_path):
    """A call is answered, stop ends the run and removes the cookie."""
    running = Running(tmp_path, premine_blocks=3)
    status, reply = await post(await running.port(), running.cookie, "getblockcount")
    assert (status, reply["result"]) == (200, 3)
    assert (await post(await running.port(), running.cookie, "uptime"))[1]["result"] >= 0
    running.server.stop()
    await running.task
    assert not (tmp_path / COOKIE_FILE).exists()


async def test_calls_during_the_start_are_told_to_wait(tmp_path, monkeypatch):
    """The port is open before the node is; until then every call gets -28."""
    entered, leave = threading.Event(), threading.Event()
    open_node = Server._open_node

    def slowly(server):
        entered.set()
        leave.wait(30)
        open_node(server)

    monkeypatch.setattr(Server, "_open_node", slowly)
    listened = asyncio.get_running_loop().create_future()
    start = aiohttp.web.TCPSite.start

    async def note_port(site):
        await start(site)
        listened.set_result(site._server.sockets[0].getsockname()[1])

    monkeypatch.setattr(aiohttp.web.TCPSite, "start", note_port)
    running = Running(tmp_path)
    port = await listened
    await asyncio.to_thread(entered.wait, 30)
    status, reply = await post(port, running.cookie, "getblockcount")
    assert (status, reply["error"]["code"]) == (500, -28)
    leave.set()
    assert (await post(await running.port(), running.cookie, "getblockcount"))[1]["result"] == 0
    running.server.stop()
    await running.task


async def test_damage_stops_the_process(tmp_path):
    """An invariant violation is not answered as a client's mistake: the process ends with it."""
    running = Running(tmp_path)
    port = await running.port()

    def broken(_body):
        raise InvariantViolation("index.missing_coin", "the disk lies")

    running.server._dispatcher.answer = broken
    assert (await post(port, running.cookie, "getblockcount"))[0] == 500
    with pytest.raises(InvariantViolation):
        await running.task
