"""The feed of unsafe blocks: server and follower together, through rewinds, lies and silence."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from bitai import unsafe_feed
from bitai.unsafe_feed import (
    EVIDENCE_PREFIX,
    HEARD_PREFIX,
    MAX_FOLLOWERS,
    StatementLog,
    UnsafeFollower,
    UnsafeServer,
)
from primitives.curve import xonly_public_key
from primitives.errors import Rejected, Temporary
from primitives.hashes import sha256
from rollup.follower.signed_block import decode_signed_block, encode_signed_block, sign_block
from tests.bitai.neuron_peer import listening
from vm.store import MemoryStore
from vm.types import BlockData, L1Origin

IDENTITY, SECRET = sha256(b"chain"), sha256(b"sequencer")
KEY = xonly_public_key(SECRET)


def block_hash(number, branch=""):
    """The hash of a made-up block."""
    return sha256(f"block {number} {branch}".encode())


class Chain:
    """A sequencer's chain of made-up blocks; a branch name is part of each block's hash."""

    def __init__(self):
        self.blocks = []
        self.derived = set()

    def extend(self, count, branch=""):
        """Add blocks."""
        for _ in range(count):
            number = len(self.blocks) + 1
            parent = self.blocks[-1].hash if self.blocks else sha256(b"genesis")
            origin = L1Origin(100 + number, sha256(b"origin %d" % number), 0)
            data = BlockData(number, number, origin, (), (branch.encode(),))
            self.blocks.append(
                sign_block(SECRET, IDENTITY, data, parent_hash=parent, block_hash=block_hash(number, branch))
            )

    def rewind(self, count):
        """Drop the newest blocks."""
        del self.blocks[-count:]

    def signed(self, number):
        return next(
            (block for block in self.blocks[max(0, number - 1) :] if block.data.number not in self.derived),
            None,
        )


@dataclass
class Follower:
    """A full node that takes what fits, as the real one does."""

    url: str
    store: MemoryStore

    def __post_init__(self):
        self.chain = []
        self.refused = 0
        self.early = 0
        self.news = asyncio.Condition()
        self.feed = UnsafeFollower(
            self.url,
            IDENTITY,
            KEY,
            store=self.store,
            next_number=lambda: len(self.chain) + 1,
            apply=self.apply,
        )

    async def apply(self, block):
        if self.early:
            self.early -= 1
            raise Temporary("unsafe_block.origin_unknown", "not yet")
        parent = self.chain[block.data.number - 2].hash if block.data.number > 1 else sha256(b"genesis")
        known = len(self.chain) >= block.data.number - 1
        if block.hash in [each.hash for each in self.chain]:
            return
        if not known or parent != block.parent_hash:
            self.refused += 1
            async with self.news:
                self.news.notify_all()
            raise Rejected("unsafe_block.no_parent", "its parent is not here")
        del self.chain[block.data.number - 1 :]
        self.chain.append(block)
        async with self.news:
            self.news.notify_all()

    async def until(self, chain):
        """Wait until this node has the sequencer's chain."""
        async with asyncio.timeout(20), self.news:
            await self.news.wait_for(lambda: [b.hash for b in self.chain] == [b.hash for b in chain.blocks])

    @property
    def evidence(self):
        return dict(self.store.scan(EVIDENCE_PREFIX))


