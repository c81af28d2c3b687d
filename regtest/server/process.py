"""The process from start to stop: lock, port, cookie, node, interval mining, signals.

The event loop serves HTTP; one thread owns the node. The port is taken first, so that a client that comes
early is told to wait (-28) instead of finding nobody. SIGTERM and SIGINT stop taking calls, finish the one
that runs, save the mempool, flush the kernel and leave with status 0.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from aiohttp import web

from primitives.errors import (
    InvalidInput,
    InvariantViolation,
    Rejected,
    Temporary,
)
from regtest.clock import OffsetClock
from regtest.limits import IDLE_SECONDS
from regtest.node import Node
from regtest.options import ServerOptions
from regtest.rpc.dispatch import Dispatcher, Reply
from regtest.rpc.method import Method
from regtest.rpc.parameters import Arguments
from regtest.rpc.registry import METHODS, with_help
from regtest.server.http import RpcServer
from regtest.server.instance import Credentials, InstanceLock, remove_cookie, write_cookie
from regtest.server.listener import Listener
from regtest.server.mempool_file import load_mempool, remove_mempool, save_mempool

STOP_MESSAGE: Final = "regtest Bitcoin stopping"
_GRACE_SECONDS: Final = 60.0

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Server:
    """One running regtest Bitcoin."""

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._stop = asyncio.Event()
        self._started = time.monotonic()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kernel")
        self._dispatcher = Dispatcher(with_help([*METHODS.values(), *self._server_methods()]))
        self._listener = Listener()
        self._failure: BaseException | None = None

    async def run(self, announce: Callable[[str], None]) -> None:
        """Serve until told to stop; `announce` gets one line when calls are answered.

        Raises ConfigError for what a person must change, InvariantViolation for damage.
        """
        lock = InstanceLock(self._options.directory)
        try:
            await self._serve(announce)
        finally:
            lock.release()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Begin to stop; harmless to repeat."""
        self._stop.set()

    async def _serve(self, announce: Callable[[str], None]) -> None:
        runner = web.AppRunner(
            RpcServer(self._credentials(), self._answer, self._listener.note_request).application(),
            access_log=None,
            shutdown_timeout=_GRACE_SECONDS,
            keepalive_timeout=IDLE_SECONDS,
        )
        await runner.setup()
        try:
            await self._listener.open(runner.server, self._options.host, self._options.port)
            self._watch_signals()
            await self._work(announce)
        finally:
            self._listener.close()
            await runner.cleanup()
            await self._close_node()
            remove_cookie(self._options.directory)

    async def _work(self, announce: Callable[[str], None]) -> None:
        await self._on_thread(self._open_node)
        host = self._options.host
        shown = f"[{host}]" if ":" in host else host
        announce(f"regtest Bitcoin ready at http://{shown}:{self._listener.port} ({self._status_line()})")
        miner = asyncio.create_task(self._mine_on_interval())
        miner.add_done_callback(self._note_end_of_mining)
        try:
            await self._stop.wait()
        finally:
            miner.cancel()
            await asyncio.gather(miner, return_exceptions=True)

    def _credentials(self) -> Credentials:
        pairs = [write_cookie(self._options.directory)]
        if self._options.user_and_password is not None:
            pairs.append(self._options.user_and_password.encode())
        return Credentials(tuple(pairs))

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self.stop)

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _answer(self, body: bytes) -> Reply:
        if self._dispatcher.node is None:
            return self._dispatcher.answer(body)
        try:
            return await self._on_thread(lambda: self._dispatcher.answer(body))
        except InvariantViolation as error:
            logger.critical("stopping, this is a bug or a damaged disk: %s", error)
            self._failure = error
            self.stop()
            raise

    def _open_node(self) -> None:
        self._dispatcher.warmup_status = "Loading block index…"
        clock = OffsetClock(time.time, self._options.clock_offset_seconds)
        node = Node(self._options.directory, clock, self._options.node)
        node.interrupted = self._stop.is_set
        self._restore_mempool(node)
        missing = self._options.premine_blocks - node.tip.height
        if missing > 0:
            self._dispatcher.warmup_status = "Mining the first blocks…"
            node.mine_many(missing, node.payout_script)
        self._dispatcher.node = node

    def _restore_mempool(self, node: Node) -> None:
        try:
            saved = load_mempool(self._options.directory)
        except InvalidInput as error:
            logger.warning("the saved mempool is ignored: %s", error)
            return
        if saved:
            logger.info("%d of %d saved transactions wait again", node.restore_mempool(saved), len(saved))
        # After a kill this file would be old: what was replaced since would come back.
        remove_mempool(self._options.directory)

    async def _close_node(self) -> None:
        def close() -> None:
            node = self._dispatcher.node
            if node is not None:
                self._dispatcher.node = None
                self._save_mempool(node)
                node.close()

        await self._on_thread(close)
        self._thread.shutdown()

    def _save_mempool(self, node: Node) -> None:
        try:
            save_mempool(self._options.directory, node.saved_mempool())
        except OSError as error:  # as on a full disk: the blocks are worth more, they must still be flushed
            logger.warning("%d waiting transactions are lost: %s", len(node.pool), error)

    async def _mine_on_interval(self) -> None:
        interval = self._options.mine_interval_seconds
        while interval is not None:
            await asyncio.sleep(interval)
            try:
                await self._on_thread(self._mine_one)
            except (Rejected, Temporary) as error:
                logger.warning("no block this time: %s", error)

    def _note_end_of_mining(self, miner: asyncio.Task[None]) -> None:
        """Stop with what ended interval mining; it must not end in silence."""
        if not miner.cancelled() and miner.exception() is not None:
            self._failure = miner.exception()
            self.stop()

    def _mine_one(self) -> None:
        node = self._dispatcher.node
        if node is not None:
            node.mine(node.payout_script)

    def _status_line(self) -> str:
        node = self._dispatcher.node
        height = node.tip.height if node else 0
        return f"height {height}, cookie {self._options.directory / '.cookie'}"

    def _server_methods(self) -> tuple[Method, ...]:
        """Return the calls that only the process can answer."""

        def uptime(_node: Node, _args: Arguments) -> Any:
            """Seconds since the process started."""
            return int(time.monotonic() - self._started)

        def stop(_node: Node, _args: Arguments) -> Any:
            """Stop the process; everything is saved."""
            loop.call_soon_threadsafe(self.stop)
            return STOP_MESSAGE

        loop = asyncio.get_running_loop()
        return Method("uptime", uptime), Method("stop", stop)
