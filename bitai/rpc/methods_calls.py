"""Methods that run a message without sending it; what it asks of neurons is asked, where that is allowed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from bitai.rpc.context import Simulation
from bitai.rpc.encode import data, quantity
from bitai.rpc.framing import EXECUTION_REVERTED, SERVER_ERROR, UNAVAILABLE, RpcError
from bitai.rpc.overrides import parse_block_override, parse_state_overrides
from bitai.rpc.params import LATEST, block_param, parse_call, require_count
from bitai.rpc.refusals import refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from bitai.rpc.context import Context, Method
    from bitai.rpc.neuron_rounds import NeuronRounds
    from bitai.rpc.params import CallObject
    from vm._core import Answers, CallResult

    Ran = tuple[int | None, CallResult]
    """The least gas, if that was asked, and the result."""
    Run = Callable[[Simulation, Answers], Ran]

_ERROR_SELECTOR: Final = bytes.fromhex("08c379a0")
"""Selector of Solidity's Error(string)."""
_PANIC_SELECTOR: Final = bytes.fromhex("4e487b71")
"""Selector of Solidity's Panic(uint256)."""
_PANICS: Final = {
    0x01: "assert(false)",
    0x11: "arithmetic underflow or overflow",
    0x12: "division or modulo by zero",
    0x21: "enum overflow",
    0x22: "invalid encoded storage byte array accessed",
    0x31: "out-of-bounds array access; popping on an empty array",
    0x32: "out-of-bounds access of an array or bytesN",
    0x41: "out of memory",
    0x51: "uninitialized function",
}


class CallMethods:
    """The methods, over one context."""

    def __init__(self, context: Context, rounds: NeuronRounds) -> None:
        """Answer from this context; `rounds` have neurons answer."""
        self._context = context
        self._rounds = rounds

    def table(self) -> dict[str, Method]:
        """Return method name -> implementation."""
        return {
            "eth_call": self.call,
            "eth_estimateGas": self.estimate,
            "eth_createAccessList": self.create_access_list,
        }

    async def call(self, params: list[Any]) -> str:
        """eth_call(message, block, accounts to override, block to override)."""
        require_count(params, 1, 4)
        _, result = await self._run(params, self._call)
        return data(require_success(result))

    async def estimate(self, params: list[Any]) -> str:
        """eth_estimateGas(message, block, accounts and block to override): the least gas limit that works."""
        require_count(params, 1, 4)
        return _least_gas(await self._run(params, self._estimate))

    async def create_access_list(self, params: list[Any]) -> dict[str, Any]:
        """eth_createAccessList(message, block, accounts to override): also of a call that fails."""
        require_count(params, 1, 3)
        found: list[tuple[bytes, list[bytes]]] = []

        def run(simulation: Simulation, answers: Answers) -> Ran:
            found[:], result = self._context.simulator.access_list(simulation, answers)
            return None, result

        _, result = await self._run(params, run)
        if result.kind in {"parked", "invalid"}:
            raise failure(result)
        shown: dict[str, Any] = {
            "accessList": [
                {"address": data(address), "storageKeys": [data(slot) for slot in slots]}
                for address, slots in found
            ],
            "gasUsed": quantity(result.gas_used),
        }
        if result.kind != "success":
            shown["error"] = failure(result).message
        return shown

    async def estimate_call(self, message: CallObject) -> str:
        """Estimate a message that has been read already, on the head's state."""

        def begin() -> tuple[Simulation, Ran]:
            simulation = Simulation(self._context.require_number(LATEST), message)
            self.require_sendable(simulation)
            return simulation, self._estimate(simulation, {})

        simulation, ran = await self._context.workers.run(begin)
        return _least_gas(await self.answered(simulation, self._estimate, ran))

    def _call(self, simulation: Simulation, answers: Answers) -> Ran:
        """Call at the price that the message would pay in its block, not at the most that it would."""
        message, base_fee = simulation.message, self._base_fee(simulation)
        if message.fee_cap and base_fee is not None:
            simulation = replace(simulation, message=replace(message, gas_price=message.price_at(base_fee)))
        return None, self._context.simulator.call(simulation, answers)

    def _estimate(self, simulation: Simulation, answers: Answers) -> Ran:
        """Estimate; a gas limit cut down to what the sender can pay is told as the want of funds that it is."""
        simulator, message = self._context.simulator, simulation.message
        gas, result = simulator.estimate(simulation, answers)
        if gas is None and message.gas_price and result.kind != "parked":
            unpriced = replace(simulation, message=replace(message, gas_price=0))
            if simulator.call(unpriced, answers).kind in {"success", "parked"}:
                raise refusal("tx.insufficient_funds", "")
        return gas, result

    async def _run(self, params: list[Any], run: Run) -> Ran:
        """Run, fetch the answer that was missing, and run again with it, within bounds of time and work."""
        simulation, ran = await self._context.workers.run(self._begin, params, run)
        return await self.answered(simulation, run, ran)

    async def answered(self, simulation: Simulation, run: Run, ran: Ran) -> Ran:
        """Fetch the answers that a run missed, and run again with them."""
        return await self._rounds.finish(ran, lambda answers: run(simulation, answers), lambda each: each[1])

    def _begin(self, params: list[Any], run: Run) -> tuple[Simulation, Ran]:
        """Read the parameters and run once; the head is looked up right before its state is used."""
        message = parse_call(params[0])
        accounts = parse_state_overrides(params[2] if len(params) > 2 else None)
        block = parse_block_override(params[3] if len(params) > 3 else None)
        number = self._context.require_number(block_param(params, 1))
        simulation = Simulation(number, message, accounts, block)
        self.require_sendable(simulation)
        return simulation, run(simulation, {})

    def require_sendable(self, simulation: Simulation) -> None:
        """Refuse what a call says of its transaction that no block like this one could take."""
        message = simulation.message
        here = self._context.facts.chain_id
        if message.chain_id not in (None, here):
            raise RpcError(
                SERVER_ERROR, f"chainId does not match node's (have={message.chain_id}, want={here})"
            )
        base_fee = self._base_fee(simulation) if message.gas_price else None
        if base_fee is not None and message.gas_price < base_fee:
            raise refusal(
                "tx.fee_cap_below_base_fee", f"maxFeePerGas: {message.gas_price}, baseFee: {base_fee}"
            )

    def _base_fee(self, simulation: Simulation) -> int | None:
        """Return the base fee of the block that a message runs in; None if that block has just left the chain."""
        if simulation.block is not None and simulation.block.base_fee is not None:
            return simulation.block.base_fee
        header = self._context.blocks.header(simulation.number)
        return None if header is None else header.base_fee


