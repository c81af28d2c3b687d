"""Bitcoin script as bytes: pushes in their one minimal form, and the output scripts we pay to."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from primitives.errors import InvalidInput
from primitives.hashes import BytesLike

OP_0: Final = 0x00
OP_PUSHDATA1: Final = 0x4C
OP_PUSHDATA2: Final = 0x4D
OP_PUSHDATA4: Final = 0x4E
OP_1NEGATE: Final = 0x4F
OP_1: Final = 0x51
OP_16: Final = 0x60
OP_IF: Final = 0x63
OP_NOTIF: Final = 0x64
OP_ELSE: Final = 0x67
OP_ENDIF: Final = 0x68
OP_VERIFY: Final = 0x69
OP_RETURN: Final = 0x6A
OP_2DROP: Final = 0x6D
OP_DROP: Final = 0x75
OP_DUP: Final = 0x76
OP_EQUAL: Final = 0x87
OP_EQUALVERIFY: Final = 0x88
OP_NUMEQUAL: Final = 0x9C
OP_HASH160: Final = 0xA9
OP_CHECKSIG: Final = 0xAC
OP_CHECKSIGVERIFY: Final = 0xAD
OP_CHECKLOCKTIMEVERIFY: Final = 0xB1
OP_CHECKSEQUENCEVERIFY: Final = 0xB2
OP_CHECKSIGADD: Final = 0xBA

MAX_ELEMENT_BYTES: Final = 520
"""Largest push that script may execute (consensus)."""
PAY_TO_ANCHOR: Final = bytes.fromhex("51024e73")
"""P2A: witness version 1, program 4e73, spendable by anyone with an empty witness."""

_LENGTH_BYTES: Final = {OP_PUSHDATA1: 1, OP_PUSHDATA2: 2, OP_PUSHDATA4: 4}
_NEGATIVE_ONE: Final = b"\x81"


class ScriptOp(NamedTuple):
    """One operation; `data` is what a push puts on the stack, None for every other opcode."""

    opcode: int
    data: bytes | None


def push(data: BytesLike) -> bytes:
    """Return the minimal push of some bytes: OP_0, OP_1..OP_16 and OP_1NEGATE where they say the same."""
    size = len(data)
    if size == 0:
        return bytes([OP_0])
    if size == 1 and 1 <= data[0] <= 16:
        return bytes([OP_1 + data[0] - 1])
    if data == _NEGATIVE_ONE:
        return bytes([OP_1NEGATE])
    if size < OP_PUSHDATA1:
        return bytes([size]) + data
    if size <= 0xFF:
        return bytes([OP_PUSHDATA1, size]) + data
    if size <= 0xFFFF:
        return bytes([OP_PUSHDATA2]) + size.to_bytes(2, "little") + data
    return bytes([OP_PUSHDATA4]) + size.to_bytes(4, "little") + data


def push_number(value: int) -> bytes:
    """Return the minimal push of a script number: little-endian, sign in the top bit, zero empty."""
    return push(encode_number(value))


def encode_number(value: int) -> bytes:
    """Return a script number's bytes, as heights and lock times are written."""
    if value == 0:
        return b""
    magnitude = abs(value)
    size = magnitude.bit_length() // 8 + 1
    sign = 1 << (8 * size - 1) if value < 0 else 0
    return (magnitude | sign).to_bytes(size, "little")


def encode_compact_size(value: int) -> bytes:
    """Return a length as Bitcoin serialises it: 1, 3, 5 or 9 bytes, little-endian."""
    if value < 0xFD:
        return bytes([value])
    for marker, width in ((0xFD, 2), (0xFE, 4)):
        if value < 1 << 8 * width:
            return bytes([marker]) + value.to_bytes(width, "little")
    return b"\xff" + value.to_bytes(8, "little")


def read_push(script: BytesLike, offset: int) -> tuple[memoryview | bytes | None, int]:
    """Return what the operation at `offset` pushes (None when it is no push) and the offset after it.

    Not every push read is minimal. Raises InvalidInput `script.truncated_push` past the end.
    """
    view = memoryview(script)
    if not 0 <= offset < len(view):
        raise InvalidInput("script.truncated_push", "the script has ended", offset=offset)
    opcode = view[offset]
    start = offset + 1
    if opcode > OP_PUSHDATA4:
        return _small_number(opcode), start
    width = _LENGTH_BYTES.get(opcode, 0)
    size = int.from_bytes(view[start : start + width], "little") if width else opcode
    start += width
    if start + size > len(view):
        raise InvalidInput("script.truncated_push", "a push runs past the end of the script", offset=offset)
    return view[start : start + size], start + size


def parse_script(script: BytesLike) -> Iterator[ScriptOp]:
    """Yield the operations in order; raises InvalidInput `script.truncated_push` at a push past the end."""
    offset = 0
    while offset < len(script):
        opcode = script[offset]
        data, offset = read_push(script, offset)
        yield ScriptOp(opcode, None if data is None else bytes(data))


def witness_script(version: int, program: bytes) -> bytes:
    """Return the output script of a witness program (BIP 141).

    Raises InvalidInput `script.bad_witness_program` unless the version is 0..16 and the program 2..40 bytes.
    """
    if not 0 <= version <= 16 or not 2 <= len(program) <= 40:
        message = "a witness version is 0..16 and its program 2..40 bytes"
        raise InvalidInput("script.bad_witness_program", message, version=version, length=len(program))
    return bytes([OP_1 + version - 1 if version else OP_0, len(program)]) + program


def witness_program(script: BytesLike) -> tuple[int, bytes] | None:
    """Return the version and program of a witness output script, None for every other script."""
    if not 4 <= len(script) <= 42 or script[1] != len(script) - 2:
        return None
    if script[0] != OP_0 and not OP_1 <= script[0] <= OP_16:
        return None
    version = script[0] - OP_1 + 1 if script[0] else 0
    return version, bytes(script[2:])


def p2tr_script(output_key: bytes) -> bytes:
    """Return the output script that pays to a taproot output key (BIP 341)."""
    if len(output_key) != 32:
        raise InvalidInput("script.bad_output_key", "an output key is 32 bytes", length=len(output_key))
    return witness_script(1, output_key)


def p2wpkh_script(key_hash: bytes) -> bytes:
    """Return the output script that pays to the HASH160 of a compressed public key (BIP 141)."""
    if len(key_hash) != 20:
        raise InvalidInput("script.bad_key_hash", "a key hash is 20 bytes", length=len(key_hash))
    return witness_script(0, key_hash)


def p2wsh_script(script_hash: bytes) -> bytes:
    """Return the output script that pays to the SHA-256 of a script (BIP 141)."""
    if len(script_hash) != 32:
        raise InvalidInput("script.bad_script_hash", "a script hash is 32 bytes", length=len(script_hash))
    return witness_script(0, script_hash)


def op_return(*pushes: bytes) -> bytes:
    """Return an unspendable output script that carries the given pushes."""
    return bytes([OP_RETURN]) + b"".join([push(data) for data in pushes])


def _small_number(opcode: int) -> bytes | None:
    if opcode == OP_1NEGATE:
        return _NEGATIVE_ONE
    return bytes([opcode - OP_1 + 1]) if OP_1 <= opcode <= OP_16 else None
