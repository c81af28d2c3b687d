"""Script rules that only policy knows: what consensus lets pass today so that it can mean something tomorrow.

The kernel checks consensus alone. Core's other relay flags need an interpreter to be exact; what is checked
here is what can be read off the bytes, outside any OP_IF: unknown leaf versions, OP_SUCCESS, upgradable NOPs,
pushes that are not minimal, unknown key types before a signature check, and for single-key spends low-S
signatures, known hash types and compressed witness keys.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from primitives.bitcoin.parser import ParsedTx
from primitives.bitcoin.script import (
    OP_CHECKSIG,
    OP_CHECKSIGADD,
    OP_CHECKSIGVERIFY,
    OP_ENDIF,
    OP_IF,
    OP_NOTIF,
    ScriptOp,
    push,
)
from primitives.curve import CURVE_ORDER
from primitives.hashes import BytesLike
from regtest.coins import Coin
from regtest.policy.rejection import TransactionRejected
from regtest.policy.scripts import ScriptKind, read_script, solve_script

_LEAF_VERSION_MASK: Final = 0xFE
_TAPSCRIPT: Final = 0xC0
_KEY_BYTES: Final = 32
_ANYONECANPAY: Final = 0x80
_DEFINED_HASH_TYPES: Final = (1, 2, 3)
_COMPRESSED_KEY_BYTES: Final = 33
_SIGNATURE_CHECKS: Final = (OP_CHECKSIG, OP_CHECKSIGVERIFY, OP_CHECKSIGADD)
_OP_16: Final = 0x60
_UPGRADABLE_NOPS: Final = frozenset({0xB0, *range(0xB3, 0xBA)})
_OP_SUCCESS: Final = frozenset(
    {80, 98, 137, 138, 141, 142, *range(126, 130), *range(131, 135), *range(149, 154), *range(187, 255)}
)


def require_script_policy(transaction: ParsedTx, coins: Sequence[Coin]) -> None:
    """Refuse spends that consensus may allow but nodes do not relay: `mempool-script-verify-flag-failed`."""
    for index, (entry, coin) in enumerate(zip(transaction.inputs, coins, strict=True)):
        stack = transaction.witnesses[index]
        word = _objection(coin.script, entry.script_sig, stack)
        if word:
            raise script_failure(transaction, index, word)


def script_failure(transaction: ParsedTx, index: int, word: str) -> TransactionRejected:
    """Return the rejection of a transaction whose input fails, worded as Core does."""
    spent = transaction.inputs[index].prevout
    txid, wtxid = transaction.txid[::-1].hex(), transaction.wtxid[::-1].hex()
    where = f"input {index} of {txid} (wtxid {wtxid}), spending {spent.txid[::-1].hex()}:{spent.vout}"
    return TransactionRejected(f"mempool-script-verify-flag-failed ({word})", where)


def _objection(script: bytes, script_sig: BytesLike, stack: Sequence[BytesLike]) -> str:
    operations = read_script(script_sig)
    if operations is not None and not all(_is_minimal(operation) for operation in operations):
        return "Data push larger than necessary"
    kind = solve_script(script).kind
    if kind is ScriptKind.WITNESS_V1_TAPROOT:
        return _taproot_objection(stack)
    if kind is ScriptKind.WITNESS_V0_KEYHASH and len(stack) == 2:
        if len(stack[1]) != _COMPRESSED_KEY_BYTES:
            return "Using non-compressed keys in segwit"
        return _signature_objection(bytes(stack[0]))
    if kind is ScriptKind.PUBKEYHASH and operations is not None and len(operations) == 2:
        return _signature_objection(operations[0].data or b"")
    return ""


def _taproot_objection(stack: Sequence[BytesLike]) -> str:
    if len(stack) < 2 or not stack[-1]:
        return ""
    if stack[-1][0] & _LEAF_VERSION_MASK != _TAPSCRIPT:
        return "Taproot version reserved for soft-fork upgrades"
    operations = read_script(stack[-2])
    if operations is None:
        return ""  # the kernel knows what to say about it
    if any(operation.opcode in _OP_SUCCESS for operation in operations):
        return "OP_SUCCESSx reserved for soft-fork upgrades"
    return _executed_objection(_always_executed(operations))


def _always_executed(operations: Iterable[ScriptOp]) -> list[ScriptOp]:
    """Return the operations outside every branch."""
    outside = []
    depth = 0
    for operation in operations:
        if operation.opcode in (OP_IF, OP_NOTIF):
            depth += 1
        elif operation.opcode == OP_ENDIF:
            depth -= 1
        elif depth == 0:
            outside.append(operation)
    return outside


def _executed_objection(operations: Sequence[ScriptOp]) -> str:
    previous = None
    for operation in operations:
        if operation.opcode in _UPGRADABLE_NOPS:
            return "NOPx reserved for soft-fork upgrades"
        if not _is_minimal(operation):
            return "Data push larger than necessary"
        if operation.opcode in _SIGNATURE_CHECKS and _pushes_unknown_key(previous):
            return "Public key version reserved for soft-fork upgrades"
        previous = operation
    return ""


def _pushes_unknown_key(operation: ScriptOp | None) -> bool:
    return operation is not None and operation.data is not None and len(operation.data) not in (0, _KEY_BYTES)


def _is_minimal(operation: ScriptOp) -> bool:
    """Tell whether a push uses the opcode that the shortest push of its data uses."""
    if operation.data is None or operation.opcode > _OP_16:
        return True
    return push(operation.data[: 1 << 16])[0] == operation.opcode


def _signature_objection(signature: bytes) -> str:
    """Judge a DER signature with its hash type; the kernel judges whether it is one at all."""
    if not signature:
        return ""
    if signature[-1] & ~_ANYONECANPAY not in _DEFINED_HASH_TYPES:
        return "Signature hash type missing or not understood"
    r_length = signature[3] if len(signature) > 3 else 0
    s_start = 4 + r_length + 2
    s_value = int.from_bytes(signature[s_start:-1], "big")
    if s_value > CURVE_ORDER // 2:
        return "Non-canonical signature: S value is unnecessarily high"
    return ""
