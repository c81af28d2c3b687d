"""Numbers, hashes and amounts cross the JSON border exactly."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regtest.limits import MAX_MONEY_SATS
from regtest.rpc.amounts import to_json, to_sats
from regtest.rpc.errors import RpcError
from regtest.rpc.parameters import to_bytes, to_hash, to_integer


@given(st.integers(0, MAX_MONEY_SATS))
def test_amounts_survive_floats(sats):
    """Every amount written is read back to the sat, though JSON numbers are floats."""
    written = orjson.dumps(to_json(sats))
    assert to_sats(orjson.loads(written)) == sats
    assert to_sats(written.decode()) == sats


def test_amounts_look_like_cores():
    """Eight decimals, always."""
    assert orjson.dumps([to_json(5_000_000_000), to_json(1), to_json(-154)]) == (
        b"[50.00000000,0.00000001,-0.00000154]"
    )


@pytest.mark.parametrize("value", [-1, 21_000_001, 1e-9, "x", "nan", "inf", True, None, [], "1" * 500])
def test_impossible_amounts(value):
    """Negative, too large, too fine and no numbers at all are refused with -3."""
    with pytest.raises(RpcError) as caught:
        to_sats(value)
    assert caught.value.code == -3


def test_hashes():
    """64 hex digits in display order; anything else is told what is wrong with it."""
    assert to_hash("00" * 31 + "01", "txid") == b"\x01" + bytes(31)
    for value, word in [("ab", "must be of length 64 (not 2, for 'ab')"), ("zz" * 32, "hexadecimal")]:
        with pytest.raises(RpcError) as caught:
            to_hash(value, "txid")
        assert word in caught.value.message
    for value in ("0x00", "+1", " a", "é1", "abc"):
        assert to_bytes(value) is None
    assert to_bytes("") == b""


def test_integers():
    """Whole floats are integers, fractions and giants are not."""
    assert to_integer(3.0) == 3
    for value in (1.5, 2**31, float("inf"), float("nan")):
        with pytest.raises(RpcError):
            to_integer(value)
