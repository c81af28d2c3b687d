"""A signed block carries exactly its data, and its signature exactly this block."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.codec import Writer
from primitives.curve import xonly_public_key
from primitives.errors import InvalidInput
from primitives.hashes import sha256
from rollup.follower.signed_block import (
    MAX_SIGNED_BLOCK_BYTES,
    decode_block_data,
    decode_signed_block,
    encode_block_data,
    encode_signed_block,
    require_signature,
    sign_block,
)
from vm.types import BlockData, InferenceRecord, L1Origin, SystemTransaction

IDENTITY = sha256(b"chain")
SECRET = sha256(b"sequencer")
KEY = xonly_public_key(SECRET)

u64 = st.integers(0, 2**64 - 1)
wei = st.integers(0, 2**256 - 1)
hashes = st.binary(min_size=32, max_size=32)
addresses = st.binary(min_size=20, max_size=20)
system = st.builds(
    SystemTransaction,
    source_hash=hashes,
    sender=addresses,
    to=st.one_of(st.none(), addresses),
    mint=wei,
    value=wei,
    gas=u64,
    data=st.binary(max_size=80),
)


@st.composite
def block_data(draw):
    """Any block's data."""
    transactions = tuple(draw(st.lists(st.binary(max_size=120), max_size=4)))
    record = st.builds(
        InferenceRecord,
        tx_index=st.integers(0, max(0, len(transactions) - 1)),
        request_hash=hashes,
        status=st.integers(0, 255),
        output=st.binary(max_size=60),
        neuron=addresses,
        signature=st.binary(min_size=65, max_size=65),
        ask_height=u64,
    )
    return BlockData(
        number=draw(u64),
        timestamp=draw(u64),
        origin=L1Origin(draw(u64), draw(hashes), draw(u64)),
        system_transactions=tuple(draw(st.lists(system, max_size=3))),
        transactions=transactions,
        records=tuple(draw(st.lists(record, max_size=3))) if transactions else (),
    )


BLOCK = BlockData(7, 1_000, L1Origin(100, sha256(b"origin"), 900), (), (b"raw",))


def signed(data=BLOCK, **changes):
    """A block as the sequencer signs it, and then changed."""
    made = sign_block(SECRET, IDENTITY, data, parent_hash=sha256(b"parent"), block_hash=sha256(b"block"))
    return replace(made, **changes)


@given(block_data())
def test_round_trip(data):
    """What was signed is read back to the last byte, in its one encoding, and the signature holds."""
    block = signed(data)
    raw = encode_signed_block(block)
    read = decode_signed_block(raw)
    assert read == block
    assert encode_block_data(read.data) == read.content == block.content
    assert decode_block_data(encode_block_data(data)) == data
    require_signature(read, IDENTITY, KEY)


@given(block_data(), st.data())
def test_any_other_bytes_are_no_such_block(data, draw):
    """Change one byte anywhere: it does not decode, or the signature does not hold."""
    raw = bytearray(encode_signed_block(signed(data)))
    place = draw.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= draw.draw(st.integers(1, 255))
    with pytest.raises(InvalidInput):
        require_signature(decode_signed_block(bytes(raw)), IDENTITY, KEY)


@given(block_data(), st.data())
def test_truncated_or_longer_is_refused(data, draw):
    """Cut anywhere, or with bytes left over, a block is refused by code."""
    raw = encode_signed_block(signed(data))
    cut = draw.draw(st.integers(0, len(raw) - 1))
    for wrong in (raw[:cut], raw + b"\0"):
        with pytest.raises(InvalidInput) as caught:
            decode_signed_block(wrong)
        assert caught.value.code.startswith(("codec.", "unsafe_block."))


@given(st.binary(max_size=300))
def test_garbage_is_refused(raw):
    """Random bytes do not decode, or carry no signature; nothing else is raised."""
    with pytest.raises(InvalidInput):
        require_signature(decode_signed_block(b"\0" + raw), IDENTITY, KEY)


def test_signature_binds_chain_and_key():
    """Another chain's identity or another key does not carry over."""
    require_signature(signed(), IDENTITY, KEY)
    for identity, key in ((sha256(b"other"), KEY), (IDENTITY, xonly_public_key(sha256(b"other")))):
        with pytest.raises(InvalidInput) as caught:
            require_signature(signed(), identity, key)
        assert caught.value.code == "unsafe_block.bad_signature"


def test_contradiction_is_one_place_and_two_blocks():
    """Same parent and origin, other block: evidence. Same block, or another parent or origin: none."""
    said = signed().statement
    other = replace(said, block_hash=sha256(b"other"))
    assert said.contradicts(other)
    assert other.contradicts(said)
    assert not said.contradicts(said)
    assert not said.contradicts(replace(other, parent_hash=sha256(b"p")))
    assert not said.contradicts(replace(other, origin_hash=sha256(b"o")))
    assert len(said.encode()) == 192
    said.require_signature(IDENTITY, KEY)


def codes_of(*raws):
    """The code with which each is refused."""
    found = []
    for raw in raws:
        with pytest.raises(InvalidInput) as caught:
            decode_signed_block(raw)
        found.append(caught.value.code)
    return found


def test_claims_are_checked_before_they_cost_anything():
    """A version, size, count or index that cannot be is refused, whatever follows it."""
    head = encode_signed_block(signed())[:129]
    fixed = Writer()
    for part in (7, 1_000, 100):
        fixed.u64(part)
    fixed.raw(sha256(b"origin"))
    fixed.u64(900)

    def content(*parts):
        writer = Writer()
        writer.raw(fixed.finish())
        for part in parts:
            writer.uvarint(part) if isinstance(part, int) else writer.raw(part)
        return head + writer.finish()

    foreign_record = content(0, 0, 1, 0, bytes(32 + 1 + 1 + 20 + 65 + 8))
    odd_address = content(1, bytes(52), 3, bytes(120), 0, 0)
    assert codes_of(
        b"\1" + head[1:],
        bytes(MAX_SIGNED_BLOCK_BYTES + 1),
        content(0, 2**40),
        content(10_001, bytes(20_000)),
        foreign_record,
        odd_address,
    ) == [
        "unsafe_block.version",
        "unsafe_block.oversized",
        "unsafe_block.count",
        "unsafe_block.count",
        "unsafe_block.record",
        "unsafe_block.address",
    ]
