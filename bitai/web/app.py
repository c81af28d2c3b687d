"""Serve the status and faucet page: plain HTML without script, and the same facts as JSON on request."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any, Final

import aiohttp_jinja2
import jinja2
from aiohttp import web

from bitai.http_guard import MAX_BODY_BYTES, four_parts, guard, json_answer, problem
from bitai.metrics import Metrics
from bitai.rate_limit import Budget, RateLimit
from bitai.status import DevControls, NodeStatus, StatusSource
from bitai.web.words import FILTERS
from primitives.errors import BitaiError, InvalidInput, Rejected, Temporary

SATS_PER_BTC: Final = 100_000_000
# Enough to try things by hand; a test that wants more has the admin door, which knows its caller.
FAUCET_EACH: Final = Budget(burst=5, refill_s=10.0)
FAUCET_EVERYONE: Final = Budget(burst=50, refill_s=1.0)

_L2_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_L1_ADDRESS = re.compile(r"bcrt1[02-9ac-hj-np-z]{6,87}")


@dataclass(frozen=True)
class WebOptions:
    """What the page may do; `dev` is None where there is no faucet, `host_names` add to loopback's."""

    dev: DevControls | None = None
    host_names: frozenset[str] = frozenset()
    faucet_sats: int = SATS_PER_BTC
    each: Budget = FAUCET_EACH
    everyone: Budget = FAUCET_EVERYONE
    clock: Callable[[], float] = time.monotonic


def web_app(source: StatusSource, metrics: Metrics, options: WebOptions | None = None) -> web.Application:
    """Build the application of port 8550."""
    chosen = options or WebOptions()
    app = web.Application(middlewares=[guard(chosen.host_names)], client_max_size=MAX_BODY_BYTES)
    environment = aiohttp_jinja2.setup(
        app,
        loader=jinja2.PackageLoader("bitai.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    pages = _Pages(source, metrics, chosen)
    app.router.add_get("/", pages.home)
    app.router.add_get("/models/{model_id}", pages.model)
    app.router.add_post("/faucet", pages.faucet)
    app.router.add_get("/style.css", _style)
    return app


class _Pages:
    def __init__(self, source: StatusSource, metrics: Metrics, options: WebOptions) -> None:
        self._source = source
        self._metrics = metrics
        self._options = options
        self._limit = RateLimit(options.each, options.everyone, options.clock)

    async def home(self, request: web.Request) -> web.StreamResponse:
        status = self._source.status()
        if _wants_json(request):
            return json_answer(status)
        return self._page("home.html", request, status, live="live" in request.query)

    async def model(self, request: web.Request) -> web.StreamResponse:
        status = self._source.status()
        wanted = request.match_info["model_id"]
        found = [model for model in status.models if model.model_id == wanted]
        if not found:
            return problem(
                Rejected("model.unknown", "no model has this id", fix="bitai-node model ls"), status=404
            )
        if _wants_json(request):
            return json_answer(found[0])
        return self._page("model.html", request, status, model=found[0])

    async def faucet(self, request: web.Request) -> web.StreamResponse:
        """Pay once and show the page again, so that a reload of the answer asks the browser first."""
        outcome: dict[str, Any] = {"asked": ""}
        try:
            address = outcome["asked"] = await _asked_address(request)
            receipt = await self._pay(address, asker=request.remote or "")
        except (InvalidInput, Rejected, Temporary) as error:
            self._metrics.count("faucet_requests_total", outcome=error.code)
            if _wants_json(request):
                return problem(error, status=_status_of(error))
            outcome["error"] = four_parts(error)
        else:
            self._metrics.count("faucet_requests_total", outcome="paid")
            if _wants_json(request):
                return json_answer(receipt)
            outcome["receipt"] = asdict(receipt)
        code = 200 if "receipt" in outcome else 400
        return self._page("home.html", request, self._source.status(), code=code, faucet_outcome=outcome)

    async def _pay(self, address: str, *, asker: str) -> Any:
        if self._options.dev is None:
            raise Rejected("faucet.none", "this node has no faucet", why="it exists on regtest only")
        if not (_L2_ADDRESS.fullmatch(address) or _L1_ADDRESS.fullmatch(address)):
            why = "an L2 address is 0x and 40 hex digits, a regtest Bitcoin address begins with bcrt1"
            raise InvalidInput("faucet.bad_address", "this is no address", why=why)
        wait_s = self._limit.wait_s(asker)
        if wait_s > 0:
            why = "each asker gets a few payments at once"
            raise Rejected("faucet.too_fast", f"wait {wait_s:.0f} s for the faucet", why=why)
        return await self._options.dev.faucet(address, self._options.faucet_sats)

    def _page(
        self, template: str, request: web.Request, status: NodeStatus, *, code: int = 200, **more: object
    ) -> web.StreamResponse:
        context: Mapping[str, object] = {
            "status": status,
            "faucet_sats": self._options.faucet_sats if self._options.dev else None,
            "faucet_outcome": None,
            "live": False,
            **more,
        }
        response = aiohttp_jinja2.render_template(template, request, context)
        response.set_status(code)
        return response


async def _asked_address(request: web.Request) -> str:
    """Read the form. Errors: `InvalidInput` "faucet.bad_form" for bytes that are no form."""
    try:
        form = await request.post()
    except (LookupError, ValueError) as error:  # an unknown charset, bytes that are none of it, no such parts
        raise InvalidInput("faucet.bad_form", "this is no form") from error
    return str(form.get("address", "")).strip()


async def _style(_request: web.Request) -> web.Response:
    text = resources.files("bitai.web").joinpath("static/style.css").read_text()
    return web.Response(text=text, content_type="text/css", headers={"Cache-Control": "max-age=300"})


def _wants_json(request: web.Request) -> bool:
    """Whether JSON is asked for and HTML is not: browsers name HTML first, curl names neither."""
    accept = request.headers.get("Accept", "")
    return "application/json" in accept and "text/html" not in accept


def _status_of(error: BitaiError) -> int:
    if error.code == "faucet.too_fast":
        return 429
    return 503 if isinstance(error, Temporary) else 400
