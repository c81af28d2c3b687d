"""Filters for polling clients: nothing missed, nothing twice, rewinds told, and none kept for ever."""

import pytest

from bitai.rpc import filter_book, head_feed
from bitai.rpc.limits import RpcLimits
from bitai.rpc.pending_feed import JOURNAL
from tests.bitai.rig import Rig, RpcRefusal, asking_world
from tests.bitai.rpc.ethereum_schema import check_log
from tests.vm.world import ON_CHAIN_MODEL, ask
from vm.store import WriteBatch

IDLE_S = RpcLimits().filter_seconds
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


async def test_one_block_passes_however_many_logs_it_holds():
    """A client that polls each block loses no log to a block with many; only several such blocks begin anew."""
    async with Rig(asking_world(), limits=RpcLimits(logs=1)) as rig:
        filter_id = await rig.call("eth_newFilter", {})
        question = ask(ON_CHAIN_MODEL, IMAGE)
        two_logs = lambda: (rig.world.alice.sign(rig.world.reader, data=question) for _ in range(2))  # noqa: E731
        await block(rig, *two_logs())
        assert len(await rig.call("eth_getFilterChanges", filter_id)) == 2
        await block(rig, *two_logs())
        await block(rig, *two_logs())
        with pytest.raises(RpcRefusal, match="filter not found"):
            await rig.call("eth_getFilterChanges", filter_id)


async def test_idle_filters_are_dropped(rig):
    """Five minutes without a poll, and a filter is gone; one that is polled stays."""
    used, idle = await rig.call("eth_newBlockFilter"), await rig.call("eth_newFilter", {})
    for _ in range(3):
        rig.now += IDLE_S / 2
        await rig.call("eth_getFilterChanges", used)
    assert (await refusal(rig, "eth_getFilterChanges", idle)).code == -32000
    assert rig.metrics.read("rpc_filters") == 1
    rig.now += IDLE_S + 1
    assert (await refusal(rig, "eth_getFilterChanges", used)).code == -32000
    assert (rig.metrics.read("rpc_filters"), rig.rpc.feed._log_watchers) == (0, 0)


async def test_filters_are_bounded_in_number_and_weight(monkeypatch):
    """Too many, or too heavy together, are refused, naming the setting; idle ones make room."""
    async with Rig(asking_world(), limits=RpcLimits(filters=3)) as rig:
        for _ in range(3):
            await rig.call("eth_newBlockFilter")
        error = await refusal(rig, "eth_newBlockFilter")
        assert (error.code, "(setting rpc_filters)" in error.message) == (-32005, True)
        rig.now += IDLE_S + 1
        await rig.call("eth_newBlockFilter")
        monkeypatch.setattr(filter_book, "MAX_WEIGHT", 100)
        heavy = {"address": ["0x" + f"{n:040x}" for n in range(100)]}
        assert (await refusal(rig, "eth_newFilter", heavy)).code == -32005


def rows(world):
    """How many rows of filters are on disk."""
    return len([key for key in world.store.rows if key.startswith(b"F")])


async def test_filters_survive_a_restart(rig):
    """The same ids tell on from where they were, each thing once; what was uninstalled stays gone."""
    wanted, hashes = await rig.call("eth_newFilter", rig.mine), await rig.call("eth_newBlockFilter")
    pending, gone = await rig.call("eth_newPendingTransactionFilter"), await rig.call("eth_newBlockFilter")
    await block(rig, rig.question())
    assert len(await rig.call("eth_getFilterChanges", wanted)) == 1
    unpolled = await block(rig, rig.question())
    await rig.call("eth_getFilterChanges", hashes)
    await rig.call("eth_uninstallFilter", gone)
    await rig.rpc.filters.close()
    while_down = rig.world.run(rig.question())
    async with Rig(rig.world) as again:
        assert again.metrics.read("rpc_filters") == 3
        (first, second) = await again.call("eth_getFilterChanges", wanted)
        assert [first["blockHash"], second["blockHash"]] == [unpolled, "0x" + while_down.hash.hex()]
        assert await again.call("eth_getFilterChanges", hashes) == ["0x" + while_down.hash.hex()]
        assert await again.call("eth_getFilterChanges", pending) == []
        assert (await refusal(again, "eth_getFilterChanges", gone)).message == "filter not found"
        last = await block(again, rig.question())
        assert [each["blockHash"] for each in await again.call("eth_getFilterChanges", wanted)] == [last]
        assert await again.call("eth_getFilterChanges", hashes) == [last]
        assert len(await again.call("eth_getFilterLogs", wanted)) == 1
        assert await again.call("eth_uninstallFilter", wanted) is True
    assert rows(rig.world) == 4  # two rows each of those that are left


