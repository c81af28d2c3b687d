"""Carry JSON-RPC over HTTP POST and WebSocket, with the checks that keep strangers' pages and floods out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiohttp import WSMsgType, web

from bitai.rpc.framing import (
    INTERNAL_ERROR,
    LIMIT_EXCEEDED,
    MAX_BODY_BYTES,
    METHOD_NOT_FOUND,
    Call,
    RpcError,
    answer_body,
    encode_reply,
)
from bitai.rpc.refusals import to_rpc_error
from primitives.errors import BitaiError

if TYPE_CHECKING:
    from bitai.metrics import Metrics

log = structlog.get_logger(__name__)

Method = Callable[[list[Any]], Awaitable[Any]]
LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})
MAX_SOCKETS: Final = 256
"""WebSocket connections at once: each may hold a slow reader's buffer."""
CALL_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Who may ask: host names in the Host header, and origins that browsers may come from."""

    allowed_hosts: frozenset[str] = LOCAL_HOSTS
    allowed_origins: frozenset[str] = frozenset({"*"})


class RpcServer:
    """The method table and the two transports over it."""

    def __init__(
        self, methods: dict[str, Method], options: ServerOptions | None = None, metrics: Metrics | None = None
    ) -> None:
        """Serve `methods`; a subscription layer may answer socket calls first by `socket_methods`."""
        self._methods = methods
        self._options = options or ServerOptions()
        self._metrics = metrics
        self._sockets = 0

    def application(self) -> web.Application:
        """Return the aiohttp application: POST / for calls, GET / with an upgrade for a WebSocket."""
        app = web.Application(client_max_size=MAX_BODY_BYTES + 1)
        app.router.add_post("/", self._post)
        app.router.add_get("/", self._get)
        app.router.add_route("OPTIONS", "/", self._preflight)
        return app

    async def dispatch(self, call: Call) -> Any:
        """Answer one call or raise the `RpcError` that its caller sees."""
        method = self._methods.get(call.method)
        if method is None:
            raise RpcError(METHOD_NOT_FOUND, f"the method {call.method} does not exist/is not available")
        started = time.perf_counter()
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                return await method(call.params)
        except BitaiError as error:
            raise to_rpc_error(error) from error
        except TimeoutError:
            raise RpcError(LIMIT_EXCEEDED, f"call took longer than {CALL_TIMEOUT_S:.0f} s") from None
        except RpcError:
            raise
        except Exception as error:  # the server's last line: a bug answers, and is logged, never silent
            log.exception("rpc method failed", method=call.method)
            raise RpcError(INTERNAL_ERROR, f"internal error in {call.method}: {type(error).__name__}") from error
        finally:
            if self._metrics is not None:
                elapsed = time.perf_counter() - started
                self._metrics.observe("rpc_request_seconds", elapsed, method=call.method)

    async def _post(self, request: web.Request) -> web.Response:
        self._require_host(request)
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            error = encode_reply(None, RpcError(LIMIT_EXCEEDED, f"request body over {MAX_BODY_BYTES} bytes"))
            return web.Response(body=error, status=413, content_type="application/json")
        reply = await answer_body(body, self.dispatch)
        if reply is None:
            return web.Response(status=204, headers=self._cors(request))
        return web.Response(body=reply, content_type="application/json", headers=self._cors(request))

    async def _get(self, request: web.Request) -> web.StreamResponse:
        self._require_host(request)
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return web.Response(text="BitAI JSON-RPC: send POST requests here, or open a WebSocket.\n")
        self._require_origin(request)
        if self._sockets >= MAX_SOCKETS:
            raise web.HTTPServiceUnavailable(text="too many WebSocket connections")
        socket = web.WebSocketResponse(max_msg_size=MAX_BODY_BYTES, heartbeat=30)
        await socket.prepare(request)
        self._sockets += 1
        try:
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    body = message.data.encode() if isinstance(message.data, str) else message.data
                    reply = await answer_body(body, self.dispatch)
                    if reply is not None:
                        await socket.send_str(reply.decode())
        finally:
            self._sockets -= 1
        return socket

    async def _preflight(self, request: web.Request) -> web.Response:
        self._require_host(request)
        headers = self._cors(request) | {
            "Access-Control-Allow-Methods": "POST, OPTIONS",
            "Access-Control-Allow-Headers": "content-type",
            "Access-Control-Max-Age": "600",
        }
        return web.Response(status=204, headers=headers)

    def _require_host(self, request: web.Request) -> None:
        """Refuse names that are not ours: a page that rebinds its own name to loopback must not get in."""
        host = request.headers.get("Host", "").rsplit(":", 1)[0] if ":" in request.headers.get("Host", "") else (
            request.headers.get("Host", "")
        )
        if "*" not in self._options.allowed_hosts and host.lower() not in self._options.allowed_hosts:
            raise web.HTTPForbidden(text=f"host {host!r} is not served here; allow it with --rpc-allowed-host\n")

    def _require_origin(self, request: web.Request) -> None:
        origin = request.headers.get("Origin")
        allowed = self._options.allowed_origins
        if origin is not None and "*" not in allowed and origin not in allowed:
            raise web.HTTPForbidden(text=f"origin {origin!r} is not allowed\n")

    def _cors(self, request: web.Request) -> dict[str, str]:
        origin = request.headers.get("Origin")
        if origin is None:
            return {}
        allowed = self._options.allowed_origins
        if "*" in allowed:
            return {"Access-Control-Allow-Origin": "*"}
        return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"} if origin in allowed else {}
