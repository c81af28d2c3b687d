"""The batcher posts every block once, survives crashes anywhere, and posts anew only what Bitcoin took back."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l1.inscription import RowStatus
from primitives.bitcoin.envelope import EnvelopeKind, scan_block
from primitives.bitcoin.envelope_codecs import EnvelopeCodec
from primitives.errors import ConfigError, InvalidInput, InvariantViolation, Rejected, Temporary
from primitives.hashes import sha256
from rollup.batch.channel import decode_frame
from rollup.batch.codec import to_batch_block
from rollup.batcher.machine import ArtifactDone, ChannelQueued, Held, RowEnded
from rollup.batcher.plan import count_room_bytes
from tests.rollup.batcher.world import SCRIPT, Crash, World


def check_done(world: World) -> None:
    """Check what must hold at the end of every story: all blocks safe, each frame once, all coins known."""
    safe = [to_batch_block(data) for data in world.derivation.safe_blocks()]
    assert safe == [entry.block for entry in world.sequencer.blocks], (
        "every block is on Bitcoin as it was made"
    )
    assert set(world.frames().values()) <= {1}, world.frames()
    state = world.batcher.state
    assert state.channels == ()
    assert state.inscriber.rows == {}
    assert state.inscriber.wallet.balance_sats == world.oracle_balance()


async def test_blocks_reach_bitcoin_once() -> None:
    """Blocks are posted after their waiting time, become safe, and are never posted again."""
    world = World()
    world.sequencer.make(5)
    await world.run()
    assert world.bitcoin.mempool == {}, "too little and too young to be posted"
    world.clock.ms += 6_000
    await world.run()
    assert len(world.bitcoin.mempool) == 2
    await world.settle()
    check_done(world)
    assert world.posted_numbers() == [1, 2, 3, 4, 5]
    (record,) = world.batcher.report().history
    assert (record.first_block, record.last_block, record.status) == (1, 5, "final")
    assert record.cost_sats == 6 * 20_000_000 - world.oracle_balance() == world.batcher.report().spent_sats


async def test_enough_bytes_are_posted_at_once() -> None:
    """A backlog of `post_bytes` does not wait for its age."""
    world = World(post_bytes=2_000)
    world.sequencer.make(3, size=900)
    await world.run()
    assert len(world.bitcoin.mempool) == 2


async def test_one_channel_at_a_time_until_it_is_confirmed() -> None:
    """The next channel waits for the last one's confirmation, and then takes everything that came meanwhile."""
    world = World(post_bytes=1)
    world.sequencer.make(2)
    await world.run()
    world.sequencer.make(3)
    await world.run()
    assert len(world.batcher.state.channels) == 1
    assert "not confirmed yet" in world.batcher.report().hold_reason
    world.bitcoin.mine()
    await world.run()
    assert [c.first_number for c in world.batcher.state.channels] == [1, 3]
    await world.settle()
    check_done(world)
    assert world.posted_numbers() == [1, 2, 3, 4, 5]
    assert list(world.batches()) == [0, 1]


async def test_large_channels_are_cut_into_frames() -> None:
    """A channel beyond one frame is split; its reveals share a commit, and derivation joins them again."""
    world = World(post_bytes=1, frame_bytes=700)
    world.sequencer.make(12, size=300)
    await world.run(passes=20)
    (channel,) = world.batcher.state.channels
    assert channel.frames > 3
    await world.settle()
    check_done(world)
    assert sum(world.frames().values()) == channel.frames


async def tell(world: World) -> None:
    """Tell one story of two channels, a reorg and a lost mempool; each chapter may be cut short by a crash."""
    world.sequencer.make(4)
    world.clock.ms += 6_000
    await world.run(passes=20)
    world.bitcoin.mine(only=list(world.bitcoin.mempool)[:1])
    world.sequencer.make(3)
    await world.run(passes=20)
    world.bitcoin.mine()
    world.clock.ms += 6_000
    await world.run(passes=20)
    world.bitcoin.lose_mempool()
    world.clock.ms += 6_000
    await world.run(passes=20)
    await world.settle(22)


