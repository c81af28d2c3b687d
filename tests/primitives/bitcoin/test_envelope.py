"""An envelope round-trips through every codec, and what breaks a rule is dropped with that rule's code."""

import hashlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.bitcoin.envelope import (
    MAX_PAYLOAD_BYTES,
    EnvelopeKind,
    build_header,
    encode_leaf,
    encode_op_return,
    parse_leaf,
    parse_op_return,
)
from primitives.bitcoin.envelope_codecs import EnvelopeCodec
from primitives.bitcoin.script import OP_2DROP, OP_DROP, push
from primitives.bitcoin.transaction import MAX_STANDARD_WEIGHT
from primitives.curve import schnorr_verify
from primitives.errors import InvalidInput
from tests.primitives.bitcoin.envelopes import (
    CONTROL,
    DROP_CODES,
    IDENTITY,
    LEAF_CODECS,
    OTHER_SECRET,
    PAYLOAD,
    SECRET,
    SIGNER,
    TAG,
    data_of,
    flipped,
    header_of,
    ignored_data,
    ignored_scripts,
    is_output,
    malformed_data,
    malformed_scripts,
    script_of,
)
from tests.primitives.bitcoin.transactions import revealing

# Payloads that end just before, at and after every change of push count and opcode; a header is 122 bytes.
EDGES = sorted(
    {0, 1, 254, 255, 256, 519, 520, 521, MAX_PAYLOAD_BYTES}
    | {size - 122 + delta for size in (255, 256, 510, 520, 765, 1_040, 65_536) for delta in (-1, 0, 1)}
)


def encode(codec, header, payload, signer=SIGNER):
    """Return the script of an envelope, whatever carries it."""
    if codec is EnvelopeCodec.OPRETURN:
        return encode_op_return(signer, header, payload)
    return encode_leaf(codec, signer, header, payload)


def parse(script, identity=IDENTITY):
    """Return what the parser for this kind of script says."""
    return (parse_op_return if is_output(script) else parse_leaf)(script, identity)


def code_of(script, identity=IDENTITY):
    """Return the code with which a script is dropped."""
    with pytest.raises(InvalidInput) as caught:
        parse(script, identity)
    return caught.value.code


def test_the_layout():
    """Every field stands where docs/spec/envelope.md says, and the signature signs what it says."""
    header = build_header(
        SECRET, EnvelopeKind.ASSERTION, b"abc", identity=IDENTITY, number=0x0102030405060708, index=0x090A0B0C
    )
    raw = header.encode()
    assert len(raw) == 122
    assert (raw[0:4], raw[4], raw[5:9], raw[9]) == (b"BTAI", 0, TAG, 2)
    assert raw[10:26].hex() == "0102030405060708" + "090a0b0c" + "00000003"
    assert raw[26:58] == hashlib.sha256(b"abc").digest()
    prefix = hashlib.sha256(b"BitAI/envelope").digest() * 2
    digest = hashlib.sha256(prefix + raw[:58] + SIGNER + IDENTITY).digest()
    assert schnorr_verify(SIGNER, digest, raw[58:122])


