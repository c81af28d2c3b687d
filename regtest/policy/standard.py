"""Whether a transaction is standard: form, outputs, inputs and witnesses (Core's policy/policy.cpp)."""

from collections.abc import Iterable, Sequence
from typing import Final

from primitives.bitcoin.parser import ParsedInput, ParsedOutput, ParsedTx
from primitives.bitcoin.script import PAY_TO_ANCHOR, witness_program
from primitives.hashes import BytesLike
from regtest import limits
from regtest.coins import Coin
from regtest.policy.rejection import TransactionRejected
from regtest.policy.scripts import (
    ScriptKind,
    count_sigops,
    dust_threshold_sats,
    is_push_only,
    is_script_hash,
    redeem_script,
    solve_script,
)

ANNEX_TAG: Final = 0x50
_LEAF_VERSION_MASK: Final = 0xFE
_TAPSCRIPT: Final = 0xC0
_UNSPENDABLE_INPUT_KINDS: Final = (ScriptKind.NONSTANDARD, ScriptKind.WITNESS_UNKNOWN)

Stack = Sequence[BytesLike]


def require_standard(transaction: ParsedTx) -> None:
    """Refuse what Core's IsStandardTx refuses.

    Reasons: version, tx-size, scriptsig-size, scriptsig-not-pushonly, scriptpubkey, datacarrier, dust,
    tx-size-small.
    """
    if transaction.version not in limits.STANDARD_VERSIONS:
        raise TransactionRejected("version")
    if transaction.weight > limits.MAX_STANDARD_WEIGHT:
        raise TransactionRejected("tx-size")
    for entry in transaction.inputs:
        if len(entry.script_sig) > limits.MAX_STANDARD_SCRIPTSIG_BYTES:
            raise TransactionRejected("scriptsig-size")
        if not is_push_only(entry.script_sig):
            raise TransactionRejected("scriptsig-not-pushonly")
    _require_standard_outputs(transaction.outputs)
    if len(dust_outputs(transaction)) > limits.MAX_DUST_OUTPUTS:
        raise TransactionRejected("dust")
    if len(transaction.stripped) < limits.MIN_STANDARD_NONWITNESS_BYTES:
        raise TransactionRejected("tx-size-small")


def dust_outputs(transaction: ParsedTx) -> list[int]:
    """Return the numbers of the outputs that are worth less than their spending costs."""
    outputs = enumerate(transaction.outputs)
    return [vout for vout, output in outputs if output.value < dust_threshold_sats(output.script)]


def require_standard_inputs(transaction: ParsedTx, coins: Sequence[Coin]) -> None:
    """Refuse what Core's AreInputsStandard and IsWitnessStandard refuse.

    Reasons: bad-txns-nonstandard-inputs, bad-witness-nonstandard.
    """
    if _legacy_sigops(transaction.inputs, coins) > limits.MAX_LEGACY_SIGOPS:
        raise TransactionRejected("bad-txns-nonstandard-inputs", "non-witness sigops exceed bip54 limit")
    for index, (entry, coin) in enumerate(zip(transaction.inputs, coins, strict=True)):
        if not _is_standard_input(entry, coin):
            raise TransactionRejected("bad-txns-nonstandard-inputs", f"input {index}")
    for entry, coin, stack in zip(transaction.inputs, coins, transaction.witnesses, strict=True):
        if stack and not _is_standard_witness(entry, coin, stack):
            raise TransactionRejected("bad-witness-nonstandard")


def sigops_cost(transaction: ParsedTx, coins: Sequence[Coin]) -> int:
    """Return the signature checks of a transaction at four units each, one unit in a witness."""
    legacy = sum(count_sigops(entry.script_sig, accurate=False) for entry in transaction.inputs)
    legacy += sum(count_sigops(output.script, accurate=False) for output in transaction.outputs)
    cost = limits.WITNESS_SCALE * legacy
    for entry, coin, stack in zip(transaction.inputs, coins, transaction.witnesses, strict=True):
        program = coin.script
        if is_script_hash(program):
            program = redeem_script(entry.script_sig) or b""
            cost += limits.WITNESS_SCALE * count_sigops(program, accurate=True)
        cost += _witness_sigops(program, stack)
    return cost


def _require_standard_outputs(outputs: Iterable[ParsedOutput]) -> None:
    carrier_bytes = limits.MAX_DATACARRIER_BYTES
    for output in outputs:
        solved = solve_script(output.script)
        nonstandard = solved.kind is ScriptKind.NONSTANDARD
        if nonstandard or solved.keys > limits.MAX_BARE_MULTISIG_KEYS:
            raise TransactionRejected("scriptpubkey")
        if solved.kind is ScriptKind.NULLDATA:
            carrier_bytes -= len(output.script)
            if carrier_bytes < 0:
                raise TransactionRejected("datacarrier")


def _legacy_sigops(inputs: Sequence[ParsedInput], coins: Sequence[Coin]) -> int:
    total = 0
    for entry, coin in zip(inputs, coins, strict=True):
        total += count_sigops(entry.script_sig, accurate=True)
        if is_script_hash(coin.script):
            total += count_sigops(redeem_script(entry.script_sig) or b"", accurate=True)
        else:
            total += count_sigops(coin.script, accurate=True)
    return total


def _is_standard_input(entry: ParsedInput, coin: Coin) -> bool:
    kind = solve_script(coin.script).kind
    if kind is not ScriptKind.SCRIPTHASH:
        return kind not in _UNSPENDABLE_INPUT_KINDS
    script = redeem_script(entry.script_sig)
    return script is not None and count_sigops(script, accurate=True) <= limits.MAX_P2SH_SIGOPS


def _is_standard_witness(entry: ParsedInput, coin: Coin, stack: Stack) -> bool:
    if coin.script == PAY_TO_ANCHOR:
        return False
    nested = is_script_hash(coin.script)
    script = redeem_script(entry.script_sig) if nested else coin.script
    program = None if script is None else witness_program(script)
    if program is None:
        return False
    version, data = program
    if version == 0 and len(data) == 32:
        return _is_standard_p2wsh(stack)
    if version == 1 and len(data) == 32 and not nested:
        return _is_standard_taproot(stack)
    return True


def _is_standard_p2wsh(stack: Stack) -> bool:
    items = stack[:-1]
    return (
        len(stack[-1]) <= limits.MAX_P2WSH_SCRIPT_BYTES
        and len(items) <= limits.MAX_P2WSH_STACK_ITEMS
        and all(len(item) <= limits.MAX_P2WSH_ITEM_BYTES for item in items)
    )


def _is_standard_taproot(stack: Stack) -> bool:
    if len(stack) == 1:
        return True
    control = stack[-1]
    if not control or control[0] == ANNEX_TAG:
        return False
    if control[0] & _LEAF_VERSION_MASK != _TAPSCRIPT:
        return True
    return all(len(item) <= limits.MAX_TAPSCRIPT_ITEM_BYTES for item in stack[:-2])


def _witness_sigops(script: bytes, stack: Stack) -> int:
    program = witness_program(script)
    if program is None or program[0] != 0:
        return 0
    if len(program[1]) == 20:
        return 1
    return count_sigops(stack[-1], accurate=True) if len(program[1]) == 32 and stack else 0
