"""The pipeline joins the machines: raw Bitcoin blocks in, epochs, blocks, heads and outcomes out."""

import random
from dataclasses import replace
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitai.l1_scan import L1BlockInput, measure_fee_rate, scan_l1_block, subsidy_sats
from bitai.pipeline import Pipeline
from bitai.pipeline_events import Epoch, Finalized, L1Done, ModelStored, Reset, SafeHead
from bitai.pipeline_state import decode_state
from bitai.replay import replay_chain
from primitives.bitcoin.envelope import EnvelopeKind
from primitives.bitcoin.parser import parse_block
from primitives.errors import ConfigError, Duplicate, InvalidInput, InvariantViolation, Rejected
from primitives.hashes import sha256
from rollup.batch.channel import compress_batch, split_frames
from rollup.batch.codec import Batch, BatchBlock, BatchFormat, encode_batch
from rollup.derivation.judge import DerivedHead
from rollup.sequencer.rules import next_slot
from tests.bitai.raw_bitcoin import ANYBODY, CONFIG, START, RawBitcoin, channel, reveal, upload
from vm._core import data_sizes
from vm.content import content_id
from vm.data_fee import SCALAR_ONE, DataTally
from vm.inference.artifact import parse_announcement
from vm.system import SystemSource, source_hash
from vm.types import BlockData, InferenceRecord

FORM = BatchFormat(CONFIG.chain_id, CONFIG.parameters.block_time_s)
FINAL = CONFIG.parameters.finality_depth
MODELS = resources.files("vm.inference.models")
ON_CHAIN = (MODELS / "digits-onchain.bitai").read_bytes()
NEURON = (MODELS / "digits-neuron.bitai").read_bytes()
ANNOUNCED = (MODELS / "digits-neuron.announcement.bitai").read_bytes()


def work_through(pipeline, block):
    """Feed a block and drain the pipeline; every block counts as executed at once."""
    pipeline.feed(block)
    events = []
    while (event := pipeline.next_event()) is not None:
        events.append(event)
    for event in events:
        if isinstance(event, BlockData):
            pipeline.executed(event.number, content_id(event))
    return events


def of_kind(events, kind):
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]


class ContentRunner:
    """Executes nothing: a block's hash is its content's."""

    def run(self, data, following):
        """See `BlockRunner.run`."""
        return content_id(data)

    def keep_model(self, model_id, container):
        """See `BlockRunner.keep_model`."""


class Sequencer:
    """Makes blocks from the epochs that a pipeline of its own yields, as a live node does."""

    def __init__(self):
        """Stand at the genesis block."""
        self.pipeline = Pipeline(CONFIG)
        self.epochs = {}
        self.head = DerivedHead(0, START.origin.mtp, START.origin)
        self.made = []

    def follow(self, block):
        """Take in a Bitcoin block; return its events."""
        events = work_through(self.pipeline, block)
        for epoch in of_kind(events, Epoch):
            self.epochs[epoch.height] = epoch
        return events

    def make(self, *, records=(), raw=None):
        """Make the next block of one transaction; return it as data, and as a batch has it."""
        epoch = self.epochs.get(self.head.origin.height + 1)
        upcoming = epoch.origin if epoch else None
        slot = next_slot(CONFIG.parameters, self.head, upcoming, self.head.timestamp + 2)
        number = self.head.number + 1
        raw = raw or b"raw transaction %d" % number
        data = BlockData(
            number=number,
            timestamp=slot.timestamp,
            origin=slot.origin,
            system_transactions=epoch.system_transactions if epoch and slot.new_epoch else (),
            transactions=(raw,),
            records=tuple(records),
        )
        self.head = DerivedHead(number, slot.timestamp, slot.origin)
        self.made.append(data)
        block = BatchBlock(slot.timestamp, slot.origin.height, slot.origin.hash[:4], (raw,), tuple(records))
        return number, block


