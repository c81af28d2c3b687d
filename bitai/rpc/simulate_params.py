"""Read what `eth_simulateV1` is asked: blocks of calls, each with what it replaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bitai.rpc.framing import INVALID_PARAMS, SERVER_ERROR, RpcError
from bitai.rpc.overrides import BlockOverride, parse_block_override, parse_state_overrides
from bitai.rpc.params import CallObject, invalid, parse_address, parse_bool, parse_draft
from vm import predeploys

if TYPE_CHECKING:
    from primitives.ids import Address
    from vm._core import AccountOverride

MAX_BLOCKS: Final = 256
"""Blocks that one call simulates, those that fill gaps included; as geth bounds it."""
TOO_MANY_BLOCKS: Final = -38026
PRECOMPILES: Final = frozenset(
    [number.to_bytes(20, "big") for number in (*range(0x01, 0x12), 0x100)] + [bytes(predeploys.INFER)]
)


@dataclass(frozen=True, slots=True)
class Rearranged:
    """Precompiles of one block: `moves` are (old address, new address), `removed` answer as accounts."""

    moves: tuple[tuple[bytes, bytes], ...] = ()
    removed: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class BlockCalls:
    """One simulated block as it was asked for; an empty one fills a gap between two numbers."""

    block: BlockOverride
    accounts: tuple[AccountOverride, ...] = ()
    precompiles: Rearranged = Rearranged()
    calls: tuple[CallObject, ...] = ()


@dataclass(frozen=True, slots=True)
class SimulationRequest:
    """The whole question."""

    blocks: tuple[BlockCalls, ...]
    validate: bool
    trace_transfers: bool
    full_transactions: bool


def parse_simulation(value: Any) -> SimulationRequest:
    """Return a simulation. Errors: INVALID_PARAMS, TOO_MANY_BLOCKS, and "is not a precompile" in geth's words."""
    if not isinstance(value, dict):
        raise invalid("a simulation is an object with blockStateCalls")
    blocks = value.get("blockStateCalls")
    if not blocks:
        raise RpcError(INVALID_PARAMS, "empty input")
    if not isinstance(blocks, list):
        raise invalid("blockStateCalls is an array")
    if len(blocks) > MAX_BLOCKS:
        raise RpcError(TOO_MANY_BLOCKS, "too many blocks")
    return SimulationRequest(
        blocks=tuple(_parse_block(each) for each in blocks),
        validate=_flag(value, "validation"),
        trace_transfers=_flag(value, "traceTransfers"),
        full_transactions=_flag(value, "returnFullTransactions"),
    )


def _flag(value: dict[str, Any], name: str) -> bool:
    return parse_bool(value[name], name) if value.get(name) is not None else False


def _parse_block(value: Any) -> BlockCalls:
    if not isinstance(value, dict):
        raise invalid("each of blockStateCalls is an object")
    calls = value["calls"] if value.get("calls") is not None else []
    if not isinstance(calls, list):
        raise invalid("calls is an array")
    plain, precompiles = _split(value.get("stateOverrides") or {})
    return BlockCalls(
        block=parse_block_override(value.get("blockOverrides")) or BlockOverride(),
        accounts=parse_state_overrides(plain),
        precompiles=precompiles,
        calls=tuple(parse_draft(each) for each in calls),
    )


def _split(overrides: Any) -> tuple[dict[str, Any], Rearranged]:
    """Return the overrides without their moves of precompiles, and these."""
    if not isinstance(overrides, dict):
        raise invalid("state overrides are an object")
    plain: dict[str, Any] = {}
    moves: list[tuple[bytes, bytes]] = []
    removed: list[bytes] = []
    taken = {parse_address(each) for each in overrides}
    for address, wanted in overrides.items():
        if not isinstance(wanted, dict):
            raise invalid("an account override is an object")
        account = parse_address(address)
        target = _target(wanted)
        if target is not None:
            _require_move(account, target, taken)
            moves.append((account, target))
        if account in PRECOMPILES and (target is not None or wanted.get("code") is not None):
            removed.append(account)  # what was moved away, or overwritten, answers as an account
        plain[address] = {name: each for name, each in wanted.items() if name not in _MOVE}
    return plain, Rearranged(tuple(moves), tuple(removed))


_MOVE: Final = ("movePrecompileToAddress", "MovePrecompileToAddress")


def _target(wanted: dict[str, Any]) -> Address | None:
    value = next((wanted[name] for name in _MOVE if wanted.get(name) is not None), None)
    return None if value is None else parse_address(value, _MOVE[0])


def _require_move(account: Address, target: Address, taken: set[Address]) -> None:
    if account not in PRECOMPILES:
        raise RpcError(SERVER_ERROR, f"account 0x{account.hex()} is not a precompile")
    if target in taken:
        raise RpcError(SERVER_ERROR, f"account 0x{target.hex()} is already overridden")
