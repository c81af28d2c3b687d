"""Derivation as a table of stories: what Bitcoin holds, and the blocks and codes that follow."""

from dataclasses import replace

import pytest

from primitives.bitcoin.envelope import EnvelopeKind
from primitives.errors import InvariantViolation
from rollup.batch.channel import compress_batch
from rollup.batch.transactions import ACCESS_LIST, Fields, put_together
from rollup.derivation import machine
from rollup.derivation.events import L1Block
from rollup.derivation.state import begin_derivation
from tests.rollup.chains import (
    CONFIG,
    START,
    FakeBitcoin,
    HonestSequencer,
    derive,
    make_channel,
    make_config,
    make_envelope,
    make_frames,
)

WINDOW = CONFIG.parameters.seq_window
TIMEOUT = CONFIG.parameters.channel_timeout


def two_channels(size=60):
    """A Bitcoin with two blocks, and two channels of three and two L2 blocks, several frames each."""
    bitcoin = FakeBitcoin()
    bitcoin.mine()
    bitcoin.mine()
    sequencer = HonestSequencer(bitcoin)
    for _ in range(5):
        sequencer.make()
    return bitcoin, make_channel(sequencer.made[:3], 0, size), make_channel(sequencer.made[3:], 1, size)


def codes(outcome):
    """What became of each envelope of an L1 block."""
    return [each.code for each in outcome.envelopes]


def numbers(blocks):
    """The numbers of blocks."""
    return [block.number for block in blocks]


def test_a_channel_takes_effect_where_it_is_complete():
    """Blocks come out at the L1 block that holds the last frame; the first of an epoch begins it."""
    bitcoin, first, second = two_channels()
    bitcoin.mine(*first[:-1])
    bitcoin.mine(first[-1], *second)
    state, blocks, outcomes = derive(CONFIG, bitcoin.blocks)
    assert numbers(blocks) == [1, 2, 3, 4, 5]
    assert [len(block.system_transactions) for block in blocks] == [1, 1, 0, 0, 0]
    assert [block.origin.height for block in blocks] == [101, 102, 102, 102, 102]
    assert [outcome.safe_number for outcome in outcomes] == [0, 0, 0, 5]
    assert outcomes[2].pending[0][:2] == (0, len(first) - 1)
    assert [channel.code for channel in outcomes[3].channels] == ["", ""]
    assert state.head.number == 5


def test_order_is_by_number_not_by_position():
    """A later channel waits for the one before it, wherever its frames are."""
    bitcoin, first, second = two_channels()
    bitcoin.mine(*reversed(second))
    bitcoin.mine(*reversed(first))
    _, blocks, outcomes = derive(CONFIG, bitcoin.blocks)
    assert numbers(blocks) == [1, 2, 3, 4, 5]
    assert outcomes[2].safe_number == 0
    assert outcomes[3].safe_number == 5


def test_a_channel_that_never_ends_times_out():
    """The timeout counts from the first frame of it or of a later channel; its last block still counts."""
    for late, expected in ((TIMEOUT, [1, 2, 3]), (TIMEOUT + 1, [])):
        bitcoin, first, _ = two_channels()
        bitcoin.mine(first[0])
        for _ in range(late - 1):
            bitcoin.mine()
        bitcoin.mine(*first[1:])
        _, blocks, outcomes = derive(CONFIG, bitcoin.blocks)
        assert numbers(blocks) == expected
        closed = [channel for outcome in outcomes for channel in outcome.channels]
        assert [channel.code for channel in closed] == (["channel.timed_out"] if not expected else [""])
    assert set(codes(outcomes[-1])) == {"frame.channel_closed"}


def test_a_number_nobody_writes_holds_up_for_one_timeout():
    """Channels before the lowest seen time out together, however many; then the later ones are read."""
    bitcoin, first, _ = two_channels()
    far = 40
    bitcoin.mine(*[replace(frame, header=replace(frame.header, number=far)) for frame in first])
    for _ in range(TIMEOUT):
        bitcoin.mine()
    _, blocks, outcomes = derive(CONFIG, bitcoin.blocks)
    assert numbers(blocks) == [1, 2, 3]
    closed = outcomes[-1].channels
    assert [(each.number, each.last_number, each.code) for each in closed] == [
        (0, far - 1, "channel.timed_out"),
        (far, far, ""),
    ]


