"""The worker: stay connected to a node, and leave in good order when told to stop."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import aiohttp
import structlog

from neuron.backoff import Backoff
from neuron.desk import Desk
from neuron.session import Credentials, Session
from primitives.errors import Temporary
from vm.inference.messages import MAX_MESSAGE_BYTES

PING_SECONDS: Final = 15.0
CONNECT_SECONDS: Final = 10.0
LEAVE_SECONDS: Final = 10.0
STEADY_SECONDS: Final = 5.0
"""A connection that ends sooner counts as a failure: two processes with one key must not chase each other."""

_log = structlog.get_logger("neuron.worker")


@dataclass(frozen=True, slots=True)
class Connection:
    """Say where to connect and as whom."""

    url: str
    credentials: Credentials


async def work(
    connection: Connection, desk: Desk, stopping: asyncio.Event, backoff: Backoff | None = None
) -> None:
    """Serve a node until `stopping` is set, through any number of broken connections.

    Raises ConfigError `session.other_chain`, or InvariantViolation when an answer log contradicts itself:
    neither gets better by trying again.
    """
    delays = backoff or Backoff()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="desk") as thread:
        async with aiohttp.ClientSession() as http:
            while not stopping.is_set():
                try:
                    await _one_connection(http, connection, (desk, thread), (stopping, delays))
                except (Temporary, aiohttp.ClientError, OSError, TimeoutError) as error:
                    delay_s = delays.next_delay_s()
                    _log.warning(
                        "not connected", url=connection.url, reason=str(error), retry_in_s=round(delay_s, 2)
                    )
                    await _pause(stopping, delay_s)


async def _one_connection(
    http: aiohttp.ClientSession,
    connection: Connection,
    service: tuple[Desk, ThreadPoolExecutor],
    control: tuple[asyncio.Event, Backoff],
) -> None:
    """Connect once and serve; return when told to stop, raise Temporary when the connection ends."""
    stopping, delays = control
    timeout = aiohttp.ClientWSTimeout(ws_close=CONNECT_SECONDS)
    async with asyncio.timeout(CONNECT_SECONDS):
        socket = await http.ws_connect(
            connection.url, heartbeat=PING_SECONDS, max_msg_size=MAX_MESSAGE_BYTES, timeout=timeout
        )
    session = Session(socket, *service)
    started = asyncio.get_running_loop().time()
    try:
        await session.shake_hands(connection.credentials)
        await _serve_until(session, stopping)
    finally:
        await socket.close()
        if asyncio.get_running_loop().time() - started >= STEADY_SECONDS:
            delays.reset()
        _log.info("disconnected", answered=session.answered)


async def _serve_until(session: Session, stopping: asyncio.Event) -> None:
    """Serve; once told to stop, finish what is held, unless the connection ends first."""
    serving = asyncio.create_task(session.serve())
    leaving = asyncio.create_task(_leave_when(session, stopping))
    try:
        await asyncio.wait((serving, leaving), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
    finally:
        for task in (serving, leaving):
            task.cancel()
        await asyncio.gather(serving, leaving, return_exceptions=True)


async def _leave_when(session: Session, stopping: asyncio.Event) -> None:
    await stopping.wait()
    await session.leave(LEAVE_SECONDS)


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    """Wait, unless told to stop."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return
