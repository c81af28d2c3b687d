"""Filters for polling clients: nothing missed, nothing twice, rewinds told, and none kept for ever."""

import pytest

from bitai.rpc import filters, head_feed
from bitai.rpc.filters import IDLE_S, FilterMethods
from bitai.rpc.framing import RpcError
from bitai.rpc.head_feed import HeadFeed
from bitai.rpc.methods_blocks import BlockMethods
from bitai.rpc.pending_feed import JOURNAL, PendingFeed
from bitai.rpc.sync_feed import SyncFeed
from tests.bitai.rig import Rig, RpcRefusal, asking_world
from tests.bitai.rpc.ethereum_schema import check_log
from tests.vm.world import CHAIN_ID, ON_CHAIN_MODEL, ask

IMAGE = bytes(range(16)) * 4
TO = b"\x01" * 20


@pytest.fixture
async def rig():
    """A node in memory."""
    async with Rig(asking_world()) as rig:
        rig.question = lambda: rig.world.alice.sign(rig.world.reader, data=ask(ON_CHAIN_MODEL, IMAGE))
        rig.mine = {"address": "0x" + rig.world.reader.hex()}
        yield rig


async def block(rig, *raws):
    """Make a block and announce it."""
    made = rig.world.run(*raws)
    await rig.rpc.feed.look()
    return "0x" + made.hash.hex()


async def refusal(rig, method, *params):
    """The error of a call that must fail."""
    with pytest.raises(RpcRefusal) as caught:
        await rig.call(method, *params)
    return caught.value


async def test_block_filters_tell_each_block_once(rig):
    """Hashes since the last time, in order; nothing when nothing happened."""
    before = await rig.call("eth_newBlockFilter")
    hashes = [await block(rig) for _ in range(3)]
    after = await rig.call("eth_newBlockFilter")
    assert await rig.call("eth_getFilterChanges", before) == hashes
    assert await rig.call("eth_getFilterChanges", before) == []
    assert await rig.call("eth_getFilterChanges", after) == []
    last = await block(rig)
    assert await rig.call("eth_getFilterChanges", before) == [last]
    assert await rig.call("eth_getFilterChanges", after) == [last]


async def test_pending_filters_tell_what_was_taken(rig):
    """Hashes of what this node took since the last time, refused ones not; too many to remember end the filter."""
    early = rig.world.alice.sign(TO, value=1)
    await rig.call("eth_sendRawTransaction", "0x" + early.hex())
    wanted = await rig.call("eth_newPendingTransactionFilter")
    raws = ["0x" + rig.world.alice.sign(TO, value=each).hex() for each in range(2)]
    sent = [await rig.call("eth_sendRawTransaction", raws[0])]
    sent.append((await rig.call("eth_sendRawTransactionSync", raws[1]))["transactionHash"])
    await refusal(rig, "eth_sendRawTransaction", raws[0])
    assert await rig.call("eth_getFilterChanges", wanted) == sent
    assert await rig.call("eth_getFilterChanges", wanted) == []
    assert (await refusal(rig, "eth_getFilterLogs", wanted)).message == "filter not found"
    for number in range(JOURNAL + 1):
        rig.rpc.feed.pending.note(number.to_bytes(32, "big"), b"")
    assert (await refusal(rig, "eth_getFilterChanges", wanted)).message == "filter not found"
    assert rig.metrics.read("rpc_filters") == 0


async def test_log_filters_tell_new_logs_of_their_query(rig):
    """Logs from the filter's birth on; getFilterLogs gives the range's all."""
    await block(rig, rig.question())
    wanted = await rig.call("eth_newFilter", rig.mine | {"fromBlock": "0x0"})
    other = await rig.call("eth_newFilter", {"address": "0x" + "99" * 20})
    await block(rig, rig.question(), rig.question())
    changes = await rig.call("eth_getFilterChanges", wanted)
    assert len(changes) == 2
    for log in changes:
        check_log(log)
    assert await rig.call("eth_getFilterChanges", wanted) == []
    assert await rig.call("eth_getFilterChanges", other) == []
    everything = await rig.call("eth_getFilterLogs", wanted)
    assert everything[1:] == changes
    assert everything == await rig.call("eth_getLogs", rig.mine | {"fromBlock": "0x0"})


async def test_a_range_bounds_a_filter(rig):
    """Blocks outside the range of a filter's query are not told."""
    head = rig.executor.head.number
    early = await rig.call("eth_newFilter", rig.mine | {"fromBlock": "0x0", "toBlock": hex(head)})
    for _ in range(2):
        await block(rig, rig.question())
    assert await rig.call("eth_getFilterChanges", early) == []


async def test_rewinds_are_told_as_removed_logs(rig):
    """A told log that left the chain is told again as removed, before the logs of the new branch."""
    wanted = await rig.call("eth_newFilter", rig.mine)
    blocks = await rig.call("eth_newBlockFilter")
    old = await block(rig, rig.question())
    (told,) = await rig.call("eth_getFilterChanges", wanted)
    assert await rig.call("eth_getFilterChanges", blocks) == [old]
    rig.executor.rewind(2)
    rig.world.alice.nonce -= 1
    new = await block(rig, rig.world.accounts[1].sign(TO), rig.question())
    removed, came = await rig.call("eth_getFilterChanges", wanted)
    assert removed == told | {"removed": True}
    assert (came["removed"], came["blockHash"], came["transactionIndex"]) == (False, new, "0x1")
    assert await rig.call("eth_getFilterChanges", blocks) == [new]


