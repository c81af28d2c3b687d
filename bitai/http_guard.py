"""What every page of the node does first: know its own name, refuse strangers' forms, put faults in words."""

import ipaddress
from collections.abc import Awaitable, Callable
from typing import Final

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from primitives.errors import BitaiError, InvalidInput, Rejected, Temporary

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ANY_NAME: Final = frozenset({"*"})
"""For a page that strangers can reach anyway."""
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
MAX_BODY_BYTES: Final = 64 * 1024

# Nothing is loaded from elsewhere and nothing runs: the pages need no script.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    # Under "no-referrer" a browser sends `Origin: null` with our own form, and so looks like a stranger.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def json_answer(content: object, *, status: int = 200) -> web.Response:
    """Answer a value (dataclasses too) as JSON."""
    body = orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return web.Response(body=body, status=status, content_type="application/json")


def problem(error: BitaiError, *, status: int) -> web.Response:
    """Answer an error in its four parts: what, why, the fix, the code."""
    return json_answer({"error": four_parts(error)}, status=status)


def four_parts(error: BitaiError) -> dict[str, str]:
    """What happened, why, one thing that fixes it, and the stable code; the middle two may be empty."""
    return {
        "code": error.code,
        "what": error.message,
        "why": str(error.details.get("why", "")),
        "fix": str(getattr(error, "fix", "") or error.details.get("fix", "")),
    }


def guard(extra_names: frozenset[str] = frozenset()) -> Middleware:
    """Make the middleware; `extra_names` are host names beside loopback's under which the page is served.

    A stranger's page can point its own name at loopback and then read ours through the browser of whoever
    sits here; so the Host header must be a name of ours, or a bare address, which nobody can point elsewhere.
    A form from another site carries that site's Origin.
    """
    names = LOOPBACK_NAMES | extra_names

    @web.middleware
    async def checked(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not _is_ours(host_name(request.headers.get("Host", "")).lower(), names):
            return problem(Rejected("http.foreign_host", "this host name is not served here"), status=403)
        if request.method not in {"GET", "HEAD"} and _is_foreign(request):
            return problem(Rejected("http.foreign_origin", "forms are taken from this page only"), status=403)
        response = await _answer(request, handler)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return checked


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.RequestPayloadError:
        wrong = InvalidInput("http.bad_body", "the body is cut short or packed wrongly")
        return problem(wrong, status=400)
    except Rejected as error:
        return problem(error, status=409)
    except Temporary as error:
        return problem(error, status=503)
    except BitaiError as error:
        log.warning("request failed", path=request.path, code=error.code, reason=error.message)
        return problem(error, status=400)


def host_name(host: str) -> str:
    """The name without its port; an IPv6 address stands in brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _is_ours(name: str, names: frozenset[str]) -> bool:
    if name in names or "*" in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_foreign(request: web.Request) -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:  # no page can set it; browsers send it to loopback and over TLS only
        return site not in {"same-origin", "none"}
    origin = request.headers.get("Origin")
    return origin is not None and origin.partition("://")[2] != request.headers.get("Host")
