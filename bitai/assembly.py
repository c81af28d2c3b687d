"""Join a node's parts in the order in which they need each other. Source: docs/architecture.md."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from bitai.adapters.bitcoin.credentials import CookieFile, Credentials, UserPassword
from bitai.adapters.bitcoin.node import BitcoinNode
from bitai.adapters.bitcoin.transport import RpcTransport
from bitai.bootstrap import make_regtest_chain, read_rollup_config
from bitai.chain import ChainDriver
from bitai.chain_service import ChainService
from bitai.chain_thread import ChainThread
from bitai.console_log import ConsoleLog
from bitai.database_check import DatabaseDoor
from bitai.database_info import describe_store
from bitai.dev_accounts_told import tell_accounts
from bitai.full_role import start_full_node
from bitai.gauges import Gauges
from bitai.health import AdminAccess, health_app
from bitai.history_keeper import HistoryKeeper
from bitai.node_keys import NodeKeys, open_node_keys
from bitai.node_parts import Parts
from bitai.node_serving import listen
from bitai.ports import choose_port
from bitai.run_file import RunFile, remove_run_file
from bitai.sequencer_role import build_sequencer
from bitai.status import Phase
from bitai.store_opening import open_store
from bitai.supervisor import ChildSpec
from bitai.system_clock import SystemClock
from l1.ports import ChainPoint
from primitives.errors import BitaiError, ConfigError, InvariantViolation, Temporary
from rollup.follower.l1_follower import Connected, FollowerConfig, L1Follower
from vm.executor import Executor
from vm.stored_models import StoredModels

if TYPE_CHECKING:
    from bitai.adapters.leveldb import LevelStore
    from bitai.config import NodeConfig
    from bitai.node import Node
    from bitai.status import DevControls
    from rollup.config import RollupConfig

log = structlog.get_logger(__name__)

BITCOIN_START_S: Final = 60.0
REGTEST_POLL_MS: Final = 200
PUBLIC_POLL_MS: Final = 1_000


async def assemble(node: Node, stack: AsyncExitStack) -> None:
    """Start everything; what was started is stopped by `stack` in reverse."""
    config, report = node.config, node.report
    access = await _open_admin_door(node, stack)
    given = _given_chain(config)
    clock = SystemClock()
    embedded = config.embedded_bitcoin
    report.enter(Phase.STARTING_BITCOIN if embedded else Phase.CONNECTING_BITCOIN, "until it answers")
    report.l1_url, credentials = await _bitcoin(node)
    transport = await stack.enter_async_context(_transport(node, credentials, clock))
    bitcoin = BitcoinNode(transport)
    await _await_bitcoin(bitcoin, config.network, report.l1_url)
    keys = open_node_keys(config.files, config.network) if config.role != "full" else None
    rollup = given or await _own_chain(config, keys, transport, bitcoin)
    report.enter(Phase.REPLAYING, "opening the chain database")
    opened = await _open_chain(node, stack, rollup, keys)
    access.database = _open_database_door(opened.store, stack)
    parts = Parts(
        node=node,
        stack=stack,
        clock=clock,
        transport=transport,
        bitcoin=bitcoin,
        rollup=rollup,
        store=opened.store,
        thread=opened.thread,
        executor=opened.service.driver.executor,
        chain=opened.service,
        keys=keys,
        cookie=access.cookie,
    )
    report.enter(Phase.SYNCING, "following Bitcoin")
    access.dev = await _start_role(parts)
    node.spawn("follow bitcoin", _follow_bitcoin(parts))
    await _until_synced(node)
    _run_file(node).write(config.files)
    report.enter(Phase.READY, "serving")
    log.info("ready", **report.urls)
    if config.role == "dev":
        tell_accounts(as_json=config.json_logs)
    if config.demo:
        node.spawn("demonstration", _demonstrate(node))


async def _open_admin_door(node: Node, stack: AsyncExitStack) -> AdminAccess:
    """Serve health, status and metrics before anything that may take long, and say where."""
    files = node.config.files
    access = AdminAccess(files.new_cookie())
    app = health_app(node.report, node.metrics, access)
    await listen(node, stack, app, name="metrics", wanted=node.config.metrics_port)
    stack.callback(remove_run_file, files)
    _run_file(node).write(files)
    return access


async def _start_role(parts: Parts) -> DevControls | None:
    """Start what this role adds; a node that signs sequences."""
    node = parts.node
    gauges = Gauges(node.report, node.metrics, node.config.files.chain)
    node.spawn("sample gauges", gauges.run())
    if parts.keys is None:
        await start_full_node(parts)
        return None
    role = build_sequencer(parts, parts.keys)
    gauges.batcher = role.batcher
    return await role.start(parts.keys)


class _Opened(NamedTuple):
    store: LevelStore
    thread: ChainThread
    service: ChainService


async def _open_chain(
    node: Node, stack: AsyncExitStack, rollup: RollupConfig, keys: NodeKeys | None
) -> _Opened:
    """Open database, machine and derivation where the last run left them."""
    thread = ChainThread()
    stack.callback(thread.close)
    store = stack.enter_context(await thread.run(open_store, node.config.files.chain))
    stack.callback(thread.close)  # again: before the database is closed
    console = ConsoleLog() if node.config.role == "dev" and node.config.console_log else None
    open_executor = partial(Executor, console=console)
    executor = await thread.run(open_executor, rollup.chain_spec(), store, StoredModels(store))
    stack.callback(executor.close)
    keeper = HistoryKeeper(executor.history, kept_blocks=node.config.prune)
    node.spawn("keep history", keeper.run())
    secret = None if keys is None else keys.sequencer
    driver = await thread.run(ChainDriver, rollup, store, executor, sequencer_secret=secret)
    node.report.driver = driver
    stack.callback(
        setattr, node.report, "driver", None
    )  # who asks for the status of a closing node reads no closed file
    return _Opened(store, thread, ChainService(driver, thread, node.metrics))


def _open_database_door(store: LevelStore, stack: AsyncExitStack) -> DatabaseDoor:
    """Let the owner check the database that is open; a check ends before it is closed."""
    door = DatabaseDoor(store, partial(describe_store, store))
    stack.callback(door.close)
    return door


async def _demonstrate(node: Node) -> None:
    from aiohttp import ClientError

    from bitai.demo import DemoUrls, run_demo

    try:
        await run_demo(DemoUrls(rpc=node.report.urls["rpc"], web=node.report.urls["web"]))
    except (
        BitaiError,
        ClientError,
        OSError,
    ) as error:  # a slow machine, a closed pipe: the node is none the worse
        log.error("the demonstration failed; the node runs on", reason=str(error), fix="bitai-node status")  # noqa: TRY400


async def _bitcoin(node: Node) -> tuple[str, Credentials]:
    """Return where Bitcoin answers, having started the embedded one if none was named."""
    config = node.config
    if config.l1_rpc is not None:
        if config.l1_user is not None and config.l1_password_file is not None:
            return config.l1_rpc, UserPassword(config.l1_user, config.l1_password_file.expanduser())
        return config.l1_rpc, CookieFile(config.cookie_path)
    port = choose_port(config.l1_port, name="the embedded Bitcoin", flag="--l1-port", may_move=True)
    folder = config.files.bitcoin
    argv = [sys.executable, "-m", "regtest", "--datadir", str(folder), "--port", str(port)]
    if config.mine_interval:
        argv += ["--mine-interval", str(config.mine_interval)]
    url = f"http://127.0.0.1:{port}"
    await node.supervisor.start(
        ChildSpec(
            "bitcoin",
            tuple(argv),
            ready=lambda: _listens(port),
            ready_within_s=BITCOIN_START_S,
            vital=True,
        )
    )
    return url, CookieFile(folder / ".cookie")


def _transport(node: Node, credentials: Credentials, clock: SystemClock) -> RpcTransport:
    """Return the way to Bitcoin's RPC."""
    ca_file = node.config.l1_ca_file
    named = None if ca_file is None else str(ca_file.expanduser())
    try:
        return RpcTransport(node.report.l1_url, credentials, clock, ca_file=named)
    except OSError as error:  # reading the certificate, or what is in it
        raise ConfigError(
            "l1.ca_file", f"no certificate can be read from {named}", why=str(error), fix=f"ls -l {named}"
        ) from error


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _await_bitcoin(bitcoin: BitcoinNode, network: str, url: str) -> None:
    """Wait until Bitcoin answers, saying once for each reason why it does not, and require the right network."""
    told = ""
    while True:
        try:
            await bitcoin.check_network(network)
        except Temporary as error:
            if error.code != told:
                told = error.code
                log.warning(
                    "waiting for Bitcoin", url=url, code=told, reason=error.message, fix=_ASK, **error.details
                )
            await asyncio.sleep(0.5)
            continue
        await bitcoin.probe()
        return


