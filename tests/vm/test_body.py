"""Bodies and fixed-size rows read back as they were written, and corruption is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.errors import InvariantViolation
from vm import schema
from vm.body import decode_body, encode_body
from vm.records import decode_record, encode_record
from vm.types import BlockBody, InferenceRecord, L1Origin, Skipped, TransactionPlace

hashes = st.binary(min_size=32, max_size=32)
u64 = st.integers(0, 2**64 - 1)
records = st.builds(
    InferenceRecord,
    tx_index=st.integers(0, 2**32 - 1),
    request_hash=hashes,
    status=st.integers(0, 4),
    output=st.binary(max_size=300),
    neuron=st.binary(min_size=20, max_size=20),
    signature=st.binary(min_size=65, max_size=65),
    ask_height=u64,
)
bodies = st.builds(
    BlockBody,
    transactions=st.lists(st.binary(min_size=1, max_size=300), max_size=8).map(tuple),
    records=st.lists(records, max_size=3).map(tuple),
    skipped=st.lists(
        st.builds(Skipped, st.integers(0, 2**32 - 1), hashes, st.sampled_from(["tx.nonce_too_low", "x"])),
        max_size=3,
    ).map(tuple),
)


@given(bodies)
def test_body_round_trip(body):
    """A stored body is the body."""
    assert decode_body(encode_body(body)) == body


@given(records)
def test_record_round_trip(record):
    """An encoded record is the record; what the header commits to is unambiguous."""
    assert decode_record(encode_record(record)) == record


@given(bodies, st.data())
def test_truncated_body_is_named(body, data):
    """A body cut anywhere raises `store.corrupt` or reads as less, but never crashes otherwise."""
    stored = encode_body(body)
    cut = data.draw(st.integers(0, len(stored) - 1))
    with pytest.raises(InvariantViolation, match=r"store\.corrupt"):
        decode_body(stored[:cut])


@given(hashes, u64, st.builds(L1Origin, u64, hashes, u64))
def test_fixed_rows_round_trip(block_hash, number, origin):
    """Every fixed-size value of the schema reads back."""
    extras = schema.BlockExtras(block_hash, number, origin)
    assert schema.decode_extras(schema.encode_extras(extras)) == extras
    block = schema.BlockId(number, block_hash)
    assert schema.decode_block_id(schema.encode_block_id(block)) == block
    epoch = schema.EpochStart(block_hash, number)
    assert schema.decode_epoch_start(schema.encode_epoch_start(epoch)) == epoch
    place = TransactionPlace(number, number % 2**32)
    assert schema.decode_place(schema.encode_place(place)) == place
    assert schema.decode_number(schema.encode_number(number)) == number


@pytest.mark.parametrize(
    "decode",
    [
        schema.decode_extras,
        schema.decode_block_id,
        schema.decode_epoch_start,
        schema.decode_place,
        schema.decode_number,
    ],
)
def test_wrong_length_is_corruption(decode):
    """A row of another length than this program writes stops the node."""
    with pytest.raises(InvariantViolation, match=r"store\.corrupt"):
        decode(b"\0" * 9)


def test_keys_sort_as_numbers():
    """Numbers in keys are big-endian, so that a scan goes up the chain."""
    assert sorted(schema.header_key(number) for number in (256, 2, 255, 65536)) == [
        schema.header_key(number) for number in (2, 255, 256, 65536)
    ]
