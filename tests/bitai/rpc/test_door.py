"""The door before the HTTP server: what it answers itself, what it hands on, and what no sender can do with either."""

import asyncio
import json
import re

import pytest
from aiohttp import ClientSession
from hypothesis import given
from hypothesis import strategies as st

from bitai.rpc import door as door_module
from bitai.rpc.limits import RpcLimits
from bitai.rpc.request_head import HeadCache, may_become_ours, parse_head
from primitives.errors import Temporary
from primitives.hashes import keccak256
from tests.bitai.rig import Rig, asking_world

TO = b"\x01" * 20
HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHAIN_ID = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}'


@pytest.fixture
async def rig():
    """A node in memory."""
    async with Rig(asking_world()) as rig:
        yield rig


def post(body, *lines):
    """A request of the shape that the door answers, and perhaps more."""
    return (
        HEAD + b"".join(line + b"\r\n" for line in lines) + b"Content-Length: %d\r\n\r\n" % len(body) + body
    )


class Wire:
    """A connection of bytes."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def send(self, data):
        self.writer.write(data)

    async def answer(self):
        """Status, head and body of the next answer."""
        async with asyncio.timeout(10):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head.lower())
            body = await self.reader.readexactly(int(length[1])) if length else b""
        return int(head.split()[1]), head, body

    async def closed(self):
        """Everything until the node closes."""
        async with asyncio.timeout(10):
            return await self.reader.read()


@pytest.fixture
async def wire(rig):
    """Makes connections to the node."""
    opened = []

    async def connect():
        host, port = rig.rpc_url.removeprefix("http://").split(":")
        opened.append(Wire(*await asyncio.open_connection(host, int(port))))
        return opened[-1]

    yield connect
    for each in opened:
        each.writer.close()


async def test_requests_are_answered_in_turn_on_one_connection(rig, wire):
    """What is sent at once is answered one after the other, in order, and the connection stays the door's."""
    connection = await wire()
    calls = [b'{"jsonrpc":"2.0","id":%d,"method":"eth_chainId"}' % n for n in range(50)]
    connection.send(b"".join(map(post, calls)))
    for number in range(50):
        status, head, body = await connection.answer()
        assert (status, json.loads(body)["id"]) == (200, number)
        assert b"Date: " in head
    assert len(rig.site.door._open) == 1


async def test_a_request_may_come_byte_by_byte(wire):
    """Wherever the network cuts, the request is the same."""
    connection = await wire()
    request = post(CHAIN_ID)
    for at in range(len(request)):
        connection.send(request[at : at + 1])
        await asyncio.sleep(0)
    assert json.loads((await connection.answer())[2])["result"] == "0xb17a1"


async def test_short_requests_that_are_wrong_nest_nowhere(wire):
    """Thousands of requests in one breath, each answered without waiting, are answered one after the other."""
    connection = await wire()
    connection.send(post(b"") * 3_000)
    for _ in range(3_000):
        status, _, body = await connection.answer()
        assert (status, json.loads(body)["error"]["code"]) == (200, -32700)


async def test_a_transaction_is_answered_with_its_hash_or_why_not(rig, wire):
    """The quick way says what the others say: hash, refusal, parameters that do not fit; and all are counted."""
    connection = await wire()
    raw = rig.world.alice.sign(TO)

    async def send(*params):
        call = {"jsonrpc": "2.0", "id": "x", "method": "eth_sendRawTransaction", "params": params}
        connection.send(post(json.dumps(call).encode()))
        _, _, body = await connection.answer()
        answered = json.loads(body)
        assert answered["id"] == "x"
        return answered.get("result") or answered["error"]

    assert await send("0x" + raw.hex()) == "0x" + keccak256(raw).hex()
    await rig.until(lambda: rig.receipt(keccak256(raw)))
    assert (await send("0x" + raw.hex()))["message"].startswith("nonce too low")
    assert (await send("0x03" + "00" * 40))["data"] == {"code": "tx.type_not_supported"}
    assert (await send("0x0"))["code"] == (await send())["code"] == (await send(1, 2))["code"] == -32602
    assert rig.metrics.read("rpc_requests_total", method="eth_sendRawTransaction", code="0") == 1
    assert rig.metrics.read("rpc_requests_total", method="eth_sendRawTransaction", code="-32602") == 3


