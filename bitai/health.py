"""The operator's door on loopback: liveness, readiness, metrics, status, administration.

`/livez` says that the event loop turns, `/readyz` that answers come from a current state, `/startupz` how
far start-up is. They differ on purpose: whoever restarts a node for being unready never lets it get ready.
"""

from dataclasses import dataclass

from aiohttp import web

from bitai.admin import add_admin_routes
from bitai.admin_database import add_database_routes
from bitai.database_check import DatabaseDoor
from bitai.http_guard import MAX_BODY_BYTES, guard, json_answer
from bitai.metrics import CONTENT_TYPE, Metrics
from bitai.status import DevControls, Phase, StatusSource

_SOURCE = web.AppKey("source", StatusSource)
_METRICS = web.AppKey("metrics", Metrics)


@dataclass
class AdminAccess:
    """Who may administer: bearers of the data folder's cookie. `dev` is None where coins are real, and at first.

    `database` is None until the chain is open.
    """

    cookie: str
    dev: DevControls | None = None
    database: DatabaseDoor | None = None


def health_app(source: StatusSource, metrics: Metrics, access: AdminAccess) -> web.Application:
    """Build the application of port 9550."""
    app = web.Application(middlewares=[guard()], client_max_size=MAX_BODY_BYTES)
    app[_SOURCE] = source
    app[_METRICS] = metrics
    app.router.add_get("/livez", _livez)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/startupz", _startupz)
    app.router.add_get("/metrics", _metrics)
    app.router.add_get("/status", _status)
    add_admin_routes(app, cookie=access.cookie, dev=lambda: access.dev)
    add_database_routes(app, cookie=access.cookie, database=lambda: access.database)
    return app


async def _livez(_request: web.Request) -> web.Response:
    return json_answer({"live": True})


async def _readyz(request: web.Request) -> web.Response:
    readiness = request.app[_SOURCE].readiness()
    return json_answer(readiness, status=200 if readiness.ready else 503)


async def _startupz(request: web.Request) -> web.Response:
    report = request.app[_SOURCE].phase()
    return json_answer(report, status=200 if report.phase is Phase.READY else 503)


async def _metrics(request: web.Request) -> web.Response:
    ready = request.app[_SOURCE].readiness().ready
    metrics = request.app[_METRICS]
    metrics.set("up", 1 if ready else 0)
    return web.Response(body=metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})


async def _status(request: web.Request) -> web.Response:
    return json_answer(request.app[_SOURCE].status())