async def test_crash_at_every_line_posts_each_block_once() -> None:
    """Wherever the process dies, one inscription per frame is on Bitcoin and no batch is posted twice."""
    world = World(frame_bytes=300)
    world.lines = 0
    await tell(world)
    lines = world.lines
    assert lines > 40
    for crash_at in range(1, lines + 1):
        world = World(frame_bytes=300)
        world.lines, world.crash_at = 0, crash_at
        await tell(world)
        check_done(world)
        assert world.posted_numbers() == [1, 2, 3, 4, 5, 6, 7], f"crash at line {crash_at}"


async def test_reorg_of_posted_data_keeps_the_channel() -> None:
    """When only the data's block is left, the same transactions come back: no new number, no second inscription."""
    world = World(post_bytes=1)
    world.bitcoin.mine(3)
    world.sequencer.make(3)
    await world.run()
    world.bitcoin.mine(2)
    await world.run()
    world.bitcoin.reorg(2, keep_transactions=False, include=False)
    await world.run()
    await world.settle()
    check_done(world)
    assert list(world.batches()) == [0]


async def test_reorg_of_origins_posts_the_rest_anew_once() -> None:
    """Blocks whose origins left the chain are void; what the sequencer makes instead goes out under one new number."""
    world = World(post_bytes=1)
    world.bitcoin.mine(2)
    world.sequencer.make(6)
    assert {head.origin.height for head in world.sequencer.heads[-2:]} == {world.tip().height}
    await world.run()
    world.bitcoin.mine()
    await world.run()
    world.bitcoin.reorg(2, include=False)
    await world.run()
    world.sequencer.make(2)
    await world.settle()
    check_done(world)
    numbers = list(world.batches())
    assert len(numbers) == 2
    assert "block.origin_hash" in world.derivation.codes


@pytest.mark.parametrize("depth", range(1, 8))
async def test_reorgs_of_every_depth(depth: int) -> None:
    """Whatever depth below finality Bitcoin rewinds, the chain that a fresh sync gives is the sequencer's."""
    world = World(post_bytes=1)
    for _ in range(8):
        world.sequencer.make(2)
        await world.run()
        world.bitcoin.mine()
    await world.run()
    world.bitcoin.reorg(depth, keep_transactions=depth % 2 == 0, include=depth % 3 == 0)
    for _ in range(3):
        world.sequencer.make(2)
        await world.run()
        world.bitcoin.mine()
    await world.settle()
    check_done(world)


async def test_channel_that_times_out_is_posted_anew() -> None:
    """If half a channel lands and the rest comes too late, its blocks go out under the next number, once."""
    world = World(post_bytes=1, frame_bytes=200)
    world.sequencer.make(4, size=200)
    await world.run(passes=20)
    (channel,) = world.batcher.state.channels
    assert channel.frames >= 2
    attempt = world.batcher.state.inscriber.rows[channel.row_id].attempt
    assert attempt is not None
    held_back = attempt.reveals[-1].txid
    others = [txid for txid in world.bitcoin.mempool if txid != held_back]
    world.bitcoin.mine(only=others)
    for _ in range(7):
        world.bitcoin.mine(only=())
    assert "channel.timed_out" in world.derivation.codes or world.derivation.safe_blocks() == []
    await world.settle()
    check_done(world)
    assert "channel.timed_out" in world.derivation.codes
    assert world.posted_numbers().count(1) <= 2


async def test_void_blocks_are_never_posted() -> None:
    """Blocks whose window passed while the wallet was empty are dropped, and the replaced ones are posted."""
    world = World(coins=0, post_bytes=1)
    world.sequencer.make(3)
    await world.run()
    (channel,) = world.batcher.state.channels
    assert world.batcher.state.inscriber.rows[channel.row_id].status is RowStatus.QUEUED
    for _ in range(world.config.parameters.seq_window + 2):
        world.bitcoin.mine()
        await world.run()
    assert any(c.row_id == channel.row_id for c in world.batcher.state.channels) is False
    world.bitcoin.fund(SCRIPT, 20_000_000, 4)
    world.sequencer.make(16)  # origins advance by one a block: enough to come back near the tip
    await world.settle()
    check_done(world)
    assert "block.window" not in world.derivation.codes
    assert min(world.batches()) == 0, "the number of the dropped channel was used again"


