"""The finalized head: depth for all, the window for records, and nothing past an open game."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.codec import Reader, Writer
from primitives.errors import InvariantViolation
from rollup.finality.machine import FinalityState, L1Height, read_finality, step, write_finality
from rollup.parameters import REGTEST

DEPTH, WINDOW = REGTEST.finality_depth, REGTEST.inference_window


def run(events):
    """The finalized head after each event."""
    state, heads = FinalityState(), []
    for event in events:
        state = step(REGTEST, state, event).state
        heads.append(state.finalized)
    return heads


def test_plain_blocks_need_depth_alone():
    """Data at height c is final when block c + finality_depth is there."""
    events = [L1Height(100, ((1, False), (2, False)))] + [L1Height(100 + n) for n in range(1, DEPTH + 1)]
    assert run(events) == [0] * DEPTH + [2]


def test_a_record_makes_it_and_what_follows_wait_for_the_window():
    """Blocks before the first record of an L1 block go ahead; nothing after it does."""
    events = [L1Height(100, ((1, False), (2, True), (3, False))), L1Height(101, ((4, False),))]
    events += [L1Height(100 + n) for n in range(2, WINDOW + 1)]
    heads = run(events)
    assert heads[DEPTH - 1 : DEPTH + 1] == [0, 1]
    assert heads[WINDOW - 1 :] == [1, 4]


def test_an_open_game_holds_finality_below_its_record():
    """The head stops before the disputed block and goes on when the game is over; it never goes back."""
    events = [L1Height(100, ((1, True), (2, True), (3, True)))]
    events += [L1Height(100 + n, (), first_disputed=2) for n in range(1, WINDOW + 4)]
    events += [L1Height(104 + WINDOW), L1Height(105 + WINDOW, (), first_disputed=1)]
    heads = run(events)
    assert heads[WINDOW - 1 : WINDOW + 1] == [0, 1]
    assert heads[-3:] == [1, 3, 3]


def test_blocks_follow_without_gaps():
    """Derivation numbers blocks one by one; anything else is a fault of ours."""
    with pytest.raises(InvariantViolation, match=r"finality\.gap"):
        step(REGTEST, FinalityState(), L1Height(100, ((2, False),)))


@given(st.lists(st.lists(st.booleans(), max_size=4), max_size=60))
def test_the_definition(heights):
    """The machine agrees with the definition, word for word, at every height, and its state stays small."""
    state, effects, number = FinalityState(), {}, 0
    for height, records in enumerate(heights, 100):
        blocks = []
        for has_record in records:
            number += 1
            effects[number] = (height, has_record)
            blocks.append((number, has_record))
        state = step(REGTEST, state, L1Height(height, tuple(blocks))).state
        expected = 0
        for each in range(1, number + 1):
            effect, has_record = effects[each]
            if height < effect + DEPTH or (has_record and height < effect + WINDOW):
                break
            expected = each
        assert state.finalized == expected
        assert len(state.stretches) <= 2 * (WINDOW + 1)
        writer = Writer()
        write_finality(writer, state)
        assert read_finality(Reader(writer.finish())) == state
