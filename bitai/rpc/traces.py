"""Traces as the methods ask for them: options read and bounded, a few at once, answers as raw JSON."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson

from bitai.rpc.framing import SERVER_ERROR, RpcError
from bitai.rpc.params import invalid, parse_hash
from vm.tracing import TraceOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from bitai.rpc.context import Context, Place, TraceSource

MAX_TRACE_BYTES: Final = 24 << 20
"""JSON of one trace. While it is made it takes some times as much memory, and a reply is held once more."""
MAX_TRACES: Final = 2
"""Traces at once: so their memory is bounded, and threads are left for other calls."""
DEFAULT_LIMIT_MS: Final = 10_000
MAX_LIMIT_MS: Final = 25_000
"""Below the time that a call may take."""
MAX_TRACER_CHARACTERS: Final = 65_536
_DURATION: Final = re.compile(r"(?:\d{1,9}(?:\.\d{1,9})?(?:ns|us|µs|ms|s|m|h))+\Z")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_UNIT_MS: Final = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6}
_HERE: Final = frozenset({"timeout", "reexec", "stateOverrides", "blockOverrides", "txIndex"})
"""Members that the node reads itself, or that mean nothing here: states are kept, none is executed anew."""

Made = TypeVar("Made")


class Traces:
    """Runs traces within the bounds on all of them together."""

    def __init__(self, context: Context, source: TraceSource) -> None:
        """Trace what `source` has."""
        self.source = source
        self._context = context
        self._room = asyncio.Semaphore(MAX_TRACES)

    async def run(self, make: Callable[[], Made]) -> Made:
        """Return what a blocking function makes of traces."""
        async with self._room:
            return await self._context.workers.run(make)

    def require_place(self, value: Any) -> Place:
        """Return where a transaction is. Errors: SERVER_ERROR "transaction not found"."""
        place = self._context.blocks.place(parse_hash(value, "transaction hash"))
        if place is None:
            raise RpcError(SERVER_ERROR, "transaction not found")
        return place


def fragment(json: bytes) -> orjson.Fragment:
    """Return JSON that the core wrote as a part of a reply."""
    return orjson.Fragment(json)


def debug_options(value: Any) -> TraceOptions:
    """Read geth's trace options: the struct logger's switches, or a tracer and its configuration."""
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise invalid("trace options are an object")
    tracer = value.get("tracer")
    if tracer is not None and (not isinstance(tracer, str) or len(tracer) > MAX_TRACER_CHARACTERS):
        raise invalid("tracer is the name of a tracer")
    options = {name: each for name, each in value.items() if name not in _HERE}
    return options_for({"debug": options}, limit_ms=_limit_ms(value.get("timeout")))


def options_for(request: Any, *, limit_ms: int = DEFAULT_LIMIT_MS) -> TraceOptions:
    """Return options of a request in the core's form."""
    return TraceOptions(orjson.dumps(request), MAX_TRACE_BYTES, limit_ms)


def _limit_ms(timeout: Any) -> int:
    """Read a duration as Go writes it, such as "5s" or "1m30s"."""
    if timeout is None:
        return DEFAULT_LIMIT_MS
    if not isinstance(timeout, str) or len(timeout) > 40 or not _DURATION.match(timeout):
        raise invalid('timeout is a duration such as "5s"')
    asked = sum(float(number) * _UNIT_MS[unit] for number, unit in _PART.findall(timeout))
    return min(MAX_LIMIT_MS, int(asked))
