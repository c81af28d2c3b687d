"""What an output script is: its kind, its signature checks, and the value below which it is dust."""

from enum import Enum
from typing import Final, NamedTuple

from primitives.bitcoin.script import (
    OP_1,
    OP_16,
    OP_CHECKSIG,
    OP_CHECKSIGVERIFY,
    OP_DUP,
    OP_EQUAL,
    OP_EQUALVERIFY,
    OP_HASH160,
    OP_RETURN,
    PAY_TO_ANCHOR,
    ScriptOp,
    encode_compact_size,
    parse_script,
    witness_program,
)
from primitives.errors import InvalidInput
from primitives.hashes import BytesLike
from regtest.coins import is_unspendable
from regtest.limits import DUST_FEERATE

OP_CHECKMULTISIG: Final = 0xAE
OP_CHECKMULTISIGVERIFY: Final = 0xAF
_MAX_MULTISIG_KEYS: Final = 20
_MAX_PUSH_BYTES: Final = 520
_VALUE_BYTES: Final = 8
_SPEND_BYTES: Final = 32 + 4 + 1 + 107 + 4
"""Size of the input that Core imagines spending the output: 107 bytes of signature and key."""
_WITNESS_SPEND_BYTES: Final = 32 + 4 + 1 + 107 // 4 + 4


class ScriptKind(Enum):
    """Bitcoin Core's names, as its RPC shows them."""

    NONSTANDARD = "nonstandard"
    PUBKEY = "pubkey"
    PUBKEYHASH = "pubkeyhash"
    SCRIPTHASH = "scripthash"
    MULTISIG = "multisig"
    NULLDATA = "nulldata"
    ANCHOR = "anchor"
    WITNESS_V0_KEYHASH = "witness_v0_keyhash"
    WITNESS_V0_SCRIPTHASH = "witness_v0_scripthash"
    WITNESS_V1_TAPROOT = "witness_v1_taproot"
    WITNESS_UNKNOWN = "witness_unknown"


class Solved(NamedTuple):
    """A script's kind; for bare multisig, the number of keys."""

    kind: ScriptKind
    keys: int = 0


_WITNESS_KINDS: Final = {
    (0, 20): ScriptKind.WITNESS_V0_KEYHASH,
    (0, 32): ScriptKind.WITNESS_V0_SCRIPTHASH,
    (1, 32): ScriptKind.WITNESS_V1_TAPROOT,
}


def solve_script(script: BytesLike) -> Solved:
    """Return what kind of output a script makes."""
    if is_script_hash(script):
        return Solved(ScriptKind.SCRIPTHASH)
    program = witness_program(script)
    if program is not None:
        return Solved(_witness_kind(script, program))
    operations = read_script(script)
    if operations is None or not operations:
        return Solved(ScriptKind.NONSTANDARD)
    if operations[0].opcode == OP_RETURN:
        carrier = all(operation.opcode <= OP_16 for operation in operations[1:])
        return Solved(ScriptKind.NULLDATA if carrier else ScriptKind.NONSTANDARD)
    return _solve_key_script(operations)


def read_script(script: BytesLike) -> list[ScriptOp] | None:
    """Return the operations, or None when a push runs past the end."""
    try:
        return list(parse_script(script))
    except InvalidInput:
        return None


def is_script_hash(script: BytesLike) -> bool:
    """Tell whether this is a pay-to-script-hash output (BIP 16)."""
    return len(script) == 23 and script[0] == OP_HASH160 and script[1] == 20 and script[22] == OP_EQUAL


def is_push_only(script: BytesLike) -> bool:
    """Tell whether a script does nothing but push."""
    operations = read_script(script)
    return operations is not None and all(operation.opcode <= OP_16 for operation in operations)


def redeem_script(script_sig: BytesLike) -> bytes | None:
    """Return what a push-only script leaves on top of the stack, None for an empty or another script.

    A push that the interpreter would refuse for its length leaves nothing either.
    """
    operations = read_script(script_sig)
    if not operations or any(operation.opcode > OP_16 for operation in operations):
        return None
    if any(len(operation.data or b"") > _MAX_PUSH_BYTES for operation in operations):
        return None
    return operations[-1].data or b""


def count_sigops(script: BytesLike, *, accurate: bool) -> int:
    """Return the signature checks in a script up to its first unreadable push.

    `accurate` reads the number of keys before CHECKMULTISIG where it is a small number; else it counts as 20.
    """
    total = 0
    previous = -1
    try:
        for operation in parse_script(script):
            if operation.opcode in (OP_CHECKSIG, OP_CHECKSIGVERIFY):
                total += 1
            elif operation.opcode in (OP_CHECKMULTISIG, OP_CHECKMULTISIGVERIFY):
                exact = accurate and OP_1 <= previous <= OP_16
                total += previous - OP_1 + 1 if exact else _MAX_MULTISIG_KEYS
            previous = operation.opcode
    except InvalidInput:
        return total
    return total


def dust_threshold_sats(script: BytesLike) -> int:
    """Return the value below which spending the output would cost more than it is worth at 3 sat/vB."""
    if is_unspendable(script):
        return 0
    size = _VALUE_BYTES + len(encode_compact_size(len(script))) + len(script)
    size += _SPEND_BYTES if witness_program(script) is None else _WITNESS_SPEND_BYTES
    return size * DUST_FEERATE // 1000


def _witness_kind(script: BytesLike, program: tuple[int, bytes]) -> ScriptKind:
    version, data = program
    if bytes(script) == PAY_TO_ANCHOR:
        return ScriptKind.ANCHOR
    if version == 0 and len(data) not in (20, 32):
        return ScriptKind.NONSTANDARD
    return _WITNESS_KINDS.get((version, len(data)), ScriptKind.WITNESS_UNKNOWN)


def _solve_key_script(operations: list[ScriptOp]) -> Solved:
    opcodes = [operation.opcode for operation in operations]
    if opcodes == [OP_DUP, OP_HASH160, 20, OP_EQUALVERIFY, OP_CHECKSIG]:
        return Solved(ScriptKind.PUBKEYHASH)
    if len(opcodes) == 2 and opcodes[1] == OP_CHECKSIG and _is_key(operations[0].data):
        return Solved(ScriptKind.PUBKEY)
    if len(opcodes) >= 4 and opcodes[-1] == OP_CHECKMULTISIG:
        return _solve_multisig(operations)
    return Solved(ScriptKind.NONSTANDARD)


def _solve_multisig(operations: list[ScriptOp]) -> Solved:
    required = _small_number(operations[0])
    keys = _small_number(operations[-2])
    listed = operations[1:-2]
    if not 1 <= required <= keys or keys != len(listed) or not all(_is_key(entry.data) for entry in listed):
        return Solved(ScriptKind.NONSTANDARD)
    return Solved(ScriptKind.MULTISIG, keys)


def _small_number(operation: ScriptOp) -> int:
    """Return the 1 to 16 that an operation pushes, else 0."""
    return operation.opcode - OP_1 + 1 if OP_1 <= operation.opcode <= OP_16 else 0


def _is_key(data: bytes | None) -> bool:
    """Tell whether bytes have the first byte and length of a public key."""
    if not data:
        return False
    return len(data) == {2: 33, 3: 33, 4: 65, 6: 65, 7: 65}.get(data[0], 0)
