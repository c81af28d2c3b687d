"""JSON-RPC over WebSocket: calls, subscriptions, rewinds, slow readers."""

import asyncio
import json
import threading
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, WSMsgType

from bitai.rpc import sockets, subscriptions
from bitai.rpc.framing import Call
from bitai.rpc.limits import RpcLimits
from bitai.rpc.pending_feed import PendingNews
from bitai.rpc.subscriptions import Subscriptions
from bitai.rpc.workers import Workers
from tests.bitai.rig import Rig, asking_world
from tests.bitai.rpc.ethereum_schema import HASH, check, check_log, check_transaction
from tests.vm.world import ON_CHAIN_MODEL, ask

IMAGE = bytes(range(16)) * 4
TO = b"\x01" * 20


class Client:
    """One connection; keeps notifications apart from replies."""

    def __init__(self, socket):
        self.socket = socket
        self.told = []
        self.number = 0

    async def receive(self):
        frame = await self.socket.receive(timeout=10)
        assert frame.type is WSMsgType.TEXT, frame
        return json.loads(frame.data)

    async def call(self, method, *params):
        """The reply to a call; notifications before it are kept."""
        self.number += 1
        await self.socket.send_str(
            json.dumps({"jsonrpc": "2.0", "id": self.number, "method": method, "params": list(params)})
        )
        while "id" not in (message := await self.receive()):
            self.told.append(message)
        assert message["id"] == self.number
        return message.get("result", message.get("error"))

    async def next(self):
        """The next notification: its subscription and what it tells."""
        message = self.told.pop(0) if self.told else await self.receive()
        assert (message["jsonrpc"], message["method"]) == ("2.0", "eth_subscription")
        return message["params"]["subscription"], message["params"]["result"]


@asynccontextmanager
async def connect(rig):
    """A client of this node."""
    async with ClientSession() as session, session.ws_connect(rig.rpc_url) as socket:
        yield Client(socket)


@pytest.fixture
async def rig():
    """A node in memory."""
    async with Rig(asking_world()) as rig:
        yield rig


async def block(rig, *raws):
    """Make a block and tell of it."""
    rig.world.run(*raws)
    await rig.rpc.feed.look()
    return rig.executor.head


async def test_calls_and_batches(rig):
    """The same methods answer, alone and in arrays, in text frames."""
    async with connect(rig) as client:
        assert await client.call("eth_chainId") == "0xb17a1"
        assert (await client.call("nope"))["code"] == -32601
        await client.socket.send_bytes(json.dumps([{"id": 1, "method": "eth_chainId"}, 5]).encode())
        assert [each.get("result") for each in await client.receive()] == ["0xb17a1", None]
        await client.socket.send_str("{")
        assert (await client.receive())["error"]["code"] == -32700


async def test_new_heads_in_order(rig):
    """Each block is told once, in order, in the form of a header; nothing before the subscription."""
    async with connect(rig) as client:
        subscription = await client.call("eth_subscribe", "newHeads")
        expected = [(await block(rig)).hash for _ in range(3)]
        for block_hash in expected:
            told, head = await client.next()
            assert told == subscription
            assert head["hash"] == "0x" + block_hash.hex()
            check(head, {"hash": HASH, "parentHash": HASH, "stateRoot": HASH})
            assert "transactions" not in head
        assert await client.call("eth_unsubscribe", subscription) is True
        await block(rig)
        assert await client.call("eth_chainId") == "0xb17a1"
        assert client.told == []


async def test_waiting_transactions_are_told_by_hash(rig):
    """What the node takes is told once and in order, to who asked for that; no head among it."""
    async with connect(rig) as client:
        subscription = await client.call("eth_subscribe", "newPendingTransactions")
        sent = []
        for value in range(3):
            raw = rig.world.alice.sign(TO, value=value)
            sent.append(await client.call("eth_sendRawTransaction", "0x" + raw.hex()))
        assert [await client.next() for _ in sent] == [(subscription, each) for each in sent]
        await block(rig)
        assert await client.call("eth_unsubscribe", subscription) is True
        raw = rig.world.alice.sign(TO, value=9)
        await client.call("eth_sendRawTransaction", "0x" + raw.hex())
        assert await client.call("eth_chainId") == "0xb17a1"
        assert client.told == []
        assert (await client.call("eth_subscribe", "newPendingTransactions", 1))["code"] == -32602
        assert isinstance(await client.call("eth_subscribe", "newPendingTransactions", False), str)


