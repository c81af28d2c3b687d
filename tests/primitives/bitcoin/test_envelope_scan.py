"""Scanning a block finds envelopes in block order, counts what is malformed, and looks at witnesses alone."""

import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.bitcoin.envelope import Envelope, EnvelopeKind, leaf_of_witness, scan_block
from primitives.bitcoin.envelope_codecs import EnvelopeCodec
from primitives.bitcoin.header import parse_header
from primitives.bitcoin.script import PAY_TO_ANCHOR, p2tr_script, p2wsh_script, witness_script
from primitives.bitcoin.transaction import Transaction, TxIn, TxOut
from primitives.errors import InvalidInput
from tests.primitives.bitcoin.envelopes import (
    CONTROL,
    DROP_CODES,
    IDENTITY,
    LEAF_CODECS,
    PAYLOAD,
    SIGNER,
    TAG,
    data_of,
    header_of,
    is_output,
    malformed_scripts,
    script_of,
)
from tests.primitives.bitcoin.transactions import (
    ANY_OUTPUT,
    COINBASE,
    TRANSACTIONS,
    block_of,
    revealing,
)

HEADER = bytes(range(80))
SIGNATURE = bytes(64)


def stack(number=7, codec=EnvelopeCodec.IF520):
    """Return the witness of a reveal of envelope `number`."""
    return [SIGNATURE, script_of(codec, header_of(number=number).encode() + PAYLOAD), CONTROL]


def note(number):
    """Return an output that carries envelope `number`."""
    return TxOut(0, script_of(EnvelopeCodec.OPRETURN, header_of(number=number).encode() + PAYLOAD))


def numbers(result):
    """Return the numbers of the envelopes found, with their places."""
    return [(entry.header.number, entry.tx_index, entry.position) for entry in result.envelopes]


def test_envelopes_come_in_block_order():
    """By transaction, inputs before outputs; each names its transaction and its place in it."""
    first = revealing(stack(5), [b"other"], stack(4), outputs=[ANY_OUTPUT, note(3)])
    second = revealing(stack(2), outputs=[note(1)])
    result = scan_block(block_of(first, second, header=HEADER), IDENTITY)
    assert numbers(result) == [(5, 1, 0), (4, 1, 2), (3, 1, 4), (2, 2, 0), (1, 2, 1)]
    assert result.dropped == ()
    assert result.header == parse_header(HEADER)
    assert result.envelopes[0] == Envelope(header_of(number=5), SIGNER, PAYLOAD, first.txid, 1, 0)
    assert {entry.txid for entry in result.envelopes} == {first.txid, second.txid}


def test_malformed_ones_are_counted_in_place():
    """What is dropped names its place and code, and what stands beside it is found all the same."""
    cases = malformed_scripts()
    transactions = [
        revealing([], outputs=[TxOut(0, case.script)])
        if is_output(case.script)
        else revealing([SIGNATURE, case.script, CONTROL])
        for case in cases
    ]
    result = scan_block(block_of(*transactions, revealing(stack(9))), IDENTITY)
    assert [(entry.tx_index, entry.code) for entry in result.dropped] == [
        (at, case.code) for at, case in enumerate(cases, 1)
    ]
    assert {entry.position for entry in result.dropped} == {0, 1}
    assert numbers(result) == [(9, len(cases) + 1, 0)]


def test_a_stack_as_long_as_the_block_is_scanned_in_bounded_memory():
    """Any witness may stand on an unknown witness version: below the leaf lie as many items as a block has bytes."""
    plain = scan_block(block_of(revealing(stack(5), [SIGNATURE])), IDENTITY)
    raw = block_of(revealing([*[b""] * 300_000, *stack(5)], [b""] * 300_000))
    tracemalloc.start()
    result = scan_block(raw, IDENTITY)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert numbers(result) == numbers(plain) == [(5, 1, 0)]
    assert peak < 100_000


def test_another_chain_sees_nothing():
    """Envelopes of other tags are neither found nor counted."""
    raw = block_of(revealing(stack(), outputs=[note(1)]), revealing([SIGNATURE, stack()[1][:-1], CONTROL]))
    assert scan_block(raw, bytes(32)) == scan_block(block_of(), IDENTITY)


def test_one_witness_means_one_thing_whatever_it_spends():
    """On P2TR, witness v2, P2A and P2WSH outputs, made in the same block, one witness gives one envelope."""
    witness = stack()
    scripts = [
        p2tr_script(SIGNER),
        witness_script(2, bytes(32)),
        PAY_TO_ANCHOR,
        p2wsh_script(bytes(32)),
    ]
    funding = Transaction((TxIn(COINBASE.outpoint(0)),), tuple(TxOut(1_000, script) for script in scripts))
    spends = [
        Transaction((TxIn(funding.outpoint(index), witness=tuple(witness)),), (ANY_OUTPUT,))
        for index in range(len(scripts))
    ]
    result = scan_block(block_of(funding, *spends), IDENTITY)
    assert [entry.tx_index for entry in result.envelopes] == [2, 3, 4, 5]
    assert {(entry.header, entry.signer, entry.payload) for entry in result.envelopes} == {
        (header_of(), SIGNER, PAYLOAD)
    }


