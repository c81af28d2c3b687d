"""debug_*: what transactions and calls did, step by step or call by call, and stored things as raw bytes.

Answered only where strangers cannot ask: a trace costs as much as the block it is in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bitai.rpc.context import Simulation
from bitai.rpc.encode import data
from bitai.rpc.framing import SERVER_ERROR, RpcError
from bitai.rpc.methods_calls import failure
from bitai.rpc.overrides import parse_block_override, parse_state_overrides
from bitai.rpc.params import BlockId, block_param, parse_call, parse_hash, parse_quantity, require_count
from bitai.rpc.stored_blocks import read_block
from bitai.rpc.traces import debug_options, fragment
from primitives import rlp

if TYPE_CHECKING:
    import orjson

    from bitai.rpc.context import Context, Method
    from bitai.rpc.methods_calls import CallMethods
    from bitai.rpc.stored_blocks import StoredBlock
    from bitai.rpc.traces import Traces
    from vm._core import Answers, CallResult
    from vm.tracing import TraceOptions


class DebugMethods:
    """The methods, over one context."""

    def __init__(self, context: Context, calls: CallMethods, traces: Traces) -> None:
        """Answer from this context; calls that ask neurons go through `calls`."""
        self._context = context
        self._calls = calls
        self._traces = traces

    def table(self) -> dict[str, Method]:
        """Return method name -> implementation."""
        off_loop = self._context.off_loop
        return {
            "debug_traceTransaction": self.transaction,
            "debug_traceBlockByNumber": self.block,
            "debug_traceBlockByHash": self.block,
            "debug_traceCall": self.call,
            "debug_getRawHeader": off_loop(self.raw_header),
            "debug_getRawBlock": off_loop(self.raw_block),
            "debug_getRawReceipts": off_loop(self.raw_receipts),
            "debug_getRawTransaction": off_loop(self.raw_transaction),
        }

    async def transaction(self, params: list[Any]) -> orjson.Fragment:
        """debug_traceTransaction(hash, options)."""
        require_count(params, 1, 2)
        options = debug_options(params[1] if len(params) > 1 else None)
        place = self._traces.require_place(params[0])
        source = self._traces.source
        json = await self._traces.run(lambda: source.trace_block(place.number, options, place.index))
        return fragment(json)

    async def block(self, params: list[Any]) -> orjson.Fragment:
        """debug_traceBlockByNumber and ByHash(block, options)."""
        require_count(params, 1, 2)
        options = debug_options(params[1] if len(params) > 1 else None)
        number = self._require_block(params)
        return fragment(await self._traces.run(lambda: self._traces.source.trace_block(number, options)))

    async def call(self, params: list[Any]) -> orjson.Fragment:
        """debug_traceCall(message, block, options); options also hold overrides, and txIndex: before which."""
        require_count(params, 1, 3)
        given = params[2] if len(params) > 2 else None
        options, wanted = debug_options(given), given or {}
        simulation = Simulation(
            self._context.require_number(block_param(params, 1)),
            parse_call(params[0]),
            parse_state_overrides(wanted.get("stateOverrides")),
            parse_block_override(wanted.get("blockOverrides")),
        )
        index = wanted.get("txIndex")
        before = parse_quantity(index, "txIndex", bits=32) if index is not None else None
        return fragment(await self.trace_message(simulation, options, before))

    async def trace_message(
        self, simulation: Simulation, options: TraceOptions, before: int | None = None
    ) -> bytes:
        """Trace a message; what it asks of neurons is asked as for `eth_call`."""
        made: list[bytes | None] = []

        def run(simulation: Simulation, answers: Answers) -> tuple[None, CallResult]:
            json, result = self._traces.source.trace_call(simulation, options, answers, before)
            made[:] = [json]
            return None, result

        await self._traces.run(lambda: self._calls.require_sendable(simulation))
        ran = await self._traces.run(lambda: run(simulation, {}))
        _, result = await self._calls.answered(simulation, run, ran)
        (json,) = made
        if json is None:
            raise failure(result)
        return json

    def raw_header(self, params: list[Any]) -> str:
        """debug_getRawHeader(block): RLP."""
        require_count(params, 1, 1)
        return data(self._stored(params).header.encode())

    def raw_block(self, params: list[Any]) -> str:
        """debug_getRawBlock(block): RLP of header, transactions, and no uncles nor withdrawals."""
        require_count(params, 1, 1)
        block = self._stored(params)
        # A typed transaction is a byte string in the list, a legacy one a list of its own.
        transactions = [raw if raw[0] >= rlp.LIST_PREFIX else rlp.encode(raw) for raw in block.raws]
        empty = rlp.encode([])
        return data(rlp.join([block.header.encode(), rlp.join(transactions), empty, empty]))

    def raw_receipts(self, params: list[Any]) -> list[str]:
        """debug_getRawReceipts(block): consensus encodings."""
        require_count(params, 1, 1)
        return [data(receipt.encode()) for receipt in self._stored(params, receipts=True).receipts]

    def raw_transaction(self, params: list[Any]) -> str:
        """debug_getRawTransaction(hash); nothing for one that no block has."""
        require_count(params, 1, 1)
        place = self._context.blocks.place(parse_hash(params[0], "transaction hash"))
        if place is None:
            return "0x"
        return data(self._context.blocks.transactions(place.number)[place.index])

    def _stored(self, params: list[Any], *, receipts: bool = False) -> StoredBlock:
        block = read_block(self._context.blocks, self._require_block(params), receipts=receipts)
        if block is None:
            raise RpcError(SERVER_ERROR, "block not found")
        return block

    def _require_block(self, params: list[Any]) -> int:
        asked: BlockId = block_param(params, 0)
        number = self._context.blocks.resolve(asked)
        if number is None:
            raise RpcError(SERVER_ERROR, "block not found")
        return number