@pytest.mark.parametrize("codec", EnvelopeCodec)
@pytest.mark.parametrize("size", EDGES)
def test_round_trip_at_the_edges(codec, size):
    """Every size around a change of the template comes back whole, also as a view."""
    payload = (bytes(range(251)) * (size // 251 + 1))[:size]
    header = header_of(payload)
    script = encode(codec, header, payload)
    content = parse(memoryview(script))
    assert (content.header, content.signer, content.payload) == (header, SIGNER, payload)


PLACES = st.fixed_dictionaries(
    {
        "identity": st.binary(min_size=32, max_size=32),
        "number": st.integers(0, 2**64 - 1),
        "index": st.integers(0, 2**32 - 1),
    }
)


@given(st.sampled_from(EnvelopeCodec), st.sampled_from(EnvelopeKind), st.binary(max_size=1_500), PLACES)
def test_round_trip(codec, kind, payload, place):
    """All fields come back, for every kind and chain, and to another chain the envelope does not exist."""
    header = build_header(SECRET, kind, payload, **place)
    identity = place["identity"]
    script = encode(codec, header, payload)
    content = parse(script, identity)
    assert content.payload == payload
    assert (content.header.kind, content.header.number) == (kind, place["number"])
    assert content.header == header
    assert parse(script, flipped(identity, 3)) is None
    assert code_of(script, flipped(identity, 31)) == "envelope.bad_signature"


@pytest.mark.parametrize("codec", EnvelopeCodec)
@pytest.mark.parametrize("last", [b"\x00", b"\x01", b"\x10", b"\x11", b"\x80", b"\x81", b"\xff"])
def test_a_last_piece_of_one_byte(codec, last):
    """A last byte that a number opcode can push is pushed by it: drop255 executes its pushes, minimally."""
    size = 521 if codec is EnvelopeCodec.IF520 else 256
    payload = bytes(size - 122 - 1) + last
    script = encode(codec, header_of(payload), payload)
    assert parse(script).payload == payload
    if codec is not EnvelopeCodec.OPRETURN and len(push(last)) == 1:
        at = len(script) - 2
        assert script[at : at + 1] == push(last)
        assert code_of(script[:at] + b"\x01" + last + script[at + 1 :]) == "envelope.template"


@pytest.mark.parametrize(("codec", "size"), [(EnvelopeCodec.IF520, 520), (EnvelopeCodec.DROP255, 255)])
@pytest.mark.parametrize("pieces", [1, 2, 3, 4])
def test_full_pieces_have_one_script(codec, size, pieces):
    """Bytes that fill their pieces end with the last full one: an empty piece behind it is refused."""
    payload = bytes(pieces * size - 122)
    script = encode(codec, header_of(payload), payload)
    assert parse(script).payload == payload
    if codec is EnvelopeCodec.IF520:
        longer = script[:-1] + b"\x00" + script[-1:]
    elif pieces % 2:
        longer = script[:-1] + b"\x00" + bytes([OP_2DROP])
    else:
        longer = script + b"\x00" + bytes([OP_DROP])
    assert code_of(longer) == "envelope.template"


@pytest.mark.parametrize("case", malformed_scripts(), ids=lambda case: case.name)
def test_malformed_scripts_are_dropped_with_their_code(case):
    """Each rule that a script under our tag can break has one code."""
    assert code_of(case.script) == case.code


def test_every_code_is_covered():
    """The malformed cases reach every code that the specification lists."""
    assert {case.code for case in malformed_scripts()} == DROP_CODES


@pytest.mark.parametrize("codec", EnvelopeCodec)
@pytest.mark.parametrize(
    ("name", "data"), ignored_data(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_is_not_ours_is_ignored(codec, name, data):
    """Other tags, other protocols and unknown kinds are nobody's fault."""
    script = script_of(codec, data or b"\0")
    assert parse(script) is None


@pytest.mark.parametrize(
    ("name", "script"), ignored_scripts(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_scripts_that_open_otherwise_are_ignored(name, script):
    """Only a script that opens like a carrier is judged; in any other our bytes are a coincidence."""
    assert parse(script) is None


@pytest.mark.parametrize("codec", EnvelopeCodec)
def test_every_cut_is_noticed(codec):
    """Cut after any byte, a script is dropped if its mark is still there and ignored if not."""
    script = script_of(codec, data_of())
    whole_mark = script.index(b"BTAI") + 9
    for cut in range(len(script)):
        if cut < whole_mark:
            assert parse(script[:cut]) is None
        else:
            assert code_of(script[:cut]) in {"envelope.template", "envelope.length_mismatch"}


@pytest.mark.parametrize("codec", EnvelopeCodec)
def test_a_header_copied_under_another_signer(codec):
    """Who copies a whole leaf makes a duplicate; who puts the header under his own key makes nothing."""
    stranger = header_of(secret=OTHER_SECRET)
    assert (
        code_of(script_of(codec, header_of().encode() + PAYLOAD, signer=CONTROL[1:]))
        == "envelope.bad_signature"
    )
    assert code_of(script_of(codec, stranger.encode() + PAYLOAD)) == "envelope.bad_signature"
    assert parse(script_of(codec, stranger.encode() + PAYLOAD, signer=CONTROL[1:])).signer == CONTROL[1:]


@pytest.mark.parametrize("codec", EnvelopeCodec)
def test_a_signer_that_is_no_point(codec):
    """A key that is not on the curve signs nothing, and is no exception either."""
    assert code_of(script_of(codec, data_of(), signer=b"\xff" * 32)) == "envelope.bad_signature"


@pytest.mark.parametrize("codec", EnvelopeCodec)
def test_a_payload_above_the_limit(codec):
    """395,001 bytes that are really there are refused as well, before anything is hashed."""
    payload = bytes(MAX_PAYLOAD_BYTES + 1)
    header = header_of().encode()[: 18 + 4] + len(payload).to_bytes(4, "big") + header_of().encode()[26:]
    assert code_of(script_of(codec, header + payload)) == "envelope.too_large"


@pytest.mark.parametrize("codec", EnvelopeCodec)
def test_claims_allocate_nothing(codec):
    """Headers and pushes that claim gigabytes cost kilobytes."""
    claims = [script_of(codec, data) for _, code, data in malformed_data() if code == "envelope.too_large"]
    opening = {
        EnvelopeCodec.IF520: push(SIGNER) + b"\xac\x00\x63\x4e\xff\xff\xff\xff",
        EnvelopeCodec.DROP255: push(SIGNER) + b"\xac\x4e\xff\xff\xff\xff",
        EnvelopeCodec.OPRETURN: b"\x6a\x4e\xff\xff\xff\xff" + SIGNER,
    }
    claims.append(opening[codec] + data_of()[:200])
    tracemalloc.start()
    for script in claims:
        assert code_of(script) in {"envelope.too_large", "envelope.template"}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000


@pytest.mark.parametrize("count", [1, 2, 200_000])
def test_tiny_pushes_end_the_reading(count):
    """Behind a full first piece, a block's worth of tiny pushes is refused at the first, not listed."""
    scripts = (
        script_of(EnvelopeCodec.IF520, (data_of() + bytes(520))[:520])[:-1]
        + b"\x01\x11" * count
        + b"\x01\x11\x68",
        script_of(EnvelopeCodec.DROP255, (data_of() + bytes(255))[:255])[:-1]
        + b"\x01\x11\x6d"
        + b"\x01\x11\x01\x11\x6d" * count,
    )
    tracemalloc.start()
    assert [code_of(script) for script in scripts] == ["envelope.template"] * 2
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


@given(st.sampled_from(EnvelopeCodec), st.binary(max_size=900), st.data())
def test_every_change_of_a_script_is_noticed(codec, payload, data):
    """Changing, cutting or adding bytes anywhere gives the same envelope never, and no other exception."""
    script = encode(codec, header_of(payload), payload)
    at = data.draw(st.integers(0, len(script) - 1))
    piece = data.draw(st.binary(max_size=3))
    changed = script[:at] + piece + script[at + data.draw(st.integers(0, 4)) :]
    code, content = None, None
    try:
        content = parse_leaf(changed, IDENTITY) or parse_op_return(changed, IDENTITY)
    except InvalidInput as error:
        code = error.code
    assert code in DROP_CODES | {None}
    assert content is None or changed == script


@given(st.sampled_from(EnvelopeCodec), st.binary(max_size=300))
def test_random_bytes_behind_our_mark(codec, noise):
    """Random headers and bodies under our mark are dropped with a listed code, or are unknown kinds."""
    code = None
    try:
        assert parse(script_of(codec, b"BTAI\0" + TAG + noise)) is None
    except InvalidInput as error:
        code = error.code
    assert code in DROP_CODES | {None}


@given(st.binary(max_size=200))
def test_random_scripts_are_ignored(script):
    """Random scripts are not ours and raise nothing."""
    assert parse_leaf(script, IDENTITY) is None
    assert parse_op_return(script, IDENTITY) is None


@pytest.mark.parametrize("codec", LEAF_CODECS)
def test_the_largest_payload_fits_a_standard_transaction(codec):
    """395,000 bytes, one input, a signature and a change output stay within 400,000 weight units."""
    payload = bytes(MAX_PAYLOAD_BYTES)
    reveal = revealing([bytes(64), encode(codec, header_of(payload), payload), CONTROL])
    assert reveal.weight + 4 * 43 < MAX_STANDARD_WEIGHT


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (
            lambda: build_header(SECRET, EnvelopeKind.ASSERTION, b"", identity=TAG, number=0),
            "envelope.bad_identity",
        ),
        (
            lambda: build_header(SECRET, EnvelopeKind.ASSERTION, b"", identity=IDENTITY, number=2**64),
            "envelope.bad_number",
        ),
        (
            lambda: build_header(SECRET, EnvelopeKind.ASSERTION, b"", identity=IDENTITY, number=-1),
            "envelope.bad_number",
        ),
        (lambda: header_of(index=2**32), "envelope.bad_number"),
        (lambda: header_of(bytes(MAX_PAYLOAD_BYTES + 1)), "envelope.too_large"),
        (lambda: encode_leaf(EnvelopeCodec.OPRETURN, SIGNER, header_of(), PAYLOAD), "envelope.not_a_leaf"),
        (lambda: encode_leaf(EnvelopeCodec.IF520, SIGNER, header_of(), b""), "envelope.length_mismatch"),
        (lambda: encode_op_return(SIGNER, header_of(), b""), "envelope.length_mismatch"),
    ],
)
def test_a_writer_refuses_what_a_reader_would_drop(call, code):
    """Mistakes are caught before they cost a fee."""
    with pytest.raises(InvalidInput) as caught:
        call()
    assert caught.value.code == code
