"""What the owner of a regtest node may do to it over HTTP: pay from the faucet, mine, reorganise Bitcoin."""

import hmac
from collections.abc import Callable
from typing import Any, Final

import orjson
from aiohttp import web

from bitai.http_guard import json_answer, problem
from bitai.status import DevControls
from primitives.errors import InvalidInput, Rejected

MAX_BLOCKS_AT_ONCE: Final = 1_000
MAX_REORG_DEPTH: Final = 100
MAX_FAUCET_SATS: Final = 100 * 100_000_000


def add_admin_routes(app: web.Application, *, cookie: str, dev: Callable[[], DevControls | None]) -> None:
    """Add POST /admin/dev/faucet, /mine, /reorg, /reset for bearers of the cookie; `dev` gives what is there now."""
    routes = _AdminRoutes(cookie, dev)
    app.router.add_post("/admin/dev/faucet", routes.faucet)
    app.router.add_post("/admin/dev/mine", routes.mine)
    app.router.add_post("/admin/dev/reorg", routes.reorg)
    app.router.add_post("/admin/dev/reset", routes.reset)


class _AdminRoutes:
    def __init__(self, cookie: str, dev: Callable[[], DevControls | None]) -> None:
        self._cookie = cookie
        self._dev = dev

    async def faucet(self, request: web.Request) -> web.Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        body = await read_body(request)
        amount = read_whole(body, "amount_sats", most=MAX_FAUCET_SATS)
        return json_answer(await self._controls().faucet(_text(body, "address"), amount))

    async def mine(self, request: web.Request) -> web.Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        blocks = read_whole(await read_body(request), "blocks", most=MAX_BLOCKS_AT_ONCE)
        return json_answer({"hashes": await self._controls().mine(blocks)})

    async def reorg(self, request: web.Request) -> web.Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        depth = read_whole(await read_body(request), "depth", most=MAX_REORG_DEPTH)
        return json_answer(await self._controls().reorg(depth))

    async def reset(self, request: web.Request) -> web.Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        return json_answer({"left": await self._controls().reset()})

    def _refusal(self, request: web.Request) -> web.Response | None:
        return refuse_stranger(request, self._cookie)

    def _controls(self) -> DevControls:
        dev = self._dev()
        if dev is None:
            why = "a node of role dev has them, once it is ready; every other has none"
            raise Rejected("admin.not_dev", "this node has no dev controls", why=why, fix="bitai-node status")
        return dev


def refuse_stranger(request: web.Request, cookie: str) -> web.Response | None:
    """Return the answer to whoever does not bear the cookie, None for its bearer."""
    # Bytes that are no UTF-8 come as surrogates, and are as wrong as any other.
    given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
    if hmac.compare_digest(given, f"Bearer {cookie}".encode()):
        return None
    why = "send the content of .cookie in the node's data folder as a bearer token"
    return problem(Rejected("admin.no_cookie", "the cookie is missing or old", why=why), status=401)


async def read_body(request: web.Request) -> dict[str, Any]:
    """Read a JSON object; raises InvalidInput `admin.bad_body`."""
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise InvalidInput("admin.bad_body", "the body is no JSON", why=str(error)) from error
    if not isinstance(body, dict):
        raise InvalidInput("admin.bad_body", "the body is no JSON object")
    return body


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise InvalidInput("admin.bad_field", f"'{name}' must be a text")
    return value


def read_whole(body: dict[str, Any], name: str, *, most: int) -> int:
    """Read a number from 1 to `most`; raises InvalidInput `admin.bad_field`."""
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise InvalidInput("admin.bad_field", f"'{name}' must be a whole number from 1 to {most}")
    return value
