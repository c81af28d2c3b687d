"""Serve a node's doors to users: JSON-RPC with the sequencer's feed, and the page for people."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import web

from bitai.asking_simulator import AskingSimulator
from bitai.config import is_loopback
from bitai.node_status import RpcFacts
from bitai.ports import choose_port
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
    from bitai.rpc.context import Sender, Simulator
    from bitai.status import DevControls
    from bitai.unsafe_feed import UnsafeServer

CLOSE_GRACE_S: Final = 1.0
"""How long a stopping server waits for answers under way."""


async def serve_app(
    parts: Parts, name: str, app: web.Application, wanted: int, *, bind: str = "127.0.0.1"
) -> int:
    """Serve an application on a port, in dev on a free one near it, and note its URL; return the port."""
    config = parts.node.config
    flag = f"--{name}-port"
    port = choose_port(
        wanted, name=f"the {name} server", flag=flag, address=bind, may_move=config.role == "dev"
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_GRACE_S)
    await runner.setup()
    parts.stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, bind, port).start()
    scheme = "ws" if name == "neuron" else "http"
    parts.node.report.urls[name] = f"{scheme}://{bind}:{port}"
    return port


async def serve_rpc(
    parts: Parts, sender: Sender, *, feed: UnsafeServer | None, dispatcher: Dispatcher | None
) -> None:
    """Answer JSON-RPC; on a sequencer also feed full nodes."""
    backend = ChainBackend(parts.executor)
    simulator: Simulator = backend
    if dispatcher is not None and is_loopback(parts.node.config.rpc_bind):
        simulator = AskingSimulator(backend, dispatcher, asyncio.get_running_loop())
    context = Context(
        blocks=backend,
        states=backend,
        simulator=simulator,
        sender=sender,
        facts=RpcFacts(parts.node.report, parts.rollup.chain_id),
    )
    methods = BlockMethods(context).table() | StateMethods(context).table() | BitaiMethods(context).table()
    app = RpcServer(methods, ServerOptions(), parts.node.metrics).application()
    if feed is not None:
        feed.add_routes(app)
    config = parts.node.config
    await serve_app(parts, "rpc", app, config.rpc_port, bind=config.rpc_bind)


async def serve_web(parts: Parts, dev: DevControls | None) -> None:
    """Serve the status and faucet page."""
    config = parts.node.config
    app = web_app(parts.node.report, parts.node.metrics, WebOptions(dev=dev))
    await serve_app(parts, "web", app, config.web_port, bind=config.rpc_bind)