async def test_what_came_and_left_unseen_is_not_told(rig):
    """A block that a client never heard of is not told as removed either; one that came back is told once."""
    wanted = await rig.call("eth_newFilter", rig.mine)
    blocks = await rig.call("eth_newBlockFilter")
    raw = rig.question()
    first = await block(rig, raw)
    rig.executor.rewind(2)
    await rig.rpc.feed.look()
    assert await rig.call("eth_getFilterChanges", wanted) == []
    await block(rig, rig.world.accounts[1].sign(TO))
    rig.executor.rewind(2)
    again = await block(rig, raw)
    assert again == first
    assert len(await rig.call("eth_getFilterChanges", wanted)) == 1
    assert await rig.call("eth_getFilterChanges", blocks) == [first]


async def test_unknown_filters(rig):
    """The exact words that make clients install a new one; uninstalling twice is false."""
    for method in ("eth_getFilterChanges", "eth_getFilterLogs"):
        for unknown in ("0x1", None, {}, 5):
            error = await refusal(rig, method, unknown)
            assert (error.code, error.message) == (-32000, "filter not found")
    filter_id = await rig.call("eth_newBlockFilter")
    assert (await refusal(rig, "eth_getFilterLogs", filter_id)).message == "filter not found"
    assert await rig.call("eth_uninstallFilter", filter_id) is True
    assert await rig.call("eth_uninstallFilter", filter_id) is False
    assert (await refusal(rig, "eth_getFilterChanges", filter_id)).message == "filter not found"
    assert (await refusal(rig, "eth_newFilter", {"blockHash": "0x" + "11" * 32})).code == -32602


async def test_filters_polled_too_rarely_read_the_chain(rig, monkeypatch):
    """When the feed's memory is shorter than a client's pause, the chain itself is read: nothing is missed."""
    monkeypatch.setattr(head_feed, "JOURNAL", 4)
    async with Rig(asking_world()) as rare:
        wanted = await rare.call("eth_newFilter", {"address": "0x" + rare.world.reader.hex()})
        blocks = await rare.call("eth_newBlockFilter")
        hashes = [
            await block(rare, rare.world.alice.sign(rare.world.reader, data=ask(ON_CHAIN_MODEL, IMAGE)))
            for _ in range(9)
        ]
        logs = await rare.call("eth_getFilterChanges", wanted)
        assert [log["blockHash"] for log in logs] == hashes
        assert await rare.call("eth_getFilterChanges", blocks) == hashes
        assert await rare.call("eth_getFilterChanges", wanted) == []
        last = await block(rare)
        assert await rare.call("eth_getFilterChanges", blocks) == [last]


class Book:
    """Filters with a clock that a test turns."""

    def __init__(self, rig):
        self.now = 0.0
        feed = HeadFeed(rig.backend, pending=PendingFeed(CHAIN_ID), sync=SyncFeed(rig.facts))
        blocks = BlockMethods(rig.context)
        self.methods = FilterMethods(rig.context, blocks, feed, metrics=rig.metrics, clock=lambda: self.now)

    async def code_of(self, method, *params):
        """The error of a method that must fail."""
        with pytest.raises(RpcError) as caught:
            await self.methods.table()[method](list(params))
        return caught.value.code


async def test_one_block_passes_however_many_logs_it_holds(rig, monkeypatch):
    """A client that polls each block loses no log to a block with many; only several such blocks begin anew."""
    monkeypatch.setattr("bitai.rpc.filters.MAX_LOGS", 1)
    filter_id = await rig.call("eth_newFilter", {})
    question = ask(ON_CHAIN_MODEL, IMAGE)

    async def two_logs():
        rig.world.run(*(rig.world.alice.sign(rig.world.reader, data=question) for _ in range(2)))
        await rig.rpc.feed.look()

    await two_logs()
    assert len(await rig.call("eth_getFilterChanges", filter_id)) == 2
    await two_logs()
    await two_logs()
    with pytest.raises(RpcRefusal, match="filter not found"):
        await rig.call("eth_getFilterChanges", filter_id)


async def test_idle_filters_are_dropped(rig):
    """Five minutes without a poll, and a filter is gone; one that is polled stays."""
    book = Book(rig)
    used, idle = await book.methods.new_block_filter([]), await book.methods.new_filter([{}])
    for _ in range(3):
        book.now += IDLE_S / 2
        await book.methods.changes([used])
    assert await book.code_of("eth_getFilterChanges", idle) == -32000
    assert rig.metrics.read("rpc_filters") == 1
    book.now += IDLE_S + 1
    assert await book.code_of("eth_getFilterChanges", used) == -32000
    assert (rig.metrics.read("rpc_filters"), book.methods._weight, book.methods._feed._log_watchers) == (
        0,
        0,
        0,
    )


async def test_filters_are_bounded_in_number_and_weight(rig, monkeypatch):
    """Too many, or too heavy together, are refused; idle ones make room."""
    monkeypatch.setattr(filters, "MAX_FILTERS", 3)
    book = Book(rig)
    for _ in range(3):
        await book.methods.new_block_filter([])
    assert await book.code_of("eth_newBlockFilter") == -32005
    book.now += IDLE_S + 1
    await book.methods.new_block_filter([])
    monkeypatch.setattr(filters, "MAX_WEIGHT", 100)
    heavy = {"address": ["0x" + f"{n:040x}" for n in range(100)]}
    assert await book.code_of("eth_newFilter", heavy) == -32005


async def test_kept_logs_are_bounded(rig, monkeypatch):
    """The feed keeps the logs of recent blocks only, and a filter still works without them."""
    monkeypatch.setattr(head_feed, "KEPT_LOGS", 2)
    wanted = await rig.call("eth_newFilter", rig.mine)
    for _ in range(5):
        await block(rig, rig.question())
    assert len(rig.rpc.feed._kept) <= 2
    assert len(await rig.call("eth_getFilterChanges", wanted)) == 5