async def test_waiting_transactions_are_told_whole(rig):
    """With true as second parameter a waiting transaction comes as its object, with null block fields."""
    async with connect(rig) as client:
        whole = await client.call("eth_subscribe", "newPendingTransactions", True)
        raw = rig.world.alice.sign(TO, value=3)
        sent = await client.call("eth_sendRawTransaction", "0x" + raw.hex())
        subscription, told = await client.next()
        assert (subscription, told["hash"], told["value"]) == (whole, sent, "0x3")
        check_transaction(told, waiting=True)
        hashes = await client.call("eth_subscribe", "newPendingTransactions")
        raw = rig.world.alice.sign(TO, value=4)
        sent = await client.call("eth_sendRawTransaction", "0x" + raw.hex())
        both = dict([await client.next(), await client.next()])
        assert (both[whole]["hash"], both[hashes]) == (sent, sent)


async def test_bodies_weigh_what_they_hold():
    """A client that reads no bodies is given up by their size, not by their number."""
    assert PendingNews((b"",)).weight == 1
    assert PendingNews((b"",), (bytes(100_000),)).weight > 100_000 // 256


async def test_syncing_is_told_at_once_and_when_it_changes(rig):
    """A subscriber learns how things are, then each change: that the node fell behind, and that it has caught up."""
    rig.rpc.feed.sync.__init__(rig.facts, look_every_s=0.01)
    async with connect(rig) as client:
        subscription = await client.call("eth_subscribe", "syncing")
        assert await client.next() == (subscription, False)
        rig.facts.synced = (100, 110)
        status = {"startingBlock": "0x0", "currentBlock": "0x64", "highestBlock": "0x6e"}
        assert await client.next() == (subscription, {"syncing": True, "status": status})
        rig.facts.synced = (110, 110)
        assert await client.next() == (subscription, False)
        assert await client.call("eth_unsubscribe", subscription) is True
        assert rig.rpc.feed.sync._task is None


async def test_a_head_is_told_when_it_can_be_read(rig):
    """A client that asks for the block of a notification finds it, its receipts and its state."""
    async with connect(rig) as client:
        await client.call("eth_subscribe", "newHeads")
        raw = rig.world.alice.sign(TO, value=1)
        await client.call("eth_sendRawTransaction", "0x" + raw.hex())
        _, head = await client.next()
        shown = await client.call("eth_getBlockByHash", head["hash"], False)
        receipts = await client.call("eth_getBlockReceipts", head["hash"])
        assert [each["transactionHash"] for each in receipts] == shown["transactions"]
        nonce = await client.call("eth_getTransactionCount", "0x" + rig.world.alice.address.hex(), "latest")
        assert int(nonce, 16) == rig.world.alice.nonce


async def test_logs_come_filtered_and_go_marked(rig):
    """Logs of the filter are told as they come, and again as removed when a rewind takes their block."""
    world = rig.world
    async with connect(rig) as client:
        reader = "0x" + world.reader.hex()
        subscription = await client.call("eth_subscribe", "logs", {"address": reader})
        other = await client.call("eth_subscribe", "logs", {"address": "0x" + "99" * 20})
        heads = await client.call("eth_subscribe", "newHeads")
        assert len({subscription, other, heads}) == 3
        await block(rig, world.alice.sign(world.reader, data=ask(ON_CHAIN_MODEL, IMAGE)))
        came = dict([await client.next(), await client.next()])
        check_log(came[subscription])
        assert came[subscription]["removed"] is False
        world.executor.rewind(2)
        world.alice.nonce -= 1
        await block(rig, world.accounts[1].sign(TO))
        gone, again = await client.next(), await client.next()
        assert gone == (subscription, came[subscription] | {"removed": True})
        assert again[0] == heads
        assert again[1]["number"] == came[heads]["number"]
        assert again[1]["hash"] != came[heads]["hash"]


async def test_after_a_rewind_heads_start_at_the_fork(rig):
    """Every block of the new branch is told, from its first."""
    async with connect(rig) as client:
        await client.call("eth_subscribe", "newHeads")
        for _ in range(4):
            await block(rig)
            await client.next()
        rig.executor.rewind(3)
        for value in range(2):
            rig.world.run(rig.world.accounts[1].sign(TO, value=value))
        await rig.rpc.feed.look()
        assert [(await client.next())[1]["number"] for _ in range(2)] == ["0x4", "0x5"]


async def test_wrong_subscriptions(rig):
    """Unknown kinds, wrong filters and unknown ids are refused; others' ids too."""
    async with connect(rig) as client, connect(rig) as other:
        assert (await client.call("eth_subscribe", "newBlocks"))["code"] == -32601
        assert (await client.call("eth_subscribe", ["newHeads"]))["code"] == -32601
        assert (await client.call("eth_subscribe"))["code"] == -32602
        assert (await client.call("eth_subscribe", "logs", {"address": 1}))["code"] == -32602
        assert (await client.call("eth_unsubscribe", "0x1"))["code"] == -32602
        assert (await client.call("eth_unsubscribe", {}))["code"] == -32602
        subscription = await client.call("eth_subscribe", "newHeads")
        assert (await other.call("eth_unsubscribe", subscription))["code"] == -32602
    status, reply = await rig.post({"id": 1, "method": "eth_subscribe", "params": ["newHeads"]})
    assert (status, reply["error"]["code"]) == (200, -32601)


