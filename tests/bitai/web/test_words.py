"""Numbers on the page: short, whole where it matters, always with their unit."""

import pytest

from bitai.web.words import byte_count, clock, sats, short_hash, span


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (None, "not yet known"),
        (0, "0 sats"),
        (999_999, "999,999 sats"),
        (100_000_000, "1 BTC"),
        (123_456_789, "1.23456789 BTC"),
        (-250_000_000, "-2.5 BTC"),
    ],
)
def test_sats(amount, words):
    """Amounts are exact and carry their unit."""
    assert sats(amount) == words


def test_hashes_and_spans():
    """Long hashes keep both ends; a span of one block is one number."""
    assert short_hash("0x1234") == "0x1234"
    assert short_hash("0x" + "ab" * 32) == "0xabababab…ababab"
    assert [span(None, None), span(5, 5), span(1, 1_000), span(3, None)] == ["", "5", "1 to 1,000", "3"]


def test_sizes_and_times():
    """Sizes round only above ten kilobytes; times are UTC."""
    assert [byte_count(9_999), byte_count(395_000)] == ["9,999 B", "395 kB"]
    assert clock(0) == "1970-01-01 00:00:00 UTC"
