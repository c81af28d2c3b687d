"""Envelopes: signed, tagged pieces of our data in Bitcoin blocks, and the scan that finds them.

The header carries its own BIP 340 signature, because nothing else authenticates: a pruned node cannot see the
output that a witness spends, and outputs of unknown witness versions accept any witness. So the spent output
is never looked at, and one witness means one thing wherever it stands. See docs/spec/envelope.md.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final, NamedTuple

from primitives.bitcoin.envelope_codecs import (
    Carrier,
    EnvelopeCodec,
    encode_leaf_script,
    encode_output_script,
    find_leaf_carrier,
    find_output_carrier,
    read_chunks,
)
from primitives.bitcoin.header import HEADER_BYTES, BlockHeader, parse_header
from primitives.bitcoin.parser import ParsedTx, parse_block
from primitives.curve import schnorr_sign, schnorr_verify, xonly_public_key
from primitives.errors import InvalidInput
from primitives.hashes import BytesLike, sha256, tagged_hash
from primitives.ids import Hash32, Txid, XOnlyKey

MAGIC: Final = b"BTAI"
VERSION: Final = 0
IDENTITY_BYTES: Final = 32
TAG_BYTES: Final = 4
"""How much of the identity stands in the header; the signature covers all of it."""
MAX_PAYLOAD_BYTES: Final = 395_000
"""What every leaf codec fits into one standard transaction of 400,000 weight units, with room for change."""

_UNSIGNED: Final = struct.Struct(">4sB4sBQII32s")
_SIGNATURE_BYTES: Final = 64
ENVELOPE_HEADER_BYTES: Final = _UNSIGNED.size + _SIGNATURE_BYTES
_MARK_BYTES: Final = len(MAGIC) + 1 + TAG_BYTES
"""Magic, version and tag: what makes bytes ours to judge."""
_ANNEX: Final = 0x50
_LEAF_VERSION_MASK: Final = 0xFE
_TAPSCRIPT: Final = 0xC0
_CONTROL_BYTES: Final = 33
_MAX_CONTROL_BYTES: Final = 33 + 32 * 128


class EnvelopeKind(IntEnum):
    """What a payload is; readers ignore kinds they do not know."""

    BATCH_FRAME = 1
    ASSERTION = 2
    FORCED_TRANSACTION = 3
    ARTIFACT_CHUNK = 4
    DISPUTE_MOVE = 5
    GOVERNANCE = 6


@dataclass(frozen=True)
class EnvelopeHeader:
    """The fixed part, 122 bytes, big-endian.

    `number` and `index` are channel and frame of a batch frame, artifact and chunk of an artifact chunk, else
    a sequence that the signer chooses and 0.
    """

    tag: bytes
    kind: EnvelopeKind
    number: int
    index: int
    length: int
    payload_hash: Hash32
    signature: bytes

    def encode(self) -> bytes:
        """Return the 122 bytes."""
        return self._unsigned() + self.signature

    def digest(self, signer: bytes, identity: Hash32) -> Hash32:
        """Return what the signature signs: every other field, the signer, and the whole identity of the chain.

        The tag alone is short enough for a second chain to be made with the same one.
        """
        return tagged_hash("BitAI/envelope", self._unsigned() + signer + identity)

    def _unsigned(self) -> bytes:
        numbers = (self.kind, self.number, self.index, self.length)
        return _UNSIGNED.pack(MAGIC, VERSION, self.tag, *numbers, self.payload_hash)


class EnvelopeContent(NamedTuple):
    """What one script says, wherever it was found."""

    header: EnvelopeHeader
    signer: XOnlyKey
    payload: bytes


@dataclass(frozen=True)
class Envelope:
    """A valid envelope and its place in a block.

    `position` counts a transaction's inputs, then its outputs; (tx_index, position) names an envelope.
    """

    header: EnvelopeHeader
    signer: XOnlyKey
    payload: bytes
    txid: Txid
    tx_index: int
    position: int


class DroppedEnvelope(NamedTuple):
    """Something under our tag that breaks a rule."""

    tx_index: int
    position: int
    code: str


@dataclass(frozen=True)
class ScanResult:
    """What one block holds under one tag, in block order: by transaction, inputs before outputs."""

    header: BlockHeader
    envelopes: tuple[Envelope, ...] = ()
    dropped: tuple[DroppedEnvelope, ...] = ()


def build_header(
    secret: bytes, kind: EnvelopeKind, payload: bytes, *, identity: Hash32, number: int, index: int = 0
) -> EnvelopeHeader:
    """Return the signed header of a payload for the chain of this identity.

    Raises InvalidInput `envelope.bad_identity`, `envelope.bad_number`, `envelope.too_large`, `key.bad_secret`.
    """
    if len(identity) != IDENTITY_BYTES:
        raise InvalidInput("envelope.bad_identity", "an identity is 32 bytes", length=len(identity))
    if not 0 <= number < 2**64 or not 0 <= index < 2**32:
        raise InvalidInput("envelope.bad_number", "number is 64 bits, index 32", number=number, index=index)
    _require_size(len(payload))
    tag = identity[:TAG_BYTES]
    header = EnvelopeHeader(tag, kind, number, index, len(payload), sha256(payload), signature=b"")
    digest = header.digest(xonly_public_key(secret), identity)
    return replace(header, signature=schnorr_sign(secret, digest))


def encode_leaf(codec: EnvelopeCodec, signer: bytes, header: EnvelopeHeader, payload: bytes) -> bytes:
    """Return the tapscript leaf of an envelope; whoever spends it also signs with `signer`.

    Raises InvalidInput `envelope.not_a_leaf`, `envelope.length_mismatch`.
    """
    return encode_leaf_script(codec, signer, _join(header, payload))


def encode_op_return(signer: bytes, header: EnvelopeHeader, payload: bytes) -> bytes:
    """Return the output script of a small envelope; raises InvalidInput `envelope.length_mismatch`."""
    return encode_output_script(signer, _join(header, payload))


def parse_leaf(script: BytesLike, identity: Hash32) -> EnvelopeContent | None:
    """Return the envelope in a leaf script; None for another tag, another script or an unknown kind.

    Raises InvalidInput for what stands under our tag and breaks a rule, checked in this order:
    `envelope.template`, `.truncated`, `.unknown_version`, `.too_large`, `.length_mismatch`, `.bad_signature`,
    `.bad_payload_hash`. Nothing is allocated by what a header claims.
    """
    view = memoryview(script)
    return _parse(view, find_leaf_carrier(view), identity)


def parse_op_return(script: BytesLike, identity: Hash32) -> EnvelopeContent | None:
    """Return the envelope in an output script; the same answers and errors as `parse_leaf`."""
    view = memoryview(script)
    return _parse(view, find_output_carrier(view), identity)


def leaf_of_witness(stack: Sequence[memoryview]) -> memoryview | None:
    """Return the script of a spend by tapscript leaf, judged by the witness alone; None for other shapes.

    The last three items of the stack say all.
    """
    items = len(stack)
    if items >= 2 and stack[-1][:1] == bytes([_ANNEX]):
        items -= 1
    if items < 2:
        return None
    control = stack[items - 1]
    fits = _CONTROL_BYTES <= len(control) <= _MAX_CONTROL_BYTES and len(control) % 32 == 1
    return stack[items - 2] if fits and control[0] & _LEAF_VERSION_MASK == _TAPSCRIPT else None


def scan_block(raw: bytes, identity: Hash32) -> ScanResult:
    """Return the envelopes of one chain in a raw block, and what was dropped with its code.

    A block that nowhere holds magic and tag is not parsed beyond its header. Whether the header commits to
    the rest is for `check_commitments`. Raises InvalidInput `bitcoin_header.*`, `bitcoin_block.*`,
    `bitcoin_tx.*` for a malformed block.
    """
    header = parse_header(raw[:HEADER_BYTES])
    mark = _mark_pattern(identity[:TAG_BYTES])
    if mark.search(raw, HEADER_BYTES) is None:
        return ScanResult(header)
    envelopes: list[Envelope] = []
    dropped: list[DroppedEnvelope] = []
    for tx_index, transaction in enumerate(parse_block(raw).transactions):
        if mark.search(raw, transaction.start, transaction.end) is None:
            continue
        for position, script, carrier in _carriers(transaction):
            try:
                content = _parse(script, carrier, identity)
            except InvalidInput as error:
                dropped.append(DroppedEnvelope(tx_index, position, error.code))
                continue
            if content is not None:
                envelopes.append(Envelope(*content, transaction.txid, tx_index, position))
    return ScanResult(header, tuple(envelopes), tuple(dropped))


def _carriers(transaction: ParsedTx) -> Iterator[tuple[int, memoryview, Carrier | None]]:
    """Yield every script that may carry an envelope, with its position."""
    inputs = 0
    for inputs, tail in enumerate(transaction.witness_tails(), 1):
        script = leaf_of_witness(tail)
        if script is not None:
            yield inputs - 1, script, find_leaf_carrier(script)
    for position, output in enumerate(transaction.outputs, inputs):
        yield position, output.script, find_output_carrier(output.script)


def _mark_pattern(tag: bytes) -> "re.Pattern[bytes]":
    """Return what every envelope of a chain contains: magic, any version, the tag, side by side."""
    return re.compile(re.escape(MAGIC) + b"." + re.escape(tag), re.DOTALL)


def _parse(script: memoryview, carrier: Carrier | None, identity: Hash32) -> EnvelopeContent | None:
    if carrier is None or not _is_marked(script, carrier.data_start, identity[:TAG_BYTES]):
        return None
    chunks = read_chunks(script, carrier)
    header = _parse_header(chunks[0])
    if header is None:
        return None
    found = sum(len(chunk) for chunk in chunks) - ENVELOPE_HEADER_BYTES
    if header.length != found:
        raise InvalidInput("envelope.length_mismatch", "another length", claimed=header.length, found=found)
    signer = XOnlyKey(bytes(carrier.signer))
    if not schnorr_verify(signer, header.digest(signer, identity), header.signature):
        raise InvalidInput("envelope.bad_signature", "the signer did not sign this header")
    payload = b"".join([chunks[0][ENVELOPE_HEADER_BYTES:], *chunks[1:]])
    if sha256(payload) != header.payload_hash:
        raise InvalidInput("envelope.bad_payload_hash", "the header is of another payload")
    return EnvelopeContent(header, signer, payload)


def _is_marked(script: memoryview, start: int, tag: bytes) -> bool:
    mark = bytes(script[start : start + _MARK_BYTES])
    return mark[: len(MAGIC)] == MAGIC and mark[len(MAGIC) + 1 :] == tag


def _parse_header(data: memoryview) -> EnvelopeHeader | None:
    """Return the header at the front of the first push, None for an unknown kind."""
    if len(data) < ENVELOPE_HEADER_BYTES:
        raise InvalidInput("envelope.truncated", "shorter than a header", length=len(data))
    fields = _UNSIGNED.unpack(data[: _UNSIGNED.size])
    _, version, tag, kind, number, index, length, payload_hash = fields
    if version != VERSION:
        raise InvalidInput("envelope.unknown_version", "made for another version", version=version)
    if kind not in EnvelopeKind.__members__.values():
        return None
    _require_size(length)
    signature = bytes(data[_UNSIGNED.size : ENVELOPE_HEADER_BYTES])
    return EnvelopeHeader(tag, EnvelopeKind(kind), number, index, length, Hash32(payload_hash), signature)


def _require_size(length: int) -> None:
    if length > MAX_PAYLOAD_BYTES:
        raise InvalidInput(
            "envelope.too_large", "a payload is too large", length=length, limit=MAX_PAYLOAD_BYTES
        )


def _join(header: EnvelopeHeader, payload: bytes) -> bytes:
    if header.length != len(payload):
        message = "the header is of a payload of another length"
        raise InvalidInput("envelope.length_mismatch", message, claimed=header.length, found=len(payload))
    return header.encode() + payload