async def test_an_array_of_transactions_is_answered_in_order(rig, wire):
    """Each of an array hears its own answer, the wrong ones among them too, and notifications hear nothing."""
    connection = await wire()
    raws = [rig.world.alice.sign(TO) for _ in range(4)]
    given_raws = ["0x" + each.hex() for each in raws[:2]] + ["0x", "nonsense"] + ["0x" + raws[2].hex()]
    calls = [
        {"jsonrpc": "2.0", "id": n, "method": "eth_sendRawTransaction", "params": [each]}
        for n, each in enumerate(given_raws)
    ]
    calls.append({"jsonrpc": "2.0", "method": "eth_sendRawTransaction", "params": ["0x" + raws[3].hex()]})
    calls.append({"jsonrpc": "2.0", "id": 99, "method": "eth_chainId"})
    connection.send(post(json.dumps(calls).encode()))
    replies = json.loads((await connection.answer())[2])
    assert [each["id"] for each in replies] == [0, 1, 2, 3, 4, 99]
    hashes = ["0x" + keccak256(each).hex() for each in raws]
    assert [each.get("result") for each in replies[:5]] == [hashes[0], hashes[1], None, None, hashes[2]]
    assert [replies[n]["error"]["code"] for n in (2, 3)] == [-32000, -32602]
    await rig.until(lambda: rig.receipt(keccak256(raws[3])))


