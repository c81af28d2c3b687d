"""Carry JSON-RPC over one WebSocket: calls in, replies and notifications out, none of them without bound."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiohttp import WSCloseCode, WSMsgType, web

from bitai.rpc.framing import answer_body
from bitai.rpc.subscriptions import METHODS, Subscriptions

if TYPE_CHECKING:
    from bitai.rpc.framing import Call, Dispatch, Gathered
    from bitai.rpc.head_feed import HeadFeed
    from bitai.rpc.limits import RpcLimits
    from bitai.rpc.workers import Workers

MAX_CALLS: Final = 32
MAX_CALL_BYTES: Final = 4 << 20
"""Messages of one connection that are worked on at once; the next is not read before one is answered."""
MAX_OUTBOX: Final = 4_096
MAX_OUTBOX_BYTES: Final = 32 << 20
"""What waits for a slow reader: a reply beyond it closes the connection, with a reason. Notifications take half of
it at most, and wait for their turn."""
MAX_OUTBOXES_BYTES: Final = 192 << 20
FAIR_BYTES: Final = 1 << 20
"""What waits for all slow readers together, and what each of them may have in any case."""
SEND_LIMIT_S: Final = 30.0
FAREWELL_S: Final = 2.0
"""Time for a client that is closed to read why."""


@dataclass(slots=True)
class Outboxes:
    """What waits in the outboxes of all connections."""

    waiting_bytes: int = 0


class SocketSession:
    """One connection."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        dispatch: Dispatch,
        feed: HeadFeed,
        writer: Workers,
        *,
        limits: RpcLimits,
        outboxes: Outboxes,
        gathered: Gathered,
    ) -> None:
        """Answer calls by `dispatch`, except for subscriptions, which this connection keeps itself.

        `writer` writes down what they tell; `outboxes` counts what waits on all connections, `gathered` what waits
        for the rest of its array.
        """
        self._socket = socket
        self._dispatch = dispatch
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._outbox_bytes = 0
        self._outboxes = outboxes
        self._gathered = gathered
        # The replies to an array are gathered before they are sent: one array at a time.
        self._one_array = asyncio.Lock()
        self._sent = asyncio.Event()
        self._overflow = asyncio.Event()
        self._limits = limits
        self._subscriptions = Subscriptions(
            feed, self._notify, writer=writer, on_behind=self._overflow.set, most=limits.subscriptions
        )
        self._calls: set[asyncio.Task[None]] = set()
        self._call_bytes = 0

    async def serve(self) -> bool:
        """Work until the client leaves or reads too slowly; return whether it does, and is to be cut off."""
        writing = asyncio.ensure_future(self._write())
        parts = (self._read(), self._subscriptions.run(), self._overflow.wait())
        tasks = [writing, *(asyncio.ensure_future(each) for each in parts)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._subscriptions.close()
            running = [*tasks, *self._calls]
            for each in running:
                each.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            self._count(-self._outbox_bytes)
            self._outbox = asyncio.Queue()
        if self._overflow.is_set():
            with contextlib.suppress(TimeoutError):  # what is on its way already may never be read
                async with asyncio.timeout(FAREWELL_S):
                    await self._socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=b"reads too slowly")
            return True
        return not writing.cancelled() and isinstance(writing.exception(), TimeoutError)

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                continue
            body = message.data.encode() if isinstance(message.data, str) else message.data
            self._call_bytes += len(body)
            task = asyncio.create_task(self._answer(body))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
            while self._calls and (len(self._calls) >= MAX_CALLS or self._call_bytes > MAX_CALL_BYTES):
                await asyncio.wait(self._calls, return_when=asyncio.FIRST_COMPLETED)

    async def _answer(self, body: bytes) -> None:
        try:
            if body.lstrip(b" \t\r\n").startswith(b"["):
                async with self._one_array:
                    await self._answer_in_turn(body)
            else:
                await self._answer_in_turn(body)
        finally:
            self._call_bytes -= len(body)

    async def _answer_in_turn(self, body: bytes) -> None:
        made: list[str] = []

        async def dispatch(call: Call) -> Any:
            if call.method in METHODS:
                return await self._subscriptions.dispatch(call, made)
            return await self._dispatch(call)

        reply = await answer_body(body, dispatch, most=self._limits.batch_calls, gathered=self._gathered)
        if reply is not None:
            self._queue(reply)
        self._subscriptions.activate(made)

    def _queue(self, message: bytes) -> None:
        # One message may be larger than the room for all: an answer to eth_getLogs is.
        crowded = self._outboxes.waiting_bytes > MAX_OUTBOXES_BYTES and self._outbox_bytes > FAIR_BYTES
        if crowded or self._outbox.qsize() >= MAX_OUTBOX or self._outbox_bytes > MAX_OUTBOX_BYTES:
            self._overflow.set()
            return
        self._count(len(message))
        self._outbox.put_nowait(message)

    def _count(self, size: int) -> None:
        self._outbox_bytes += size
        self._outboxes.waiting_bytes += size

    async def _notify(self, message: bytes) -> None:
        """Queue a notification once there is room for it."""
        while self._outbox.qsize() > MAX_OUTBOX // 2 or self._outbox_bytes > MAX_OUTBOX_BYTES // 2:
            self._sent.clear()
            await self._sent.wait()
        self._queue(message)

    async def _write(self) -> None:
        while True:
            message = await self._outbox.get()
            async with asyncio.timeout(SEND_LIMIT_S):
                await self._socket.send_frame(message, WSMsgType.TEXT)
            self._count(-len(message))  # until now it lay in the connection's own buffer
            self._sent.set()
