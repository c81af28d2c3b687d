"""How an envelope's bytes are laid into scripts: three codecs, each with exactly one encoding.

Leaf scripts are `<signer> CHECKSIG` and then pushes that leave the stack as they found it; `opreturn` is an
output script. The reader takes what the writer makes and nothing else, so that readers cannot differ about
second spellings. See docs/spec/envelope.md.
"""

from enum import StrEnum
from typing import Final, NamedTuple

from primitives.bitcoin.script import (
    OP_0,
    OP_2DROP,
    OP_CHECKSIG,
    OP_DROP,
    OP_ENDIF,
    OP_IF,
    OP_PUSHDATA1,
    OP_PUSHDATA2,
    OP_PUSHDATA4,
    OP_RETURN,
    push,
    read_push,
)
from primitives.errors import InvalidInput

SIGNER_BYTES: Final = 32


class EnvelopeCodec(StrEnum):
    """The ways to carry an envelope; readers take all, a writer is configured with one."""

    IF520 = "if520"
    DROP255 = "drop255"
    OPRETURN = "opreturn"


class Carrier(NamedTuple):
    """A script that opens like one of ours: who signs, and where the first push of data is."""

    codec: EnvelopeCodec
    signer: memoryview
    first_push: int
    data_start: int
    """Offset of the envelope's first byte, whatever the push claims to hold."""


_FALSE_IF: Final = bytes([OP_0, OP_IF])
_SIGNER_PUSH: Final = bytes([SIGNER_BYTES])
_CHECKSIG_AT: Final = 1 + SIGNER_BYTES
_CHUNK_BYTES: Final = {EnvelopeCodec.IF520: 520, EnvelopeCodec.DROP255: 255}
"""520 is the largest element script may push; 255 survives rules that cap pushes at 256."""
_PUSH_WIDTHS: Final = {OP_PUSHDATA1: 2, OP_PUSHDATA2: 3, OP_PUSHDATA4: 5}


def encode_leaf_script(codec: EnvelopeCodec, signer: bytes, data: bytes) -> bytes:
    """Return the leaf script that carries `data`; raises InvalidInput `envelope.not_a_leaf` (`opreturn`)."""
    if codec is EnvelopeCodec.OPRETURN:
        raise InvalidInput("envelope.not_a_leaf", "opreturn is carried by an output, not by a leaf")
    size = _CHUNK_BYTES[codec]
    pushes = [push(data[start : start + size]) for start in range(0, len(data), size)]
    lock = push(signer) + bytes([OP_CHECKSIG])
    if codec is EnvelopeCodec.IF520:
        return lock + _FALSE_IF + b"".join(pushes) + bytes([OP_ENDIF])
    paired = [pushes[i] + pushes[i + 1] + bytes([OP_2DROP]) for i in range(0, len(pushes) - 1, 2)]
    last = pushes[-1] + bytes([OP_DROP]) if len(pushes) % 2 else b""
    return lock + b"".join(paired) + last


def encode_output_script(signer: bytes, data: bytes) -> bytes:
    """Return the output script that carries `data` after its signer, in one push."""
    return bytes([OP_RETURN]) + push(signer + data)


def find_leaf_carrier(script: memoryview) -> Carrier | None:
    """Return how a leaf script opens, None when it cannot be ours; looks at a few bytes only."""
    if script[:1] != _SIGNER_PUSH or len(script) <= _CHECKSIG_AT or script[_CHECKSIG_AT] != OP_CHECKSIG:
        return None
    start = _CHECKSIG_AT + 1
    codec = EnvelopeCodec.DROP255
    if script[start : start + len(_FALSE_IF)] == _FALSE_IF:
        start += len(_FALSE_IF)
        codec = EnvelopeCodec.IF520
    data_start = _push_content(script, start)
    return None if data_start is None else Carrier(codec, script[1:_CHECKSIG_AT], start, data_start)


def find_output_carrier(script: memoryview) -> Carrier | None:
    """Return how an output script opens, None when it cannot be ours."""
    if not script or script[0] != OP_RETURN:
        return None
    content = _push_content(script, 1)
    if content is None:
        return None
    data_start = content + SIGNER_BYTES
    return Carrier(EnvelopeCodec.OPRETURN, script[content:data_start], 1, data_start)


def read_chunks(script: memoryview, carrier: Carrier) -> list[memoryview]:
    """Return the pieces whose join is the envelope's bytes.

    Raises InvalidInput `envelope.template` unless the writer would make exactly this script of them; reading
    ends at the first piece that proves it, so that a block full of tiny pushes costs nothing.
    """
    if carrier.codec is EnvelopeCodec.OPRETURN:
        content, end = _read_minimal_push(script, carrier.first_push)
        _require(end == len(script), "bytes follow the push")
        return [content[SIGNER_BYTES:]]
    if carrier.codec is EnvelopeCodec.IF520:
        return _read_if_body(script, carrier.first_push)
    return _read_drop_body(script, carrier.first_push)


def _read_if_body(script: memoryview, offset: int) -> list[memoryview]:
    """Read pushes up to the closing OP_ENDIF, which ends the script."""
    end = len(script) - 1
    _require(script[end] == OP_ENDIF, "OP_ENDIF does not end the script")
    body = script[:end]
    chunks = []
    while offset < end:
        chunk, after = _read_minimal_push(body, offset)
        _require_piece(EnvelopeCodec.IF520, len(chunk), is_last=after == end)
        offset = after
        chunks.append(chunk)
    return chunks


def _read_drop_body(script: memoryview, offset: int) -> list[memoryview]:
    """Read pairs of pushes, each dropped by OP_2DROP, and perhaps one more dropped by OP_DROP."""
    chunks: list[memoryview] = []
    while offset < len(script):
        chunk, offset = _read_minimal_push(script, offset)
        chunks.append(chunk)
        following = script[offset] if offset < len(script) else None
        _require_piece(EnvelopeCodec.DROP255, len(chunk), is_last=offset + 1 >= len(script))
        if len(chunks) % 2 == 0:
            _require(following == OP_2DROP, "a pair is not dropped")
            offset += 1
        elif following == OP_DROP:
            _require(offset + 1 == len(script), "something follows the last drop")
            return chunks
    _require(len(chunks) % 2 == 0, "the last push is not dropped")
    return chunks


def _require_piece(codec: EnvelopeCodec, size: int, *, is_last: bool) -> None:
    full = _CHUNK_BYTES[codec]
    _require(0 < size <= full, "a push is empty or too long")
    _require(is_last or size == full, "a push before the last is not full")


def _read_minimal_push(script: memoryview, offset: int) -> tuple[memoryview, int]:
    try:
        content, end = read_push(script, offset)
    except InvalidInput as error:
        raise InvalidInput("envelope.template", error.message, offset=offset) from error
    if content is None or push(content) != script[offset:end]:
        raise InvalidInput("envelope.template", "not a minimal push", offset=offset)
    return memoryview(content), end


def _push_content(script: memoryview, offset: int) -> int | None:
    """Return where the content of the push at `offset` begins, None when there is no such push."""
    if offset >= len(script) or not 0 < script[offset] <= OP_PUSHDATA4:
        return None
    return offset + _PUSH_WIDTHS.get(script[offset], 1)


def _require(condition: bool, message: str) -> None:  # noqa: FBT001 - a check reads as a sentence
    if not condition:
        raise InvalidInput("envelope.template", message)