def test_two_gaps_time_out_one_after_the_other():
    """The clock of a number runs from the first frame of any later one, even while earlier ones wait."""
    bitcoin = FakeBitcoin()
    bitcoin.mine()
    sequencer = HonestSequencer(bitcoin)
    sequencer.make()
    frames = make_channel(sequencer.made, 3, 30)
    bitcoin.mine(frames[0])
    bitcoin.mine(make_channel(sequencer.made, 1, 30)[0])
    for _ in range(TIMEOUT):
        bitcoin.mine()
    state, blocks, outcomes = derive(CONFIG, bitcoin.blocks)
    assert not blocks
    timed_out = {outcome.height: outcome.channels for outcome in outcomes if outcome.channels}
    assert list(timed_out) == [102 + TIMEOUT]
    assert state.bank.next_number == 4
    assert not state.bank.channels


def test_duplicates_change_nothing_and_the_first_of_two_wins():
    """A copy is a duplicate; of two different frames for a slot the first in block order counts."""
    bitcoin, first, _ = two_channels()
    other = make_envelope(first[0].payload[:-1] + b"?", number=0, index=0)
    bitcoin.mine(first[0], first[0], other, *first[1:], first[1])
    _, blocks, outcomes = derive(CONFIG, bitcoin.blocks)
    assert numbers(blocks) == [1, 2, 3]
    expected = ["", "frame.duplicate", "frame.conflict", *[""] * (len(first) - 1), "frame.duplicate"]
    assert codes(outcomes[-1]) == expected
    bitcoin, first, _ = two_channels()
    bitcoin.mine(other, *first)
    _, blocks, outcomes = derive(CONFIG, bitcoin.blocks)
    assert not blocks
    assert outcomes[-1].channels[0].code == "channel.content_hash"


FRAME = make_frames(b"\0" * 10, 0)[0]


@pytest.mark.parametrize(
    ("envelope", "code"),
    [
        (replace(FRAME, signer=bytes(32)), "frame.wrong_signer"),
        (make_envelope(b"x" * 33), "frame.truncated"),
        (make_envelope(b"\0\1" + bytes(32)), "frame.empty"),
        (make_envelope(bytes(40)), "frame.no_count"),
        (make_envelope(b"\xff" + FRAME.payload[1:]), "frame.too_many_frames"),
        (make_envelope(FRAME.payload, index=1), "frame.bad_index"),
        (make_envelope(FRAME.payload, number=64), "frame.too_far_ahead"),
        (make_envelope(FRAME.payload, number=2**64 - 1), "frame.too_far_ahead"),
        (make_envelope(b"", kind=EnvelopeKind.FORCED_TRANSACTION), "envelope.not_active"),
        (make_envelope(b"", kind=EnvelopeKind.GOVERNANCE), "envelope.not_active"),
        (make_envelope(b"", kind=EnvelopeKind.DISPUTE_MOVE), "envelope.not_active"),
        (make_envelope(b"", kind=EnvelopeKind.ASSERTION), "envelope.not_active"),
    ],
)
def test_frames_are_dropped_with_a_reason(envelope, code):
    """What is no frame for this chain's channels is counted and changes nothing."""
    bitcoin = FakeBitcoin()
    bitcoin.mine(envelope)
    state, blocks, outcomes = derive(CONFIG, bitcoin.blocks)
    assert codes(outcomes[0]) == [code]
    assert not blocks
    assert state.bank == begin_derivation(CONFIG).bank


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"\0", "channel.not_zstd"),
        (b"\7abc", "channel.unknown_version"),
        (b"\0\x28\xb5\x2f\xfd\x20\x05\x29\x00\x00abcde", "batch.unknown_version"),
    ],
)
def test_a_channel_without_a_batch_is_passed_over(content, code):
    """A complete channel that holds no batch takes effect as nothing; one that had to be unfolded was all for there."""
    bitcoin, first, _ = two_channels()
    moved = [
        [replace(each, header=replace(each.header, number=number)) for each in first] for number in (1, 2)
    ]
    bitcoin.mine(*make_frames(content, 0), *moved[0])
    bitcoin.mine(*moved[1])
    _, blocks, outcomes = derive(CONFIG, bitcoin.blocks)
    assert numbers(blocks) == [1, 2, 3]
    unfolded = code.startswith("batch.")
    assert [each.code for each in outcomes[2].channels] == [code, "block.epoch_full" if unfolded else ""]
    assert [each.code for each in outcomes[3].channels] == ["" if unfolded else "block.number"]


