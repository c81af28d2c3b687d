"""The door: HTTP on loopback, Basic authentication, one request at a time to the kernel's thread."""

import asyncio
import base64
import binascii
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from regtest.limits import MAX_BODY_BYTES, READ_BODY_SECONDS, WORK_QUEUE_DEPTH
from regtest.rpc.dispatch import Reply
from regtest.server.instance import Credentials

WRONG_PASSWORD_PAUSE_SECONDS: Final = 0.25
"""Core's: guessing a password takes long, a typing mistake does not."""
_CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="jsonrpc"'}

logger = logging.getLogger(__name__)


class RpcServer:
    """Takes request bodies, hands them on, and sends what comes back."""

    def __init__(
        self,
        credentials: Credentials,
        answer: Callable[[bytes], Awaitable[Reply]],
        note_request: Callable[[Any], None] = lambda _connection: None,
    ) -> None:
        self._credentials = credentials
        self._answer = answer
        self._note_request = note_request
        self._waiting = 0

    def application(self) -> web.Application:
        """Return the aiohttp application; every path is the same door, as wallet URLs expect."""
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.router.add_route("*", "/{path:.*}", self.handle)
        return application

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one HTTP request."""
        self._note_request(request.protocol)
        if request.method != "POST":
            return web.Response(status=405, text="JSONRPC server handles only POST requests")
        given = _user_and_password(request.headers.get("Authorization", ""))
        if given is None:
            return _unauthorized()
        if not self._credentials.admits(given):
            logger.warning("incorrect password attempt from %s", request.remote)
            await asyncio.sleep(WRONG_PASSWORD_PAUSE_SECONDS)
            return _unauthorized()
        if self._waiting >= WORK_QUEUE_DEPTH:
            return web.Response(status=503, text="Work queue depth exceeded")
        self._waiting += 1
        try:
            async with asyncio.timeout(READ_BODY_SECONDS):
                body = await request.read()
            reply = await self._answer(body)
        except TimeoutError:
            return web.Response(status=408, text="The request did not arrive in time")
        finally:
            self._waiting -= 1
        return web.Response(status=reply.status, body=reply.body, content_type="application/json")


def _unauthorized() -> web.Response:
    """Return the challenge and end the connection: who has no password takes up no place."""
    response = web.Response(status=401, headers=_CHALLENGE)
    response.force_close()
    return response


def _user_and_password(header: str) -> bytes | None:
    """Return the `user:password` pair of a Basic header, None if it is none."""
    scheme, _, encoded = header.partition(" ")
    if scheme != "Basic":
        return None
    try:
        return base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
