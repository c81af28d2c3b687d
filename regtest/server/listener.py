"""The port, and who may stay connected: so many at once, each with some time for its first request.

Without this anybody on the machine could hold a thousand silent connections. They would use up the process's
file descriptors, and then its databases cannot open their files.
"""

import asyncio
import errno
from collections.abc import Callable
from typing import Any

from aiohttp.web_protocol import RequestHandler

from primitives.errors import ConfigError
from regtest.limits import FIRST_REQUEST_SECONDS, MAX_CONNECTIONS


class Listener:
    """One listening port whose connections aiohttp serves."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._silent: dict[RequestHandler, asyncio.TimerHandle] = {}

    @property
    def port(self) -> int:
        """Return the port that was taken, 0 before."""
        return 0 if self._server is None else int(self._server.sockets[0].getsockname()[1])

    async def open(self, serve: Any, host: str, port: int) -> None:
        """Take the port; `serve` is aiohttp's server, which makes a handler for each connection.

        Raises ConfigError `server.port_in_use`, `server.cannot_listen`.
        """
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(self._welcome(serve, loop), host, port)
        except OSError as error:
            raise _cannot_listen(error, host, port) from error

    def close(self) -> None:
        """Take no more connections; those that are there end with aiohttp's server."""
        if self._server is not None:
            self._server.close()
        for timer in self._silent.values():
            timer.cancel()
        self._silent.clear()

    def note_request(self, handler: RequestHandler) -> None:
        """Note that a connection said something; from now on aiohttp's own limit for idle ones holds."""
        timer = self._silent.pop(handler, None)
        if timer is not None:
            timer.cancel()

    def _welcome(self, serve: Any, loop: asyncio.AbstractEventLoop) -> Callable[[], asyncio.Protocol]:
        def connect() -> asyncio.Protocol:
            if len(serve.connections) >= MAX_CONNECTIONS:
                if not self._silent:
                    return _Refusal()
                self._give_up(next(iter(self._silent)))  # who has said nothing longest makes room
            handler: RequestHandler = serve()
            self._silent[handler] = loop.call_later(FIRST_REQUEST_SECONDS, self._give_up, handler)
            return handler

        return connect

    def _give_up(self, handler: RequestHandler) -> None:
        self._silent.pop(handler, None)
        handler.force_close()


class _Refusal(asyncio.Protocol):
    """Ends a connection at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _cannot_listen(error: OSError, host: str, port: int) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            "server.port_in_use",
            f"port {port} is in use by another process",
            fix=f"choose another with --port, or see who has it: ss -ltnp 'sport = :{port}'",
        )
    return ConfigError(
        "server.cannot_listen",
        f"cannot listen on {host}, port {port}: {error.strerror}",
        fix="choose a --port above 1023 and --bind 127.0.0.1",
    )
