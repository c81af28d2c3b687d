"""The follower tells one story: replaying its events gives the node's chain, whatever happens meanwhile."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l1.ports import ChainPoint
from primitives.errors import ConfigError, Temporary
from primitives.ids import L1Hash
from rollup.follower.l1_follower import Connected, Disconnected, FollowerConfig, L1Event, L1Follower
from tests.l1.fake_bitcoin import FakeBitcoin


class CountingClock:
    """Waiting is free, and counted."""

    def __init__(self) -> None:
        self.waited: list[int] = []

    def now_ms(self) -> int:
        """See Clock."""
        return sum(self.waited)

    async def sleep_ms(self, duration_ms: int) -> None:
        """See Clock."""
        self.waited.append(duration_ms)


class Reader:
    """A consumer that believes the story, and notices when it does not fit."""

    def __init__(self, start: ChainPoint) -> None:
        self.chain = [start]

    def take(self, event: L1Event) -> None:
        """Work through one event."""
        if isinstance(event, Disconnected):
            gone = self.chain.pop()
            assert (event.height, event.hash) == (gone.height, gone.hash)
            return
        assert event.height == self.chain[-1].height + 1
        assert event.header.previous == self.chain[-1].hash
        assert event.raw[:80] == event.header.encode()
        self.chain.append(ChainPoint(event.height, event.header.hash))


def follow(bitcoin: FakeBitcoin, cursor: ChainPoint, **settings: int) -> L1Follower:
    """Return a follower of the fake."""
    return L1Follower(bitcoin, CountingClock(), cursor, config=FollowerConfig(**settings))


async def read_all(follower: L1Follower, reader: Reader) -> None:
    """Poll until nothing is new."""
    while events := await follower.poll():
        for event in events:
            reader.take(event)


changes = st.lists(
    st.one_of(
        st.tuples(st.just("mine"), st.integers(1, 9)),
        st.tuples(st.just("reorg"), st.integers(1, 7)),
        st.tuples(st.just("shrink"), st.integers(1, 3)),
        st.tuples(st.just("read"), st.integers(1, 2)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("away"), st.integers(1, 12)),
    ),
    max_size=20,
)


class Flaky(FakeBitcoin):
    """A node that goes away after some more calls, for one call."""

    fuse = 0

    def _require_up(self) -> None:
        self.fuse -= 1
        if self.fuse == 0:
            raise Temporary("l1.unreachable", "away")


async def test_a_follower_says_how_long_bitcoin_keeps_it_waiting() -> None:
    """A node that hangs over a block is known while it hangs, not when the last try ends; then it is forgotten."""
    clock, waits = CountingClock(), []

    class Slow(FakeBitcoin):
        async def raw_block(self, block_hash: L1Hash) -> bytes:
            clock.waited.append(20_000)
            waits.append(follower.waiting_ms)
            return await super().raw_block(block_hash)

    bitcoin = Slow()
    follower = L1Follower(bitcoin, clock, bitcoin.tip)
    bitcoin.mine(1)
    assert follower.waiting_ms == 0
    assert len(await follower.poll()) == 1
    assert waits == [20_000]
    assert follower.waiting_ms == 0


@given(changes)
async def test_events_lead_to_the_nodes_chain(story: list[tuple[str, int]]) -> None:
    """After growth, reorgs, failures at any call and restarts, the story told is the node's chain."""
    bitcoin = Flaky()
    start = bitcoin.tip
    reader = Reader(start)
    follower = follow(bitcoin, start, prefetch=3)
    for change, number in story:
        if change == "mine":
            bitcoin.mine(number)
        elif change == "reorg":
            bitcoin.reorg(min(number, bitcoin.tip.height))
        elif change == "shrink":
            bitcoin.rewind(min(number, bitcoin.tip.height))
        elif change == "restart":
            follower = follow(bitcoin, reader.chain[-1], prefetch=3)
        elif change == "away":
            bitcoin.fuse = number
        for _ in range(number):
            try:
                events = await follower.poll()
            except Temporary:
                continue
            for event in events:
                reader.take(event)
    bitcoin.fuse = 0
    bitcoin.mine(max(reader.chain[-1].height + 1 - bitcoin.tip.height, 1))
    await read_all(follower, reader)
    assert reader.chain == [block.point for block in bitcoin.chain()]
    assert follower.at_tip
    assert follower.cursor == bitcoin.tip


async def test_reading_ahead_is_bounded() -> None:
    """One poll returns at most the configured number of blocks, and says that more are there."""
    bitcoin = FakeBitcoin()
    follower = follow(bitcoin, bitcoin.tip, prefetch=4)
    bitcoin.mine(10)
    assert len(await follower.poll()) == 4
    assert not follower.at_tip
    assert follower.tip == bitcoin.tip