def _least_gas(ran: Ran) -> str:
    gas, result = ran
    if gas is None:
        require_success(result)
        raise RpcError(SERVER_ERROR, "gas required exceeds allowance")
    return quantity(gas)


def require_success(result: CallResult) -> bytes:
    """Return what a call returned, or raise what its caller sees."""
    if result.kind == "success":
        return result.output
    raise failure(result)


def failure(result: CallResult) -> RpcError:
    """Return what the caller of a call that failed sees."""
    if result.kind == "revert":
        reason = revert_reason(result.output)
        message = "execution reverted" + (f": {reason}" if reason else "")
        return RpcError(EXECUTION_REVERTED, message, data(result.output))
    if result.kind == "parked":
        return RpcError(
            UNAVAILABLE,
            "the call asks a neuron model, which this node has answered inside transactions only",
            {"code": result.code or "infer.parked"},
        )
    code = result.code or "call.failed"
    return refusal(code, "" if result.kind == "invalid" else code.rpartition(".")[2].replace("_", " "))


def revert_reason(output: bytes) -> str:
    """Return the text of Solidity's Error(string), or of its panics; else an empty string."""
    if output.startswith(_PANIC_SELECTOR) and len(output) == 36:
        code = int.from_bytes(output[4:], "big")
        return f"panic: {_PANICS.get(code, 'unknown panic code')} ({code:#04x})"
    if not output.startswith(_ERROR_SELECTOR) or len(output) < 68:
        return ""
    offset, length = int.from_bytes(output[4:36], "big"), int.from_bytes(output[36:68], "big")
    if offset != 32 or length > len(output) - 68:
        return ""
    return output[68 : 68 + length].decode("utf-8", "replace")
