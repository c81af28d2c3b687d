"""Headers read, hash and weigh as Bitcoin's do."""

import pytest
from bitcoin.core import CBlockHeader
from hypothesis import given
from hypothesis import strategies as st

from primitives.bitcoin.header import BlockHeader, expand_target, median_time_past, parse_header
from primitives.errors import InvalidInput
from primitives.ids import Hash32, L1Hash, display_hash

GENESIS = bytes.fromhex(
    "01000000"
    "0000000000000000000000000000000000000000000000000000000000000000"
    "3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a"
    "29ab5f49ffff001d1dac2b7c"
)
HASHES = st.binary(min_size=32, max_size=32)
U32 = st.integers(0, 2**32 - 1)
HEADERS = st.builds(
    BlockHeader, st.integers(-(2**31), 2**31 - 1), HASHES.map(L1Hash), HASHES.map(Hash32), U32, U32, U32
)


def test_the_genesis_header():
    """The first block's header has its famous hash, meets its target and counts 2^32 hashes of work."""
    header = parse_header(GENESIS)
    assert display_hash(header.hash) == "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
    assert header.meets_target
    assert header.target == 0xFFFF << 208
    assert header.work == 0x100010001
    assert header.time == 1_231_006_505


@given(HEADERS)
def test_headers_round_trip_and_agree_with_bitcoinlib(header):
    """80 bytes in, the same 80 bytes out, with the hash another library computes."""
    raw = header.encode()
    assert parse_header(raw) == header
    assert header.hash == CBlockHeader.deserialize(raw).GetHash()


@pytest.mark.parametrize("length", [0, 79, 81])
def test_a_header_is_80_bytes(length):
    """No more, no less."""
    with pytest.raises(InvalidInput, match=r"bitcoin_header\.bad_length"):
        parse_header(bytes(length))


@pytest.mark.parametrize(
    ("bits", "target"),
    [
        (0x207FFFFF, 0x7FFFFF << 232),
        (0x1D00FFFF, 0xFFFF << 208),
        (0x01003456, 0x00),
        (0x01123456, 0x12),
        (0x02123456, 0x1234),
        (0x03123456, 0x123456),
        (0x05009234, 0x92340000),
        (0x04923456, 0),  # negative
        (0x220000FF, 0xFF << 248),
        (0x22000100, 0),  # 2^256 and more
        (0x2100FFFF, 0xFFFF << 240),
        (0xFF123456, 0),
    ],
)
def test_compact_targets(bits, target):
    """Bitcoin Core's examples; what is negative or overflows gives a target that no hash meets."""
    assert expand_target(bits) == target


@given(HEADERS)
def test_work_is_total(header):
    """No header makes work or target fail, and work is 0 exactly where nothing can meet the target."""
    assert (header.work == 0) == (header.target == 0)
    assert not (header.target == 0 and header.meets_target)


@given(st.lists(U32, min_size=1, max_size=30))
def test_median_time_past(times):
    """The middle of the last eleven, sorted; the upper middle of an even number."""
    recent = sorted(times[-11:])
    assert median_time_past(times) == recent[len(recent) // 2]
    below = sum(time < median_time_past(times) for time in recent)
    assert below <= len(recent) // 2


def test_no_times():
    """There is no median of nothing."""
    with pytest.raises(InvalidInput, match=r"bitcoin_header\.no_times"):
        median_time_past([])
