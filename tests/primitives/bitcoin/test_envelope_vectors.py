"""The committed envelope vectors hold, in both directions."""

import json

import pytest

from primitives.bitcoin.envelope import (
    EnvelopeKind,
    build_header,
    encode_leaf,
    encode_op_return,
    parse_leaf,
    parse_op_return,
    scan_block,
)
from primitives.bitcoin.envelope_codecs import EnvelopeCodec
from primitives.curve import xonly_public_key
from primitives.errors import InvalidInput
from primitives.hashes import sha256
from primitives.ids import display_hash
from tests.primitives.bitcoin import envelope_vectors

VECTORS = json.loads(envelope_vectors.FILE.read_text())
IDENTITY = bytes.fromhex(VECTORS["identity"])
SECRET = bytes.fromhex(VECTORS["secret"])
SIGNER = bytes.fromhex(VECTORS["signer"])


def encode(codec, header, payload):
    """Return the script of an envelope."""
    if codec == EnvelopeCodec.OPRETURN:
        return encode_op_return(SIGNER, header, payload)
    return encode_leaf(EnvelopeCodec(codec), SIGNER, header, payload)


def parse(script):
    """Return what a script holds, wherever it would stand."""
    return (parse_op_return if script[:1] == b"\x6a" else parse_leaf)(script, IDENTITY)


def header_from(case, payload):
    """Return the header that a case describes."""
    kind = EnvelopeKind(case["kind"])
    return build_header(SECRET, kind, payload, identity=IDENTITY, number=case["number"], index=case["index"])


def test_the_file_is_current():
    """The vectors are what the writer makes; a difference is a change of the wire format."""
    assert envelope_vectors.FILE.read_text() == envelope_vectors.text()
    assert xonly_public_key(SECRET) == SIGNER


@pytest.mark.parametrize("case", VECTORS["valid"], ids=lambda case: case["name"])
def test_valid(case):
    """Fields make this header and these scripts, and the scripts give the fields back."""
    payload = bytes.fromhex(case["payload"])
    header = header_from(case, payload)
    assert header.encode().hex() == case["header"]
    assert header.digest(SIGNER, IDENTITY).hex() == case["signed_digest"]
    assert set(case["scripts"]) == set(EnvelopeCodec)
    for codec, script in case["scripts"].items():
        assert encode(codec, header, payload).hex() == script
        assert parse(bytes.fromhex(script)) == (header, SIGNER, payload)


def test_the_largest():
    """The largest payload makes the scripts with these hashes."""
    case = VECTORS["valid_large"]
    payload = envelope_vectors.patterned(case["length"])
    header = header_from(case, payload)
    assert header.encode().hex() == case["header"]
    for codec, digest in case["script_sha256"].items():
        script = encode(codec, header, payload)
        assert sha256(script).hex() == digest
        assert parse(script).payload == payload


@pytest.mark.parametrize("case", VECTORS["dropped"], ids=lambda case: case["name"])
def test_dropped(case):
    """Each malformed script is dropped with its code."""
    with pytest.raises(InvalidInput) as caught:
        parse(bytes.fromhex(case["script"]))
    assert caught.value.code == case["code"]


@pytest.mark.parametrize("case", VECTORS["ignored"], ids=lambda case: case["name"])
def test_ignored(case):
    """Each foreign script is no envelope."""
    assert parse(bytes.fromhex(case["script"])) is None


@pytest.mark.parametrize("case", VECTORS["blocks"], ids=lambda case: case["name"])
def test_blocks(case):
    """Each block holds these envelopes at these places, and drops these."""
    result = scan_block(bytes.fromhex(case["raw"]), IDENTITY)
    found = [
        {
            "tx_index": entry.tx_index,
            "position": entry.position,
            "txid": display_hash(entry.txid),
            "number": entry.header.number,
        }
        for entry in result.envelopes
    ]
    assert found == case["envelopes"]
    assert [list(entry) for entry in result.dropped] == case["dropped"]