HANDED_ON = {
    "two lengths": (b"Content-Length: 5\r\nContent-Length: 47\r\n\r\n" + CHAIN_ID, 400),
    "length and coding": (b"Content-Length: 47\r\nTransfer-Encoding: chunked\r\n\r\n" + CHAIN_ID, 400),
    "a folded line": (b"X-Long: a\r\n b\r\nContent-Length: 47\r\n\r\n" + CHAIN_ID, 400),
    "a space before the colon": (b"Content-Length : 47\r\n\r\n" + CHAIN_ID, 400),
    "a signed length": (b"Content-Length: +47\r\n\r\n" + CHAIN_ID, 400),
    "a length in two numbers": (b"Content-Length: 47, 47\r\n\r\n" + CHAIN_ID, 400),
    "a length beyond all bounds": (b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    "a bare line feed": (b"X: y\nContent-Length: 47\r\n\r\n" + CHAIN_ID, 400),
    "a bare carriage return": (b"X: y\rz\r\nContent-Length: 47\r\n\r\n" + CHAIN_ID, 400),
    "a null byte": (b"X: a\0b\r\nContent-Length: 47\r\n\r\n" + CHAIN_ID, 400),
    "two hosts": (b"Host: localhost\r\nContent-Length: 47\r\n\r\n" + CHAIN_ID, 400),
    "a huge chunk": (b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400),
    "a chunk of no size": (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", 400),
    "chunks": (b"Transfer-Encoding: chunked\r\n\r\n2f\r\n" + CHAIN_ID + b"\r\n0\r\n\r\n", 200),
    "a long head": (b"X: " + b"a" * 9_000 + b"\r\nContent-Length: 47\r\n\r\n" + CHAIN_ID, 400),
}


@pytest.mark.parametrize("name", HANDED_ON)
async def test_what_two_readers_could_read_in_two_ways_is_not_read_here(rig, wire, name):
    """Requests that smuggle others past a proxy are for the whole parser, which refuses them; chunks it reads.

    Nothing behind a refused request is taken for one.
    """
    lines, expected = HANDED_ON[name]
    connection = await wire()
    connection.send(HEAD + lines + (b"" if expected == 200 else post(CHAIN_ID)))
    status, _, body = await connection.answer()
    assert status in ({expected} if expected == 200 else {400, 408, 413})
    assert not rig.site.door._open
    if expected != 200:
        assert b"0xb17a1" not in body + await connection.closed()


async def test_a_connection_is_handed_on_in_the_middle(rig, wire):
    """After plain requests come a preflight, a WebSocket, and coded bodies, on the connection that was there."""
    connection = await wire()
    connection.send(post(CHAIN_ID))
    assert (await connection.answer())[0] == 200
    connection.send(b"OPTIONS / HTTP/1.1\r\nHost: localhost\r\nOrigin: https://app.example\r\n\r\n")
    status, head, _ = await connection.answer()
    assert (status, b"Access-Control-Allow-Methods" in head) == (204, True)
    assert (len(rig.site.door), len(rig.site.door._open)) == (1, 0)
    connection.send(post(CHAIN_ID))
    assert json.loads((await connection.answer())[2])["result"] == "0xb17a1"
    connection.send(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\r\n"
    )
    async with asyncio.timeout(10):
        assert b" 101 " in await connection.reader.readuntil(b"\r\n\r\n")


async def test_who_waits_before_speaking_on_is_asked_to(wire):
    """Expect: 100-continue is answered before the body comes, by the server behind."""
    connection = await wire()
    head, body = post(CHAIN_ID, b"Expect: 100-continue").split(b"\r\n\r\n")
    connection.send(head + b"\r\n\r\n")
    async with asyncio.timeout(10):
        assert b" 100 " in await connection.reader.readuntil(b"\r\n\r\n")
    connection.send(body)
    assert (await connection.answer())[0] == 200


async def test_browsers_and_strangers_hear_the_same_here(wire):
    """The permission for pages of other origins stands in the reply; a foreign host name gets none at all."""
    connection = await wire()
    connection.send(post(CHAIN_ID, b"Origin: https://app.example"))
    _, head, _ = await connection.answer()
    assert b"Access-Control-Allow-Origin: *\r\n" in head
    foreign = await wire()
    foreign.send(post(CHAIN_ID).replace(b"localhost", b"evil.example"))
    assert (await foreign.answer())[0] == 403


async def test_a_head_that_trickles_is_given_up(rig, wire, monkeypatch):
    """Who sends a head byte by byte does not hold a place for ever, though it never falls silent."""
    monkeypatch.setattr(door_module, "HEAD_LIMIT_S", 0.2)
    monkeypatch.setattr(door_module, "LOOK_S", 0.05)
    connection = await wire()
    connection.send(b"POST / HTTP/1.1\r\nX: ")
    for _ in range(100):
        if connection.reader.at_eof() or connection.reader._buffer:
            break
        connection.send(b"a")
        await asyncio.sleep(0.02)
    assert (await connection.closed()).startswith(b"HTTP/1.1 408 ")


async def test_connections_that_ask_nothing_are_closed(rig, wire, monkeypatch):
    """Silence is not kept open for ever."""
    monkeypatch.setattr(door_module, "IDLE_LIMIT_S", 0.2)
    monkeypatch.setattr(door_module, "LOOK_S", 0.05)
    connection = await wire()
    connection.send(post(CHAIN_ID))
    await connection.answer()
    assert await connection.closed() == b""
    assert len(rig.site.door) == 0


async def test_connections_are_bounded(rig, wire):
    """A newcomer takes the place of who has been idle longest; when all are busy it is told to come again."""
    rig.site.door._most = 2
    first, second = await wire(), await wire()
    for each in (first, second):
        each.send(post(CHAIN_ID))
        await each.answer()
    third = await wire()
    third.send(post(CHAIN_ID))
    assert (await third.answer())[0] == 200
    assert await first.closed() == b""
    for each in rig.site.door._open:
        each._answering = True
    fourth = await wire()
    assert (await fourth.closed()).startswith(b"HTTP/1.1 503 ")
    for each in rig.site.door._open:
        each._answering = False


async def test_bodies_under_way_count_and_are_given_back(rig, wire, monkeypatch):
    """What a body claims is reserved when its head has come, refused beyond the bound, and free when all is over."""
    monkeypatch.setattr("bitai.rpc.server.MAX_ARRIVING_BYTES", 1_000)
    half = await wire()
    half.send(post(b" " * 900)[:200])
    await rig.until(lambda: rig.rpc.server.arriving == 900)
    other = await wire()
    other.send(post(b" " * 101))
    assert (await other.answer())[0] == 503
    half.writer.close()
    await rig.until(lambda: rig.rpc.server.arriving == 0)
    other.send(post(CHAIN_ID))
    assert (await other.answer())[0] == 200


async def test_a_reader_that_takes_nothing_is_cut_off(rig, wire, monkeypatch):
    """Answers are not made for who does not read them, and the connection ends."""
    monkeypatch.setattr("bitai.rpc.server.SEND_LIMIT_S", 0.3)
    monkeypatch.setattr(door_module, "LOOK_S", 0.05)
    connection = await wire()
    connection.writer.transport.pause_reading()
    block = b'{"jsonrpc":"2.0","id":1,"method":"eth_getBlockByNumber","params":["latest",true]}'
    connection.send(post(block) * 4_000)
    await rig.until(lambda: len(rig.site.door._open) == 1)
    await rig.until(lambda: not rig.site.door._open)
    assert rig.rpc.server.arriving == 0


async def test_a_transaction_that_nobody_admits_is_given_up(rig, wire, monkeypatch):
    """The caller hears that it took too long; what comes of it later is told to nobody twice."""
    rig.rpc.server.limits = RpcLimits(call_seconds=0.2)
    monkeypatch.setattr(door_module, "LOOK_S", 0.05)
    held = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(rig.admission, "submit_many", lambda _: held)
    connection = await wire()
    connection.send(post(b'{"jsonrpc":"2.0","id":5,"method":"eth_sendRawTransaction","params":["0x00"]}'))
    _, _, body = await connection.answer()
    assert (json.loads(body)["id"], json.loads(body)["error"]["code"]) == (5, -32005)
    held.set_result([Temporary("admission.stopping", "late")])
    connection.send(post(CHAIN_ID))
    assert json.loads((await connection.answer())[2])["result"] == "0xb17a1"


async def test_a_door_that_closes_answers_what_is_under_way(rig, wire):
    """Idle connections end at once, a busy one after its answer."""
    idle, busy = await wire(), await wire()
    for each in (idle, busy):
        each.send(post(CHAIN_ID))
        await each.answer()
    held = asyncio.Event()

    async def slow(params):
        await held.wait()
        return "late"

    rig.rpc.server._methods["slow"] = slow
    busy.send(post(b'{"jsonrpc":"2.0","id":1,"method":"slow"}'))
    await rig.until(lambda: any(each._answering for each in rig.site.door._open))
    closing = asyncio.create_task(rig.site.door.close())
    assert await idle.closed() == b""
    held.set()
    _, head, body = await busy.answer()
    assert (json.loads(body)["result"], b"Connection: close" in head) == ("late", True)
    await closing
    assert await busy.closed() == b""


async def test_many_clients_with_a_real_client_library(rig):
    """A real client over kept connections: what it posts is answered by the door itself."""
    async with ClientSession() as session:
        for _ in range(20):
            async with session.post(rig.rpc_url, data=CHAIN_ID) as response:
                assert (await response.json())["result"] == "0xb17a1"
    assert len(rig.site.door._handed) == 0


GOOD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 7"


def test_a_head_of_our_shape_is_read():
    """Names in any case, values without their blanks."""
    head = parse_head(
        GOOD + b"\r\nACCEPT-encoding:\t gzip, br \r\nOrigin: o\r\nConnection: Keep-Alive", most=10
    )
    assert head == (7, "x", "o", True)
    assert parse_head(GOOD, most=6) is None
    assert parse_head(GOOD, most=7) == (7, "x", None, False)


@pytest.mark.parametrize(
    "extra",
    [
        b"Connection: close",
        b"Expect: 100-continue",
        b"Transfer-Encoding: identity",
        b"TE: trailers",
        b"Host: x",
        b"Content-Encoding: gzip",
        b"Upgrade: h2c",
        b"Content-Length: 7",
        b"",
        b" folded",
        b"no colon",
        b"a b: c",
        b"X: \x80",
        b"X: \x7f",
        b"X: a\rb",
        b"X: a\nb",
        b": empty",
        b"Content-Length: 8",
        b"Trailer: x",
    ],
)
def test_a_head_with_anything_else_is_not_ours(extra):
    """One line that could mean that the request ends elsewhere, or that no client of ours writes."""
    assert parse_head(GOOD + b"\r\n" + extra, most=10) is None


@given(st.binary(max_size=40), st.integers(0, len(GOOD)))
def test_no_bytes_break_the_reader(noise, at):
    """Noise anywhere in a head: it is ours or not, without an exception; and what has begun as ours stays so."""
    raw = GOOD[:at] + noise + GOOD[at:]
    head = parse_head(raw, most=10)
    if head is not None:
        assert 0 <= head.length <= 10
        assert all(may_become_ours(raw[:end]) for end in range(len(raw)))


def test_remembered_heads_are_bounded():
    """Whatever strangers send, the memory of heads stays small, and what it says right."""
    cache = HeadCache(lambda raw: parse_head(raw, most=10))
    for number in range(2_000):
        assert cache(GOOD + b"\r\nX: %d" % number).length == 7
    assert len(cache._known) <= 512
    cache(GOOD + b"\r\nX: " + b"a" * 2_000)
    assert all(len(each) < 1_100 for each in cache._known)
