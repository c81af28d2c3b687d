"""Carry JSON-RPC over HTTP POST and WebSocket, with the checks that keep strangers' pages and floods out."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiohttp import WSCloseCode, web

from bitai.http_guard import LOOPBACK_NAMES, host_name
from bitai.rpc.framing import (
    INTERNAL_ERROR,
    LIMIT_EXCEEDED,
    MAX_BODY_BYTES,
    METHOD_NOT_FOUND,
    Call,
    Gathered,
    RpcError,
    answer_body,
    encode_reply,
)
from bitai.rpc.limits import RpcLimits, over
from bitai.rpc.refusals import to_rpc_error
from bitai.rpc.sockets import Outboxes, SocketSession
from bitai.rpc.workers import Workers
from primitives.errors import BitaiError, InvariantViolation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bitai.metrics import Metrics
    from bitai.rpc.context import Method, TogetherMethod
    from bitai.rpc.head_feed import HeadFeed

log = structlog.get_logger(__name__)

GZIP_FROM_BYTES: Final = 4_096
"""Smaller replies fit a few packets anyway, and there are many of them."""
GZIP_LEVEL: Final = 1
BODY_LIMIT_S: Final = 20.0
"""A body that takes longer to arrive is not waited for."""
MAX_ARRIVING_BYTES: Final = 256 << 20
"""Bodies that may be in memory at once, counted by what they claim before they are read."""
LARGE_REPLY_BYTES: Final = 64 << 10
"""Smaller replies fit what the system buffers for a connection."""
MAX_LEAVING_BYTES: Final = 256 << 20
"""Large replies that may be on their way to slow readers at once."""
SEND_LIMIT_S: Final = 30.0
"""A reader that takes longer is cut off."""
MAX_MESSAGE_BYTES: Final = 2 << 20
"""One message on a WebSocket; many connections may each hold some."""
TOO_MANY_BODIES: Final = "too many requests at once; try again later"
TOO_MANY_REPLIES: Final = "too many large replies at once; try again later"
_JSON: Final = {"Content-Type": "application/json"}


def body_too_slow() -> str:
    """Say that a body was not waited for."""
    return f"the body took longer than {BODY_LIMIT_S:.0f} s to arrive"


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Who may ask: host names in the Host header, and origins that browsers may come from; "*" is anyone."""

    allowed_hosts: frozenset[str] = LOOPBACK_NAMES
    allowed_origins: frozenset[str] = frozenset({"*"})