@asynccontextmanager
async def following(chain):
    """A server of this chain and a node that follows it."""
    server = UnsafeServer(chain)
    application = web.Application()
    server.add_routes(application)
    async with listening(application) as url:
        follower = Follower(url, MemoryStore())
        task = asyncio.create_task(follower.feed.run())
        try:
            yield server, follower
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def chain(monkeypatch):
    """A sequencer's chain of three blocks; nobody waits long."""
    monkeypatch.setattr(unsafe_feed, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(unsafe_feed, "LONGEST_WAIT_S", 0.05)
    monkeypatch.setattr(unsafe_feed, "ORIGIN_WAIT_S", 0.001)
    chain = Chain()
    chain.extend(3)
    return chain


async def test_old_and_new_blocks_arrive_in_order(chain):
    """A follower catches up and then hears of each new block at once."""
    async with following(chain) as (server, follower):
        await follower.until(chain)
        assert (server.followers, follower.feed.connected) == (1, True)
        for _ in range(5):
            chain.extend(1)
            await server.announce()
            await follower.until(chain)
        assert follower.refused == 0


@pytest.mark.parametrize("depth", [1, 2, 7])
async def test_the_server_goes_back_to_where_a_rewind_began(chain, depth):
    """After a rewind the follower is told the new branch from its first block, on the same connection."""
    chain.extend(7)
    async with following(chain) as (server, follower):
        await follower.until(chain)
        chain.rewind(depth)
        chain.extend(depth + 2, "new")
        await server.announce()
        await follower.until(chain)
        assert follower.refused == 0


async def test_a_shorter_chain_is_followed_too(chain):
    """A rewind to a lower head is noticed when the next block comes."""
    async with following(chain) as (server, follower):
        await follower.until(chain)
        chain.rewind(2)
        await server.announce()
        chain.extend(1, "new")
        await server.announce()
        await follower.until(chain)


async def test_what_bitcoin_put_in_between_is_left_to_bitcoin(chain):
    """The feed goes on after blocks that the sequencer did not make; the follower has them from Bitcoin."""
    chain.extend(4)
    async with following(chain) as (server, follower):
        await follower.until(chain)
        chain.rewind(3)
        chain.derived = {5, 6}
        chain.extend(2, "derived")
        chain.extend(3, "new")
        await server.announce()
        async with asyncio.timeout(20), follower.news:
            await follower.news.wait_for(lambda: follower.refused)
            follower.chain[4:] = chain.blocks[4:6]
        await follower.until(chain)
    assert follower.evidence == {}


async def test_a_misfit_makes_the_follower_ask_from_further_below(chain):
    """A node on another branch finds the place where the branches part, by itself."""
    chain.extend(20)
    async with following(chain) as (server, follower):
        await follower.until(chain)
        for number in range(5, 24):
            old = follower.chain[number - 1]
            follower.chain[number - 1] = sign_block(
                SECRET,
                IDENTITY,
                old.data,
                parent_hash=old.parent_hash,
                block_hash=block_hash(number, "lost"),
            )
        chain.extend(1)
        await server.announce()
        await follower.until(chain)
        assert follower.refused >= 1


async def test_a_block_before_its_origin_waits(chain):
    """A block whose Bitcoin block has not come is tried again until it fits."""
    async with following(chain) as (server, follower):
        await follower.until(chain)
        follower.early = 20
        chain.extend(1)
        await server.announce()
        await follower.until(chain)
        assert follower.early == 0


async def test_two_blocks_for_one_place_are_evidence(chain):
    """Equivocation is stored as two statements under the sequencer's signature; an honest rewind is not."""
    async with following(chain) as (server, follower):
        await follower.until(chain)
        chain.rewind(1)
        number = 3
        origin = L1Origin(999, sha256(b"another origin"), 0)
        honest = BlockData(number, number, origin, (), ())
        chain.blocks.append(
            sign_block(
                SECRET,
                IDENTITY,
                honest,
                parent_hash=chain.blocks[-1].hash,
                block_hash=block_hash(number, "moved"),
            )
        )
        await server.announce()
        await follower.until(chain)
        assert follower.evidence == {}
        chain.rewind(1)
        chain.extend(1, "lie")
        await server.announce()
        await follower.until(chain)
        (first, second) = follower.evidence.values()
        assert len(first) == len(second) == 192
        assert first[:32] == second[:32]
        assert first[64:96] == second[64:96]
        assert first[32:64] != second[32:64]


def say(number, branch=""):
    """A statement about the place that `number` names."""
    data = BlockData(number, number, L1Origin(1, sha256(b"origin"), 0), (), (branch.encode(),))
    parent = block_hash(number - 1)
    signed = sign_block(SECRET, IDENTITY, data, parent_hash=parent, block_hash=block_hash(number, branch))
    return signed.statement


def test_statements_of_different_runs_are_compared():
    """What was heard before a restart convicts after it; evidence stays, is counted, and is told only once."""
    store, told = MemoryStore(), []
    first, second = say(1), say(1, "lie")
    assert not StatementLog(store).hear(first)
    log = StatementLog(store)
    assert not log.hear(first)
    assert log.hear(second)
    assert set(dict(store.scan(EVIDENCE_PREFIX)).values()) == {first.encode(), second.encode()}
    assert not StatementLog(store).hear(second), "known already"
    assert StatementLog(store).hear(say(1, "another lie"))
    UnsafeFollower("", IDENTITY, KEY, store=store, next_number=lambda: 1, apply=None, on_evidence=told.append)
    assert told == [3]


def test_what_is_kept_of_statements_is_bounded(monkeypatch):
    """Runs share the bounds; the oldest statements make room, evidence does not grow."""
    monkeypatch.setattr(unsafe_feed, "REMEMBERED_BLOCKS", 4)
    monkeypatch.setattr(unsafe_feed, "MAX_EVIDENCE", 4)
    store = MemoryStore()
    for number in range(1, 8):
        StatementLog(store).hear(say(number))
    assert len(dict(store.scan(HEARD_PREFIX))) == 4
    told = [StatementLog(store).hear(say(number, "lie")) for number in range(7, 0, -1)]
    assert sum(told) == 2, "the newest four are compared, and two pairs are kept"
    assert len(dict(store.scan(EVIDENCE_PREFIX))) == 4


class Impostor:
    """A server that says what it likes."""

    def __init__(self, *messages):
        self.messages = messages
        self.asked = []
        self.closed = asyncio.Event()

    def application(self):
        application = web.Application()
        application.router.add_get("/unsafe", self._serve)
        return application

    async def _serve(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        frame = await socket.receive()
        self.asked.append(int.from_bytes(frame.data, "big"))
        for message in self.messages:
            if isinstance(message, str):
                await socket.send_str(message)
            else:
                await socket.send_bytes(message)
        async for _ in socket:
            pass
        self.closed.set()
        return socket


@pytest.mark.parametrize("case", ["garbage", "text", "unsigned", "another chain"])
async def test_what_is_not_signed_by_the_sequencer_is_not_taken(chain, case):
    """Whatever else a server sends ends the connection, and no block of it is applied."""
    block = chain.blocks[0]
    foreign = sign_block(
        SECRET, sha256(b"other"), block.data, parent_hash=block.parent_hash, block_hash=block.hash
    )
    raw = bytearray(encode_signed_block(block))
    raw[70] ^= 1
    message = {
        "garbage": b"\xff" * 500,
        "text": "hello",
        "unsigned": bytes(raw),
        "another chain": encode_signed_block(foreign),
    }[case]
    impostor = Impostor(message)
    async with listening(impostor.application()) as url:
        follower = Follower(url, MemoryStore())
        task = asyncio.create_task(follower.feed.run())
        async with asyncio.timeout(20):
            await impostor.closed.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert follower.chain == []
    assert impostor.asked[0] == 1


async def test_it_comes_back_when_the_sequencer_does(chain):
    """While nobody listens the follower keeps trying; then it is on again, from where it stands."""
    server = UnsafeServer(chain)

    def application():
        made = web.Application()
        server.add_routes(made)
        return made

    runner = web.AppRunner(application(), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    follower = Follower(f"ws://127.0.0.1:{port}", MemoryStore())
    task = asyncio.create_task(follower.feed.run())
    await follower.until(chain)
    await runner.cleanup()
    chain.extend(2)
    runner = web.AppRunner(application(), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
    await follower.until(chain)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await runner.cleanup()


async def test_followers_are_bounded_and_must_say_what_they_want(chain):
    """The server keeps so many followers, and drops one whose first message is no number."""
    server = UnsafeServer(chain)
    application = web.Application()
    server.add_routes(application)
    async with listening(application) as url, aiohttp.ClientSession() as session:
        async with session.ws_connect(url + "/unsafe") as odd:
            await odd.send_bytes(b"123")
            assert (await odd.receive()).type is WSMsgType.CLOSE
        crowd = [await session.ws_connect(url + "/unsafe") for _ in range(MAX_FOLLOWERS)]
        for each in crowd:
            await each.send_bytes((3).to_bytes(8, "big"))
            assert decode_signed_block((await each.receive()).data).data.number == 3
        async with session.ws_connect(url + "/unsafe") as late:
            assert (await late.receive()).type is WSMsgType.CLOSE
        for each in crowd:
            await each.close()