def test_buffers_are_bounded():
    """Beyond a bound a frame is dropped with its reason, and room comes back with the timeout."""
    limits = replace(CONFIG.limits, channel_bytes=300, buffered_bytes=500)
    config = make_config(limits)
    bitcoin = FakeBitcoin()
    content = bytes(range(256)) * 2
    frames = [make_frames(content, number, 100) for number in (0, 1, 2)]
    bitcoin.mine(*frames[0][:4], *frames[1][:2], frames[2][0])
    state, _, outcomes = derive(config, bitcoin.blocks)
    expected = ["", "", "", "frame.channel_too_large", "", "", "frame.buffer_full"]
    assert codes(outcomes[0]) == expected
    assert state.bank.size == 500
    for _ in range(TIMEOUT):
        bitcoin.mine()
    state, _, _ = derive(config, bitcoin.blocks)
    assert state.bank.size == 0


def test_after_a_void_block_the_rest_of_the_channel_is_void():
    """What follows a void block was built on it; the next channel goes on from what stands."""
    bitcoin = FakeBitcoin()
    bitcoin.mine()
    sequencer = HonestSequencer(bitcoin)
    for _ in range(4):
        sequencer.make()
    blocks = list(sequencer.made)
    far = 10**9
    late = [(each, block._replace(timestamp=block.timestamp + far)) for each, block in blocks[1:]]
    spoilt = [blocks[0], *late]
    bitcoin.mine(*make_channel(spoilt, 0))
    bitcoin.mine(*make_channel(blocks[1:], 1))
    _, derived, outcomes = derive(CONFIG, bitcoin.blocks)
    assert outcomes[1].channels[0][2:] == ("block.drift", 1, 1, 3)
    assert numbers(derived) == [1, 2, 3, 4]
    assert outcomes[2].channels[0].code == ""


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ({"epoch_blocks": 4, "channel_blocks": 4}, 4),
        ({"epoch_transactions": 3, "channel_transactions": 3}, 3),
    ],
)
def test_what_takes_effect_at_one_l1_block_is_bounded(change, taken):
    """Beyond the bound the rest of the channel and later channels are void there; the next L1 block goes on."""
    config = make_config(replace(CONFIG.limits, **change))
    bitcoin, first, second = two_channels()
    sequencer = HonestSequencer(bitcoin)
    made = [sequencer.make() for _ in range(5)]
    garbage = make_frames(b"garbage", 2)
    bitcoin.mine(*first, *second, *garbage)
    bitcoin.mine(*make_channel(made[taken:], 3))
    _, derived, outcomes = derive(config, bitcoin.blocks)
    assert [each.code for each in outcomes[2].channels] == ["", "block.epoch_full", "block.epoch_full"]
    assert outcomes[2].channels[1][3:] == (4, taken - 3, 5 - taken)
    assert outcomes[2].safe_number == taken
    assert numbers(derived) == [1, 2, 3, 4, 5]


def test_what_is_unfolded_for_one_l1_block_is_bounded():
    """A kilobyte unfolds to megabytes: what says that it goes beyond the bound is void there, and so is the rest."""
    config = make_config(replace(CONFIG.limits, decompressed_bytes=2_000))
    bitcoin, first, _ = two_channels()
    bomb = make_frames(compress_batch(bytes(900)), 2)
    sequencer = HonestSequencer(bitcoin)
    other = sequencer.make(transactions=(bytes(900),))
    void = [make_channel([other], number, first_number=9) for number in (0, 1)]
    moved = [replace(frame, header=replace(frame.header, number=3)) for frame in first]
    bitcoin.mine(*void[0], *void[1], *bomb, *moved)
    again = [replace(frame, header=replace(frame.header, number=4)) for frame in first]
    bitcoin.mine(*again)
    _, derived, outcomes = derive(config, bitcoin.blocks)
    full = "block.epoch_full"
    assert [each.code for each in outcomes[2].channels] == ["block.number"] * 2 + [full] * 2
    assert outcomes[3].channels[0].code == ""
    assert numbers(derived) == [1, 2, 3]


