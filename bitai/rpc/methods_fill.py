"""The method that completes a transaction for its sender to sign."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bitai.rpc.encode import data
from bitai.rpc.framing import SERVER_ERROR, RpcError
from bitai.rpc.methods_fees import PRIORITY_FEE_WEI
from bitai.rpc.params import LATEST, parse_draft, require_count
from bitai.rpc.refusals import refusal
from bitai.rpc.unsigned import FEE_MARKET, UnsignedTransaction, type_of

if TYPE_CHECKING:
    from bitai.rpc.context import Context, Method
    from bitai.rpc.methods_calls import CallMethods
    from bitai.rpc.params import CallObject


class FillMethods:
    """The method, over one context."""

    def __init__(self, context: Context, calls: CallMethods) -> None:
        """Estimate by `calls`."""
        self._context = context
        self._calls = calls

    def table(self) -> dict[str, Method]:
        """Return method name -> implementation."""
        return {"eth_fillTransaction": self.fill}

    async def fill(self, params: list[Any]) -> dict[str, Any]:
        """eth_fillTransaction(transaction): nonce, prices and gas where they are missing, and its unsigned bytes."""
        require_count(params, 1, 1)
        filled = await self.complete(parse_draft(params[0]))
        return {"raw": data(filled.encode()), "tx": filled.to_object()}

    async def complete(self, draft: CallObject) -> UnsignedTransaction:
        """Return a draft with everything decided. Errors: those of an estimate."""
        if draft.to is None and not draft.input:
            raise RpcError(SERVER_ERROR, "contract creation without any data provided")
        base_fee, state_nonce = await self._context.workers.run(self._facts, draft)
        nonce = draft.nonce
        if nonce is None:
            nonce = self._context.sender.pending_nonce(draft.sender, state_nonce)
        priced = _priced(draft, base_fee)
        gas = draft.gas if draft.gas is not None else int(await self._calls.estimate_call(priced), 16)
        kind = type_of(priced)
        return UnsignedTransaction(
            priced,
            kind,
            chain_id=self._context.facts.chain_id,
            nonce=nonce,
            gas=gas,
            price=priced.gas_price if kind < FEE_MARKET else 0,
            fee_cap=priced.fee_cap or 0,
            tip=priced.tip or 0,
        )

    def _facts(self, draft: CallObject) -> tuple[int, int]:
        head = self._context.require_number(LATEST)
        state = self._context.states.state(head)
        return self._context.states.next_base_fee(head), state.nonce(draft.sender)


def _priced(draft: CallObject, base_fee: int) -> CallObject:
    """Return a draft with prices: twice the base fee and the default tip where it names none, as geth does."""
    if draft.gas_price and draft.fee_cap is None and draft.tip is None:
        return draft
    tip = draft.tip
    if tip is None:
        tip = min(PRIORITY_FEE_WEI, draft.fee_cap) if draft.fee_cap is not None else PRIORITY_FEE_WEI
    cap = draft.fee_cap if draft.fee_cap is not None else tip + 2 * base_fee
    if tip > cap:
        words = f"maxFeePerGas ({cap}) < maxPriorityFeePerGas ({tip})"
        raise refusal("tx.priority_above_fee_cap", words)
    return replace(draft, gas_price=cap, fee_cap=cap, tip=tip)
