"""Answer the RPC's questions from the chain database and the executor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from bitai.rpc.context import Place
from primitives.errors import Rejected
from vm import schema
from vm._core import BlockEnv, Message, next_base_fee
from vm.environment import recorded_environment
from vm.simulation import CallOptions, ChainPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bitai.rpc.context import Simulation
    from bitai.rpc.overrides import BlockOverride
    from bitai.rpc.params import BlockId, CallObject
    from primitives.ids import Hash32
    from vm._core import Answers, CallResult, Header, Receipt, SimulatedChain
    from vm.executor import Executor
    from vm.tracing import TraceOptions
    from vm.views import StateView

T = TypeVar("T")

CALL_GAS: Final = 16_777_216
"""Gas of an `eth_call` at most: what a transaction may declare, so that calls tell what transactions do."""


class ChainBackend:
    """The `BlockReader`, `StateSource` and `Simulator` of a node; usable from any thread."""

    def __init__(self, executor: Executor, *, call_gas: int = CALL_GAS) -> None:
        """Read the chain of this executor; a call has `call_gas` at most."""
        self._executor = executor
        self._call_gas = call_gas
        self._chain = executor.chain

    def resolve(self, block: BlockId) -> int | None:
        """Return the number of a block that exists now, or None.

        A block's rows are in the store a moment before it is the head: until then it is not there, so that who
        saw a receipt finds its block's state under "latest".
        """
        head = self._executor.head.number
        if block.hash is not None:
            number = self._chain.number_of(block.hash)
            return number if number is not None and number <= self._executor.head.number else None
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
            raise _gone()
        return list(body.transactions)

    def receipts(self, number: int) -> list[Receipt]:
        """Return a block's receipts."""
        receipts = self._chain.receipts(number)
        if receipts is None:
            raise _gone()
        return receipts

    def place(self, transaction_hash: Hash32) -> Place | None:
        """Return where a transaction stands, once its block is the head."""
        place = self._chain.place(transaction_hash)
        if place is None or place.number > self._executor.head.number:
            return None
        return Place(place.number, place.index)

    def state(self, number: int) -> StateView:
        """Open the state after a block."""
        return self._executor.view(number)

    def oldest(self) -> int:
        """Return the lowest block whose state can be opened."""
        return self._executor.history.marks().floor

    def next_base_fee(self, number: int) -> int:
        """Return what the block after this one charges; ordinary gas alone moves it."""
        facts = self._chain.facts(number)
        if facts is None:
            raise _gone()
        return next_base_fee(facts.base_fee, facts.ordinary_gas_used, facts.gas_limit)

    def call(self, simulation: Simulation, answers: Answers | None = None) -> CallResult:
        """Run a message; blocking."""
        view = self._executor.view(simulation.number)
        options = self._options(simulation, answers)
        return self._executor.simulator.call(view, _to_core(simulation.message, self._call_gas), options)

    def estimate(
        self, simulation: Simulation, answers: Answers | None = None
    ) -> tuple[int | None, CallResult]:
        """Find the least gas limit for a message; blocking."""
        view = self._executor.view(simulation.number)
        options = self._options(simulation, answers)
        return self._executor.simulator.estimate_gas(
            view, _to_core(simulation.message, self._call_gas), options
        )

    def simulate(
        self,
        number: int,
        work: Callable[[SimulatedChain], T],
        hashes: Mapping[int, bytes],
        *,
        validate: bool,
        trace_transfers: bool,
    ) -> T:
        """Do `work` on a chain of blocks that nobody keeps; blocking."""
        plan = ChainPlan(hashes, validate=validate, trace_transfers=trace_transfers)
        return self._executor.simulator.simulate(self._executor.view(number), plan, work)

    def access_list(
        self, simulation: Simulation, answers: Answers | None = None
    ) -> tuple[list[tuple[bytes, list[bytes]]], CallResult]:
        """Find what a message touches; blocking."""
        view = self._executor.view(simulation.number)
        options = self._options(simulation, answers)
        return self._executor.simulator.access_list(
            view, _to_core(simulation.message, self._call_gas), options
        )

    def trace_block(self, number: int, options: TraceOptions, only: int | None = None) -> bytes:
        """Trace a block's transactions, or one; blocking."""
        return self._executor.tracer.block(number, options, only)

    def trace_call(
        self,
        simulation: Simulation,
        options: TraceOptions,
        answers: Answers | None = None,
        before: int | None = None,
    ) -> tuple[bytes | None, CallResult]:
        """Trace a message after a block, or before its transaction at `before`; blocking."""
        tracer, message = self._executor.tracer, _to_core(simulation.message, self._call_gas)
        how = self._options(simulation, answers)
        if before is not None:
            return tracer.call_amidst((simulation.number, before), message, options, how)
        return tracer.call(simulation.number, message, options, how)

    def _options(self, simulation: Simulation, answers: Answers | None) -> CallOptions:
        environment = None
        if simulation.block is not None:
            header = self._chain.header(simulation.number)
            if header is None:
                raise _gone()
            environment = _changed(recorded_environment(header), simulation.block)
        return CallOptions(answers=answers, overrides=simulation.accounts, environment=environment)


def _gone() -> Rejected:
    return Rejected("rpc.block_gone", "the chain moved while it was read; ask again")


def _changed(real: BlockEnv, wanted: BlockOverride) -> BlockEnv:
    return BlockEnv(
        number=real.number if wanted.number is None else wanted.number,
        timestamp=real.timestamp if wanted.time is None else wanted.time,
        coinbase=real.coinbase if wanted.coinbase is None else wanted.coinbase,
        gas_limit=real.gas_limit if wanted.gas_limit is None else wanted.gas_limit,
        base_fee=real.base_fee if wanted.base_fee is None else wanted.base_fee,
        prev_randao=real.prev_randao if wanted.prev_randao is None else wanted.prev_randao,
        parent_hash=real.parent_hash,
        origin_hash=real.origin_hash if wanted.beacon_root is None else wanted.beacon_root,
        extra_data=real.extra_data,
    )


def _to_core(message: CallObject, call_gas: int) -> Message:
    return Message(
        sender=message.sender,
        to=message.to,
        value=message.value,
        input=message.input,
        gas_limit=min(message.gas, call_gas) if message.gas is not None else call_gas,
        gas_price=message.gas_price,
        access_list=message.access_list,
        authorizations=message.authorizations,
    )