def test_what_tables_unfold_to_for_one_l1_block_is_bounded():
    """Two kilobytes of references stand for twenty of transactions: those count, also of blocks that are void."""
    entries = ((bytes(20), ()),) * 1_000
    fields = Fields(
        kind=ACCESS_LIST,
        nonce=0,
        gas_limit=0,
        fee=0,
        priority_fee=0,
        to=b"",
        value=0,
        data=b"",
        access_list=entries,
        authorizations=(),
        parity=0,
        r=1,
        s=1,
    )
    raw = put_together(fields, CONFIG.chain_id)
    limit = 2 * len(raw) - 1
    config = make_config(replace(CONFIG.limits, decompressed_bytes=limit))
    bitcoin, first, _ = two_channels()
    wide = HonestSequencer(bitcoin).make(transactions=(raw,))
    channels = [make_channel([wide], number, first_number=9) for number in range(2)]
    assert len(channels[0][0].payload) < 4_000 < 5 * 4_000 < len(raw)
    late = [
        [replace(each, header=replace(each.header, number=number)) for each in first] for number in (2, 3)
    ]
    bitcoin.mine(*channels[0], *channels[1], *late[0])
    bitcoin.mine(*late[1])
    _, derived, outcomes = derive(config, bitcoin.blocks)
    found = [each.code for each in outcomes[2].channels]
    assert found == ["block.number", "batch.too_large", "block.epoch_full"]
    assert outcomes[3].channels[0].code == ""
    assert numbers(derived) == [1, 2, 3]


def test_blocks_posted_twice_are_void_the_second_time():
    """A number that is taken never changes; a batcher that repeats itself wastes its own sats."""
    bitcoin, first, _ = two_channels()
    again = [replace(frame, header=replace(frame.header, number=1)) for frame in first]
    bitcoin.mine(*first, *again)
    _, derived, outcomes = derive(CONFIG, bitcoin.blocks)
    assert numbers(derived) == [1, 2, 3]
    assert outcomes[-1].channels[1].code == "block.number"


def test_without_a_sequencer_every_node_makes_the_same_blocks():
    """While the head is more than the window behind, one block a height follows, without batch data."""
    bitcoin = FakeBitcoin()
    for _ in range(WINDOW + 3):
        bitcoin.mine()
    state, blocks, outcomes = derive(CONFIG, bitcoin.blocks)
    assert [outcome.derived for outcome in outcomes] == [*[0] * WINDOW, 1, 1, 1]
    assert [block.origin.height for block in blocks] == [101, 102, 103]
    assert all(len(block.system_transactions) == 1 and not block.transactions for block in blocks)
    first = blocks[0]
    assert first.timestamp == first.origin.mtp
    assert len(state.epochs) == WINDOW + 1


def test_a_late_channel_is_void_and_blocks_are_derived_instead():
    """Data that comes after the window counts no more, not even in the L1 block that makes it late."""
    for wait, advance, code in (
        (WINDOW - 1, True, ""),
        (WINDOW, True, "block.number"),
        (WINDOW - 2, False, ""),
        (WINDOW - 1, False, "block.window"),
    ):
        bitcoin = FakeBitcoin()
        bitcoin.mine()
        sequencer = HonestSequencer(bitcoin)
        sequencer.make(advance=advance)
        for _ in range(wait):
            bitcoin.mine()
        bitcoin.mine(*make_channel(sequencer.made, 0))
        _, blocks, outcomes = derive(CONFIG, bitcoin.blocks)
        assert outcomes[-1].channels[0].code == code
        assert not blocks or (blocks[0].transactions == ()) is bool(code)


def test_an_origin_above_the_data_is_refused():
    """A batch cannot look back to the L1 block that holds it: nobody could have known its hash."""
    bitcoin = FakeBitcoin()
    bitcoin.mine()
    ahead = FakeBitcoin(blocks=list(bitcoin.blocks), tip=bitcoin.tip)
    ahead.mine()
    sequencer = HonestSequencer(ahead)
    sequencer.make()
    sequencer.make()
    bitcoin.mine(*make_channel(sequencer.made, 0))
    _, blocks, outcomes = derive(CONFIG, bitcoin.blocks)
    assert numbers(blocks) == [1]
    assert outcomes[-1].channels[0].code == "block.origin_unknown"


def test_an_origin_of_another_branch_is_refused():
    """Four bytes of the hash tell the branches apart."""
    bitcoin = FakeBitcoin()
    bitcoin.mine()
    other = bitcoin.fork(START.height, b"other")
    other.mine()
    sequencer = HonestSequencer(other)
    sequencer.make()
    bitcoin.mine(*make_channel(sequencer.made, 0))
    _, blocks, outcomes = derive(CONFIG, bitcoin.blocks)
    assert not blocks
    assert outcomes[-1].channels[0].code == "block.origin_hash"


def test_only_the_next_l1_block_is_taken():
    """The pipeline checks that blocks follow each other; derivation would rather stop than skip one."""
    bitcoin = FakeBitcoin()
    bitcoin.mine()
    bitcoin.mine()
    with pytest.raises(InvariantViolation, match=r"derivation\.not_next"):
        machine.step(CONFIG, begin_derivation(CONFIG), L1Block(bitcoin.blocks[1], ()))