class RpcServer:
    """The method table and the two transports over it."""

    def __init__(
        self,
        methods: dict[str, Method],
        feed: HeadFeed,
        workers: Workers,
        *,
        together: dict[str, TogetherMethod] | None = None,
        options: ServerOptions | None = None,
        metrics: Metrics | None = None,
        limits: RpcLimits | None = None,
    ) -> None:
        """Serve `methods`, and subscriptions to `feed`; `workers` end with the application.

        `together` has those of the methods that are quicker for many calls at once.
        """
        self.limits = limits or RpcLimits()
        self._methods = methods
        self._together = together or {}
        self._feed = feed
        self._workers = workers
        self._options = options or ServerOptions()
        self._metrics = metrics
        # One thread for what subscriptions tell: it delays their clients, and nothing else.
        self._writer = Workers(threads=1, waiting=self.limits.sockets)
        self._sockets: set[web.WebSocketResponse] = set()
        self._outboxes = Outboxes()
        self.gathered = Gathered()
        self._arriving = 0
        self._leaving = 0

    def application(self) -> web.Application:
        """Return the aiohttp application: POST / for calls, GET / with an upgrade for a WebSocket."""
        app = web.Application(client_max_size=MAX_BODY_BYTES + 1)
        app.router.add_post("/", self._post)
        app.router.add_get("/", self._get)
        app.router.add_route("OPTIONS", "/", self._preflight)
        app.on_shutdown.append(self._close_sockets)
        app.on_cleanup.append(self._close_workers)
        return app

    async def dispatch(self, call: Call) -> Any:
        """Answer one call or raise the `RpcError` that its caller sees."""
        method = self._methods.get(call.method)
        started = time.perf_counter()
        code = 0
        try:
            if method is None:
                name = call.method[:100]
                raise RpcError(METHOD_NOT_FOUND, f"the method {name} does not exist/is not available")
            return await self._answer(method, call)
        except RpcError as error:
            code = error.code
            raise
        finally:
            if self._metrics is not None:
                # Only known names become labels: each value is a time series kept for ever.
                name = call.method if method is not None else "other"
                self._metrics.count("rpc_requests_total", method=name, code=str(code))
                self._metrics.observe("rpc_request_seconds", time.perf_counter() - started, method=name)

    def took_too_long(self) -> RpcError:
        """Return the error of a call that was given up."""
        return over(f"call took longer than {self.limits.call_seconds:g} s", "call_seconds")

    async def _answer(self, method: Method, call: Call) -> Any:
        try:
            async with asyncio.timeout(self.limits.call_seconds):
                return await method(call.params)
        except BitaiError as error:
            if isinstance(error, InvariantViolation):
                log.exception("rpc method failed", method=call.method, code=error.code)
            raise to_rpc_error(error) from error
        except TimeoutError:
            raise self.took_too_long() from None
        except RpcError:
            raise
        except Exception as error:  # the server's last line: a bug answers, and is logged, never silent
            log.exception("rpc method failed", method=call.method)
            raise RpcError(
                INTERNAL_ERROR, f"internal error in {call.method}: {type(error).__name__}"
            ) from error

    def begin(self, calls: Sequence[Call]) -> asyncio.Future[list[Any]] | None:
        """Begin to answer calls of one method at once, in no task; None if the method is not one for that.

        Whoever asks bounds the wait, and counts by `counted`.
        """
        method = self._together.get(calls[0].method)
        return None if method is None else method([each.params for each in calls])

    def counted(self, method: str, outcomes: Sequence[Any], seconds: float) -> None:
        """Count calls of a known method that were answered together."""
        if self._metrics is None:
            return
        codes = Counter(each.code if isinstance(each, RpcError) else 0 for each in outcomes)
        for code, count in codes.items():
            self._metrics.count("rpc_requests_total", count, method=method, code=str(code))
        for _ in outcomes:
            self._metrics.observe("rpc_request_seconds", seconds, method=method)

    async def dispatch_together(self, calls: Sequence[Call]) -> Sequence[Any]:
        """Answer neighbours of one method in an array."""
        started = time.perf_counter()
        begun = self.begin(calls)
        if begun is None:
            return await asyncio.gather(*map(self._outcome, calls))
        outcomes: list[Any] = [self.took_too_long()] * len(calls)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.limits.call_seconds):
                outcomes = await begun
        self.counted(calls[0].method, outcomes, time.perf_counter() - started)
        return outcomes

    async def _outcome(self, call: Call) -> Any:
        try:
            return await self.dispatch(call)
        except RpcError as error:
            return error

    # -- HTTP -----------------------------------------------------------------------------------

    @property
    def arriving(self) -> int:
        """Bytes of bodies that are in memory now, or will be."""
        return self._arriving

    def claim(self, length: int) -> bool:
        """Reserve memory for a body, until `release`; tell whether there is room for it."""
        if self._arriving + length > MAX_ARRIVING_BYTES:
            return False
        self._arriving += length
        return True

    def release(self, length: int) -> None:
        """Give back what `claim` reserved."""
        self._arriving -= length

    def serves(self, host: str) -> bool:
        """Tell whether a Host header names us: a page that rebinds its own name to loopback must not get in."""
        allowed = self._options.allowed_hosts
        return "*" in allowed or host_name(host).lower() in allowed

    def permission(self, origin: str | None) -> dict[str, str]:
        """Return what tells a browser that a page of this origin may read the reply."""
        if origin is None:
            return {}
        allowed = self._options.allowed_origins
        if "*" in allowed:
            return {"Access-Control-Allow-Origin": "*"}
        return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"} if origin in allowed else {}

    async def answer(self, body: bytes) -> bytes | None:
        """Answer a body; None when nobody waits for a reply."""
        most, gathered = self.limits.batch_calls, self.gathered
        return await answer_body(body, self.dispatch, self.dispatch_together, most=most, gathered=gathered)

    async def pack(self, reply: bytes, *, accepted: bool) -> tuple[bytes, dict[str, str]]:
        """Compress a long reply for who accepts it; return it with the headers that say so."""
        if accepted and len(reply) >= GZIP_FROM_BYTES:
            with contextlib.suppress(RpcError):  # nobody free to pack it: send it as it is
                packed = await self._workers.run(gzip.compress, reply, GZIP_LEVEL)
                return packed, {"Content-Encoding": "gzip", "Vary": "Accept-Encoding, Origin"}
        return reply, {}

    def may_leave(self, length: int) -> bool:
        """Tell whether there is room for one more reply on its way."""
        return length < LARGE_REPLY_BYTES or self._leaving + length <= MAX_LEAVING_BYTES

    @contextlib.contextmanager
    def leaving(self, length: int) -> Iterator[None]:
        """Count a large reply while it is on its way."""
        self._leaving += length
        try:
            yield
        finally:
            self._leaving -= length

    async def _post(self, request: web.Request) -> web.Response:
        self._require_host(request)
        cors = self.permission(request.headers.get("Origin"))
        headers = _JSON | cors
        claimed = min(request.content_length or MAX_BODY_BYTES, MAX_BODY_BYTES)
        if not self.claim(claimed):
            return _refused(503, TOO_MANY_BODIES, headers)
        try:
            async with asyncio.timeout(BODY_LIMIT_S):
                body = await request.read()
            reply = await self.answer(body)
        except web.RequestPayloadError:
            return _refused(400, "the body is cut short or packed wrongly", headers)
        except web.HTTPRequestEntityTooLarge:
            return _refused(413, f"request body over {MAX_BODY_BYTES} bytes", headers)
        except TimeoutError:
            return _refused(408, body_too_slow(), headers)
        finally:
            self.release(claimed)
        if reply is None:
            return web.Response(status=204, headers=cors)
        accepted = "gzip" in request.headers.get("Accept-Encoding", "")
        reply, packed = await self.pack(reply, accepted=accepted)
        if not self.may_leave(len(reply)):
            return _refused(503, TOO_MANY_REPLIES, headers)
        return await self._send(request, reply, headers | packed)

    async def _send(self, request: web.Request, reply: bytes, headers: dict[str, str]) -> web.Response:
        """Answer, and see a large reply off: else who reads nothing could fill the memory with replies."""
        response = web.Response(body=reply, headers=headers)
        if len(reply) < LARGE_REPLY_BYTES:
            return response
        with self.leaving(len(reply)):
            try:
                async with asyncio.timeout(SEND_LIMIT_S):
                    await response.prepare(request)
                    await response.write_eof()
            except ConnectionError:  # hung up while it was sent: nobody is left to tell
                log.debug("reply not taken", length=len(reply))
            except TimeoutError:
                if request.transport is not None:
                    request.transport.abort()
        return response

    async def _preflight(self, request: web.Request) -> web.Response:
        self._require_host(request)
        headers = self.permission(request.headers.get("Origin")) | {
            "Access-Control-Allow-Methods": "POST, OPTIONS",
            "Access-Control-Allow-Headers": "content-type",
            "Access-Control-Max-Age": "600",
        }
        return web.Response(status=204, headers=headers)

    def _require_host(self, request: web.Request) -> None:
        host = request.headers.get("Host", "")
        if not self.serves(host):
            raise web.HTTPForbidden(
                text=f"the host name {host_name(host).lower()[:100]!r} is not served here\n"
            )

    def _require_origin(self, request: web.Request) -> None:
        origin = request.headers.get("Origin")
        allowed = self._options.allowed_origins
        if origin is not None and "*" not in allowed and origin not in allowed:
            raise web.HTTPForbidden(text=f"the origin {origin[:100]!r} is not allowed\n")

    # -- WebSocket ------------------------------------------------------------------------------

    async def _get(self, request: web.Request) -> web.StreamResponse:
        self._require_host(request)
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return web.Response(text="BitAI JSON-RPC: send POST requests here, or open a WebSocket.\n")
        self._require_origin(request)
        if len(self._sockets) >= self.limits.sockets:
            raise web.HTTPServiceUnavailable(text="too many WebSocket connections (setting rpc_sockets)\n")
        # Compression would let a few bytes from a stranger become a large body, and cost memory each.
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES, heartbeat=30, compress=False)
        self._sockets.add(socket)
        self._measure_sockets()
        transport, cut = request.transport, True  # the request forgets it when the socket closes, read or not
        try:
            await socket.prepare(request)
            session = SocketSession(
                socket,
                self.dispatch,
                self._feed,
                self._writer,
                limits=self.limits,
                outboxes=self._outboxes,
                gathered=self.gathered,
            )
            cut = await session.serve()
        finally:
            if cut and transport is not None:
                transport.abort()  # what it has not read by now it never will
            self._sockets.discard(socket)
            self._measure_sockets()
        return socket

    def _measure_sockets(self) -> None:
        if self._metrics is not None:
            self._metrics.set("rpc_websockets", len(self._sockets))

    async def _close_sockets(self, _: web.Application) -> None:
        closing = (
            each.close(code=WSCloseCode.GOING_AWAY, message=b"the node stops") for each in self._sockets
        )
        await asyncio.gather(*closing, return_exceptions=True)

    async def _close_workers(self, _: web.Application) -> None:
        await self._feed.close()
        self._workers.close()
        self._writer.close()


def _refused(status: int, words: str, headers: dict[str, str]) -> web.Response:
    body = encode_reply(None, RpcError(LIMIT_EXCEEDED, words))
    return web.Response(body=body, status=status, headers=headers)
