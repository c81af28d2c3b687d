"""Serve a node's doors to users: JSON-RPC with the sequencer's feed, and the page for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from aiohttp import web

from bitai.config import is_loopback
from bitai.http_guard import ANY_NAME, LOOPBACK_NAMES
from bitai.node_status import RpcFacts
from bitai.ports import choose_port
from bitai.rpc.backend import ChainBackend
from bitai.rpc.context import Context
from bitai.rpc.filter_rows import FilterRows
from bitai.rpc.limits import limits_of
from bitai.rpc.server import ServerOptions
from bitai.rpc.service import build_rpc
from bitai.rpc.site import RpcSite
from bitai.rpc.workers import Workers
from bitai.web.app import WebOptions, web_app

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from bitai.chain import ChainUpdate
    from bitai.dev.world import DevWorld
    from bitai.dispatcher import Dispatcher
    from bitai.node import Node
    from bitai.node_parts import Parts
    from bitai.rpc.context import Sender
    from bitai.status import DevControls
    from bitai.unsafe_feed import UnsafeServer

SiteMaker = Callable[[web.AppRunner, str, int], web.BaseSite]
"""Makes what listens on a host and port for a runner's application."""

CLOSE_GRACE_S: Final = 1.0
"""How long a stopping server waits for answers under way."""


async def serve_app(
    parts: Parts,
    name: str,
    app: web.Application,
    wanted: int,
    *,
    bind: str = "127.0.0.1",
    site: SiteMaker = web.TCPSite,
) -> int:
    """Serve an application as `listen` does; return the port."""
    return await listen(parts.node, parts.stack, app, name=name, wanted=wanted, bind=bind, site=site)


async def listen(
    node: Node,
    stack: AsyncExitStack,
    app: web.Application,
    *,
    name: str,
    wanted: int,
    bind: str = "127.0.0.1",
    site: SiteMaker = web.TCPSite,
) -> int:
    """Serve an application on a port, in dev on a free one near it, and note its URL; return the port.

    `site` makes what listens there.
    """
    config = node.config
    flag = f"--{name}-port"
    port = choose_port(
        wanted, name=f"the {name} server", flag=flag, address=bind, may_move=config.role == "dev"
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_GRACE_S)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await site(runner, bind, port).start()
    scheme = "ws" if name == "neuron" else "http"
    node.report.urls[name] = f"{scheme}://{bind}:{port}"
    return port


async def serve_rpc(
    parts: Parts,
    sender: Sender,
    *,
    feed: UnsafeServer | None,
    dispatcher: Dispatcher | None,
    world: DevWorld | None = None,
) -> None:
    """Answer JSON-RPC; on a sequencer also feed full nodes."""
    config = parts.node.config
    limits = limits_of(config)
    backend = ChainBackend(parts.executor, call_gas=limits.call_gas)
    facts = RpcFacts(parts.node.report, parts.rollup.chain_id)
    context = Context(
        blocks=backend,
        states=backend,
        simulator=backend,
        sender=sender,
        facts=facts,
        bitcoin=facts,
        # A neuron's work for a call is paid by nobody, and so is a trace: strangers cannot ask for them.
        neurons=dispatcher if is_loopback(config.rpc_bind) else None,
        limits=limits,
        workers=Workers(waiting=limits.waiting_calls),
        traces=backend if is_loopback(config.rpc_bind) else None,
        dev=world if is_loopback(config.rpc_bind) else None,
    )
    # A page that rebinds its name to loopback is kept out by the Host header; a public node has many names.
    hosts = LOOPBACK_NAMES if is_loopback(config.rpc_bind) else ANY_NAME
    service = build_rpc(
        context,
        options=ServerOptions(allowed_hosts=hosts),
        metrics=parts.node.metrics,
        filter_rows=FilterRows(parts.store),
    )
    await service.filters.open()  # Bitcoin is not followed yet: what leaves the chain next is told to them
    parts.stack.push_async_callback(service.filters.close)

    async def on_change(_: ChainUpdate) -> None:
        service.feed.announce()

    parts.chain.listen(on_change)
    app = service.server.application()
    if feed is not None:
        feed.add_routes(app)

    def site(runner: web.AppRunner, host: str, port: int) -> web.BaseSite:
        return RpcSite(runner, service.server, host, port)

    await serve_app(parts, "rpc", app, config.rpc_port, bind=config.rpc_bind, site=site)


async def serve_web(parts: Parts, dev: DevControls | None) -> None:
    """Serve the status and faucet page."""
    config = parts.node.config
    names = frozenset[str]() if is_loopback(config.rpc_bind) else ANY_NAME
    app = web_app(parts.node.report, parts.node.metrics, WebOptions(dev=dev, host_names=names))
    await serve_app(parts, "web", app, config.web_port, bind=config.rpc_bind)