async def test_subscriptions_are_bounded_for_each_connection(rig):
    """One connection holds so many, and their filters together so much; another is not concerned."""
    async with connect(rig) as client, connect(rig) as other:
        for _ in range(64):
            assert isinstance(await client.call("eth_subscribe", "newHeads"), str)
        assert (await client.call("eth_subscribe", "newHeads"))["code"] == -32005
        assert isinstance(await other.call("eth_subscribe", "newHeads"), str)
        heavy = {"address": ["0x" + f"{n:040x}" for n in range(1_000)]}
        replies = [await other.call("eth_subscribe", "logs", heavy) for _ in range(11)]
        assert replies[-1]["code"] == -32005


async def test_leaving_ends_everything(rig):
    """A connection that goes takes its subscriptions along, and the feed keeps no logs for nobody."""
    async with connect(rig) as client:
        await client.call("eth_subscribe", "logs", {})
        await block(rig, rig.world.alice.sign(rig.world.reader, data=ask(ON_CHAIN_MODEL, IMAGE)))
        await client.next()
        assert rig.rpc.feed._kept
        assert rig.metrics.read("rpc_websockets") == 1
    await rig.until(lambda: rig.metrics.read("rpc_websockets") == 0)
    assert (rig.rpc.feed._listeners, rig.rpc.feed._log_watchers, rig.rpc.feed._kept) == ([], 0, {})


async def test_calls_on_one_socket_do_not_wait_for_each_other(rig):
    """A call that waits for a block holds back none that is sent after it."""
    async with connect(rig) as client:
        raw = rig.world.alice.sign(TO, nonce=rig.world.alice.nonce + 1)
        slow = {
            "jsonrpc": "2.0",
            "id": "slow",
            "method": "eth_sendRawTransactionSync",
            "params": ["0x" + raw.hex()],
        }
        await client.socket.send_str(json.dumps(slow))
        assert await client.call("eth_chainId") == "0xb17a1"
        filler = rig.world.alice.sign(TO)
        await client.call("eth_sendRawTransaction", "0x" + filler.hex())
        reply = client.told.pop() if client.told else await client.receive()
        assert (reply["id"], reply["result"]["status"]) == ("slow", "0x1")


async def test_more_news_than_the_outbox_holds_reaches_who_reads(rig, monkeypatch):
    """Notifications wait for room: a block with more logs than an outbox holds closes no connection that reads."""
    monkeypatch.setattr(sockets, "MAX_OUTBOX", 8)
    monkeypatch.setattr(subscriptions, "SLICE", 4)
    question = ask(ON_CHAIN_MODEL, IMAGE)
    async with connect(rig) as client:
        heads = await client.call("eth_subscribe", "newHeads")
        logs = await client.call("eth_subscribe", "logs", {})
        for _ in range(5):
            rig.world.run(*(rig.world.alice.sign(rig.world.reader, data=question) for _ in range(10)))
        await rig.rpc.feed.look()
        told = [await client.next() for _ in range(55)]
        numbers = [int(result["number"], 16) for kind, result in told if kind == heads]
        places = [(result["blockNumber"], result["logIndex"]) for kind, result in told if kind == logs]
    assert numbers == sorted(set(numbers))
    assert (len(numbers), len(set(places)), len(places)) == (5, 50, 50)


async def test_who_falls_too_far_behind_is_told_no_more(rig, monkeypatch):
    """What waits to be told to a client that takes nothing is bounded, and the connection learns of it."""
    monkeypatch.setattr(subscriptions, "MAX_BEHIND", 5)
    behind, never = [], asyncio.Event()

    async def notify(_):
        await never.wait()

    writer = Workers(threads=1)
    kept = Subscriptions(rig.rpc.feed, notify, writer=writer, on_behind=lambda: behind.append(1))
    made = []
    await kept.dispatch(Call("eth_subscribe", ["newHeads"], 1, notification=False), made)
    kept.activate(made)
    running = asyncio.create_task(kept.run())
    for _ in range(20):
        await block(rig)
    running.cancel()
    kept.close()
    writer.close()
    assert len(behind) == 14
    assert not kept._waiting


async def test_a_slow_reader_is_closed_with_a_reason(rig):
    """Replies that nobody reads are bounded in bytes; then the connection ends with a reason."""
    here = "0x" + "c0" * 20
    call = [{"to": here}, "latest", {here: {"code": "0x620f42405ff3"}}]  # returns a million bytes
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": call})
    async with connect(rig) as client:
        for _ in range(32):
            await client.socket.send_str(body)
        await rig.until(lambda: rig.metrics.read("rpc_requests_total", method="eth_call", code="0") == 32)
        frames = []
        async with asyncio.timeout(20):
            while (frame := await client.socket.receive()).type is WSMsgType.TEXT:
                frames.append(frame)
        assert len(frames) < 32
        assert (client.socket.close_code, frame.extra) == (1013, "reads too slowly")


