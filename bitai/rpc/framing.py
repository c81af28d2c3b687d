"""Turn the bytes of a JSON-RPC request into calls, and results into the bytes of a reply.

No I/O and no methods here: the server feeds bodies, a dispatcher answers calls. Source: JSON-RPC 2.0, with
the two habits that Ethereum clients rely on: an unknown method is answered with geth's words, and a failed
call still comes back as HTTP 200.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import orjson

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
SERVER_ERROR: Final = -32000
UNAVAILABLE: Final = -32002
LIMIT_EXCEEDED: Final = -32005
EXECUTION_REVERTED: Final = 3

MAX_BODY_BYTES: Final = 5 << 20
"""One request body: forty maximal transactions fit, a memory bomb does not."""
MAX_BATCH_CALLS: Final = 1_000
"""Calls in one array, as geth bounds them."""
MAX_BATCH_REPLY_BYTES: Final = 25 << 20
"""All replies to one array together; the calls beyond it are answered with LIMIT_EXCEEDED."""
MAX_GATHERED_BYTES: Final = 128 << 20
"""Replies to all arrays under way together: until its last call is answered, an array's lie in memory."""
BATCH_LIMIT_S: Final = 60.0
"""Time for one array; its caller may be long gone, and would still be worked for."""
TOGETHER: Final = frozenset({"eth_sendRawTransaction"})
"""Methods whose neighbours in an array are answered at once: each waits for the same thing, and their order
of arrival is kept."""

_ID_TYPES: Final = (str, int, float, type(None))


class RpcError(Exception):
    """A call's failure as its caller sees it: code, words, and optional data."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        """Keep the three members of a JSON-RPC error object."""
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.data = data

    def to_object(self) -> dict[str, Any]:
        """Return the error member of a reply."""
        shown: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            shown["data"] = self.data
        return shown


CallId = str | int | float | None


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a body; `notification` means that nobody waits for its reply."""

    method: str
    params: list[Any]
    id: CallId
    notification: bool


@dataclass(frozen=True, slots=True)
class Broken:
    """What is no request, with the id to answer it under."""

    error: RpcError
    id: CallId = None


Dispatch = Callable[[Call], Awaitable[Any]]
DispatchTogether = Callable[[Sequence[Call]], Awaitable[Sequence[Any]]]
"""Answers calls at once, each with its result or an `RpcError`."""


def parse_body(body: bytes, *, most: int = MAX_BATCH_CALLS) -> tuple[list[Call | Broken], bool]:
    """Return the calls of a body and whether they came as an array.

    Errors: `RpcError` for a body that is not JSON, not a request, or too many requests.
    """
    if len(body) > MAX_BODY_BYTES:
        raise RpcError(LIMIT_EXCEEDED, f"request body over {MAX_BODY_BYTES} bytes")
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RpcError(PARSE_ERROR, f"parse error: {error}") from error
    if not isinstance(parsed, list):
        return [_parse_call(parsed)], False
    if not parsed:
        raise RpcError(INVALID_REQUEST, "empty batch")
    if len(parsed) > most:
        words = f"batch of {len(parsed)} calls: the limit is {most} (setting rpc_batch_calls)"
        raise RpcError(LIMIT_EXCEEDED, words)
    return [_parse_call(each) for each in parsed], True


def _parse_call(item: Any) -> Call | Broken:
    if not isinstance(item, dict):
        return Broken(RpcError(INVALID_REQUEST, "a request is a JSON object"))
    call_id = item.get("id")
    if isinstance(call_id, bool) or not isinstance(call_id, _ID_TYPES):
        return Broken(RpcError(INVALID_REQUEST, "a request's id is a string, a number or null"))
    method = item.get("method")
    if not isinstance(method, str):
        return Broken(RpcError(INVALID_REQUEST, "a request names its method as a string"), call_id)
    if item.get("jsonrpc", "2.0") != "2.0":
        return Broken(RpcError(INVALID_REQUEST, 'the version of JSON-RPC spoken here is "2.0"'), call_id)
    params = item.get("params")
    if params is None:
        params = []
    if not isinstance(params, list):
        return Broken(RpcError(INVALID_PARAMS, "params must be an array"), call_id)
    return Call(method, params, call_id, "id" not in item)


