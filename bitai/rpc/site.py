"""Listen on a port with the door in front of an aiohttp application."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, cast

from aiohttp import web
from yarl import URL

from bitai.rpc.door import Door

if TYPE_CHECKING:
    from collections.abc import Callable

    from bitai.rpc.server import RpcServer


class RpcSite(web.BaseSite):
    """One port of a runner whose application is the server's; stops with the runner."""

    def __init__(self, runner: web.AppRunner, server: RpcServer, host: str, port: int) -> None:
        """Listen on `host` and `port`, 0 for any, once started."""
        super().__init__(runner)
        self._host = host
        self._port = port
        behind = cast("Callable[[], asyncio.Protocol]", runner.server)
        self.door = Door(server, behind)

    @property
    def name(self) -> str:
        """The URL, for logs."""
        return str(URL.build(scheme="http", host=self._host, port=self._port))

    async def start(self) -> None:
        """Listen."""
        await super().start()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self.door, self._host, self._port, family=socket.AF_UNSPEC, backlog=self._backlog
        )

    async def stop(self) -> None:
        """Take no new connections, and close those that were not handed on."""
        await super().stop()
        await self.door.close()