async def test_what_no_node_would_read_is_halved_or_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel is read before it is posted: fewer blocks if it cannot be, none if one alone cannot be."""
    world = World(post_bytes=1)
    world.sequencer.make(3, size=2_000)
    config = world.batcher._config
    small = replace(config.rollup, limits=replace(config.rollup.limits, decompressed_bytes=2_500))
    small.__dict__["identity"] = config.rollup.identity
    monkeypatch.setattr(world.batcher, "_config", replace(config, rollup=small))
    await world.run()
    (channel,) = world.batcher.state.channels
    assert (channel.first_number, channel.last.number) == (1, 1)
    assert count_room_bytes(world.batcher._config, world.batcher.state) == 2_500 - channel.batch_bytes
    world = World(post_bytes=1)
    world.sequencer.make(1, size=3_000)
    monkeypatch.setattr(world.batcher, "_config", replace(config, rollup=small))
    await world.run()
    assert world.batcher.state.channels == ()
    assert "block 1 fits no channel: batch.too_large" in world.batcher.report().hold_reason or (
        "channel." in world.batcher.report().hold_reason
    )


async def test_waiting_is_no_work() -> None:
    """While nothing can be done a pass says so, and the loop sleeps instead of asking the world again at once."""
    world = World(post_bytes=1)
    world.sequencer.make(1)
    (made,) = world.sequencer.blocks
    world.sequencer.blocks[0] = made._replace(block=made.block._replace(origin_hash=b"\0\1\2\3"))
    world.sequencer.follow = lambda: None
    while world.batcher._follower.cursor != world.tip():
        await world.batcher.run_once()
    assert not await world.batcher.run_once()
    assert "would be void: block.origin_hash" in world.batcher.report().hold_reason
    assert world.bitcoin.mempool == {}


async def test_replaced_blocks_wait_for_bitcoin() -> None:
    """While posted blocks differ from the sequencer's, nothing is built on them."""
    world = World(post_bytes=1, channels_in_flight=5)
    world.derivation.lag = 1
    world.sequencer.make(3)
    await world.run()
    world.bitcoin.mine()
    follow, world.sequencer.follow = world.sequencer.follow, lambda: None
    world.sequencer.truncate(2)
    world.sequencer.make(3)
    await world.run()
    assert len(world.batcher.state.channels) == 1
    assert "replaced blocks" in world.batcher.report().hold_reason
    world.sequencer.follow = follow
    world.derivation.lag = 0
    await world.settle()
    check_done(world)


async def test_derivation_that_starts_over_is_waited_for() -> None:
    """A derivation that syncs again from the start does not make the batcher post everything again."""
    world = World(post_bytes=1)
    world.sequencer.make(4)
    await world.run()
    await world.settle()
    world.derivation.lag = world.tip().height
    world.sequencer.follow = lambda: None
    world.clock.ms += 60_000
    await world.run()
    assert world.bitcoin.mempool == {}
    assert "final already" in world.batcher.report().hold_reason


async def test_new_disk_takes_up_where_bitcoin_stands() -> None:
    """With an empty disk the next channel number comes from derivation, and posted blocks stay posted."""
    world = World(post_bytes=1)
    world.sequencer.make(4)
    await world.run()
    await world.settle()
    world.disk.rows.clear()
    world.batcher = world.open()
    derived = len(world.sequencer.blocks)
    world.sequencer.make(16)
    await world.run(passes=40)
    await world.settle()
    check_done(world)
    assert world.posted_numbers() == [1, 2, 3, 4, *range(derived + 1, derived + 17)]


