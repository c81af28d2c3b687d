"""Batches of every shape: transactions of each type, bytes that are none, records."""

from hypothesis import strategies as st

from primitives import rlp
from rollup.batch.codec import Batch, BatchBlock, BatchFormat
from rollup.batch.transactions import Authorization, Fields, put_together
from vm.types import InferenceRecord

CHAIN_ID = 726_945
FORM = BatchFormat(CHAIN_ID, 2)

u64 = st.one_of(st.integers(0, 300), st.integers(0, 2**64 - 1))
amounts = st.one_of(
    st.integers(0, 2**64),
    st.integers(0, 2**256 - 1),
    st.builds(lambda m, e: m * 10**e, st.integers(0, 99), st.integers(0, 40)),
)
words = st.integers(0, 2**256 - 1)
few_addresses = st.sampled_from([bytes([n]) * 20 for n in range(6)])
selectors = st.sampled_from([b"\xa9\x05\x9c\xbb", b"\x09\x5e\xa7\xb3", bytes(4)])
call_data = st.one_of(
    st.binary(max_size=80),
    st.builds(lambda selector, rest: selector + rest, selectors, st.binary(max_size=64)),
)
access_lists = st.lists(
    st.tuples(few_addresses, st.lists(st.binary(min_size=32, max_size=32), max_size=3).map(tuple)), max_size=3
).map(tuple)
authorizations = st.lists(
    st.builds(Authorization, u64, few_addresses, u64, st.integers(0, 1), words, words), max_size=3
).map(tuple)


@st.composite
def fields(draw):
    """A transaction's fields, each present only where its type has it."""
    kind = draw(st.sampled_from([0, 1, 2, 4]))
    return Fields(
        kind=kind,
        nonce=draw(u64),
        gas_limit=draw(u64),
        fee=draw(amounts),
        priority_fee=draw(amounts) if kind in (2, 4) else 0,
        to=draw(st.one_of(st.just(b""), few_addresses, st.binary(min_size=20, max_size=20))),
        value=draw(amounts),
        data=draw(call_data),
        access_list=draw(access_lists) if kind else (),
        authorizations=draw(authorizations) if kind == 4 else (),
        parity=draw(st.integers(0, 1)),
        r=draw(words),
        s=draw(words),
    )


typed = st.builds(lambda each: put_together(each, CHAIN_ID), fields())
foreign = st.builds(put_together, fields(), st.integers(0, 2**70))
nearly = st.builds(
    lambda raw, at, bit: raw[: at % len(raw)] + bytes([raw[at % len(raw)] ^ bit]) + raw[at % len(raw) + 1 :],
    typed,
    st.integers(0, 2**16),
    st.integers(1, 255),
)
oversized_numbers = st.builds(
    lambda numbers: rlp.encode([rlp.encode_int(number) for number in numbers]),
    st.lists(st.integers(0, 2**300), min_size=9, max_size=9),
)
raws = st.one_of(typed, typed, foreign, nearly, oversized_numbers, st.binary(max_size=200))


@st.composite
def batches(draw, transactions=raws):
    """A batch that an honest sequencer could make, were its transactions any bytes at all."""
    timestamp, height = draw(st.integers(0, 2**40)), draw(st.integers(0, 2**32))
    prefix = draw(st.binary(min_size=4, max_size=4))
    blocks = []
    for _ in range(draw(st.integers(1, 5))):
        in_block = tuple(draw(st.lists(transactions, max_size=6)))
        record = st.builds(
            InferenceRecord,
            tx_index=st.integers(0, max(len(in_block) - 1, 0)),
            request_hash=st.binary(min_size=32, max_size=32),
            status=st.integers(0, 255),
            output=st.binary(max_size=50),
            neuron=few_addresses,
            signature=st.binary(min_size=65, max_size=65),
            ask_height=st.integers(max(height - 6, 0), height),
        )
        records = tuple(draw(st.lists(record, max_size=3))) if in_block else ()
        blocks.append(BatchBlock(timestamp, height, prefix, in_block, records))
        timestamp += 2 * draw(st.integers(0, 50))
        if draw(st.booleans()):
            height, prefix = height + 1, draw(st.binary(min_size=4, max_size=4))
    return Batch(draw(st.integers(0, 2**63)), tuple(blocks))