async def test_a_rewind_after_a_restart_is_told_as_removed(rig):
    """What a client was told before the restart, and what leaves the chain after it, is told as removed."""
    await block(rig, rig.question())
    wanted = await rig.call("eth_newFilter", rig.mine)
    hashes = await rig.call("eth_newBlockFilter")
    await block(rig, rig.question())
    (told,) = await rig.call("eth_getFilterChanges", wanted)
    await rig.call("eth_getFilterChanges", hashes)
    untold = rig.world.run(rig.question())
    await rig.rpc.filters.close()
    async with Rig(rig.world) as again:
        again.executor.rewind(int(told["blockNumber"], 16) - 1)
        rig.world.alice.nonce -= 2
        new = await block(again, rig.world.accounts[1].sign(TO), rig.question())
        removed, came = await again.call("eth_getFilterChanges", wanted)
        assert removed == told | {"removed": True}
        assert (came["removed"], came["blockHash"]) == (False, new)
        assert await again.call("eth_getFilterChanges", hashes) == [new]
        assert await again.call("eth_getFilterChanges", wanted) == []
        assert untold.hash.hex() not in str(removed)


async def test_what_was_never_told_is_no_removal(rig):
    """A block that came while nobody polled, and left after the restart, is told neither as new nor as removed."""
    wanted = await rig.call("eth_newFilter", rig.mine)
    first = rig.world.run(rig.question())
    rig.world.run(rig.question())
    await rig.rpc.filters.close()
    async with Rig(rig.world) as again:
        again.executor.rewind(first.sealed.number)
        await again.rpc.feed.look()
        changes = await again.call("eth_getFilterChanges", wanted)
        assert [(each["blockHash"], each["removed"]) for each in changes] == [
            ("0x" + first.hash.hex(), False)
        ]
        assert await again.call("eth_getFilterChanges", wanted) == []


async def test_a_restart_is_not_a_clients_idleness(rig):
    """A filter goes on with the time it had left, and ends when that is over."""
    wanted = await rig.call("eth_newBlockFilter")
    rig.now = IDLE_S - 10
    await rig.rpc.filters.close()
    for left, there in ((4, True), (12, False)):  # seconds of the ten that are left
        again = Rig(rig.world)
        again.now = 5_000.0
        async with again:
            assert again.metrics.read("rpc_filters") == 1
            again.now += left
            if not there:
                assert (await refusal(again, "eth_getFilterChanges", wanted)).message == "filter not found"


async def test_filters_that_cannot_be_told_what_they_missed_end(rig):
    """A filter whose last block has left the chain while nobody looked is gone: its client begins anew."""
    wanted = await rig.call("eth_newBlockFilter")
    await block(rig)
    await rig.call("eth_getFilterChanges", wanted)
    await rig.rpc.filters.close()
    rig.executor.rewind(rig.executor.head.number - 1)
    async with Rig(rig.world) as again:
        assert (await refusal(again, "eth_getFilterChanges", wanted)).message == "filter not found"
    assert rows(rig.world) == 0


async def test_damaged_rows_are_dropped(rig):
    """A row that does not read ends its filter alone."""
    kept, broken = await rig.call("eth_newBlockFilter"), await rig.call("eth_newBlockFilter")
    await rig.rpc.filters.close()
    for prefix, value in ((b"Fd", b"{"), (b"Fc", b"short")):
        batch = WriteBatch()
        batch.put(prefix + bytes.fromhex(broken[2:]), value)
        rig.world.store.write(batch, sync=False)
        async with Rig(rig.world) as again:
            assert await again.call("eth_getFilterChanges", kept) == []
            assert (await refusal(again, "eth_getFilterChanges", broken)).message == "filter not found"


async def test_a_fresh_feed_tells_a_rewind_from_its_fork(rig):
    """A rewind below the block at which somebody began to listen tells the new branch only, not hundreds of blocks."""
    for _ in range(3):
        rig.world.run()
    hashes = await rig.call("eth_newBlockFilter")
    rig.executor.rewind(rig.executor.head.number - 2)
    new = [await block(rig, rig.world.accounts[1].sign(TO)), await block(rig)]
    assert await rig.call("eth_getFilterChanges", hashes) == new


async def test_kept_logs_are_bounded(rig, monkeypatch):
    """The feed keeps the logs of recent blocks only, and a filter still works without them."""
    monkeypatch.setattr(head_feed, "KEPT_LOGS", 2)
    wanted = await rig.call("eth_newFilter", rig.mine)
    for _ in range(5):
        await block(rig, rig.question())
    assert len(rig.rpc.feed._kept) <= 2
    assert len(await rig.call("eth_getFilterChanges", wanted)) == 5