async def test_artifacts_are_inscribed_once_and_resume() -> None:
    """An artifact asked for twice, across a crash in the middle, is on Bitcoin once, chunk by chunk."""
    world = World(frame_bytes=500, leaves_per_row=2)
    data = b"".join(sha256(bytes([n])) for n in range(80))
    first = world.batcher.publish_artifact(data)
    world.lines, world.crash_at = 0, 5
    await world.run(passes=30)
    again = world.batcher.publish_artifact(data)
    assert again == first
    await world.settle()
    chunks = world.frames(EnvelopeKind.ARTIFACT_CHUNK)
    assert chunks == Counter({(0, index): 1 for index in range(6)})
    found = world.batcher.find_artifact(sha256(data))
    assert found is not None
    assert found.done
    assert any(isinstance(signal, ArtifactDone) for signal in world.signals)
    pieces: dict[int, bytes] = {}
    for block in world.bitcoin.chain():
        for envelope in scan_block(block.raw, world.config.identity).envelopes:
            frame = decode_frame(envelope.payload)
            assert frame.content_hash == sha256(data)
            pieces[envelope.header.index] = frame.data
    assert b"".join(pieces[index] for index in sorted(pieces)) == data


async def test_batches_go_before_artifacts() -> None:
    """A waiting artifact does not delay a batch."""
    world = World(post_bytes=1, leaves_per_row=1, frame_bytes=400)
    for number in range(4):
        world.batcher.publish_artifact(bytes([number]) * 2_000)
    world.sequencer.make(1)
    await world.run(passes=3)
    row = next(row for row in world.batcher.state.inscriber.rows.values() if row.purpose == "batch")
    assert row.status is not RowStatus.QUEUED


async def test_artifacts_that_no_node_would_take_are_refused() -> None:
    """Empty, too large, too many chunks, or too many at a time is refused before anything is stored."""
    world = World(frame_bytes=100)
    for data in (b"", bytes(100 * 65), bytes(17 << 20)):
        with pytest.raises(InvalidInput, match=r"artifact\.bad_size"):
            world.batcher.publish_artifact(data)
    for number in range(8):
        world.batcher.publish_artifact(bytes([number]) * 10)
    with pytest.raises(Rejected, match=r"artifact\.too_many_open"):
        world.batcher.publish_artifact(b"one more")
    assert world.batcher.publish_artifact(bytes([3]) * 10).sequence == 3


async def test_bitcoin_away_is_waited_for() -> None:
    """A pass during which Bitcoin is away raises Temporary, changes nothing for good, and the next one goes on."""
    world = World(post_bytes=1)
    world.sequencer.make(2)
    world.bitcoin.down = True
    with pytest.raises(Temporary):
        await world.batcher.run_once()
    world.bitcoin.down = False
    await world.run()
    await world.settle()
    check_done(world)


async def test_wrong_key_is_a_mistake_of_configuration() -> None:
    """A batcher whose key is not the chain's would post what nobody reads; it does not start."""
    world = World()
    keys = replace(world.settings.inscriber.keys, signer_secret=b"\x09" * 32)
    world.settings = replace(world.settings, inscriber=replace(world.settings.inscriber, keys=keys))
    with pytest.raises(ConfigError, match=r"batcher\.wrong_key"):
        world.open()


async def test_frames_go_into_leaves() -> None:
    """A codec for small messages is refused at the start, not at the first channel."""
    world = World()
    world.settings = replace(world.settings, codec=EnvelopeCodec.OPRETURN)
    with pytest.raises(ConfigError, match=r"batcher\.bad_codec"):
        world.open()


async def test_corrupt_disk_stops_the_batcher() -> None:
    """A stored state that does not parse is never guessed at."""
    world = World(post_bytes=1)
    world.sequencer.make(2)
    await world.run()
    for key in list(world.disk.rows):
        intact = world.disk.rows[key]
        world.disk.rows[key] = intact[:-1]
        if key[:2] != b"in":
            with pytest.raises(InvariantViolation, match=r"journal\.corrupt"):
                world.open()
        world.disk.rows[key] = intact
    assert world.open().state.channels == world.batcher.state.channels


