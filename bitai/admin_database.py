"""What the owner of a running node may ask of its database over HTTP: a check beside everything else, and facts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from bitai.admin import read_body, read_whole, refuse_stranger
from bitai.http_guard import json_answer
from primitives.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from bitai.database_check import DatabaseDoor

MOST_SAMPLE: Final = 10**9


def add_database_routes(
    app: web.Application, *, cookie: str, database: Callable[[], DatabaseDoor | None]
) -> None:
    """Add POST /admin/db/check, /admin/db/check/progress and /admin/db/info, for bearers of the cookie only."""
    routes = _DatabaseRoutes(cookie, database)
    app.router.add_post("/admin/db/check", routes.check)
    app.router.add_post("/admin/db/check/progress", routes.progress)
    app.router.add_post("/admin/db/info", routes.info)


class _DatabaseRoutes:
    def __init__(self, cookie: str, database: Callable[[], DatabaseDoor | None]) -> None:
        self._cookie, self._database = cookie, database

    async def check(self, request: web.Request) -> web.Response:
        if (refusal := refuse_stranger(request, self._cookie)) is not None:
            return refusal
        sample = read_whole(await read_body(request), "sample", most=MOST_SAMPLE)
        return json_answer(self._door().start_check(sample=sample))

    async def progress(self, request: web.Request) -> web.Response:
        if (refusal := refuse_stranger(request, self._cookie)) is not None:
            return refusal
        return json_answer(self._door().progress())

    async def info(self, request: web.Request) -> web.Response:
        if (refusal := refuse_stranger(request, self._cookie)) is not None:
            return refusal
        return json_answer(await asyncio.to_thread(self._door().describe))

    def _door(self) -> DatabaseDoor:
        door = self._database()
        if door is None:
            raise Rejected("admin.no_database", "the chain database is not open yet", fix="bitai-node status")
        return door