def encode_reply(call_id: Any, outcome: Any) -> bytes:
    """Return one reply object as bytes; `outcome` is a result or an `RpcError`."""
    if isinstance(outcome, RpcError):
        return orjson.dumps({"jsonrpc": "2.0", "id": call_id, "error": outcome.to_object()})
    try:
        return orjson.dumps({"jsonrpc": "2.0", "id": call_id, "result": outcome})
    except orjson.JSONEncodeError as error:  # a method's bug; its caller still gets a reply
        wrong = RpcError(INTERNAL_ERROR, f"the result cannot be written as JSON: {error}")
        return encode_reply(call_id, wrong)


@dataclass(slots=True)
class Gathered:
    """Bytes of replies that wait for the rest of their array, of everyone whom a server answers."""

    waiting_bytes: int = 0


async def answer_body(
    body: bytes,
    dispatch: Dispatch,
    together: DispatchTogether | None = None,
    *,
    most: int = MAX_BATCH_CALLS,
    gathered: Gathered | None = None,
) -> bytes | None:
    """Answer a whole body of `most` calls at most; None when it held only notifications."""
    try:
        calls, is_batch = parse_body(body, most=most)
    except RpcError as error:
        return encode_reply(None, error)
    return await answer_calls(calls, dispatch, together, is_batch=is_batch, gathered=gathered)


async def answer_calls(
    calls: Sequence[Call | Broken],
    dispatch: Dispatch,
    together: DispatchTogether | None = None,
    *,
    is_batch: bool,
    gathered: Gathered | None = None,
) -> bytes | None:
    """Answer the calls of a body; None when nobody waits for a reply.

    `together` answers neighbours of the methods in `TOGETHER`; without it each is dispatched by itself.
    """
    if not is_batch:
        (call,) = calls
        reply = await _reply(call, dispatch)
        return None if isinstance(call, Call) and call.notification else reply
    return await _answer_array(calls, dispatch, together, gathered or Gathered())


async def _answer_array(
    calls: Sequence[Call | Broken],
    dispatch: Dispatch,
    together: DispatchTogether | None,
    gathered: Gathered,
) -> bytes | None:
    replies: list[bytes] = []
    size = 0
    clock = asyncio.get_running_loop().time
    ends_at = clock() + BATCH_LIMIT_S
    try:
        for run in _runs(calls):
            refusal = _array_refusal(size, gathered, late=clock() > ends_at)
            if refusal is not None:
                answered = [encode_reply(each.id, refusal) for each in run]
            elif together is not None and len(run) > 1:
                answered = await _answer_together(run, together)
            else:
                answered = await asyncio.gather(*(_reply(each, dispatch) for each in run))
            grown = sum(map(len, answered))
            size += grown
            gathered.waiting_bytes += grown
            replies += [
                reply
                for call, reply in zip(run, answered, strict=True)
                if isinstance(call, Broken) or not call.notification
            ]
    finally:
        gathered.waiting_bytes -= size
    return b"[" + b",".join(replies) + b"]" if replies else None


def _array_refusal(size: int, gathered: Gathered, *, late: bool) -> RpcError | None:
    """Return why the rest of an array is not answered, after replies of so many bytes."""
    if size > MAX_BATCH_REPLY_BYTES:
        what = "reply too large"
    elif late:
        what = f"took over {BATCH_LIMIT_S:.0f} s"
    elif size and gathered.waiting_bytes > MAX_GATHERED_BYTES:
        what = "reply too large beside others under way"
    else:
        return None
    return RpcError(LIMIT_EXCEEDED, f"batch {what}; ask for less at once")


async def _answer_together(run: Sequence[Call | Broken], together: DispatchTogether) -> list[bytes]:
    asked = [each for each in run if isinstance(each, Call)]  # of a run of several all are
    outcomes = await together(asked)
    return [encode_reply(each.id, outcome) for each, outcome in zip(asked, outcomes, strict=True)]


def _runs(calls: Sequence[Call | Broken]) -> Iterator[list[Call | Broken]]:
    """Cut an array into parts that are answered one after the other."""
    for together, group in groupby(calls, lambda each: isinstance(each, Call) and each.method in TOGETHER):
        if together:
            yield list(group)
        else:
            yield from ([each] for each in group)


async def _reply(call: Call | Broken, dispatch: Dispatch) -> bytes:
    if isinstance(call, Broken):
        return encode_reply(call.id, call.error)
    try:
        return encode_reply(call.id, await dispatch(call))
    except RpcError as error:
        return encode_reply(call.id, error)
