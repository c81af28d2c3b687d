"""Envelopes for tests: valid ones, and every way to make one that is not."""

import struct
from dataclasses import dataclass, replace

from primitives.bitcoin.envelope import EnvelopeHeader, EnvelopeKind, build_header
from primitives.bitcoin.envelope_codecs import EnvelopeCodec, encode_leaf_script, encode_output_script
from primitives.bitcoin.script import OP_2DROP, OP_CHECKSIG, OP_DROP, OP_ENDIF, OP_IF, OP_RETURN, push
from primitives.curve import schnorr_sign, xonly_public_key
from primitives.hashes import sha256

IDENTITY = bytes.fromhex("b17a1000") + sha256(b"a chain")[4:]
SAME_TAG = IDENTITY[:4] + sha256(b"another chain")[4:]
TAG = IDENTITY[:4]
SECRET = bytes.fromhex("01" * 32)
SIGNER = xonly_public_key(SECRET)
OTHER_SECRET = bytes.fromhex("02" * 32)
LEAF_CODECS = (EnvelopeCodec.IF520, EnvelopeCodec.DROP255)
CONTROL = b"\xc1" + xonly_public_key(OTHER_SECRET)
PAYLOAD = bytes(range(256)) * 3
HEADER = 122
DROP_CODES = {
    "envelope.template",
    "envelope.truncated",
    "envelope.unknown_version",
    "envelope.too_large",
    "envelope.length_mismatch",
    "envelope.bad_signature",
    "envelope.bad_payload_hash",
}


def script_of(codec: EnvelopeCodec, data: bytes, signer: bytes = SIGNER) -> bytes:
    """Return the script that carries any bytes as if they were an envelope."""
    if codec is EnvelopeCodec.OPRETURN:
        return encode_output_script(signer, data)
    return encode_leaf_script(codec, signer, data)


def header_of(
    payload: bytes = PAYLOAD,
    *,
    secret: bytes = SECRET,
    identity: bytes = IDENTITY,
    number: int = 7,
    index: int = 2,
) -> EnvelopeHeader:
    """Return a signed header."""
    return build_header(
        secret, EnvelopeKind.BATCH_FRAME, payload, identity=identity, number=number, index=index
    )


def data_of(payload: bytes = PAYLOAD) -> bytes:
    """Return the bytes of a valid envelope."""
    return header_of(payload).encode() + payload


def resigned(header: EnvelopeHeader, **changes: object) -> EnvelopeHeader:
    """Return a header with fields changed and signed again, so that only the change is wrong."""
    changed = replace(header, **changes)
    return replace(changed, signature=schnorr_sign(SECRET, changed.digest(SIGNER, IDENTITY)))


def handmade(
    *, magic: bytes = b"BTAI", version: int = 0, tag: bytes = TAG, kind: int = 1, payload: bytes = PAYLOAD
) -> bytes:
    """Return an envelope's bytes with values that the writer refuses to write; the signature is not one."""
    fields = (magic, version, tag, kind, 7, 2, len(payload), sha256(payload))
    return struct.pack(">4sB4sBQII32s", *fields) + bytes(64) + payload


@dataclass(frozen=True)
class Case:
    """A script under our tag that must be dropped, and the code it is dropped with."""

    name: str
    code: str
    script: bytes


def flipped(data: bytes, at: int) -> bytes:
    """Return the bytes with one bit changed."""
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def malformed_data() -> list[tuple[str, str, bytes]]:
    """Return envelope bytes that break a rule, whatever carries them."""
    header, other = header_of(), header_of(secret=OTHER_SECRET)
    foreign = header_of(identity=SAME_TAG)
    good = data_of()
    return [
        ("a flipped signature bit", "envelope.bad_signature", flipped(good, 60)),
        ("a flipped number bit", "envelope.bad_signature", flipped(good, 17)),
        ("a flipped index bit", "envelope.bad_signature", flipped(good, 21)),
        ("another kind than the signed one", "envelope.bad_signature", good[:9] + b"\2" + good[10:]),
        ("a flipped payload hash bit", "envelope.bad_signature", flipped(good, 40)),
        ("another signer's header", "envelope.bad_signature", other.encode() + PAYLOAD),
        ("signed for another chain with this tag", "envelope.bad_signature", foreign.encode() + PAYLOAD),
        ("a flipped payload bit", "envelope.bad_payload_hash", flipped(good, len(good) - 1)),
        ("a payload one byte short", "envelope.length_mismatch", good[:-1]),
        ("a payload one byte long", "envelope.length_mismatch", good + b"\0"),
        ("a signed wrong length", "envelope.length_mismatch", resigned(header, length=5).encode() + PAYLOAD),
        ("a signed huge length", "envelope.too_large", resigned(header, length=2**32 - 1).encode() + PAYLOAD),
        (
            "a length one above the limit",
            "envelope.too_large",
            resigned(header, length=395_001).encode() + PAYLOAD,
        ),
        ("a header cut by a byte", "envelope.truncated", header.encode()[:-1]),
        ("magic, version and tag alone", "envelope.truncated", good[:9]),
        ("version 1", "envelope.unknown_version", handmade(version=1)),
        ("version 10", "envelope.unknown_version", handmade(version=10)),  # a newline to careless patterns
        ("version 255", "envelope.unknown_version", handmade(version=255)),
    ]


def ignored_data() -> list[tuple[str, bytes]]:
    """Return bytes that are nobody's fault: other chains, other protocols, kinds of the future."""
    return [
        ("another tag", handmade(tag=b"\xb1\x7a\x10\x01")),
        ("another magic", handmade(magic=b"btai")),
        ("kind 0", handmade(kind=0)),
        ("kind 7", handmade(kind=7)),
        ("kind 255", handmade(kind=255)),
        ("shorter than the tag", data_of()[:8]),
        ("nothing", b""),
    ]


