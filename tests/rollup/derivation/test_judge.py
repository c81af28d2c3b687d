"""Each rule of a block, at its edge."""

import pytest

from rollup.derivation.judge import Candidate, DerivedHead, judge_block, least_time, must_derive
from rollup.parameters import Parameters
from vm.types import L1Origin

P = Parameters(max_drift_s=100)
OLD, NEW = L1Origin(50, b"old!" * 8, 1_000), L1Origin(51, b"new!" * 8, 1_030)
HEAD = DerivedHead(7, 1_010, OLD)
GOOD = Candidate(8, 1_012, 50, b"old!", is_empty=False)


@pytest.mark.parametrize(
    ("change", "origin", "effect", "code"),
    [
        ({}, OLD, 51, ""),
        ({}, OLD, 62, ""),
        ({}, OLD, 63, "block.window"),
        ({}, OLD, 50, "block.origin_unknown"),
        ({}, None, 51, "block.origin_unknown"),
        ({"number": 9}, OLD, 51, "block.number"),
        ({"number": 7}, OLD, 51, "block.number"),
        ({"timestamp": 1_010}, OLD, 51, "block.time_step"),
        ({"timestamp": 1_013}, OLD, 51, "block.time_step"),
        ({"timestamp": 1_008}, OLD, 51, "block.time_step"),
        ({"origin_height": 49}, OLD, 51, "block.origin_step"),
        ({"origin_height": 52}, NEW, 60, "block.origin_step"),
        ({"origin_hash": b"new!"}, OLD, 51, "block.origin_hash"),
        ({"origin_height": 51, "origin_hash": b"new!"}, NEW, 52, "block.before_mtp"),
        ({"origin_height": 51, "origin_hash": b"new!", "timestamp": 1_030}, NEW, 52, ""),
        ({"timestamp": 1_100}, OLD, 51, ""),
        ({"timestamp": 1_102}, OLD, 51, "block.drift"),
        ({"timestamp": 1_102, "is_empty": True}, OLD, 51, "block.drift_jump"),
    ],
)
def test_the_rules(change, origin, effect, code):
    """One change of a good block breaks exactly the rule it is about."""
    assert judge_block(P, HEAD, GOOD._replace(**change), origin=origin, effect_height=effect) == code


def test_beyond_the_drift_an_empty_block_steps_by_one_block_time():
    """So no single block carries the clock away, and a chain that stands there still goes on."""
    head = HEAD._replace(timestamp=1_100)
    block = GOOD._replace(timestamp=1_102, is_empty=True)
    assert judge_block(P, head, block, origin=OLD, effect_height=51) == ""
    assert (
        judge_block(P, head, block._replace(timestamp=1_104), origin=OLD, effect_height=51)
        == "block.drift_jump"
    )


def test_the_least_time():
    """The next multiple of the block time that is not before the origin's median time past."""
    assert least_time(P, HEAD, OLD) == 1_012
    assert least_time(P, HEAD, NEW) == 1_030
    assert least_time(P, HEAD, NEW._replace(mtp=1_029)) == 1_030
    assert least_time(P, HEAD, NEW._replace(mtp=1_031)) == 1_032


def test_when_blocks_are_derived_without_data():
    """Not while the head's origin is within the window, at its edge included."""
    assert not must_derive(P, HEAD, 62)
    assert must_derive(P, HEAD, 63)