async def test_who_takes_nothing_at_all_is_cut_off(rig, monkeypatch):
    """A message that cannot be sent in time ends the connection for good: nothing of it stays."""
    monkeypatch.setattr(sockets, "SEND_LIMIT_S", 0.2)
    here = "0x" + "c0" * 20
    call = [{"to": here}, "latest", {here: {"code": "0x620f42405ff3"}}]  # returns a million bytes
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": call})
    async with connect(rig) as client:
        client.socket._reader._protocol.pause_reading()
        for _ in range(8):
            await client.socket.send_str(body)
        await rig.until(lambda: rig.metrics.read("rpc_websockets") == 0)
        assert rig.rpc.server._outboxes.waiting_bytes == 0


async def test_slow_readers_share_a_bound(rig, monkeypatch):
    """When all of them together hold too much, the next that is behind ends, and what it held is free again."""
    monkeypatch.setattr(sockets, "MAX_OUTBOXES_BYTES", 4 << 20)
    monkeypatch.setattr(sockets, "FAIR_BYTES", 1_000)
    here = "0x" + "c0" * 20
    call = [{"to": here}, "latest", {here: {"code": "0x620f42405ff3"}}]
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": call})
    async with connect(rig) as first, connect(rig) as second, connect(rig) as reader:
        for client in (first, second):
            client.socket._reader._protocol.pause_reading()
            for _ in range(8):
                await client.socket.send_str(body)
        await rig.until(lambda: rig.metrics.read("rpc_requests_total", method="eth_call", code="0") == 16)
        await rig.until(lambda: rig.rpc.server._outboxes.waiting_bytes <= 6 << 20)
        assert await reader.call("eth_chainId") == "0xb17a1"
        for client in (first, second):
            client.socket._reader._protocol.resume_reading()
    await rig.until(lambda: rig.metrics.read("rpc_websockets") == 0)
    assert rig.rpc.server._outboxes.waiting_bytes == 0


async def test_arrays_of_one_connection_are_answered_in_turn(rig):
    """Replies to an array are gathered in memory, so the next array waits; single calls overtake it."""
    raw = rig.world.alice.sign(TO, nonce=rig.world.alice.nonce + 1)
    wait = {
        "jsonrpc": "2.0",
        "id": "slow",
        "method": "eth_sendRawTransactionSync",
        "params": ["0x" + raw.hex(), 300],
    }
    async with connect(rig) as client:
        await client.socket.send_str(json.dumps([wait]))
        await client.socket.send_str(json.dumps([{"jsonrpc": "2.0", "id": "next", "method": "eth_chainId"}]))
        assert await client.call("eth_chainId") == "0xb17a1"
        replies = [(await client.receive())[0]["id"] for _ in range(2)]
    assert replies == ["slow", "next"]


async def test_one_reply_may_be_larger_than_the_outbox(rig, monkeypatch):
    """A reply that alone fills the outbox still reaches a client that reads."""
    monkeypatch.setattr(sockets, "MAX_OUTBOX_BYTES", 100)
    async with connect(rig) as client:
        assert len((await client.call("eth_getBlockByNumber", "latest", False))["logsBloom"]) == 514


async def test_sockets_are_bounded(rig):
    """Beyond so many connections the next is refused by HTTP, and one that leaves makes room."""
    rig.rpc.server.limits = RpcLimits(sockets=1)
    async with ClientSession() as session:
        async with connect(rig) as client:
            await client.call("eth_chainId")
            with pytest.raises(Exception, match="503"):
                await session.ws_connect(rig.rpc_url)
        await rig.until(lambda: rig.metrics.read("rpc_websockets") == 0)
        async with connect(rig) as client:
            assert await client.call("eth_chainId") == "0xb17a1"


async def test_a_crowd_of_callers_holds_up_no_blocks(rig):
    """With every worker busy, blocks are still made and heads still told."""
    release = threading.Event()
    busy = [asyncio.create_task(rig.context.workers.run(release.wait, 30)) for _ in range(20)]
    async with connect(rig) as client:
        try:
            await client.call("eth_subscribe", "newHeads")
            raw = rig.world.alice.sign(TO)
            sent = await client.call("eth_sendRawTransaction", "0x" + raw.hex())
            _, head = await client.next()
            place = rig.executor.chain.place(bytes.fromhex(sent[2:]))
            assert int(head["number"], 16) == place.number
        finally:
            release.set()
            await asyncio.gather(*busy)
