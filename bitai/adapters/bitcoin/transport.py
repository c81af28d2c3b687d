"""One JSON-RPC call to a Bitcoin node, with every way it can fail turned into one of our errors.

bitcoinrpc builds and reads the messages; what it leaves open is closed here: timeouts fit for 8 MB of hex, at
most 8 connections (a node's work queue is short), no proxy from the environment, answers bounded in bytes and
in time, their id and shape compared, error pages told from answers, the cookie read again when refused, and
idempotent calls tried again with capped backoff.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Protocol, Self

import httpx
import orjson
from bitcoinrpc import BitcoinRPC, RPCError

from bitai.adapters.bitcoin.credentials import Credentials
from l1.ports import Clock
from primitives.errors import BitaiError, ConfigError, Rejected, Temporary

UNKNOWN_METHOD: Final = -32601
WARMING_UP: Final = -28
_MISC: Final = -1
_NOT_FOUND: Final = -5
_BAD_PARAMETER: Final = -8
_UNIMPLEMENTED: Final = "unimplemented"
_WORDS: Final = 500
"""Characters kept of what a node says: its words reach logs, pages and the disk."""


@dataclass(frozen=True, slots=True)
class TransportLimits:
    """How patient and how greedy we are: seconds, bytes, connections, and tries with waits between them.

    `answer_s` is how long a node may be silent, `whole_s` how long a whole call may take, drop by drop. A block
    in hex is 8 MB; the longest answer that we ask for is a list of a full mempool's txids, 67 bytes each.
    """

    connect_s: float = 5.0
    answer_s: float = 60.0
    whole_s: float = 300.0
    answer_bytes: int = 64 * 1024 * 1024
    connections: int = 8
    tries: int = 4
    first_wait_ms: int = 200
    longest_wait_ms: int = 2_000


class CallObserver(Protocol):
    """Whoever counts calls."""

    def __call__(self, method: str, outcome: str, duration_ms: int) -> None:
        """Take note of one call to the node; `outcome` is `ok` or an error's code."""
        ...


class _UnauthorizedError(Exception):
    """The node did not accept who we say we are."""


class RpcTransport:
    """Call a node; safe for concurrent use in one event loop.

    `call` raises Temporary `l1.unreachable`, `l1.busy`, `l1.bad_answer`, `l1.warming_up`; ConfigError
    `l1.unauthorized`, `l1.forbidden`; Rejected `l1.unsupported`, `l1.not_found`, `l1.bad_parameter`, and
    `l1.refused` for every other error of the node, with `rpc_code` and the node's words in its details.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        clock: Clock,
        *,
        limits: TransportLimits | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        ca_file: str | None = None,
        observer: CallObserver = lambda _method, _outcome, _duration_ms: None,
    ) -> None:
        """Make a client; nothing is sent yet. `transport` replaces the network in tests.

        Raises ConfigError `l1.bad_url`.
        """
        _require_url(url)
        self.url = url
        self._limits = limits or TransportLimits()
        self._credentials = credentials
        self._clock = clock
        self._observer = observer
        self._auth: httpx.BasicAuth | None = None
        verify = ssl.create_default_context(cafile=ca_file) if ca_file else True
        self._client = httpx.AsyncClient(
            headers={"content-type": "application/json", "accept-encoding": "identity"},
            timeout=httpx.Timeout(self._limits.answer_s, connect=self._limits.connect_s),
            limits=httpx.Limits(max_connections=self._limits.connections),
            trust_env=False,
            verify=verify,
            event_hooks={"response": [self._inspect]},
            transport=transport,
        )
        self._rpc = BitcoinRPC(url, self._client)

    async def __aenter__(self) -> Self:
        """Serve as a context manager."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close on leaving."""
        await self.close()

    async def close(self) -> None:
        """Close the connections; calls under way end with Temporary."""
        await self._client.aclose()

    async def call(
        self, method: str, *params: Any, idempotent: bool = True, within_s: float | None = None
    ) -> Any:
        """Return the node's result; see the class for errors. Only idempotent calls are tried again.

        `within_s` bounds all tries together, for a call whose late answer is of no use.
        """
        try:
            async with asyncio.timeout(within_s):
                return await self._try_call(method, list(params), self._limits.tries if idempotent else 1)
        except TimeoutError as error:
            words = f"the Bitcoin node at {self.url} has not answered for {within_s:g} s"
            raise Temporary("l1.unreachable", words) from error

    async def _try_call(self, method: str, params: list[Any], tries: int) -> Any:
        wait_ms = self._limits.first_wait_ms
        for left in range(tries - 1, -1, -1):
            try:
                return await self._call_observed(method, params)
            except Temporary as error:
                if left == 0 or error.code == "l1.no_cookie":
                    raise
            await self._clock.sleep_ms(wait_ms)
            wait_ms = min(wait_ms * 2, self._limits.longest_wait_ms)
        raise Temporary("l1.unreachable", "no try was made")

    async def _call_observed(self, method: str, params: list[Any]) -> Any:
        started_ms, outcome = self._clock.now_ms(), "cancelled"
        try:
            result = await self._call_authorized(method, params)
            outcome = "ok"
        except BitaiError as error:
            outcome = error.code
            raise
        else:
            return result
        finally:
            self._observer(method, outcome, self._clock.now_ms() - started_ms)

    async def _call_authorized(self, method: str, params: list[Any]) -> Any:
        """Call once, and once more with credentials read afresh when the node refuses them."""
        if self._auth is None:
            self._auth = httpx.BasicAuth(*self._credentials.read())
        try:
            return await self._call_once(method, params)
        except _UnauthorizedError:
            self._auth = httpx.BasicAuth(*self._credentials.read())
        try:
            return await self._call_once(method, params)
        except _UnauthorizedError as error:
            self._auth = None
            raise ConfigError(
                "l1.unauthorized",
                f"the Bitcoin node at {self.url} refuses our credentials",
                fix="bitai-node run --l1-cookie <datadir of Bitcoin Core>/.cookie",
            ) from error

    async def _call_once(self, method: str, params: list[Any]) -> Any:
        try:
            async with asyncio.timeout(self._limits.whole_s):
                return await self._rpc.acall(method, params, auth=self._auth)
        except RPCError as error:
            raise _classify(method, error.error) from error
        except (httpx.TransportError, TimeoutError) as error:
            raise Temporary(
                "l1.unreachable", f"the Bitcoin node at {self.url} does not answer", why=repr(error)
            ) from error
        except (orjson.JSONDecodeError, httpx.HTTPStatusError, KeyError, AttributeError) as error:
            raise Temporary("l1.bad_answer", "the node's answer is no JSON-RPC", why=repr(error)) from error
        except RuntimeError as error:
            raise Temporary("l1.closed", "the connection was closed", why=str(error)) from error

    async def _inspect(self, response: httpx.Response) -> None:
        """Refuse what is no answer to this very request, before bitcoinrpc reads it."""
        _require_status(response)
        if isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = _BoundedStream(response.stream, self._limits.answer_bytes)
        await response.aread()
        _require_message(response)


