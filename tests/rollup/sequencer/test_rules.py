"""The sequencer never makes what derivation would void."""

from hypothesis import given
from hypothesis import strategies as st

from rollup.derivation.judge import Candidate, DerivedHead, judge_block
from rollup.parameters import MAINNET, REGTEST, Parameters
from rollup.sequencer.rules import is_too_late, next_slot
from vm.types import L1Origin

BASE = 1_700_000_000


CHAINS = [REGTEST, MAINNET, Parameters(max_drift_s=4), Parameters(block_time_s=7)]


@given(st.data(), st.sampled_from(CHAINS))
def test_every_block_made_by_the_rules_is_taken(data, parameters):
    """Whatever clock and Bitcoin do, a block of the sequencer is valid unless its data is too late."""
    origins = [L1Origin(50, bytes([50]) * 32, BASE)]
    head = DerivedHead(9, BASE + data.draw(st.integers(0, 10)), origins[0])
    now = BASE
    for _ in range(data.draw(st.integers(1, 25))):
        if data.draw(st.booleans()):
            step = data.draw(st.one_of(st.integers(0, 1_200), st.integers(0, 10**6)))
            last = origins[-1]
            origins.append(L1Origin(last.height + 1, bytes([last.height + 1]) * 32, last.mtp + step))
        now += data.draw(st.one_of(st.integers(-5, 60), st.integers(0, 10**5)))
        upcoming = next((each for each in origins if each.height == head.origin.height + 1), None)
        slot = next_slot(parameters, head, upcoming, now)
        candidate = Candidate(
            head.number + 1,
            slot.timestamp,
            slot.origin.height,
            slot.origin.hash[:4],
            is_empty=slot.empty_only,
        )
        effect = slot.origin.height + data.draw(st.integers(1, parameters.seq_window))
        assert not judge_block(parameters, head, candidate, origin=slot.origin, effect_height=effect)
        assert not is_too_late(parameters, slot.origin.height, effect - 1)
        assert is_too_late(parameters, slot.origin.height, slot.origin.height + parameters.seq_window)
        head = DerivedHead(head.number + 1, slot.timestamp, slot.origin)


def test_time_is_the_clocks_where_it_may_be():
    """With a clock that runs as it should, block times are the clock's."""
    origin = L1Origin(50, bytes(32), BASE - 3_600)
    head = DerivedHead(1, BASE, origin)
    assert next_slot(REGTEST, head, None, BASE + 2).timestamp == BASE + 2
    assert next_slot(REGTEST, head, None, BASE + 7).timestamp == BASE + 6
    assert next_slot(REGTEST, head, None, BASE).timestamp == BASE + 2
    assert next_slot(REGTEST, head, None, BASE - 100).timestamp == BASE + 2


def test_when_bitcoin_stands_still_blocks_turn_empty():
    """Up to the drift blocks hold transactions; beyond it they are empty and no longer follow the clock."""
    parameters = Parameters(max_drift_s=10)
    origin = L1Origin(50, bytes(32), BASE)
    head = DerivedHead(1, BASE + 2, origin)
    slot = next_slot(parameters, head, None, BASE + 1_000)
    assert (slot.timestamp, slot.empty_only) == (BASE + 10, False)
    head = DerivedHead(2, slot.timestamp, origin)
    slot = next_slot(parameters, head, None, BASE + 1_000)
    assert (slot.timestamp, slot.empty_only) == (BASE + 12, True)
    upcoming = L1Origin(51, bytes(32), BASE + 990)
    slot = next_slot(parameters, DerivedHead(3, slot.timestamp, origin), upcoming, BASE + 1_000)
    assert (slot.timestamp, slot.empty_only, slot.new_epoch) == (BASE + 1_000, False, True)
