"""Run the blocks of a simulation one upon another, and show them as `eth_simulateV1` does.

A simulated block stands on the Bitcoin origin of the block that it begins from; its time goes on by the chain's step.
Without validation its base fee is zero, any sender may send, and nonces are not looked at; the money must be there in
any case. Source: execution-apis, eth_simulateV1, and geth's behaviour where that is silent.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from bitai.rpc.encode import PENDING_STEP_S, BlockPlace, block_object, data, log_object, quantity
from bitai.rpc.framing import EXECUTION_REVERTED, INTERNAL_ERROR, INVALID_PARAMS, RpcError
from bitai.rpc.limits import over
from bitai.rpc.methods_calls import revert_reason
from bitai.rpc.overrides import BlockOverride
from bitai.rpc.refusals import refusal
from bitai.rpc.simulate_params import MAX_BLOCKS, TOO_MANY_BLOCKS, BlockCalls
from bitai.rpc.unsigned import FEE_MARKET, UnsignedTransaction, type_of
from vm._core import BlockEnv, Message, next_base_fee

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bitai.rpc.params import CallObject
    from bitai.rpc.simulate_params import SimulationRequest
    from vm._core import Answers, CallResult, Header, SimulatedChain

VM_ERROR: Final = -32015
BLOCK_GAS_REACHED: Final = -38015
NUMBER_ORDER: Final = -38020
TIME_ORDER: Final = -38021
_CODES: Final = {
    "tx.nonce_too_low": -38010,
    "tx.nonce_too_high": -38011,
    "tx.fee_cap_below_base_fee": -38012,
    "tx.intrinsic_gas": -38013,
    "tx.floor_gas": -38013,
    "tx.insufficient_funds": -38014,
    "tx.sender_is_contract": -38024,
    "tx.init_code_size": -38025,
    "tx.priority_above_fee_cap": INVALID_PARAMS,
    "tx.nonce_overflow": INTERNAL_ERROR,
}
"""By our code, what clients of this method know; the words are those of every refusal."""


@dataclass(frozen=True, slots=True)
class Base:
    """The block that a simulation begins from, and the base fee that would follow it (wei)."""

    header: Header
    next_base_fee: int
    chain_id: int


@dataclass(frozen=True, slots=True)
class Budget:
    """What one simulation may use: gas of all calls, gas of a call that names none, seconds."""

    gas: int
    call_gas: int
    seconds: float


class ParkedError(Exception):
    """A call asks a neuron for an answer that is not there; `result` names the request."""

    def __init__(self, result: CallResult) -> None:
        """Keep the parked call."""
        super().__init__(result.code)
        self.result = result


@dataclass(slots=True)
class _Ran:
    transaction: UnsignedTransaction
    result: CallResult


@dataclass(slots=True)
class SimulationRun:
    """One run; `hashes` are those of the blocks made so far, for BLOCKHASH."""

    request: SimulationRequest
    base: Base
    budget: Budget
    answers: Answers
    hashes: dict[int, bytes]
    _gas_left: int = 0
    _deadline_s: float = 0.0
    _made: list[dict[str, Any]] = field(default_factory=list)

    def run(self, chain: SimulatedChain) -> list[dict[str, Any]]:
        """Return the blocks. Errors: `RpcError` for what cannot be; `ParkedError`."""
        self._gas_left = self.budget.gas
        self._deadline_s = time.monotonic() + self.budget.seconds
        self._made.clear()
        self.hashes.clear()
        header, base_fee = self.base.header, self.base.next_base_fee
        for asked in _filled(self.request, header):
            env = self._environment(asked.block, header, base_fee)
            header, ordinary_gas = self._block(chain, asked, env)
            self.hashes[header.number] = header.hash
            base_fee = next_base_fee(header.base_fee, ordinary_gas, header.gas_limit)
        return self._made

    def _environment(self, wanted: BlockOverride, parent: Header, base_fee: int) -> BlockEnv:
        fee = base_fee if self.request.validate else 0
        return BlockEnv(
            number=parent.number + 1 if wanted.number is None else wanted.number,
            timestamp=parent.timestamp + PENDING_STEP_S if wanted.time is None else wanted.time,
            coinbase=parent.coinbase if wanted.coinbase is None else wanted.coinbase,
            gas_limit=parent.gas_limit if wanted.gas_limit is None else wanted.gas_limit,
            base_fee=fee if wanted.base_fee is None else wanted.base_fee,
            prev_randao=bytes(32) if wanted.prev_randao is None else wanted.prev_randao,
            parent_hash=parent.hash,
            origin_hash=parent.parent_beacon_block_root if wanted.beacon_root is None else wanted.beacon_root,
            extra_data=parent.extra_data,
        )

    def _block(self, chain: SimulatedChain, asked: BlockCalls, env: BlockEnv) -> tuple[Header, int]:
        """Make one block and show it; return its header and the ordinary gas in it."""
        chain.open(env, asked.accounts, asked.precompiles.moves, asked.precompiles.removed)
        ran: list[_Ran] = []
        gas_used = 0
        for call in asked.calls:
            made = self._call(chain, call, env, gas_used)
            gas_used += made.result.gas_used
            self._gas_left -= made.result.gas_used
            ran.append(made)
        raws = [each.transaction.encode() for each in ran]
        header = chain.seal(raws)
        self._made.append(self._show(header, ran, raws))
        return header, gas_used - sum(each.result.infer_gas for each in ran)

    def _call(self, chain: SimulatedChain, call: CallObject, env: BlockEnv, gas_used: int) -> _Ran:
        if time.monotonic() > self._deadline_s:
            raise over(f"simulation took longer than {self.budget.seconds:g} s", "call_seconds")
        if call.chain_id not in (None, self.base.chain_id):
            words = f"chainId does not match node's (have={call.chain_id}, want={self.base.chain_id})"
            raise RpcError(INVALID_PARAMS, words)
        if self._gas_left <= 0:
            raise over(f"all calls together used {self.budget.gas} gas", "simulate_gas", "simulate less")
        room = env.gas_limit - gas_used
        gas = min(room, self.budget.call_gas) if call.gas is None else call.gas
        if gas > room:
            raise RpcError(BLOCK_GAS_REACHED, f"block gas limit reached: {gas_used} >= {env.gas_limit}")
        transaction = self._transaction(chain, call, gas)
        result = chain.run(self._message(transaction, min(gas, self._gas_left)), self.answers)
        if result.kind == "parked":
            raise ParkedError(result)
        if result.kind == "invalid":
            raise _invalid(result.code or "", transaction, env)
        return _Ran(transaction, result)

    def _transaction(self, chain: SimulatedChain, call: CallObject, gas: int) -> UnsignedTransaction:
        kind = type_of(call)
        return UnsignedTransaction(
            call,
            kind,
            chain_id=self.base.chain_id,
            nonce=chain.nonce(call.sender) if call.nonce is None else call.nonce,
            gas=gas,
            price=call.gas_price if kind < FEE_MARKET else 0,
            fee_cap=(call.fee_cap or 0) if kind >= FEE_MARKET else 0,
            tip=(call.tip or 0) if kind >= FEE_MARKET else 0,
        )

    def _message(self, transaction: UnsignedTransaction, gas: int) -> Message:
        call = transaction.call
        is_market = transaction.type >= FEE_MARKET
        return Message(
            sender=call.sender,
            to=call.to,
            value=call.value,
            input=call.input,
            gas_limit=gas,
            gas_price=transaction.fee_cap if is_market else transaction.price,
            priority_fee=transaction.tip if is_market else None,
            nonce=transaction.nonce,
            access_list=call.access_list,
            authorizations=call.authorizations,
        )

    # -- showing ----------------------------------------------------------------------------------

    def _show(self, header: Header, ran: list[_Ran], raws: list[bytes]) -> dict[str, Any]:
        place = BlockPlace(header.hash, header.number, header.timestamp)
        if self.request.full_transactions:
            shown: list[Any] = [_whole(each, place, index, header) for index, each in enumerate(ran)]
        else:
            shown = [data(each.transaction.hash()) for each in ran]
        size = len(header.encode()) + sum(map(len, raws))
        block = block_object(header, size, shown)
        del block["totalDifficulty"]
        calls: list[dict[str, Any]] = []
        logs = 0
        for index, each in enumerate(ran):
            calls.append(_call_object(each, place, index=index, first_log=logs))
            logs += len(each.result.logs)
        return block | {"calls": calls}


def _filled(request: SimulationRequest, base: Header) -> Iterator[BlockCalls]:
    """Yield the blocks in order with numbers and times that rise, gaps between their numbers filled."""
    number, timestamp = base.number, base.timestamp
    ordered: list[BlockCalls] = []
    for asked in request.blocks:
        wanted = asked.block
        mine = number + 1 if wanted.number is None else wanted.number
        if mine <= number:
            raise RpcError(NUMBER_ORDER, f"block numbers must be in order: {mine} <= {number}")
        if mine - base.number > MAX_BLOCKS:
            raise RpcError(TOO_MANY_BLOCKS, "too many blocks")
        while number + 1 < mine:
            number, timestamp = number + 1, timestamp + PENDING_STEP_S
            ordered.append(BlockCalls(BlockOverride(number=number, time=timestamp)))
        moment = timestamp + PENDING_STEP_S if wanted.time is None else wanted.time
        if moment <= timestamp:
            raise RpcError(TIME_ORDER, f"block timestamps must be in order: {moment} <= {timestamp}")
        number, timestamp = mine, moment
        ordered.append(replace(asked, block=replace(wanted, number=number, time=timestamp)))
    return iter(ordered)


def _invalid(code: str, transaction: UnsignedTransaction, env: BlockEnv) -> RpcError:
    """Return the error for a transaction that no block could hold, with the numbers that decide it."""
    error = refusal(code, "")
    detail = f"address 0x{transaction.call.sender.hex()}"
    if code == "tx.fee_cap_below_base_fee":
        detail += f", maxFeePerGas: {transaction.fee_cap or transaction.price}, baseFee: {env.base_fee}"
    if code in {"tx.nonce_too_low", "tx.nonce_too_high", "tx.nonce_overflow"}:
        detail += f", tx: {transaction.nonce}"
    words = f"err: {error.message}: {detail} (supplied gas {transaction.gas})"
    return RpcError(_CODES.get(code, error.code), words, error.data)


def _whole(ran: _Ran, place: BlockPlace, index: int, header: Header) -> dict[str, Any]:
    transaction = ran.transaction
    price = transaction.price
    if transaction.type >= FEE_MARKET:
        price = min(transaction.fee_cap, header.base_fee + transaction.tip)
    return transaction.to_object() | {
        "from": data(transaction.call.sender),
        "gasPrice": quantity(price),
        "blockHash": data(place.hash),
        "blockNumber": quantity(place.number),
        "blockTimestamp": quantity(place.timestamp),
        "transactionIndex": quantity(index),
    }


def _call_object(ran: _Ran, place: BlockPlace, *, index: int, first_log: int) -> dict[str, Any]:
    result, transaction_hash = ran.result, ran.transaction.hash()
    success = result.kind == "success"
    shown: dict[str, Any] = {
        "returnData": data(result.output) if success else "0x",
        "logs": [
            log_object(log, place, transaction_hash, index=index, log_index=first_log + offset)
            for offset, log in enumerate(result.logs)
        ],
        "gasUsed": quantity(result.gas_used),
        "maxUsedGas": quantity(result.gas_used + result.gas_refunded),
        "status": quantity(int(success)),
    }
    if result.infer_gas:
        shown["inferGasUsed"] = quantity(result.infer_gas)
    if not success:
        shown["error"] = _failure(result)
    return shown


def _failure(result: CallResult) -> dict[str, Any]:
    if result.kind == "revert":
        reason = revert_reason(result.output)
        words = "execution reverted" + (f": {reason}" if reason else "")
        return {"code": EXECUTION_REVERTED, "message": words, "data": data(result.output)}
    return {"code": VM_ERROR, "message": (result.code or "halt").rpartition(".")[2].replace("_", " ")}