def _require_url(url: str) -> None:
    """Refuse an address that no call could reach, or that would show a password wherever it is shown."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        why, shown = str(error), ""
    else:
        usable = parts.scheme in ("http", "https") and parts.host
        why = "" if usable else "it needs http:// or https:// and a host"
        why, shown = ("it holds a user or a password", "") if parts.userinfo else (why, url)
    if why:
        raise ConfigError(
            "l1.bad_url",
            f"the URL of the Bitcoin node cannot be used: {why}",
            fix="bitai-node run --l1-rpc http://127.0.0.1:8332 --l1-user NAME --l1-password-file FILE",
            url=shown,
        )


class _BoundedStream(httpx.AsyncByteStream):
    """An answer's body that ends in an error where it grows too long."""

    def __init__(self, stream: httpx.AsyncByteStream, limit: int) -> None:
        self._stream = stream
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._limit
        async for chunk in self._stream:
            left -= len(chunk)
            if left < 0:
                raise Temporary("l1.bad_answer", "the node's answer is too long", limit=self._limit)
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def _require_status(response: httpx.Response) -> None:
    """Refuse what says in its head that it is no answer."""
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise _UnauthorizedError
    if response.status_code == httpx.codes.FORBIDDEN:
        raise ConfigError(
            "l1.forbidden",
            "the Bitcoin node does not serve this address, or not this call to this user",
            fix="set rpcallowip in bitcoin.conf to this machine's address, and look into rpcwhitelist",
        )
    if response.headers.get("content-encoding", "identity") != "identity":
        raise Temporary("l1.bad_answer", "the node's answer is compressed, which nobody asked for")


def _require_message(response: httpx.Response) -> None:
    """Refuse what is no JSON-RPC answer to this very request."""
    status = response.status_code
    if not response.content.startswith(b"{"):
        text = response.text[:200]
        if status == httpx.codes.SERVICE_UNAVAILABLE:
            raise Temporary("l1.busy", "the node's work queue is full", text=text)
        raise Temporary("l1.bad_answer", "the node did not answer in JSON-RPC", status=status, text=text)
    asked = orjson.loads(response.request.content).get("id")
    message = orjson.loads(response.content)
    if message.get("id") != asked:
        answered = str(message.get("id"))[:80]
        raise Temporary("l1.bad_answer", "the answer is to another request", asked=asked, answered=answered)
    if not isinstance(message.get("error"), dict | None):
        raise Temporary("l1.bad_answer", "the node's error is no object", error=str(message["error"])[:80])


def _classify(method: str, error: Mapping[str, Any]) -> BitaiError:
    """Return our error for a node's error object."""
    code, message = error.get("code"), str(error.get("message", ""))[:_WORDS]
    if code == WARMING_UP:
        return Temporary("l1.warming_up", f"the node is starting: {message}")
    if code == UNKNOWN_METHOD or (code == _MISC and _UNIMPLEMENTED in message.lower()):
        return Rejected("l1.unsupported", f"the node has no {method}", rpc_code=code, text=message)
    names = {_NOT_FOUND: "l1.not_found", _BAD_PARAMETER: "l1.bad_parameter"}
    name = names.get(code, "l1.refused") if isinstance(code, int) else "l1.refused"
    return Rejected(name, f"{method}: {message}", rpc_code=code, text=message)
