"""Bitcoin hashes cross between internal and display order in one place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.errors import InvalidInput
from primitives.ids import display_hash, parse_display_hash

GENESIS = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"


@given(st.binary(min_size=32, max_size=32))
def test_display_order_round_trips(internal):
    """Showing a hash and reading it back changes nothing, in either letter case."""
    shown = display_hash(internal)
    assert parse_display_hash(shown) == parse_display_hash(shown.upper()) == internal


def test_display_order_is_the_reverse():
    """The zeros of a block hash come first for people, last for the machine."""
    assert parse_display_hash(GENESIS)[-5:] == bytes(5)


@pytest.mark.parametrize("text", ["", "00", GENESIS + "00", GENESIS[:-1] + "g", " " + GENESIS[1:], "é" * 64])
def test_other_texts_are_no_hash(text):
    """Wrong length, a foreign digit, a space: refused, not repaired."""
    with pytest.raises(InvalidInput, match=r"hash\.bad_display"):
        parse_display_hash(text)
