"""Keep the node's child processes running: start in order, restart with growing patience, stop in reverse."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import structlog

from primitives.errors import Temporary

log = structlog.get_logger(__name__)

_READY_POLL_S = 0.05
_TAIL_LINES = 50
_MAX_LINE_BYTES = 8 * 1024

LineSink = Callable[[str, str], None]
"""Takes a child's name and one line it printed."""


@dataclass(frozen=True)
class ChildSpec:
    """One program to keep running; `ready` is asked until it says yes, `environment` adds to ours.

    Without a `vital` one the node is of no use: it is not given up in silence.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None
    ready: Callable[[], Awaitable[bool]] | None = None
    ready_within_s: float = 60.0
    stop_grace_s: float = 10.0
    vital: bool = False


@dataclass(frozen=True)
class Patience:
    """The wait before the n-th restart in a row; after a run of `calm_s` the count begins anew."""

    first_s: float = 0.25
    factor: float = 2.0
    most_s: float = 30.0
    calm_s: float = 60.0
    give_up_after: int = 20

    def delay_s(self, failures: int) -> float:
        """The wait after `failures` failures in a row, from 1."""
        return min(self.most_s, self.first_s * self.factor ** (failures - 1))


class ChildState(StrEnum):
    """What a child is doing."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting to restart"
    GIVEN_UP = "given up"
    STOPPED = "stopped"


@dataclass(frozen=True)
class ChildReport:
    """One child for the status page; `tail` is what it printed last."""

    name: str
    state: ChildState
    pid: int | None
    restarts: int
    tail: tuple[str, ...]


@dataclass
class _Child:
    spec: ChildSpec
    process: asyncio.subprocess.Process | None = None
    state: ChildState = ChildState.STARTING
    restarts: int = 0
    failures: int = 0
    started_at_s: float = 0.0
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=_TAIL_LINES))
    keeper: asyncio.Task[None] | None = None
    pump: asyncio.Task[None] | None = None


