"""Put the methods together: from a context to a server, and the feed that the node announces its heads to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from bitai.rpc.filter_book import FilterBook
from bitai.rpc.filters import FilterMethods
from bitai.rpc.head_feed import HeadFeed
from bitai.rpc.methods_accounts import AccountMethods
from bitai.rpc.methods_bitai import BitaiMethods
from bitai.rpc.methods_blocks import BlockMethods
from bitai.rpc.methods_calls import CallMethods
from bitai.rpc.methods_debug import DebugMethods
from bitai.rpc.methods_dev import DevMethods
from bitai.rpc.methods_discover import DiscoverMethods
from bitai.rpc.methods_fees import FeeMethods
from bitai.rpc.methods_fill import FillMethods
from bitai.rpc.methods_identity import IdentityMethods
from bitai.rpc.methods_ots import OtterscanMethods
from bitai.rpc.methods_send import SendMethods
from bitai.rpc.methods_simulate import SimulateMethods
from bitai.rpc.methods_state import StateMethods
from bitai.rpc.methods_trace import TraceMethods
from bitai.rpc.neuron_rounds import NeuronRounds
from bitai.rpc.pending_feed import PendingFeed
from bitai.rpc.server import RpcServer
from bitai.rpc.simulate import Budget
from bitai.rpc.subscriptions import METHODS as SOCKET_METHODS
from bitai.rpc.sync_feed import SyncFeed
from bitai.rpc.traces import Traces

if TYPE_CHECKING:
    from collections.abc import Callable

    from bitai.metrics import Metrics
    from bitai.rpc.context import Context, Method
    from bitai.rpc.filter_rows import FilterRows
    from bitai.rpc.server import ServerOptions


class RpcService(NamedTuple):
    """A server to run, and the feed to announce to after each step of the chain."""

    server: RpcServer
    feed: HeadFeed
    filters: FilterBook
    """To open before the chain moves, and to close before its database does."""


class Part(Protocol):
    """A group of methods."""

    def table(self) -> dict[str, Method]:
        """Return method name -> implementation."""
        ...


def trace_methods(context: Context, calls: CallMethods, traces: Traces) -> tuple[Part, ...]:
    """Return the groups that run the chain again, which is not for strangers to ask."""
    debug = DebugMethods(context, calls, traces)
    return (debug, TraceMethods(context, debug, traces), OtterscanMethods(context, traces))


def build_rpc(
    context: Context,
    *,
    options: ServerOptions | None = None,
    metrics: Metrics | None = None,
    filter_rows: FilterRows | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> RpcService:
    """Return the whole JSON-RPC of a node over one context; filters are kept in `filter_rows`, if there are any."""
    limits = context.limits
    budget = Budget(gas=limits.simulate_gas, call_gas=limits.call_gas, seconds=limits.call_seconds)
    pending, sync = PendingFeed(context.facts.chain_id), SyncFeed(context.bitcoin)
    feed = HeadFeed(context.blocks, pending=pending, sync=sync)
    blocks = BlockMethods(context)
    book = FilterBook(context, feed, rows=filter_rows, metrics=metrics, clock=clock)
    rounds = NeuronRounds(context)
    calls = CallMethods(context, rounds)
    sending = SendMethods(context, blocks, feed)
    fill = FillMethods(context, calls)
    parts: tuple[Part, ...] = (
        IdentityMethods(context),
        FeeMethods(context),
        blocks,
        StateMethods(context),
        calls,
        fill,
        SimulateMethods(context, rounds, budget),
        sending,
        FilterMethods(context, blocks, feed, book),
        BitaiMethods(context),
    )
    if context.traces is not None:
        parts += trace_methods(context, calls, Traces(context, context.traces))
    methods = {name: method for part in parts for name, method in part.table().items()}
    methods |= DiscoverMethods({*methods, *SOCKET_METHODS}).table()
    if context.dev is not None:
        methods |= DevMethods(context, context.dev).table()
        methods |= AccountMethods(context, context.dev, fill, pending).table()
    server = RpcServer(
        methods,
        feed,
        context.workers,
        together=sending.together(),
        options=options,
        metrics=metrics,
        limits=limits,
    )
    return RpcService(server, feed, book)
