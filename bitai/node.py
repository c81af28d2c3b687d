"""Run a node: open the data folder, start what it needs in order, join the parts, stop them in reverse.

The one place that knows every part. What a part does is told in its own module; here is only who gets whom.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import structlog

from bitai.datadir import DataDirLock
from bitai.logging import configure_logging
from bitai.metrics import Metrics
from bitai.node_status import NodeReport
from bitai.status import Phase
from bitai.supervisor import Supervisor
from bitai.version import VERSION
from primitives.errors import BitaiError

if TYPE_CHECKING:
    from bitai.config import NodeConfig

log = structlog.get_logger(__name__)

EXIT_OK = 0
EXIT_FAILED = 1
SWITCH_INTERVAL_S = 0.0005
"""How long the event loop may keep other threads waiting for Python. Blocks are made on one thread and transactions
admitted on another, mostly in native code; at Python's default of 5 ms each return from there waited that long."""


def run_node(config: NodeConfig) -> int:
    """Run until SIGTERM, Ctrl-C, a closed terminal or a fatal error; return the exit status."""
    import uvloop

    configure_logging(as_json=config.json_logs, level=config.log_level)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    return uvloop.run(_main(config))


async def _main(config: NodeConfig) -> int:
    files = config.files
    files.prepare()
    lock = DataDirLock(files)
    lock.acquire()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in _stop_signals():
        loop.add_signal_handler(each, stopping.set)
    node = Node(config, stopping)
    try:
        return await node.run()
    finally:
        lock.release()


class Node:
    """One running node."""

    def __init__(self, config: NodeConfig, stopping: asyncio.Event) -> None:
        """Hold what lives as long as the node; nothing starts yet."""
        self.config = config
        self.stopping = stopping
        self.metrics = Metrics()
        self.report = NodeReport(config)
        self.supervisor = Supervisor(
            _log_child,
            on_restart=lambda name: self.metrics.count("task_restarts_total", task=name),
            on_lost=self._fail,
        )
        self.report.supervisor = self.supervisor
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    async def run(self) -> int:
        """Start, serve until told to stop, and stop in order."""
        from bitai.assembly import assemble

        self.metrics.set("build_info", 1, version=VERSION, network=self.config.network, role=self.config.role)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self.supervisor.stop)
            starting = asyncio.create_task(assemble(self, stack))
            waiting = asyncio.create_task(self.stopping.wait())
            await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
            try:
                with contextlib.suppress(asyncio.CancelledError):
                    await starting
                await waiting
                self.report.enter(Phase.STOPPING, "closing what is open")
                log.info("stopping")
            finally:  # also when start-up failed: what runs must not outlive what it uses
                waiting.cancel()
                await self._end_tasks()
        if self._failure is not None:
            raise self._failure
        return EXIT_OK

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run a task for the node's life; its failure stops the node with that error."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        error = task.exception()
        code = error.code if isinstance(error, BitaiError) else type(error).__name__
        log.critical("task failed; the node stops", task=task.get_name(), code=code, exc_info=error)
        self._fail(error)

    def _fail(self, error: BaseException | None) -> None:
        """Stop the node, and let it end with the first error of all."""
        self._failure = self._failure or error
        self.stopping.set()

    async def _end_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _stop_signals() -> list[signal.Signals]:
    """List what asks us to stop: also a closed terminal, unless `nohup` said that it should not."""
    signals = [signal.SIGTERM, signal.SIGINT]
    return signals if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [*signals, signal.SIGHUP]


def _log_child(name: str, line: str) -> None:
    """Pass a child's line on as it is: it is a log line already, and has its own time and level."""
    sys.stderr.write(f"{name}: {line}\n")