class Supervisor:
    """The children of one node. Must live in the thread that outlives them all: the main one."""

    def __init__(
        self,
        sink: LineSink,
        *,
        patience: Patience | None = None,
        on_restart: Callable[[str], None] | None = None,
        on_lost: Callable[[Temporary], None] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sink = sink
        self._patience = patience or Patience()
        self._on_restart = on_restart
        self._on_lost = on_lost
        self._sleep = sleep
        self._clock = clock
        self._children: dict[str, _Child] = {}

    async def start(self, spec: ChildSpec) -> None:
        """Start a child and return once it is ready; from then on it is kept running.

        Raises Temporary `child.not_started` with the child's last words when it ends or stays unready.
        """
        child = _Child(spec)
        self._children[spec.name] = child
        await self._spawn(child)
        try:
            await self._until_ready(child)
        except BaseException:
            await self._stop_child(child)
            raise
        child.state = ChildState.RUNNING
        child.keeper = asyncio.create_task(self._keep(child), name=f"keep {spec.name}")

    async def stop(self) -> None:
        """Stop all children, the last started first: each may need those before it to finish its work."""
        for child in reversed(self._children.values()):
            await self._stop_child(child)

    async def stop_one(self, name: str) -> None:
        """Stop one child for good."""
        await self._stop_child(self._children[name])

    def reports(self) -> tuple[ChildReport, ...]:
        """What each child is doing, in the order of their start."""
        return tuple(
            ChildReport(
                name=name,
                state=child.state,
                pid=child.process.pid if child.process else None,
                restarts=child.restarts,
                tail=tuple(child.tail),
            )
            for name, child in self._children.items()
        )

    async def _spawn(self, child: _Child) -> None:
        spec = child.spec
        child.started_at_s = self._clock()
        # A session of its own: Ctrl-C in a terminal reaches the node alone, which stops them in order.
        child.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bitai.child_launcher", str(os.getpid()), *spec.argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **spec.environment},
            cwd=spec.directory,
            start_new_session=True,
        )
        child.pump = asyncio.create_task(self._pump(child, child.process), name=f"log {spec.name}")

    async def _until_ready(self, child: _Child) -> None:
        spec, process = child.spec, child.process
        if spec.ready is None or process is None:
            return
        deadline = self._clock() + spec.ready_within_s
        while not await spec.ready():
            if process.returncode is not None:
                raise self._not_started(child, f"it ended with {_ending(process.returncode)}")
            if self._clock() > deadline:
                raise self._not_started(child, f"it was not ready within {spec.ready_within_s:g} s")
            await self._sleep(_READY_POLL_S)

    def _not_started(self, child: _Child, why: str) -> Temporary:
        return Temporary(
            "child.not_started", f"{child.spec.name} did not start", why=why + _last_words(child)
        )

    async def _keep(self, child: _Child) -> None:
        """Wait for the end, wait a while, start again; until stopped or given up."""
        while child.process is not None:
            code = await child.process.wait()
            ran_s = self._clock() - child.started_at_s
            child.failures = 1 if ran_s >= self._patience.calm_s else child.failures + 1
            if child.failures > self._patience.give_up_after:
                self._give_up(child, code)
                return
            delay_s = self._patience.delay_s(child.failures)
            child.state = ChildState.WAITING
            log.warning("child ended", child=child.spec.name, ended=_ending(code), restart_in_s=delay_s)
            await self._sleep(delay_s)
            try:
                await self._restart(child)
            except OSError as error:  # no memory, too many processes: one more failure, and the wait grows
                log.warning("child not started", child=child.spec.name, reason=str(error))

    def _give_up(self, child: _Child, code: int) -> None:
        child.state = ChildState.GIVEN_UP
        log.error("child given up", child=child.spec.name, ended=_ending(code), restarts=child.restarts)
        if child.spec.vital and self._on_lost is not None:
            why = f"it ended {child.failures} times in a row, at last with {_ending(code)}"
            words = why + _last_words(child)
            self._on_lost(Temporary("child.given_up", f"{child.spec.name} does not stay up", why=words))

    async def _restart(self, child: _Child) -> None:
        child.restarts += 1
        if self._on_restart is not None:
            self._on_restart(child.spec.name)
        await self._spawn(child)
        child.state = ChildState.RUNNING

    async def _pump(self, child: _Child, process: asyncio.subprocess.Process) -> None:
        """Pass on what the child prints, line by line; a line without end is cut, not gathered for ever."""
        if process.stdout is None:
            return
        held = b""
        while chunk := await process.stdout.read(_MAX_LINE_BYTES):
            *lines, held = (held + chunk).split(b"\n")
            if len(held) > _MAX_LINE_BYTES:
                lines, held = [*lines, held], b""
            for line in lines:
                self._say(child, line)
        if held:
            self._say(child, held)

    def _say(self, child: _Child, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        child.tail.append(text)
        # Nobody may be reading us any more (a closed terminal, `| head`). The child's pipe must be emptied all
        # the same, or it fills and the child stands still for ever at its next line.
        with contextlib.suppress(OSError):
            self._sink(child.spec.name, text)

    async def _stop_child(self, child: _Child) -> None:
        """Ask, wait, insist; its whole session goes, so that what it started goes too."""
        child.state = ChildState.STOPPED
        await _end_task(child.keeper)  # first, or it would start the child again
        process = child.process
        if process is not None and process.returncode is None:
            _signal_session(process.pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), child.spec.stop_grace_s)
            except TimeoutError:
                log.warning("child killed", child=child.spec.name, after_s=child.spec.stop_grace_s)
                _signal_session(process.pid, signal.SIGKILL)
                await process.wait()
        if child.pump is not None:
            await child.pump  # ends by itself once the last writer has closed


async def _end_task(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _signal_session(pid: int, what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, what)


def _last_words(child: _Child) -> str:
    return "; it said: " + " | ".join(list(child.tail)[-5:]) if child.tail else ""


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