def ignored_scripts() -> list[tuple[str, bytes]]:
    """Return scripts that hold a valid envelope's bytes but do not open like a carrier."""
    data, signer = data_of(), push(SIGNER)
    body = script_of(EnvelopeCodec.DROP255, data)[len(signer) + 1 :]
    carried = [(name, script_of(EnvelopeCodec.IF520, content or b"\0")) for name, content in ignored_data()]
    return [
        *carried,
        ("OP_CHECKSIGVERIFY", signer + b"\xad" + body),
        ("a compressed key", b"\x21\x02" + SIGNER + b"\xac" + body),
        ("OP_0 before the bytes", signer + b"\xac\x00" + data),
        ("OP_1NEGATE before the bytes", signer + b"\xac\x4f" + data),
        ("OP_0 OP_NOTIF", signer + b"\xac\x00\x64" + body),
        ("OP_RETURN OP_0 before the bytes", b"\x6a\x00" + SIGNER + data),
        ("OP_RETURN without a signer", b"\x6a" + push(data)),
    ]


def _pushes(data: bytes, size: int) -> list[bytes]:
    return [push(data[start : start + size]) for start in range(0, len(data), size)]


def malformed_templates() -> list[Case]:
    """Return scripts that carry a valid envelope's bytes in a way that no writer of ours does."""
    data = data_of()
    lock = push(SIGNER) + bytes([OP_CHECKSIG])
    opening, endif = lock + bytes([0, OP_IF]), bytes([OP_ENDIF])
    good_if, good_drop = script_of(EnvelopeCodec.IF520, data), script_of(EnvelopeCodec.DROP255, data)
    good_return = script_of(EnvelopeCodec.OPRETURN, data)
    fat = b"\x4e" + (520).to_bytes(4, "little") + data[:520]
    pairs = _pushes(data, 255)
    two = bytes([OP_2DROP])
    full = {size: data_of(bytes(size - HEADER)) for size in (255, 510, 520, 1_040)}
    scripts = {
        "if: pushes of 255 bytes": opening + b"".join(_pushes(data, 255)) + endif,
        "if: pushes of 521 bytes": opening + b"".join(_pushes(data, 521)) + endif,
        "if: one push of everything": opening + push(data) + endif,
        "if: a short push before the last": opening + push(data[:500]) + push(data[500:]) + endif,
        "if: a length written wide": opening + fat + push(data[520:]) + endif,
        "if: no OP_ENDIF": good_if[:-1],
        "if: OP_ELSE in place of OP_ENDIF": good_if[:-1] + b"\x67",
        "if: two of OP_ENDIF": good_if + endif,
        "if: an operation after OP_ENDIF": good_if + b"\x51",
        "if: an operation before OP_ENDIF": good_if[:-1] + b"\x61" + endif,
        "if: an empty push before OP_ENDIF": good_if[:-1] + b"\x00" + endif,
        "if: an empty piece after one full one": opening + push(full[520]) + b"\x00" + endif,
        "if: an empty piece after two full ones": opening
        + b"".join(_pushes(full[1_040], 520))
        + b"\x00"
        + endif,
        "if: cut inside a push": good_if[:-100],
        "if: cut inside the first push": good_if[:200],
        "drop: no drop after the last push": good_drop[:-1],
        "drop: OP_DROP after each push": lock + b"".join(entry + bytes([OP_DROP]) for entry in pairs),
        "drop: all drops at the end": lock + b"".join(pairs) + two * (len(pairs) // 2),
        "drop: pushes of 254 bytes": lock + _dropped(_pushes(data, 254)),
        "drop: pushes of 520 bytes": lock + _dropped(_pushes(data, 520)),
        "drop: an operation at the end": good_drop + b"\x51",
        "drop: a second OP_DROP": good_drop + bytes([OP_DROP]),
        "drop: an empty piece after one full one": lock + push(full[255]) + b"\x00" + two,
        "drop: an empty piece after two full ones": lock + _dropped([*_pushes(full[510], 255), b"\x00"]),
        "drop: cut inside a push": good_drop[:-30],
        "drop: one push alone": lock + push(data[:255]),
        "return: data in two pushes": bytes([OP_RETURN]) + push(SIGNER + data[:400]) + push(data[400:]),
        "return: a length written wide": good_return[:1]
        + b"\x4e"
        + (len(data) + 32).to_bytes(4, "little")
        + SIGNER
        + data,
        "return: an operation at the end": good_return + b"\x51",
        "return: cut inside the push": good_return[:-1],
    }
    return [Case(name, "envelope.template", script) for name, script in scripts.items()]


def _dropped(pushes: list[bytes]) -> bytes:
    whole = [pushes[at] + pushes[at + 1] + bytes([OP_2DROP]) for at in range(0, len(pushes) - 1, 2)]
    return b"".join(whole) + (pushes[-1] + bytes([OP_DROP]) if len(pushes) % 2 else b"")


def malformed_scripts() -> list[Case]:
    """Return every malformed script: wrong bytes in each codec, right bytes in wrong templates."""
    carried = [
        Case(f"{codec}: {name}", code, script_of(codec, data))
        for name, code, data in malformed_data()
        for codec in EnvelopeCodec
    ]
    return carried + malformed_templates()


def is_output(script: bytes) -> bool:
    """Tell whether a script stands in an output rather than in a witness."""
    return script[:1] == bytes([OP_RETURN])