async def test_memory_helps_where_the_node_forgot() -> None:
    """A node without the stale branch can be followed back over it by the hashes that we remember."""
    bitcoin = FakeBitcoin()
    reader = Reader(bitcoin.tip)
    follower = follow(bitcoin, bitcoin.tip)
    bitcoin.mine(5)
    await read_all(follower, reader)
    stale = [block.point.hash for block in bitcoin.chain()[3:]]
    bitcoin.reorg(3)
    for block_hash in stale:
        del bitcoin.blocks[block_hash]
    await read_all(follower, reader)
    assert reader.chain[-1] == bitcoin.tip


async def test_foreign_chains_need_a_person() -> None:
    """A node that does not know our block, or forks below our start, is a mistake of configuration."""
    bitcoin = FakeBitcoin()
    bitcoin.mine(5)
    with pytest.raises(ConfigError, match=r"l1\.unknown_cursor"):
        await follow(bitcoin, ChainPoint(4, L1Hash(b"\x09" * 32))).poll()
    stranger = L1Follower(bitcoin, CountingClock(), bitcoin.chain()[3].point, floor_height=3)
    bitcoin.reorg(4)
    with pytest.raises(ConfigError, match=r"l1\.below_start"):
        await stranger.poll()


async def test_absence_is_waited_out_with_capped_backoff() -> None:
    """While the node is away the waits double up to a cap; when it is back the story goes on."""
    bitcoin = FakeBitcoin()
    clock = CountingClock()
    follower = L1Follower(
        bitcoin, clock, bitcoin.tip, config=FollowerConfig(first_wait_ms=100, longest_wait_ms=400)
    )
    bitcoin.mine(1)
    bitcoin.down = True

    class Waker(CountingClock):
        async def sleep_ms(self, duration_ms: int) -> None:
            clock.waited.append(duration_ms)
            if len(clock.waited) == 5:
                bitcoin.down = False

    follower._clock = Waker()
    async for event in follower.events():
        assert isinstance(event, Connected)
        break
    assert clock.waited == [100, 200, 400, 400, 400]


async def test_a_tip_is_known_only_while_the_node_answers() -> None:
    """A node that is away has no tip for us: nobody calls itself in step with what it said long ago."""
    bitcoin = FakeBitcoin()
    follower = follow(bitcoin, bitcoin.tip)
    await follower.poll()
    assert follower.at_tip
    bitcoin.down = True
    with pytest.raises(Temporary):
        await follower.poll()
    assert (follower.tip, follower.at_tip) == (None, False)
    bitcoin.down = False
    await follower.poll()
    assert follower.tip == bitcoin.tip


async def test_blocks_without_work_are_not_believed() -> None:
    """A node that sends a block whose hash misses its target is treated as not answering."""
    bitcoin = FakeBitcoin()
    follower = follow(bitcoin, bitcoin.tip)
    bitcoin.mine(1)
    block = bitcoin.blocks[bitcoin.tip.hash]
    lazy = bytearray(block.raw)
    lazy[72:76] = (0x1D00FFFF).to_bytes(4, "little")
    object.__setattr__(block, "raw", bytes(lazy))
    with pytest.raises(Temporary, match="without work"):
        await follower.poll()


@pytest.mark.parametrize("we", ["went on", "started anew"])
async def test_a_node_that_knows_less_is_waited_for(we: str) -> None:
    """A node that indexes anew, from its first block on, takes nothing back; another branch that outgrows ours does."""
    bitcoin = FakeBitcoin()
    bitcoin.mine(2)
    start = bitcoin.tip
    reader, follower = Reader(start), follow(bitcoin, start)
    follower._floor_height = start.height
    bitcoin.mine(5)
    await read_all(follower, reader)
    told, blocks = list(reader.chain), bitcoin.chain()
    if we == "started anew":
        follower = L1Follower(bitcoin, CountingClock(), told[-1], floor_height=start.height)
    known, bitcoin.blocks = bitcoin.blocks, {}
    for block in blocks[:-1]:
        bitcoin.blocks[block.point.hash], bitcoin.tip = block, block.point
        with pytest.raises(Temporary, match=r"l1\.behind"):
            await follower.poll()
    bitcoin.blocks, bitcoin.tip = known, blocks[-1].point
    assert await follower.poll() == []
    assert reader.chain == told
    bitcoin.reorg(3)
    await read_all(follower, reader)
    assert reader.chain[-1] == bitcoin.tip
