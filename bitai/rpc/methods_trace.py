"""trace_*: what transactions did as flat lists, in the form that OpenEthereum gave them and explorers read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from bitai.rpc.context import Simulation
from bitai.rpc.framing import INVALID_PARAMS, LIMIT_EXCEEDED, SERVER_ERROR, RpcError
from bitai.rpc.params import (
    LATEST,
    block_param,
    invalid,
    parse_address,
    parse_block_id,
    parse_call,
    parse_hash,
    require_count,
)
from bitai.rpc.traces import MAX_TRACE_BYTES, fragment, options_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bitai.rpc.context import Context, Method
    from bitai.rpc.methods_debug import DebugMethods
    from bitai.rpc.traces import Traces
    from vm.tracing import TraceOptions

TYPES: Final = frozenset({"trace", "vmTrace", "stateDiff"})
MAX_FILTER_BLOCKS: Final = 100
"""Blocks one `trace_filter` runs again."""
MAX_FILTER_TRACES: Final = 10_000
MAX_FILTER_ADDRESSES: Final = 1_000
NOTHING: Final = b"[]"


class TraceMethods:
    """The methods, over one context."""

    def __init__(self, context: Context, debug: DebugMethods, traces: Traces) -> None:
        """Answer from this context; messages are traced as `debug` does."""
        self._context = context
        self._debug = debug
        self._traces = traces

    def table(self) -> dict[str, Method]:
        """Return method name -> implementation."""
        return {
            "trace_transaction": self.transaction,
            "trace_block": self.block,
            "trace_replayTransaction": self.replay_transaction,
            "trace_replayBlockTransactions": self.replay_block,
            "trace_call": self.call,
            "trace_filter": self.filter,
        }

    async def transaction(self, params: list[Any]) -> orjson.Fragment | None:
        """trace_transaction(hash): null for one that no block has."""
        require_count(params, 1, 1)
        place = self._context.blocks.place(parse_hash(params[0], "transaction hash"))
        if place is None:
            return None
        return fragment(await self._run(place.number, options_for("localized"), place.index))

    async def block(self, params: list[Any]) -> orjson.Fragment | None:
        """trace_block(block): of all its transactions; null for a block that does not exist yet."""
        require_count(params, 1, 1)
        number = self._context.blocks.resolve(parse_block_id(params[0]))
        return None if number is None else fragment(await self._run(number, options_for("localized")))

    async def replay_transaction(self, params: list[Any]) -> orjson.Fragment:
        """trace_replayTransaction(hash, types)."""
        require_count(params, 2, 2)
        options = _parity_options(params[1])
        place = self._traces.require_place(params[0])
        return fragment(await self._run(place.number, options, place.index))

    async def replay_block(self, params: list[Any]) -> orjson.Fragment:
        """trace_replayBlockTransactions(block, types)."""
        require_count(params, 2, 2)
        options = _parity_options(params[1])
        number = self._context.blocks.resolve(parse_block_id(params[0]))
        if number is None:
            raise RpcError(SERVER_ERROR, "block not found")
        return fragment(await self._run(number, options))

    async def call(self, params: list[Any]) -> orjson.Fragment:
        """trace_call(message, types, block)."""
        require_count(params, 2, 3)
        options = _parity_options(params[1])
        number = self._context.require_number(block_param(params, 2))
        simulation = Simulation(number, parse_call(params[0]))
        return fragment(await self._debug.trace_message(simulation, options))

    async def filter(self, params: list[Any]) -> list[Any]:
        """trace_filter({fromBlock, toBlock, fromAddress, toAddress, after, count})."""
        require_count(params, 1, 1)
        wanted = parse_filter(params[0])
        first, last = self._range(params[0])
        return await self._traces.run(lambda: self._find(wanted, first, last))

    async def _run(self, number: int, options: TraceOptions, only: int | None = None) -> bytes:
        if number == 0:  # nothing ran there
            return NOTHING
        return await self._traces.run(lambda: self._traces.source.trace_block(number, options, only))

    def _range(self, value: dict[str, Any]) -> tuple[int, int]:
        blocks = self._context.blocks
        first = blocks.resolve(parse_block_id(value.get("fromBlock"))) if "fromBlock" in value else 0
        last = blocks.resolve(parse_block_id(value["toBlock"]) if "toBlock" in value else LATEST)
        if first is None or last is None or first > last:
            raise RpcError(INVALID_PARAMS, "invalid block range params")
        if last - first >= MAX_FILTER_BLOCKS:
            end = hex(first + MAX_FILTER_BLOCKS - 1)
            raise RpcError(
                LIMIT_EXCEEDED, f"range over {MAX_FILTER_BLOCKS} blocks; retry with {hex(first)} to {end}"
            )
        return first, last

    def _find(self, wanted: TraceFilter, first: int, last: int) -> list[Any]:
        """Run the blocks again, and keep what is wanted; blocking."""
        found: list[Any] = []
        room = MAX_TRACE_BYTES
        for number in range(max(first, 1), last + 1):
            json = self._traces.source.trace_block(number, options_for("localized"))
            room -= len(json)
            found += wanted.matches(orjson.loads(json))
            if wanted.count is not None and len(found) >= wanted.after + wanted.count:
                break
            if len(found) > wanted.after + MAX_FILTER_TRACES or room < 0:
                raise RpcError(
                    LIMIT_EXCEEDED,
                    f"the traces are too many; retry with the range {hex(first)} to {hex(number)} in parts",
                )
        end = None if wanted.count is None else wanted.after + wanted.count
        return found[wanted.after : end]


@dataclass(frozen=True, slots=True)
class TraceFilter:
    """Which traces are wanted: no senders or no receivers means any; a page of them."""

    senders: frozenset[str]
    receivers: frozenset[str]
    after: int
    count: int | None

    def matches(self, entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the entries that are wanted."""
        for entry in entries:
            action, result = entry["action"], entry.get("result") or {}
            sender = action.get("from") or action.get("address")
            receiver = action.get("to") or result.get("address") or action.get("refundAddress")
            if self.senders and sender not in self.senders:
                continue
            if self.receivers and receiver not in self.receivers:
                continue
            yield entry


def parse_filter(value: Any) -> TraceFilter:
    """Read a filter; counts are numbers, as OpenEthereum takes them."""
    known = {"fromBlock", "toBlock", "fromAddress", "toAddress", "after", "count"}
    if not isinstance(value, dict) or not known.issuperset(value):
        raise invalid(f"a trace filter is an object with {', '.join(sorted(known))}")
    return TraceFilter(
        senders=_addresses(value.get("fromAddress")),
        receivers=_addresses(value.get("toAddress")),
        after=_count(value.get("after"), "after") or 0,
        count=_count(value.get("count"), "count"),
    )


def _addresses(value: Any) -> frozenset[str]:
    if value is None:
        return frozenset()
    if not isinstance(value, list) or len(value) > MAX_FILTER_ADDRESSES:
        raise invalid(f"addresses are an array of at most {MAX_FILTER_ADDRESSES}")
    return frozenset("0x" + parse_address(each).hex() for each in value)


def _count(value: Any, name: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32:
        raise invalid(f"{name} is a number")
    return value


def _parity_options(value: Any) -> TraceOptions:
    if not isinstance(value, list) or not all(isinstance(each, str) and each in TYPES for each in value):
        raise invalid(f"trace types are an array of {', '.join(sorted(TYPES))}")
    return options_for({"parity": sorted(set(value))})