def test_what_the_sequencer_made_is_what_everybody_derives():
    """Derived data has the content that the sequencer executed ahead, epoch transactions included."""
    bitcoin, sequencer = RawBitcoin(), Sequencer()
    for _ in range(3):
        sequencer.follow(bitcoin.mine(fees_sats=1_000))
    blocks = [sequencer.make() for _ in range(6)]
    events = sequencer.follow(bitcoin.mine(*channel(blocks, 0, size=90)))
    derived = of_kind(events, BlockData)
    assert [content_id(data) for data in derived] == [content_id(data) for data in sequencer.made]
    assert derived == sequencer.made
    assert [type(event) for event in events[:1] + events[-2:]] == [Epoch, SafeHead, L1Done]
    assert sequencer.pipeline.safe_number == 6


def test_an_epoch_says_what_bitcoin_says():
    """Median time past over eleven blocks, fees over sixteen and clamped, the finalized block before."""
    bitcoin, pipeline = RawBitcoin(), Pipeline(CONFIG)
    weights, times = [], list(START.times)
    for height in range(20):
        block = bitcoin.mine(fees_sats=100 * height)
        times.append(START.times[-1] + 600 * (height + 1))
        weights.append(parse_block(block.raw).weight)
        (epoch,) = of_kind(work_through(pipeline, block), Epoch)
        assert epoch.origin.mtp == sorted(times[-11:])[5]
        rates = [100 * each * 1_000 // weights[each] for each in range(height + 1)][-16:]
        assert epoch.fee_rate == max(sum(rates) // len(rates), CONFIG.parameters.l1_fee_floor)
        (info,) = epoch.system_transactions
        assert info.source_hash == source_hash(SystemSource.L1_INFO, epoch.origin.hash, 0)
    assert epoch.finalized_number == pipeline.finalized_number == 0


def scalar_of(events):
    """The scalar that an epoch's L1 information transaction carries."""
    (epoch,) = of_kind(events, Epoch)
    return int.from_bytes(epoch.system_transactions[0].data[-32:], "big")


def test_the_scalar_follows_what_whole_channels_took():
    """Posted over charged bytes of channels without a void block; the next epoch tells; a snapshot keeps the sums."""
    bitcoin, sequencer = RawBitcoin(), Sequencer()
    assert scalar_of(sequencer.follow(bitcoin.mine())) == SCALAR_ONE
    chance, posted, charged, scalar = random.Random(1), 0, 0, SCALAR_ONE
    for number in range(6):
        raws = [chance.randbytes(5_000) if number % 2 else bytes(100) for _ in range(4)]
        blocks = [sequencer.make(raw=raw) for raw in raws]
        frames = channel(blocks, number)
        sequencer.pipeline = Pipeline.restore(CONFIG, sequencer.pipeline.snapshot())
        assert scalar_of(sequencer.follow(bitcoin.mine(*frames))) == scalar
        posted += len(
            compress_batch(encode_batch(FORM, Batch(blocks[0][0], tuple(each for _, each in blocks))))
        )
        charged += sum(data_sizes(raws))
        if charged >= 16_384:
            ratio = posted * SCALAR_ONE // charged
            scalar = min(max(ratio, scalar - scalar // 100), scalar + scalar // 100)
            posted = charged = 0
        assert scalar_of(sequencer.follow(bitcoin.mine())) == scalar
    assert scalar != SCALAR_ONE


def test_a_void_channel_does_not_move_the_scalar():
    """What a batcher posts in vain counts for nothing: padding is its own loss."""
    bitcoin, sequencer = RawBitcoin(), Sequencer()
    sequencer.follow(bitcoin.mine())
    made = [sequencer.make(raw=random.Random(1).randbytes(9_000)) for _ in range(2)]
    void = [(number, block._replace(origin_hash=b"else")) for number, block in made]
    outcome = of_kind(sequencer.follow(bitcoin.mine(*channel(void, 0))), L1Done)[0].outcome
    assert [each.void for each in outcome.channels] == [2]
    assert decode_state(CONFIG.identity, sequencer.pipeline.snapshot()).tally == DataTally()


def test_heads_move_and_the_next_epoch_tells():
    """Plain blocks are final `finality_depth` after their data; the epoch after that says so on L2."""
    bitcoin, sequencer = RawBitcoin(), Sequencer()
    sequencer.follow(bitcoin.mine())
    blocks = [sequencer.make(), sequencer.make()]
    assert of_kind(sequencer.follow(bitcoin.mine(*channel(blocks, 0))), SafeHead) == [SafeHead(2)]
    for _ in range(FINAL - 1):
        assert not of_kind(sequencer.follow(bitcoin.mine()), Finalized)
    events = sequencer.follow(bitcoin.mine())
    assert of_kind(events, Finalized) == [Finalized(2)]
    assert of_kind(events, Epoch)[0].finalized_number == 0
    assert of_kind(sequencer.follow(bitcoin.mine()), Epoch)[0].finalized_number == 2


def test_a_record_waits_for_its_window():
    """A block with a record is not final before `inference_window` L1 blocks have passed."""
    bitcoin, sequencer = RawBitcoin(), Sequencer()
    sequencer.follow(bitcoin.mine())
    record = InferenceRecord(0, bytes(32), 0, b"7", bytes(20), bytes(65), START.height)
    blocks = [sequencer.make(), sequencer.make(records=[record])]
    sequencer.follow(bitcoin.mine(*channel(blocks, 0)))
    window = range(CONFIG.parameters.inference_window)
    finalized = [of_kind(sequencer.follow(bitcoin.mine()), Finalized) for _ in window]
    assert finalized[FINAL - 1] == [Finalized(1)]
    assert finalized[-1] == [Finalized(2)]
    assert sum(map(len, finalized)) == 2


def test_a_model_is_registered_in_the_next_epoch():
    """A complete artifact is stored at once, and the registry learns of it where the next epoch begins."""
    bitcoin, pipeline = RawBitcoin(), Pipeline(CONFIG)
    chunks = upload(ON_CHAIN)
    events = work_through(
        pipeline, bitcoin.mine(*chunks, *upload(NEURON, sequence=1), *upload(b"no model", 2))
    )
    stored = of_kind(events, ModelStored)
    assert [each.container for each in stored] == [ON_CHAIN, ANNOUNCED]
    outcomes = of_kind(events, L1Done)[0].models
    assert [outcome.code for outcome in outcomes] == ["", "", "model.magic"]
    assert len(of_kind(events, Epoch)[0].system_transactions) == 1
    (epoch,) = of_kind(work_through(pipeline, bitcoin.mine()), Epoch)
    _, first, second = epoch.system_transactions
    for transaction, container in ((first, ON_CHAIN), (second, ANNOUNCED)):
        assert parse_announcement(container).model_id in transaction.data
    assert len({first.source_hash, second.source_hash}) == 2
    assert len(of_kind(work_through(pipeline, bitcoin.mine()), Epoch)[0].system_transactions) == 1


def test_models_beyond_an_epochs_share_wait():
    """Only so many are registered at once; a model that waits already is not queued again."""
    config = replace(CONFIG, limits=replace(CONFIG.limits, epoch_models=1, waiting_models=2))
    pipeline, bitcoin = Pipeline(config), RawBitcoin()
    assert config.identity != CONFIG.identity
    kind = EnvelopeKind.ARTIFACT_CHUNK
    uploads = []
    for sequence, data in enumerate((ON_CHAIN, ON_CHAIN, NEURON, ON_CHAIN)):
        (payload,) = split_frames(data)
        uploads.append(reveal(payload, kind, sequence, secret=ANYBODY, identity=config.identity))
    events = work_through(pipeline, bitcoin.mine(*uploads))
    codes = [outcome.code for outcome in of_kind(events, L1Done)[0].models]
    assert codes == ["", "model.waits_already", "", "model.queue_full"]
    restored = Pipeline.restore(config, pipeline.snapshot())
    for block in (bitcoin.mine(), bitcoin.mine()):
        for each in (pipeline, restored):
            assert len(of_kind(work_through(each, block), Epoch)[0].system_transactions) == 2
    assert len(of_kind(work_through(pipeline, bitcoin.mine()), Epoch)[0].system_transactions) == 1


def test_everything_in_a_block_is_accounted_for_in_block_order():
    """Malformed envelopes, frames and chunks, foreign tags left out: one outcome each, with its place."""
    bitcoin, sequencer = RawBitcoin(), Sequencer()
    sequencer.follow(bitcoin.mine())
    frames = channel([sequencer.make()], 0)
    (copied,) = frames
    broken = reveal(b"payload", EnvelopeKind.BATCH_FRAME, 0)
    leaf = broken.inputs[0].witness[1]
    broken = broken.with_witness(
        0, (bytes(64), leaf.replace(b"payload", b"PAYLOAD"), broken.inputs[0].witness[2])
    )
    foreign = reveal(b"payload", EnvelopeKind.BATCH_FRAME, 0, identity=sha256(b"else"))
    stranger = reveal(b"\0\1" + bytes(40), EnvelopeKind.BATCH_FRAME, 0, secret=ANYBODY)
    events = sequencer.follow(
        bitcoin.mine(
            *upload(b"x"), broken, foreign, stranger, copied, reveal(b"", EnvelopeKind.GOVERNANCE, 0)
        )
    )
    outcome = of_kind(events, L1Done)[0].outcome
    assert [(each.tx_index, each.code) for each in outcome.envelopes] == [
        (1, ""),
        (2, "envelope.bad_payload_hash"),
        (4, "frame.wrong_signer"),
        (5, ""),
        (6, "envelope.not_active"),
    ]
    assert outcome.safe_number == 1


def story(bitcoin, sequencer, length):
    """Mine a while with channels between; return the pipeline's snapshots by height."""
    snapshots = {bitcoin.height: sequencer.pipeline.snapshot()}
    number = sequencer.pipeline.next_channel
    for step in range(length):
        envelopes = []
        if step % 2 and sequencer.epochs:
            envelopes = channel([sequencer.make() for _ in range(3)], number, size=200)
            number += 1
        sequencer.follow(bitcoin.mine(*envelopes))
        snapshots[bitcoin.height] = sequencer.pipeline.snapshot()
    return snapshots


@pytest.mark.parametrize("depth", range(1, 9))
def test_a_reorg_gives_what_a_fresh_sync_gives(depth):
    """Follow the resets down to the fork, restore, feed the other branch: the same state, bit for bit."""
    bitcoin, sequencer = RawBitcoin(), Sequencer()
    snapshots = story(bitcoin, sequencer, 12)
    other = bitcoin.fork(bitcoin.height - depth, branch=1)
    other.mine(*channel([(99, BatchBlock(2, 3, b"1234", (), ()))], 1))
    for _ in range(depth):
        other.mine()
    pipeline, position = sequencer.pipeline, bitcoin.height + 1
    resets = []
    while position <= other.height:
        pipeline.feed(other.blocks[position - START.height - 1])
        event = pipeline.next_event()
        if isinstance(event, Reset):
            resets.append(event.to_height)
            pipeline = Pipeline.restore(CONFIG, snapshots[event.to_height])
            position = event.to_height + 1
            continue
        while (event := pipeline.next_event()) is not None:
            if isinstance(event, BlockData):
                pipeline.executed(event.number, content_id(event))
        position += 1
    assert resets == [bitcoin.height - each for each in range(1, depth + 1)]
    fresh = Pipeline(CONFIG)
    for block in other.blocks:
        work_through(fresh, block)
    assert pipeline.snapshot() == fresh.snapshot()


def test_the_second_driver_finds_the_same():
    """Replay from blocks alone gives the contents, heads, epochs and outcomes of the live one."""
    bitcoin, sequencer = RawBitcoin(), Sequencer()
    story(bitcoin, sequencer, 14)

    found = replay_chain(CONFIG, bitcoin.blocks, ContentRunner())
    assert list(found.hashes.values()) == [content_id(data) for data in sequencer.made]
    assert found.safe_number == sequencer.pipeline.safe_number > 0
    assert found.finalized_number == sequencer.pipeline.finalized_number > 0
    assert found.epochs == sequencer.epochs
    assert sorted(found.outcomes) == list(range(START.height + 1, bitcoin.height + 1))
    twin = bitcoin.fork(bitcoin.height - 1, branch=1)
    twin.mine()
    with pytest.raises(InvariantViolation, match=r"replay\.branches"):
        replay_chain(CONFIG, [*bitcoin.blocks, twin.blocks[-1]], ContentRunner())


def test_the_driver_is_held_to_the_order():
    """No snapshot and no feeding before everything is worked through; no execution that was not asked for."""
    bitcoin, pipeline = RawBitcoin(), Pipeline(CONFIG)
    first, second = bitcoin.mine(), bitcoin.mine()
    pipeline.feed(first)
    for busy in (pipeline.snapshot, lambda: pipeline.feed(second)):
        with pytest.raises(Rejected, match=r"pipeline\.busy"):
            busy()
    while pipeline.next_event() is not None:
        pass
    with pytest.raises(Rejected, match=r"pipeline\.not_derived"):
        pipeline.executed(1, bytes(32))
    with pytest.raises(Duplicate, match=r"pipeline\.known"):
        pipeline.feed(first)
    third = bitcoin.mine()
    with pytest.raises(Rejected, match=r"pipeline\.gap"):
        pipeline.feed(third)
    work_through(pipeline, second)
    work_through(pipeline, third)


def test_a_bitcoin_without_the_start_block_is_refused():
    """A reset never leads below the block that the chain starts from: a person has to look."""
    bitcoin, pipeline = RawBitcoin(), Pipeline(CONFIG)
    block = bitcoin.mine()
    foreign = L1BlockInput(block.height, *_with_parent(block, sha256(b"elsewhere")))
    before = pipeline.snapshot()
    with pytest.raises(ConfigError, match=r"pipeline\.other_bitcoin"):
        pipeline.feed(foreign)
    assert pipeline.snapshot() == before


def _with_parent(block, parent):
    header = block.header[:4] + parent + block.header[36:]
    return header, header + block.raw[80:]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda block: replace(block, header=bytes(80)), "l1.header_mismatch"),
        (lambda block: replace(block, header=b"", raw=b""), "bitcoin_block.truncated"),
        (lambda block: replace(block, raw=block.raw + b"x"), "bitcoin_block.trailing"),
        (lambda block: replace(block, raw=block.raw[:-1]), "bitcoin_tx.truncated"),
        (
            lambda block: replace(block, raw=block.raw.replace(b"\x6a\x24", b"\x6a\x25")),
            "bitcoin_block.merkle_root",
        ),
    ],
)
def test_a_wrong_block_changes_nothing(change, code):
    """What the header does not commit to is the source's mistake: asked again, the pipeline goes on."""
    bitcoin, pipeline = RawBitcoin(), Pipeline(CONFIG)
    block = bitcoin.mine()
    before = pipeline.snapshot()
    with pytest.raises(InvalidInput) as caught:
        pipeline.feed(change(block))
    assert caught.value.code == code
    assert pipeline.snapshot() == before
    assert work_through(pipeline, block)


@given(st.binary(max_size=200), st.integers(0, 10**4))
def test_damaged_snapshots_are_told(noise, at):
    """A snapshot of another chain, or with bytes missing or added, is a damaged disk, not a state."""
    bitcoin, sequencer = RawBitcoin(), Sequencer()
    story(bitcoin, sequencer, 3)
    data = sequencer.pipeline.snapshot()
    assert Pipeline.restore(CONFIG, data).snapshot() == data
    for damaged in (noise, data[: at % len(data)], data + b"\0", b"\1" + data[1:]):
        with pytest.raises(InvariantViolation, match=r"pipeline\.corrupt_snapshot"):
            Pipeline.restore(CONFIG, damaged)
    other = replace(CONFIG, chain_id=1)
    with pytest.raises(InvariantViolation, match=r"pipeline\.corrupt_snapshot"):
        Pipeline.restore(other, data)


def test_fees_are_what_the_coinbase_takes_beyond_the_subsidy():
    """Halvings included; a miner that takes less than it may pays a rate of zero, not a negative one."""
    assert [subsidy_sats(height, 150) for height in (0, 149, 150, 9_600)] == [
        5 * 10**9,
        5 * 10**9,
        25 * 10**8,
        0,
    ]
    bitcoin = RawBitcoin()
    poor = parse_block(bitcoin.mine(fees_sats=-1_000).raw)
    assert measure_fee_rate(poor, START.height + 1, 150) == 0
    rich = parse_block(bitcoin.mine(fees_sats=10_000).raw)
    assert measure_fee_rate(rich, START.height + 2, 150) == 10_000_000 // rich.weight
    assert scan_l1_block(bitcoin.blocks[0], CONFIG.identity, 150).scan.envelopes == ()
