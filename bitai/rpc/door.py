"""Answer JSON-RPC posts straight from the socket, and hand every other connection to the HTTP server behind.

Nearly all that a node hears has one shape (`request_head`), and a whole HTTP server takes longer over it than the
chain does over the transaction inside. So a connection begins here. Its requests are answered here, one after the
other, for as long as each has that shape; with the first that has not (an upgrade to WebSocket, a preflight, a coded
or chunked body, anything odd or broken) the connection goes to aiohttp for good, from that request's first byte on.
What is promised of size, time and memory is the server's, and the same behind both doors.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import TYPE_CHECKING, Final, cast

import structlog

from bitai.rpc import server as limits
from bitai.rpc.framing import (
    LIMIT_EXCEEDED,
    MAX_BODY_BYTES,
    Broken,
    Call,
    RpcError,
    answer_calls,
    encode_reply,
    parse_body,
)
from bitai.rpc.request_head import HEAD_END, Head, HeadCache, may_become_ours, parse_head

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from bitai.rpc.server import RpcServer

log = structlog.get_logger(__name__)

MAX_CONNECTIONS: Final = 4_096
"""Open at once, those that were handed on included; fewer where the system allows the process fewer files."""
HEAD_LIMIT_S: Final = 10.0
"""A request's head that takes longer to arrive is not waited for."""
IDLE_LIMIT_S: Final = 75.0
"""A connection on which nothing is asked is closed after this time."""
MAX_HELD_BYTES: Final = 64 << 10
"""Of requests that are sent before the one before is answered, so much is read; the rest waits with its sender."""
LOOK_S: Final = 1.0
"""How often connections are looked at for those that have run out of time."""
CLOSE_GRACE_S: Final = 1.0
"""How long a door that closes waits for answers under way."""
_REASONS: Final = {200: b"OK", 204: b"No Content", 408: b"Request Timeout", 503: b"Service Unavailable"}


