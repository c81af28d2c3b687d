"""Turn the bytes of a JSON-RPC request into calls, and results into the bytes of a reply.

No I/O and no methods here: the server feeds bodies, a dispatcher answers calls. Source: JSON-RPC 2.0, with
the two habits that Ethereum clients rely on: an unknown method is answered with geth's words, and a failed
call still comes back as HTTP 200.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a body; `notification` means that nobody waits for its reply."""

    method: str
    params: list[Any]
    id: str | int | float | None
    notification: bool


Dispatch = Callable[[Call], Awaitable[Any]]


def parse_body(body: bytes) -> tuple[list[Call | RpcError], bool]:
    """Return the calls of a body (a broken one as its error) and whether they came as an array.

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
    if len(parsed) > MAX_BATCH_CALLS:
        raise RpcError(LIMIT_EXCEEDED, f"batch of {len(parsed)} calls: the limit is {MAX_BATCH_CALLS}")
    return [_parse_call(each) for each in parsed], True


def _parse_call(item: Any) -> Call | RpcError:
    if not isinstance(item, dict):
        return RpcError(INVALID_REQUEST, "a request is a JSON object")
    method = item.get("method")
    if not isinstance(method, str):
        return RpcError(INVALID_REQUEST, "a request names its method as a string")
    call_id = item.get("id")
    if isinstance(call_id, bool) or not isinstance(call_id, _ID_TYPES):
        return RpcError(INVALID_REQUEST, "a request's id is a string, a number or null")
    params = item.get("params", [])
    if params is None:
        params = []
    if not isinstance(params, list):
        return RpcError(INVALID_PARAMS, "params must be an array")
    return Call(method, params, call_id, "id" not in item)


def encode_reply(call_id: Any, outcome: Any) -> bytes:
    """Return one reply object as bytes; `outcome` is a result, bytes of raw JSON, or an `RpcError`."""
    if isinstance(outcome, RpcError):
        return orjson.dumps({"jsonrpc": "2.0", "id": call_id, "error": outcome.to_object()})
    return orjson.dumps({"jsonrpc": "2.0", "id": call_id, "result": outcome})


async def answer_body(body: bytes, dispatch: Dispatch) -> bytes | None:
    """Answer a whole body; None when it held only notifications."""
    try:
        calls, is_batch = parse_body(body)
    except RpcError as error:
        return encode_reply(None, error)
    replies: list[bytes] = []
    size = 0
    for call in calls:
        if isinstance(call, RpcError):
            reply = encode_reply(None, call)
        elif size > MAX_BATCH_REPLY_BYTES:
            reply = encode_reply(call.id, RpcError(LIMIT_EXCEEDED, "batch reply too large; ask for less at once"))
        else:
            reply = encode_reply(call.id, await _outcome(call, dispatch))
        size += len(reply)
        if isinstance(call, RpcError) or not call.notification:
            replies.append(reply)
    if not replies:
        return None
    return b"[" + b",".join(replies) + b"]" if is_batch else replies[0]


async def _outcome(call: Call, dispatch: Dispatch) -> Any:
    try:
        return await dispatch(call)
    except RpcError as error:
        return error
