"""Serve a node's doors to users: JSON-RPC with the sequencer's feed, and the page for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitai.node_status import RpcFacts
from bitai.rpc.backend import ChainBackend
from bitai.rpc.context import Context
from bitai.rpc.methods_bitai import BitaiMethods
from bitai.rpc.methods_blocks import BlockMethods
from bitai.rpc.methods_state import StateMethods
from bitai.rpc.server import RpcServer, ServerOptions
from bitai.web.app import WebOptions, web_app

if TYPE_CHECKING:
    from bitai.dispatcher import Dispatcher
    from bitai.node_parts import Parts
    from bitai.rpc.context import Sender
    from bitai.status import DevControls
    from bitai.unsafe_feed import UnsafeServer


async def serve_rpc(
    parts: Parts, sender: Sender, *, feed: UnsafeServer | None, dispatcher: Dispatcher | None
) -> None:
    """Answer JSON-RPC; on a sequencer also feed full nodes."""
    from bitai.assembly import serve_app  # noqa: PLC0415 -- assembly starts what serves

    del dispatcher
    backend = ChainBackend(parts.executor)
    context = Context(
        blocks=backend,
        states=backend,
        simulator=backend,
        sender=sender,
        facts=RpcFacts(parts.node.report, parts.rollup.chain_id),
    )
    methods = BlockMethods(context).table() | StateMethods(context).table() | BitaiMethods(context).table()
    app = RpcServer(methods, ServerOptions(), parts.node.metrics).application()
    if feed is not None:
        feed.add_routes(app)
    config = parts.node.config
    await serve_app(parts, "rpc", app, config.rpc_port, config.rpc_bind)


async def serve_web(parts: Parts, dev: DevControls | None) -> None:
    """Serve the status and faucet page."""
    from bitai.assembly import serve_app  # noqa: PLC0415 -- as above

    config = parts.node.config
    app = web_app(parts.node.report, parts.node.metrics, WebOptions(dev=dev))
    await serve_app(parts, "web", app, config.web_port, config.rpc_bind)
