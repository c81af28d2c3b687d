"""The process around the node: clients wait while it opens, and damage beyond repair ends it."""

import asyncio
import socket
import threading
from base64 import b64encode

import aiohttp
import pytest

from primitives.errors import ConfigError, InvariantViolation, Temporary
from regtest.options import ServerOptions
from regtest.server import process
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
    running = Running(tmp_path)
    await asyncio.to_thread(entered.wait, 30)
    port = running.server._listener.port
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


async def test_interval_mining_outlives_a_full_disk(tmp_path, monkeypatch):
    """While the disk is full there are no blocks; when it has room again they come again, by themselves."""
    mine = Server._mine_one
    attempts, mined = [], asyncio.Event()
    loop = asyncio.get_running_loop()

    def sometimes(server):
        attempts.append(server)
        if len(attempts) < 3:
            raise Temporary("disk.full", "full")
        mine(server)
        loop.call_soon_threadsafe(mined.set)

    monkeypatch.setattr(Server, "_mine_one", sometimes)
    running = Running(tmp_path, mine_interval_seconds=0.01)
    await running.port()
    await asyncio.wait_for(mined.wait(), 30)
    running.server.stop()
    await running.task


async def test_interval_mining_does_not_end_in_silence(tmp_path, monkeypatch):
    """Whatever else goes wrong while mining ends the process with it."""

    def broken(_server):
        raise ZeroDivisionError

    monkeypatch.setattr(Server, "_mine_one", broken)
    running = Running(tmp_path, mine_interval_seconds=0.01)
    with pytest.raises(ZeroDivisionError):
        await running.task


async def test_full_disk_at_the_stop(tmp_path, monkeypatch, caplog):
    """A mempool that cannot be saved is reported; the kernel is closed and the cookie removed all the same."""

    def full(_directory, _transactions):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(process, "save_mempool", full)
    running = Running(tmp_path)
    await running.port()
    running.server.stop()
    await running.task
    assert "waiting transactions are lost" in caplog.text
    assert not (tmp_path / COOKIE_FILE).exists()


async def test_address_of_the_other_kind(tmp_path):
    """The URL that is printed can be used: an address with colons stands in brackets."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    running = Running(tmp_path, host="::1")
    assert "http://[::1]:" in await running.ready
    running.server.stop()
    await running.task


async def test_address_that_is_not_ours(tmp_path):
    """A place where nobody can listen is the person's to change."""
    with pytest.raises(ConfigError) as caught:
        await Server(ServerOptions(tmp_path, host="192.0.2.1", port=0)).run(print)
    assert caught.value.code == "server.cannot_listen"
    assert not (tmp_path / COOKIE_FILE).exists()
