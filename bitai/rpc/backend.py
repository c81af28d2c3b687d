"""Answer the RPC's questions from the chain database and the executor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bitai.rpc.context import Place
from primitives.errors import Rejected
from vm import schema
from vm._core import Message
from vm.simulation import CallOptions

if TYPE_CHECKING:
    from bitai.rpc.params import BlockId, CallObject
    from primitives.ids import Hash32
    from vm._core import Answers, CallResult, Header, Receipt
    from vm.executor import Executor
    from vm.views import StateView

CALL_GAS: Final = 16_777_216
"""Gas of an `eth_call` at most: what a transaction may declare, so that calls tell what transactions do."""


class ChainBackend:
    """The `BlockReader`, `StateSource` and `Simulator` of a node."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._chain = executor.chain

    def resolve(self, block: BlockId) -> int | None:
        """Return the number of a block that exists now, or None."""
        head = self._executor.head.number
        if block.hash is not None:
            return self._chain.number_of(block.hash)
        if block.number is not None:
            return block.number if block.number <= head else None
        return self._tagged(block.tag or "latest", head)

    def _tagged(self, tag: str, head: int) -> int:
        if tag == "earliest":
            return 0
        if tag in {"safe", "finalized"}:
            mark = self._chain.mark(schema.META_SAFE if tag == "safe" else schema.META_FINALIZED)
            return min(mark.number, head) if mark is not None else 0
        return head

    def header(self, number: int) -> Header | None:
        """Return a header."""
        return self._chain.header(number)

    def transactions(self, number: int) -> list[bytes]:
        """Return a block's raw transactions, system ones first."""
        body = self._chain.body(number)
        if body is None:
            raise Rejected("rpc.block_gone", "the block left the chain while it was read")
        return list(body.transactions)

    def receipts(self, number: int) -> list[Receipt]:
        """Return a block's receipts."""
        receipts = self._chain.receipts(number)
        if receipts is None:
            raise Rejected("rpc.block_gone", "the block left the chain while it was read")
        return receipts

    def place(self, transaction_hash: Hash32) -> Place | None:
        """Return where a transaction stands."""
        place = self._chain.place(transaction_hash)
        return None if place is None else Place(place.number, place.index)

    def state(self, number: int) -> StateView:
        """Open the state after a block."""
        return self._executor.view(number)

    def call(self, number: int, message: CallObject, answers: Answers | None = None) -> CallResult:
        """Run a message; blocking."""
        options = CallOptions(answers=answers)
        return self._executor.simulator.call(self._executor.view(number), _to_core(message), options)

    def estimate(
        self, number: int, message: CallObject, answers: Answers | None = None
    ) -> tuple[int | None, CallResult]:
        """Find the least gas limit for a message; blocking."""
        options = CallOptions(answers=answers)
        return self._executor.simulator.estimate_gas(self._executor.view(number), _to_core(message), options)


def _to_core(message: CallObject) -> Message:
    return Message(
        sender=message.sender,
        to=message.to,
        value=message.value,
        input=message.input,
        gas_limit=min(message.gas, CALL_GAS) if message.gas is not None else CALL_GAS,
        gas_price=message.gas_price,
        access_list=message.access_list,
    )