def connections_allowed() -> int:
    """Return how many connections may be open: half of the files the process may have open at most."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if files == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, files // 2)


class Door:
    """All connections of one port; call it for the protocol of a new one."""

    def __init__(
        self, server: RpcServer, behind: Callable[[], asyncio.Protocol], *, most: int | None = None
    ) -> None:
        """Answer by `server`; `behind` makes the protocol of a connection that is handed on."""
        self.server = server
        self.behind = behind
        self.heads = HeadCache(self._ours)
        self._most = connections_allowed() if most is None else most
        self._open: set[Connection] = set()
        self._handed: set[asyncio.Transport] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._date = (0, b"")
        self._one_left = asyncio.Event()

    def __call__(self) -> asyncio.Protocol:
        """Make the protocol of a connection that is just being accepted."""
        return Connection(self)

    def __len__(self) -> int:
        """Count the open connections, those that were handed on included."""
        return len(self._open) + len(self._handed)

    def _ours(self, raw: bytes) -> Head | None:
        """Return what a head says if its request is answered here."""
        head = parse_head(raw, most=MAX_BODY_BYTES)
        return head if head is not None and self.server.serves(head.host) else None

    def came(self, connection: Connection) -> bool:
        """Take a new connection in, if need be for the one that has been idle longest; False when all are busy."""
        if len(self) >= self._most:
            self._drop_closed()
        if len(self) >= self._most:
            idle = [each for each in self._open if each.is_idle]
            if not idle:
                return False
            min(idle, key=lambda each: each.since).close()
        self._open.add(connection)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)
        return True

    def left(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._open.discard(connection)
        self._one_left.set()

    def handed_on(self, connection: Connection, transport: asyncio.Transport) -> None:
        """Count a connection on that now belongs to the server behind."""
        self._open.discard(connection)
        self._handed.add(transport)

    def _drop_closed(self) -> None:
        self._handed = {each for each in self._handed if not each.is_closing()}

    def _look(self) -> None:
        """End what has run out of time; one timer for all connections, none for each request."""
        now = time.monotonic()
        for connection in tuple(self._open):
            connection.look(now)
        self._drop_closed()
        waits = bool(self._open or self._handed)
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look) if waits else None

    def date(self) -> bytes:
        """Return the date as HTTP writes it, made once a second."""
        now = int(time.time())
        if self._date[0] != now:
            self._date = (now, formatdate(now, usegmt=True).encode())
        return self._date[1]

    async def close(self) -> None:
        """Answer what is under way, for a moment, and close every connection that is still here."""
        if self._timer is not None:
            self._timer.cancel()
        for connection in tuple(self._open):
            connection.finish()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_GRACE_S):
                while self._open:
                    self._one_left.clear()
                    await self._one_left.wait()
        for connection in tuple(self._open):
            connection.abort()


class Connection(asyncio.Protocol):
    """One connection: reads a request, answers it, reads the next."""

    def __init__(self, door: Door) -> None:
        """Belong to a door."""
        self._door = door
        self._server = door.server
        self._transport: asyncio.Transport | None = None
        self._held = bytearray()
        """What has arrived and is not looked at yet; while a body is awaited, what there is of it."""
        self._head: Head | None = None
        """Of the request that is being read or answered."""
        self._answering = False
        self._late: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._last = False
        """No request is read after the present one."""
        self._asked: tuple[Call, asyncio.Future[list[Any]]] | None = None
        self._task: asyncio.Task[None] | None = None
        self.since = time.monotonic()
        """When it last began to wait: for a request, an answer, or a reader."""

    # -- asyncio's side -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or refuse when there are too many."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's says so of no class of asyncio's
        if not self._door.came(self):
            self._refuse(503, "too many connections; try again later")

    def connection_lost(self, error: Exception | None) -> None:
        """Let go of everything; what is being answered runs to its end."""
        del error
        self._door.left(self)
        self._stop_waiting_for_body()
        if self._head is not None and not self._answering:
            self._server.release(self._head.length)
            self._head = None
        self._transport = None
        self._writable.set()

    def pause_writing(self) -> None:
        """Wait for a reader that is slower than its replies."""
        self.since = time.monotonic()
        self._writable.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self._writable.set()
        self._go_on()

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        if self._answering or not self._writable.is_set():
            self._held += data
            if len(self._held) > MAX_HELD_BYTES and self._transport is not None:
                self._transport.pause_reading()
        elif self._held or self._head is not None:
            self._held += data
            self._read()
        else:
            self.since = time.monotonic()
            self._begin(data)

    # -- reading --------------------------------------------------------------------------------

    def _read(self) -> None:
        """Look at what is held: the rest of a body, or a request's begin."""
        if self._head is None:
            held = bytes(self._held)
            self._held.clear()
            self._begin(held)
        elif len(self._held) >= self._head.length:
            self._stop_waiting_for_body()
            body = bytes(self._held[: self._head.length])
            del self._held[: self._head.length]
            self._answer(self._head, body)

    def _begin(self, data: bytes) -> None:
        """Read a request from its first byte on."""
        end = data.find(HEAD_END)
        if end < 0:
            if not may_become_ours(data):
                self._hand_on(data)
                return
            self._held += data
            return
        head = self._door.heads(data[:end])
        if head is None or not self._server.claim(head.length):
            self._hand_on(data)  # which says what is wrong with it, or that there is no room
            return
        self._head = head
        start, after = end + 4, end + 4 + head.length
        if len(data) < after:
            self._held += data[start:]
            self._late = asyncio.get_running_loop().call_later(limits.BODY_LIMIT_S, self._body_late)
            return
        self._held += data[after:]
        self._answer(head, data[start:after])

    def _body_late(self) -> None:
        self._refuse(408, limits.body_too_slow())

    def _stop_waiting_for_body(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _hand_on(self, data: bytes) -> None:
        """Give the connection to the server behind, with all that was not answered."""
        transport = self._transport
        if transport is None:
            return
        self._door.handed_on(self, transport)
        self._transport = None
        protocol = self._door.behind()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)

    # -- answering ------------------------------------------------------------------------------

    def _answer(self, head: Head, body: bytes) -> None:
        self._answering = True
        self.since = time.monotonic()
        try:
            calls, is_batch = parse_body(body, most=self._server.limits.batch_calls)
        except RpcError as error:
            self._finish(encode_reply(None, error))
            return
        call = calls[0]
        if not is_batch and isinstance(call, Call) and not call.notification:
            begun = self._server.begin([call])
            if begun is not None:
                self._asked = call, begun
                begun.add_done_callback(self._answered)
                return
        self._task = asyncio.create_task(self._work(head, calls, is_batch=is_batch))

    def _answered(self, done: asyncio.Future[list[Any]]) -> None:
        """Reply to the one call that was begun without a task."""
        if self._asked is None or self._asked[1] is not done:
            return  # given up meanwhile
        self._reply_to_asked(done.result())

    def _reply_to_asked(self, outcomes: Sequence[Any]) -> None:
        if self._asked is None:
            return
        call, self._asked = self._asked[0], None
        self._server.counted(call.method, outcomes, time.monotonic() - self.since)
        self._finish(encode_reply(call.id, outcomes[0]))

    async def _work(self, head: Head, calls: Sequence[Call | Broken], *, is_batch: bool) -> None:
        """Answer calls in a task of their own."""
        server = self._server
        together, gathered = server.dispatch_together, server.gathered
        reply = await answer_calls(calls, server.dispatch, together, is_batch=is_batch, gathered=gathered)
        if reply is None:
            self._finish(b"", status=204)
            return
        reply, packed = await server.pack(reply, accepted=head.accepts_gzip)
        if not server.may_leave(len(reply)):
            words = RpcError(LIMIT_EXCEEDED, limits.TOO_MANY_REPLIES)
            self._finish(encode_reply(None, words), status=503)
        elif len(reply) < limits.LARGE_REPLY_BYTES:
            self._finish(reply, packed)
        else:
            await self._see_off(reply, packed)

    async def _see_off(self, reply: bytes, packed: dict[str, str]) -> None:
        """Write a large reply and wait until its reader has taken it: else many could fill the memory."""
        with self._server.leaving(len(reply)):
            self._write(reply, packed)
            try:
                async with asyncio.timeout(limits.SEND_LIMIT_S):
                    await self._writable.wait()
            except TimeoutError:
                self.abort()
        self._done()

    def _finish(self, reply: bytes, packed: dict[str, str] | None = None, *, status: int = 200) -> None:
        self._write(reply, packed or {}, status=status)
        self._done()

    def _write(self, reply: bytes, packed: dict[str, str], *, status: int = 200) -> None:
        if self._transport is None:
            return
        extra = packed if self._head is None else self._server.permission(self._head.origin) | packed
        lines = [b"HTTP/1.1 %d %s\r\nDate: %s\r\n" % (status, _REASONS[status], self._door.date())]
        lines += [f"{name}: {value}\r\n".encode() for name, value in extra.items()]
        if self._last:
            lines.append(b"Connection: close\r\n")
        if status != 204:  # which has no body, and so must not tell its length
            lines.append(b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(reply))
        self._transport.write(b"".join((*lines, b"\r\n", reply)))

    def _done(self) -> None:
        """Turn to the next request."""
        if self._head is not None:
            self._server.release(self._head.length)
            self._head = None
        self._answering = False
        self._task = None
        self.since = time.monotonic()
        if self._last:
            self.close()
        elif self._held:  # not at once: a thousand short requests would be as many calls deep
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._transport is None or self._answering or not self._writable.is_set():
            return
        self._transport.resume_reading()
        if self._held:
            self._read()

    # -- ending ---------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether nothing is asked on it, or not wholly yet."""
        return not self._answering

    def look(self, now: float) -> None:
        """End what has waited too long."""
        waited_s = now - self.since
        if not self._writable.is_set():
            if waited_s > limits.SEND_LIMIT_S:
                self.abort()
        elif self._asked is not None:
            if waited_s > self._server.limits.call_seconds:
                self._reply_to_asked([self._server.took_too_long()])
        elif self._answering or self._head is not None:
            return  # its task, or the body's timer, sees to it
        elif self._held and waited_s > HEAD_LIMIT_S:
            self._refuse(408, f"the head took longer than {HEAD_LIMIT_S:.0f} s to arrive")
        elif waited_s > IDLE_LIMIT_S:
            self.close()

    def _refuse(self, status: int, words: str) -> None:
        """Say why, and close."""
        self._last = True
        self._finish(encode_reply(None, RpcError(LIMIT_EXCEEDED, words)), status=status)

    def finish(self) -> None:
        """Close once the present request is answered."""
        self._last = True
        if not self._answering:
            self.close()

    def close(self) -> None:
        """Close once everything is written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()
