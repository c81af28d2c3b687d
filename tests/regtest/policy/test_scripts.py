"""Output scripts are recognised, their signature checks counted, their dust line drawn as Core draws it."""

import pytest
from btclib.script.sig_ops import sig_op_count
from hypothesis import given
from hypothesis import strategies as st

from primitives.bitcoin.script import PAY_TO_ANCHOR, p2tr_script
from regtest.policy.scripts import ScriptKind, count_sigops, dust_threshold_sats, redeem_script, solve_script


@pytest.mark.parametrize(
    ("script", "sats"),
    [
        (p2tr_script(bytes(32)), 330),
        (b"\x00\x14" + bytes(20), 294),
        (PAY_TO_ANCHOR, 240),
        (b"\x76\xa9\x14" + bytes(20) + b"\x88\xac", 546),
        (b"\x6a\x01x", 0),
    ],
)
def test_dust_lines(script, sats):
    """The well-known thresholds at 3 sat/vB."""
    assert dust_threshold_sats(script) == sats


@given(st.binary(max_size=60), st.booleans())
def test_signature_checks_are_counted_as_btclib_counts(script, accurate):
    """Any bytes give the same count, up to the first unreadable push."""
    assert count_sigops(script, accurate=accurate) == sig_op_count(script, accurate=accurate)


@given(st.binary(max_size=60))
def test_any_bytes_are_some_kind(script):
    """No output script is too strange to be classified."""
    assert solve_script(script).kind in ScriptKind


def test_redeem_script_is_the_last_push():
    """Small numbers push too; anything that computes leaves no redeem script."""
    assert redeem_script(b"\x01a\x02bc") == b"bc"
    assert redeem_script(b"\x51") == b"\x01"
    assert redeem_script(b"\x00") == b""
    assert redeem_script(b"") is None
    assert redeem_script(b"\x51\x93") is None
    assert redeem_script(b"\x05a") is None
