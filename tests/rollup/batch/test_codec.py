"""A batch has one encoding, holds any bytes, and nothing decodes that the encoder did not make."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.errors import InvalidInput
from rollup.batch.codec import Batch, BatchBlock, BatchFormat, decode_batch, encode_batch
from rollup.batch.columns import ColumnWriter, Table
from rollup.batch.transactions import WHOLE, put_together, take_apart
from rollup.limits import Limits
from tests.rollup.batch.strategies import CHAIN_ID, FORM, batches, fields, raws

LIMITS = Limits()


def block(*transactions, timestamp=100, height=7, prefix=b"\1\2\3\4", records=()):
    """A block of a batch."""
    return BatchBlock(timestamp, height, prefix, tuple(transactions), tuple(records))


def decode(data):
    """The batch, or None and the code of the refusal."""
    try:
        return decode_batch(FORM, data, LIMITS), ""
    except InvalidInput as error:
        return None, error.code


@given(batches())
def test_every_batch_survives(batch):
    """decode(encode(x)) == x, whatever bytes the transactions are."""
    assert decode_batch(FORM, encode_batch(FORM, batch), LIMITS) == batch


@given(fields())
def test_taking_apart_loses_nothing(each):
    """Every well-formed transaction of this chain is taken apart and comes back as it was."""
    assert take_apart(put_together(each, CHAIN_ID), CHAIN_ID) == each


@given(raws)
def test_what_is_taken_apart_is_byte_exact(raw):
    """Bytes are taken apart only where putting them together gives the same bytes."""
    each = take_apart(raw, CHAIN_ID)
    assert each is None or put_together(each, CHAIN_ID) == raw


@given(batches(), st.integers(0, 2**16), st.integers(1, 255))
def test_one_encoding(batch, at, bit):
    """A changed byte gives another batch or none, and what decodes encodes to the very same bytes."""
    data = bytearray(encode_batch(FORM, batch))
    data[at % len(data)] ^= bit
    decoded, code = decode(bytes(data))
    assert code.startswith("batch.") if decoded is None else encode_batch(FORM, decoded) == data
    assert decoded != batch


@given(st.binary(max_size=300))
def test_garbage_is_refused_with_a_code(data):
    """Any bytes decode or raise InvalidInput `batch.*`, and nothing else."""
    decoded, code = decode(b"\0" + data)
    assert code.startswith("batch.") if decoded is None else encode_batch(FORM, decoded) == b"\0" + data


@given(batches(), st.integers(1, 40))
def test_a_cut_or_longer_batch_is_refused(batch, size):
    """A batch ends where its columns end."""
    data = encode_batch(FORM, batch)
    with pytest.raises(InvalidInput):
        decode_batch(FORM, data[: -min(size, len(data))], LIMITS)
    with pytest.raises(InvalidInput, match=r"batch\.trailing"):
        decode_batch(FORM, data + bytes(size), LIMITS)


def test_limits_count_blocks_transactions_and_bytes():
    """Each bound is met exactly and not passed."""
    small = Limits(channel_blocks=2, channel_transactions=3, decompressed_bytes=20)
    two = Batch(1, (block(b"a", b"b", b"c"), block(timestamp=102)))
    assert decode_batch(FORM, encode_batch(FORM, two), small) == two
    three = Batch(1, (*two.blocks, block(timestamp=104)))
    cases = [
        (three, "batch.too_many_blocks"),
        (Batch(1, (block(b"a", b"b", b"c", b"d"),)), "batch.too_many_transactions"),
        (Batch(1, (block(bytes(21)),)), "batch.too_large"),
    ]
    for batch, code in cases:
        with pytest.raises(InvalidInput) as caught:
            decode_batch(FORM, encode_batch(FORM, batch), small)
        assert caught.value.code == code


def test_a_table_cannot_unfold_to_more_than_the_bound():
    """A few bytes a reference stand for twenty each, so what comes out is bounded, not only what goes in."""
    access_list = tuple((bytes(20), ()) for _ in range(2_000))
    raw = put_together(take_apart(_transfer(), CHAIN_ID)._replace(access_list=access_list), CHAIN_ID)
    data = encode_batch(FORM, Batch(1, (block(raw),)))
    assert len(data) < 5_000 < len(raw)
    assert Batch(1, (block(raw), block(b"x"))).count_bytes(len(data)) == len(raw) + 1
    assert Batch(1, (block(b"x"),)).count_bytes(70) == 70
    with pytest.raises(InvalidInput, match=r"batch\.too_large"):
        decode_batch(FORM, data, Limits(decompressed_bytes=10_000))


def _repeat_entries(transactions, entries):
    """A batch of type 1 transactions, each with one address in its access list again and again."""
    once = put_together(take_apart(_transfer(), CHAIN_ID)._replace(kind=1, priority_fee=0), CHAIN_ID)
    writer, addresses = ColumnWriter(), Table(20)
    fields_ = [take_apart(once, CHAIN_ID)] * transactions
    writer.octets([0])
    writer.uvarints([1, 1, 100, 7])
    writer.raw([b"\1\2\3\4"])
    writer.uvarints([transactions, 0])
    writer.octets([1] * transactions)
    writer.uvarints(each.nonce for each in fields_)
    writer.uvarints(each.gas_limit for each in fields_)
    writer.amounts([each.fee for each in fields_])
    writer.amounts([])
    addresses.write(writer, [each.to or None for each in fields_])
    writer.amounts([each.value for each in fields_])
    writer.uvarints(len(each.data) for each in fields_)
    Table(4).write(writer, [each.data[:4] for each in fields_ if len(each.data) >= 4])
    writer.raw(each.data[4:] for each in fields_)
    writer.uvarints([entries] * transactions)
    addresses.write(writer, [b"\7" * 20] * (entries * transactions))
    writer.uvarints([0] * (entries * transactions))
    writer.bits([each.parity for each in fields_])
    writer.raw(each.r.to_bytes(32, "big") for each in fields_)
    writer.raw(each.s.to_bytes(32, "big") for each in fields_)
    return writer.finish()


@pytest.mark.parametrize(("transactions", "entries", "megabytes"), [(1, 740_000, 64), (9, 10_200, 2)])
def test_repeated_entries_do_not_fill_memory(transactions, entries, megabytes):
    """A channel of 200 bytes unfolds to very many entries: refused before they are built."""
    data = _repeat_entries(transactions, entries)
    limits = Limits(decompressed_bytes=megabytes << 20)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match=r"batch\.too_large"):
            decode_batch(FORM, data, limits)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * limits.decompressed_bytes


def test_repeated_entries_that_fit_are_read():
    """Below the bound nothing is refused."""
    data = _repeat_entries(2, 500)
    decoded, code = decode(data)
    assert not code
    assert encode_batch(FORM, decoded) == data


@pytest.mark.parametrize(
    ("blocks", "code"),
    [
        ((), "batch.empty"),
        ((block(), block(timestamp=103)), "batch.bad_time"),
        ((block(), block(timestamp=98)), "batch.bad_time"),
        ((block(), block(height=9)), "batch.bad_origin"),
        ((block(), block(prefix=b"\0\0\0\0")), "batch.bad_origin"),
        ((block(prefix=b"\0"),), "batch.bad_origin"),
        ((block(timestamp=-1),), "batch.out_of_range"),
    ],
)
def test_blocks_that_no_batch_holds(blocks, code):
    """The encoder refuses what the format cannot say."""
    with pytest.raises(InvalidInput) as caught:
        encode_batch(FORM, Batch(1, blocks))
    assert caught.value.code == code


def test_another_version_is_told_apart():
    """The first byte is the version; a later one may mean anything."""
    data = encode_batch(FORM, Batch(1, (block(),)))
    with pytest.raises(InvalidInput, match=r"batch\.unknown_version"):
        decode_batch(FORM, b"\1" + data[1:], LIMITS)


def test_a_transaction_of_another_chain_stays_whole():
    """Only this chain's transactions are taken apart, so the chain id is never written."""
    raw = _transfer()
    assert take_apart(raw, CHAIN_ID) is not None
    assert take_apart(raw, CHAIN_ID + 1) is None
    data = encode_batch(BatchFormat(CHAIN_ID + 1, 2), Batch(1, (block(raw),)))
    assert raw in data
    assert bytes([WHOLE]) in data


def test_records_keep_their_place():
    """A record that belongs to no transaction of its block is refused on both sides."""
    from vm.types import InferenceRecord

    record = InferenceRecord(0, bytes(32), 0, b"answer", bytes(20), bytes(65), 7)
    batch = Batch(1, (block(b"raw", records=(record,)),))
    assert decode_batch(FORM, encode_batch(FORM, batch), LIMITS) == batch
    with pytest.raises(InvalidInput, match=r"batch\.bad_record"):
        encode_batch(FORM, Batch(1, (block(records=(record,)),)))


def _transfer() -> bytes:
    from rollup.batch.transactions import Fields

    return put_together(
        Fields(2, 5, 21_000, 3 * 10**9, 10**9, bytes(19) + b"\7", 10**16, b"", (), (), 1, 2**255 - 1, 2**254),
        CHAIN_ID,
    )
