"""What holds of derivation whatever Bitcoin holds."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from primitives.bitcoin.envelope import EnvelopeKind
from primitives.codec import Reader, Writer
from rollup.derivation.artifacts import ArtifactState
from rollup.derivation.snapshot import read_derivation, write_derivation
from rollup.limits import Limits
from tests.rollup.chains import (
    BATCHER,
    CONFIG,
    START,
    FakeBitcoin,
    HonestSequencer,
    derive,
    make_channel,
    make_config,
    make_envelope,
)
from vm.content import content_id

TIMEOUT = CONFIG.parameters.channel_timeout


def copy_of(state):
    """The state after a way through bytes."""
    writer = Writer()
    write_derivation(writer, state)
    reader = Reader(writer.finish())
    found = read_derivation(reader)
    reader.done()
    return found


def ids(blocks):
    """The blocks' contents by id."""
    return [content_id(block) for block in blocks]


@st.composite
def stories(draw):
    """A chain of L2 blocks in channels, their frames spread over L1 blocks within each channel's timeout."""
    bitcoin = FakeBitcoin()
    for _ in range(3):
        bitcoin.mine()
    sequencer = HonestSequencer(bitcoin)
    channels = []
    for number in range(draw(st.integers(1, 4))):
        made = [sequencer.make(advance=draw(st.booleans())) for _ in range(draw(st.integers(1, 4)))]
        channels.append(make_channel(made, number, draw(st.integers(20, 100))))
    slots = [[] for _ in range(TIMEOUT)]
    for frame in draw(st.permutations([frame for channel in channels for frame in channel])):
        slots[draw(st.integers(0, TIMEOUT - 1))].append(frame)
    return bitcoin, sequencer, slots


@given(stories())
def test_frames_in_any_order_give_the_same_chain(story):
    """However frames are spread and ordered within the timeout, the blocks are those the sequencer made."""
    bitcoin, sequencer, slots = story
    for slot in slots:
        bitcoin.mine(*slot)
    _, blocks, outcomes = derive(CONFIG, bitcoin.blocks)
    made = [(number, block.timestamp, block.transactions) for number, block in sequencer.made]
    assert [(block.number, block.timestamp, block.transactions) for block in blocks] == made
    assert not any(each.code for outcome in outcomes for each in outcome.envelopes)


@given(stories(), st.randoms(use_true_random=False))
def test_copies_change_nothing(story, random):
    """Anybody may copy envelopes anywhere after their first appearance: the chain stays the same."""
    bitcoin, _, slots = story
    twin = bitcoin.fork(bitcoin.tip.height, b"")
    seen = []
    for slot in slots:
        bitcoin.mine(*slot)
        seen += slot
        noisy = list(slot)
        if seen:
            noisy += random.choices(seen, k=random.randrange(3))
        twin.mine(*noisy)
    state, blocks, _ = derive(CONFIG, bitcoin.blocks)
    other_state, other_blocks, _ = derive(CONFIG, twin.blocks)
    assert ids(blocks) == ids(other_blocks)
    assert state == other_state


payloads = st.one_of(
    st.binary(max_size=120),
    st.builds(lambda of, rest: bytes([0, of]) + bytes(32) + rest, st.integers(0, 4), st.binary(max_size=60)),
)
garbage = st.builds(
    make_envelope,
    payloads,
    kind=st.sampled_from(EnvelopeKind),
    number=st.one_of(st.integers(0, 5), st.integers(0, 2**64 - 1)),
    index=st.one_of(st.integers(0, 4), st.integers(0, 2**32 - 1)),
    signer=st.sampled_from([BATCHER, BATCHER, bytes(32)]),
)


@given(st.lists(st.lists(garbage, max_size=8), min_size=1, max_size=20))
def test_garbage_never_raises_and_never_fills_memory(blocks):
    """Anything signed by anyone, the batcher too, leaves a chain and bounded buffers."""
    limits = Limits(channel_bytes=100, buffered_bytes=150, open_channels=3)
    config = make_config(limits)
    bitcoin = FakeBitcoin()
    for envelopes in blocks:
        bitcoin.mine(*envelopes)
    state, derived, _ = derive(config, bitcoin.blocks)
    assert state.bank.size <= limits.buffered_bytes
    assert len(state.bank.channels) <= limits.open_channels
    assert len(state.epochs) <= config.parameters.seq_window + 1
    assert [block.number for block in derived] == list(range(1, len(derived) + 1))
    assert copy_of(state) == state


@given(stories(), st.integers(0, TIMEOUT), st.integers(0, 3))
def test_a_reorg_equals_a_fresh_sync(story, kept, garbage_blocks):
    """A snapshot at the fork, fed the other branch, is the state that the other branch alone gives."""
    bitcoin, _, slots = story
    for slot in slots:
        bitcoin.mine(*slot)
    fork_height = START.height + 3 + kept
    states = {START.height: None}
    state = None
    for facts in bitcoin.blocks:
        state, _, _ = derive(CONFIG, [facts], state)
        states[facts.height] = copy_of(state)
    other = bitcoin.fork(fork_height, b"other")
    for place in range(garbage_blocks + 2):
        other.mine(*slots[place % TIMEOUT])
    resumed, new_blocks, new_outcomes = derive(
        CONFIG, other.blocks[fork_height - START.height :], states[fork_height]
    )
    fresh, all_blocks, all_outcomes = derive(CONFIG, other.blocks)
    assert resumed == fresh
    assert ids(all_blocks)[len(all_blocks) - len(new_blocks) :] == ids(new_blocks)
    assert all_outcomes[len(all_outcomes) - len(new_outcomes) :] == new_outcomes


@given(stories())
def test_equal_states_give_equal_bytes(story):
    """The order in which frames arrived is not remembered."""
    bitcoin, _, slots = story
    twin = bitcoin.fork(bitcoin.tip.height, b"")
    bitcoin.mine(*slots[0])
    twin.mine(*reversed(slots[0]))
    state, other = derive(CONFIG, bitcoin.blocks)[0], derive(CONFIG, twin.blocks)[0]
    writers = Writer(), Writer()
    for writer, each in zip(writers, (state, other), strict=True):
        write_derivation(writer, each)
    assert writers[0].finish() == writers[1].finish()
    assert replace(state) == other
    assert ArtifactState() == ArtifactState({})
