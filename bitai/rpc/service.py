"""Put the methods together: from a context to a server, and the feed that the node announces its heads to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bitai.rpc.backend import CALL_GAS
from bitai.rpc.filters import FilterMethods
from bitai.rpc.head_feed import HeadFeed
from bitai.rpc.methods_bitai import BitaiMethods
from bitai.rpc.methods_blocks import BlockMethods
from bitai.rpc.methods_calls import CallMethods
from bitai.rpc.methods_fees import FeeMethods
from bitai.rpc.methods_fill import FillMethods
from bitai.rpc.methods_identity import IdentityMethods
from bitai.rpc.methods_send import SendMethods
from bitai.rpc.methods_simulate import SimulateMethods
from bitai.rpc.methods_state import StateMethods
from bitai.rpc.neuron_rounds import NeuronRounds
from bitai.rpc.pending_feed import PendingFeed
from bitai.rpc.server import CALL_TIMEOUT_S, RpcServer
from bitai.rpc.simulate import Budget
from bitai.rpc.sync_feed import SyncFeed

if TYPE_CHECKING:
    from bitai.metrics import Metrics
    from bitai.rpc.context import Context
    from bitai.rpc.server import ServerOptions


class RpcService(NamedTuple):
    """A server to run, and the feed to announce to after each step of the chain."""

    server: RpcServer
    feed: HeadFeed


def build_rpc(
    context: Context, *, options: ServerOptions | None = None, metrics: Metrics | None = None
) -> RpcService:
    """Return the whole JSON-RPC of a node over one context."""
    pending, sync = PendingFeed(context.facts.chain_id), SyncFeed(context.bitcoin)
    feed = HeadFeed(context.blocks, pending=pending, sync=sync)
    blocks = BlockMethods(context)
    rounds = NeuronRounds(context)
    calls = CallMethods(context, rounds)
    sending = SendMethods(context, blocks, feed)
    parts = (
        IdentityMethods(context),
        FeeMethods(context),
        blocks,
        StateMethods(context),
        calls,
        FillMethods(context, calls),
        SimulateMethods(context, rounds, Budget(gas=50_000_000, call_gas=CALL_GAS, seconds=CALL_TIMEOUT_S)),
        sending,
        FilterMethods(context, blocks, feed, metrics=metrics),
        BitaiMethods(context),
    )
    methods = {name: method for part in parts for name, method in part.table().items()}
    server = RpcServer(
        methods, feed, context.workers, together=sending.together(), options=options, metrics=metrics
    )
    return RpcService(server, feed)