async def test_signals_tell_what_happened() -> None:
    """Observers hear of queued channels, of rows that ended with their cost, and why blocks wait."""
    world = World(coins=0, post_bytes=1)
    world.sequencer.make(1)
    await world.run()
    assert any(isinstance(signal, ChannelQueued) for signal in world.signals)
    world.bitcoin.fund(SCRIPT, 1_000_000, 2)
    await world.settle()
    ended = [signal.record for signal in world.signals if isinstance(signal, RowEnded)]
    assert [record.purpose for record in ended] == ["batch"]
    assert ended[0].cost_sats > 0
    assert len(ended[0].commit) == 32
    world.sequencer.make(1)
    world.derivation.lag = 30
    world.sequencer.follow = lambda: None
    await world.run()
    assert any(isinstance(signal, Held) for signal in world.signals)


stories = st.lists(
    st.one_of(
        st.tuples(st.just("make"), st.integers(1, 4)),
        st.tuples(st.just("mine"), st.integers(1, 3)),
        st.tuples(st.just("mine some"), st.integers(0, 3)),
        st.tuples(st.just("reorg"), st.integers(1, 7)),
        st.tuples(st.just("reorg and lose"), st.integers(1, 7)),
        st.tuples(st.just("lose"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("crash"), st.integers(1, 9)),
        st.tuples(st.just("floor"), st.sampled_from([1_000, 4_000])),
        st.tuples(st.just("lag"), st.integers(0, 2)),
        st.tuples(st.just("artifact"), st.integers(1, 3)),
        st.tuples(st.just("time"), st.integers(1, 20)),
    ),
    max_size=25,
)


@settings(max_examples=settings.default.max_examples * 2 // 3)
@given(stories)
async def test_any_story_ends_with_every_block_on_bitcoin(story: list[tuple[str, int]]) -> None:
    """After any history shallower than finality every block is safe, and nothing is inscribed twice."""
    world = World(post_bytes=250, frame_bytes=160)
    artifacts: set[bytes] = set()
    for action, number in story:
        act(world, artifacts, action, number)
        world.clock.ms += 1_000
        await world.run(passes=4)
    world.crash_at, world.derivation.lag = None, 0
    world.bitcoin.min_rate, world.bitcoin.estimate = 1_000, None
    await world.settle(45)
    check_done(world)
    chunks = world.frames(EnvelopeKind.ARTIFACT_CHUNK)
    assert set(chunks.values()) <= {1}
    assert all(artifact.done for artifact in world.batcher.state.artifacts.values())
    assert len(world.batcher.state.artifacts) == len(artifacts)


def act(world: World, artifacts: set[bytes], action: str, number: int) -> None:
    """Do one thing to the world."""
    bitcoin = world.bitcoin
    if action.startswith("reorg"):
        depth = min(number, bitcoin.tip.height - world.config.l1_start.height - 2)
        if depth > 0:
            bitcoin.reorg(depth, keep_transactions=action == "reorg", include=number % 2 == 0)
    elif action == "crash":
        world.lines, world.crash_at = 0, number
    elif action == "floor":
        bitcoin.min_rate = bitcoin.estimate = number
    elif action == "artifact":
        data = bytes([number]) * (100 * number)
        publish(world, data)
        artifacts.add(data)
    elif action == "lag":
        world.derivation.lag = number
    elif action == "time":
        world.clock.ms += number * 1_000
    elif action == "restart":
        world.batcher = world.open()
    else:
        simple = {
            "make": lambda: world.sequencer.make(number),
            "mine": lambda: bitcoin.mine(number),
            "mine some": lambda: bitcoin.mine(only=list(bitcoin.mempool)[:number]),
            "lose": bitcoin.lose_mempool,
        }
        simple[action]()


def publish(world: World, data: bytes) -> None:
    """Ask for an artifact until the answer is durable, as its owner would."""
    try:
        world.batcher.publish_artifact(data)
    except Crash:
        world.batcher = world.open()
        world.batcher.publish_artifact(data)