_ASK: Final = "bitcoin-cli getblockchaininfo"


def _given_chain(config: NodeConfig) -> RollupConfig | None:
    """Read the chain that was named, before anything is waited for."""
    if config.rollup_config is None:
        return None
    path = config.rollup_config.expanduser()
    rollup = read_rollup_config(path)
    if rollup.l1_network != config.network:
        raise ConfigError(
            "config.other_network",
            f"the chain of {path} lives on {rollup.l1_network}, not on {config.network}",
            fix=f"bitai-node run --network {rollup.l1_network} --rollup-config {path}",
        )
    return rollup


async def _own_chain(
    config: NodeConfig, keys: NodeKeys | None, transport: RpcTransport, bitcoin: BitcoinNode
) -> RollupConfig:
    if keys is None:
        raise InvariantViolation("config.no_chain", "a full node was started without a rollup configuration")
    return await make_regtest_chain(config.files, keys, transport, bitcoin)


async def _follow_bitcoin(parts: Parts) -> None:
    """Feed the chain with Bitcoin's blocks, from where the database stands."""
    poll_ms = REGTEST_POLL_MS if parts.node.config.network == "regtest" else PUBLIC_POLL_MS
    follower = L1Follower(
        parts.bitcoin,
        parts.clock,
        parts.chain.driver.cursor,
        config=FollowerConfig(poll_ms=poll_ms),
        floor_height=parts.rollup.l1_start.height,
    )
    parts.node.report.follower = follower
    async for event in follower.events():
        if isinstance(event, Connected):
            await parts.chain.connected(event)
        else:
            await parts.chain.disconnected(event, ChainPoint(event.height, event.hash))


async def _until_synced(node: Node) -> None:
    """Wait until derivation has worked through what Bitcoin had at the start."""
    report = node.report
    while report.follower is None or report.follower.tip is None or report.lag() > 0:
        if node.stopping.is_set():
            return
        lag = report.lag()
        report.enter(Phase.SYNCING, f"{lag} Bitcoin blocks to work through")
        await asyncio.sleep(0.1)


def _run_file(node: Node) -> RunFile:
    urls = node.report.urls
    return RunFile(
        pid=os.getpid(),
        network=node.config.network,
        role=node.config.role,
        rpc_url=urls.get("rpc", ""),
        web_url=urls.get("web", ""),
        neuron_url=urls.get("neuron", ""),
        admin_url=urls.get("metrics", ""),
        l1_url=node.report.l1_url,
    )