@pytest.mark.parametrize("codec", LEAF_CODECS)
def test_the_annex_and_further_items_are_passed_over(codec):
    """What stands below the script, and an annex above the control block, change nothing."""
    witness = stack(3, codec)
    for variant in (
        witness,
        witness[1:],
        [b"", b"x", *witness],
        [*witness, b"\x50"],
        [*witness, b"\x50annex"],
    ):
        assert numbers(scan_block(block_of(revealing(variant)), IDENTITY)) == [(3, 1, 0)]


SCRIPT = b"script"


@pytest.mark.parametrize(
    ("items", "found"),
    [
        ([], False),
        ([SCRIPT], False),
        ([CONTROL], False),
        ([SCRIPT, CONTROL], True),
        ([SCRIPT, CONTROL, b"\x50"], True),
        ([CONTROL, b"\x50"], False),
        ([SCRIPT, b""], False),
        ([SCRIPT, CONTROL[:-1]], False),
        ([SCRIPT, CONTROL + b"\0"], False),
        ([SCRIPT, CONTROL + bytes(32)], True),
        ([SCRIPT, CONTROL + bytes(32 * 128)], True),
        ([SCRIPT, CONTROL + bytes(32 * 129)], False),
        ([SCRIPT, b"\xc0" + CONTROL[1:]], True),
        ([SCRIPT, b"\xc2" + CONTROL[1:]], False),
        ([SCRIPT, b"\x50" + CONTROL[1:]], False),
        ([b"x", SCRIPT, CONTROL, b"\x51"], False),
        ([SCRIPT, CONTROL, b"\x50", b"\x50"], False),
    ],
)
def test_the_shape_of_a_leaf_spend(items, found):
    """A control block of leaf version 0xc0 and a possible depth, under at most one annex, marks a script."""
    leaf = leaf_of_witness([memoryview(item) for item in items])
    assert (leaf is not None) == found
    assert leaf is None or leaf == SCRIPT


@given(st.lists(TRANSACTIONS, max_size=4))
def test_foreign_blocks_hold_nothing(transactions):
    """A block without our mark yields nothing but its header."""
    result = scan_block(block_of(*transactions, header=HEADER), IDENTITY)
    assert (result.header, result.envelopes, result.dropped) == (parse_header(HEADER), (), ())


@given(st.lists(st.booleans(), max_size=5), st.lists(TRANSACTIONS, min_size=5, max_size=5))
def test_the_quick_look_never_hides_an_envelope(ours, foreign):
    """Among foreign transactions, exactly the transactions that carry envelopes yield them."""
    mixed = [revealing(stack(at)) if flag else foreign[at] for at, flag in enumerate(ours)]
    expected = [(at, at + 1, 0) for at, flag in enumerate(ours) if flag]
    assert numbers(scan_block(block_of(*mixed), IDENTITY)) == expected


@pytest.mark.parametrize("tag", [b"BTAI", b"TAI\0", b"....", b"\\\\\\\\", b"[a-z", b"\n\n\n\n"])
def test_awkward_tags_are_found(tag):
    """Tags that look like the magic, or like a pattern, are bytes like any others."""
    data = b"BTAI\0" + tag
    overlapping = revealing([b"BTAIBTAI", SIGNATURE, script_of(EnvelopeCodec.IF520, b"BTA" + data), CONTROL])
    raw = block_of(overlapping, revealing([SIGNATURE, script_of(EnvelopeCodec.IF520, data), CONTROL]))
    assert [entry.code for entry in scan_block(raw, tag + bytes(28)).dropped] == ["envelope.truncated"]


def test_marks_outside_the_template_are_nothing():
    """The mark in a signature script, a payload or an ordinary output is a coincidence."""
    mark = b"BTAI\0" + TAG
    loose = Transaction(
        (TxIn(COINBASE.outpoint(0), script_sig=mark, witness=(mark, mark)),),
        (TxOut(0, b"\x6a\x09" + mark), TxOut(0, mark), TxOut(0, b"\x6a")),
    )
    result = scan_block(block_of(loose), IDENTITY)
    assert (result.envelopes, result.dropped) == ((), ())


@given(st.data())
def test_damaged_blocks_raise_only_invalid_input(data):
    """However a block is damaged, it is read or refused in words, and what is dropped has a listed code."""
    raw = bytearray(
        block_of(revealing(stack(), [b"x"]), revealing(stack(8, EnvelopeCodec.DROP255), outputs=[note(2)]))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    code = "bitcoin_block.fine"
    try:
        result = scan_block(bytes(raw), IDENTITY)
        assert {entry.code for entry in result.dropped} <= DROP_CODES
    except InvalidInput as error:
        code = error.code
    assert re.match(r"bitcoin_(block|tx|header)\.", code)


@given(st.binary(max_size=200))
def test_random_blocks_raise_only_invalid_input(noise):
    """Bytes that are no block but hold our mark are refused in words."""
    code = "bitcoin_block.fine"
    try:
        scan_block(noise + b"BTAI\0" + TAG, IDENTITY)
    except InvalidInput as error:
        code = error.code
    assert re.match(r"bitcoin_(block|tx|header)\.", code)


def test_a_copied_envelope_is_reported_twice():
    """Duplicates are for the readers of a kind to judge: the scan says what is there."""
    result = scan_block(block_of(revealing(stack()), revealing([], stack())), IDENTITY)
    assert numbers(result) == [(7, 1, 0), (7, 2, 1)]
    assert result.envelopes[0].header.kind is EnvelopeKind.BATCH_FRAME
    assert data_of() == result.envelopes[0].header.encode() + PAYLOAD
