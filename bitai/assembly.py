"""Join a node's parts in the order in which they need each other. Source: docs/architecture.md."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web

from bitai.adapters.bitcoin.credentials import CookieFile, Credentials, UserPassword
from bitai.adapters.bitcoin.node import BitcoinNode
from bitai.adapters.bitcoin.transport import RpcTransport
from bitai.adapters.leveldb import LevelStore
from bitai.bootstrap import make_regtest_chain, read_rollup_config
from bitai.chain import ChainDriver
from bitai.chain_service import ChainService
from bitai.chain_thread import ChainThread
from bitai.health import AdminAccess, health_app
from bitai.node_keys import NodeKeys, open_node_keys
from bitai.node_roles import start_full_node, start_sequencer
from bitai.ports import choose_port
from bitai.run_file import RunFile, remove_run_file
from bitai.status import Phase
from bitai.supervisor import ChildSpec
from bitai.system_clock import SystemClock
from l1.ports import ChainPoint
from primitives.errors import Temporary
from rollup.follower.l1_follower import Connected, FollowerConfig, L1Follower
from vm.executor import Executor
from vm.stored_models import StoredModels

if TYPE_CHECKING:
    from bitai.node import Node
    from bitai.node_parts import Parts
    from rollup.config import RollupConfig

log = structlog.get_logger(__name__)

BITCOIN_START_S: Final = 60.0
CLOSE_GRACE_S: Final = 1.0


async def assemble(node: Node, stack: AsyncExitStack) -> None:
    """Start everything; what was started is stopped by `stack` in reverse."""
    from bitai.node_parts import Parts  # noqa: PLC0415 -- avoids a circle of types

    config, report = node.config, node.report
    cookie = config.files.new_cookie()
    clock = SystemClock()
    report.enter(Phase.STARTING_BITCOIN if config.embedded_bitcoin else Phase.CONNECTING_BITCOIN, "Bitcoin")
    l1_url, credentials = await _bitcoin(node)
    report.l1_url = l1_url
    transport = await stack.enter_async_context(RpcTransport(l1_url, credentials, clock))
    bitcoin = BitcoinNode(transport)
    await _await_bitcoin(bitcoin, config.network)
    keys = open_node_keys(config.files, config.network) if config.role != "full" else None
    rollup = await _rollup_config(node, keys, transport, bitcoin)
    report.enter(Phase.REPLAYING, "opening the chain database")
    store = stack.enter_context(LevelStore(config.files.chain))
    thread = ChainThread()
    stack.callback(thread.close)
    executor = await thread.run(Executor, rollup.chain_spec(), store, StoredModels(store))
    stack.callback(executor.close)
    secret = keys.sequencer if keys is not None else None
    driver = await thread.run(ChainDriver, rollup, store, executor, sequencer_secret=secret)
    service = ChainService(driver, thread, node.metrics)
    report.driver = driver
    follower = L1Follower(
        bitcoin,
        clock,
        driver.cursor,
        config=FollowerConfig(poll_ms=200 if config.network == "regtest" else 1_000),
        floor_height=rollup.l1_start.height,
    )
    report.follower = follower
    parts = Parts(
        node=node,
        stack=stack,
        clock=clock,
        transport=transport,
        bitcoin=bitcoin,
        rollup=rollup,
        store=store,
        thread=thread,
        executor=executor,
        chain=service,
        keys=keys,
        cookie=cookie,
    )
    report.enter(Phase.SYNCING, "following Bitcoin")
    node.spawn("follow bitcoin", _follow_bitcoin(service, follower))
    if keys is None:
        dev = await start_full_node(parts)
    else:
        dev = await start_sequencer(parts, keys)
    await serve_app(parts, "metrics", health_app(report, node.metrics, AdminAccess(cookie, dev)), config.metrics_port)
    await _until_synced(node)
    run_file = _run_file(node, l1_url)
    run_file.write(config.files)
    stack.callback(remove_run_file, config.files)
    report.enter(Phase.READY, "serving")
    log.info("ready", **report.urls)
    if config.demo:
        node.spawn("demonstration", _demonstrate(node))


async def _demonstrate(node: Node) -> None:
    from bitai.demo import DemoUrls, run_demo  # noqa: PLC0415 -- only for those who ask

    await run_demo(DemoUrls(rpc=node.report.urls["rpc"], web=node.report.urls["web"]))


async def _bitcoin(node: Node) -> tuple[str, Credentials]:
    """Return where Bitcoin answers, having started the embedded one if none was named."""
    config = node.config
    if config.l1_rpc is not None:
        if config.l1_user is not None and config.l1_password_file is not None:
            return config.l1_rpc, UserPassword(config.l1_user, Path(config.l1_password_file))
        cookie = config.l1_cookie or Path.home() / ".bitcoin" / ".cookie"
        return config.l1_rpc, CookieFile(Path(cookie))
    port = choose_port(config.l1_port, name="the embedded Bitcoin", flag="--l1-port", may_move=True)
    folder = config.files.bitcoin
    argv = [sys.executable, "-m", "regtest", "--datadir", str(folder), "--port", str(port)]
    if config.mine_interval:
        argv += ["--mine-interval", str(config.mine_interval)]
    url = f"http://127.0.0.1:{port}"
    await node.supervisor.start(
        ChildSpec("bitcoin", tuple(argv), ready=lambda: _listens(port), ready_within_s=BITCOIN_START_S)
    )
    return url, CookieFile(folder / ".cookie")


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _await_bitcoin(bitcoin: BitcoinNode, network: str) -> None:
    """Wait until Bitcoin answers, and make sure that it is the right one."""
    told = False
    while True:
        try:
            await bitcoin.check_network(network)
        except Temporary as error:
            if not told:
                log.warning("waiting for Bitcoin", code=error.code, reason=error.message)
                told = True
            await asyncio.sleep(0.5)
            continue
        await bitcoin.probe()
        return


async def _rollup_config(
    node: Node, keys: NodeKeys | None, transport: RpcTransport, bitcoin: BitcoinNode
) -> RollupConfig:
    if node.config.rollup_config is not None or keys is None:
        return read_rollup_config(Path(node.config.rollup_config or ""))
    return await make_regtest_chain(node.config.files, keys, transport, bitcoin)


async def _follow_bitcoin(service: ChainService, follower: L1Follower) -> None:
    async for event in follower.events():
        if isinstance(event, Connected):
            await service.connected(event)
        else:
            await service.disconnected(event, ChainPoint(event.height, event.hash))


async def _until_synced(node: Node) -> None:
    """Wait until derivation has worked through what Bitcoin had at the start."""
    report = node.report
    while report.follower is None or report.follower.tip is None or report.lag() > 0:
        if node.stopping.is_set():
            return
        lag = report.lag()
        report.enter(Phase.SYNCING, f"{lag} Bitcoin blocks to work through")
        await asyncio.sleep(0.1)


async def serve_app(parts: Parts, name: str, app: web.Application, wanted: int, bind: str = "127.0.0.1") -> int:
    """Serve an application on a port, in dev on a free one near it, and note its URL; return the port."""
    config = parts.node.config
    flag = f"--{name}-port"
    port = choose_port(wanted, name=f"the {name} server", flag=flag, address=bind, may_move=config.role == "dev")
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_GRACE_S)
    await runner.setup()
    parts.stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, bind, port).start()
    scheme = "ws" if name == "neuron" else "http"
    parts.node.report.urls[name] = f"{scheme}://{bind}:{port}"
    return port


def _run_file(node: Node, l1_url: str) -> RunFile:
    import os  # noqa: PLC0415 -- the process id, once

    urls = node.report.urls
    return RunFile(
        pid=os.getpid(),
        network=node.config.network,
        role=node.config.role,
        rpc_url=urls.get("rpc", ""),
        web_url=urls.get("web", ""),
        neuron_url=urls.get("neuron", ""),
        admin_url=urls.get("metrics", ""),
        l1_url=l1_url,
    )


def shipped_model(name: str) -> bytes:
    """Return a model file that the package ships."""
    return resources.files("vm.inference").joinpath("models", name).read_bytes()
