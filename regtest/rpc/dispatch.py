"""From a request body to a reply body: JSON-RPC 1.0 and 2.0, single calls and arrays, Core's HTTP statuses.

Old clients get errors as HTTP errors; a 2.0 call that could be read gets HTTP 200 whatever its outcome; an
array always gets HTTP 200. Nothing that a client sends ends in anything but an answer.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from primitives.errors import BitaiError, InvariantViolation
from regtest.limits import MAX_BATCH_CALLS, MAX_BATCH_REPLY_BYTES
from regtest.node import Node
from regtest.rpc.errors import Code, RpcError
from regtest.rpc.method import Method
from regtest.rpc.parameters import bind

OK: Final = 200
NO_CONTENT: Final = 204
_STATUS_OF: Final = {Code.INVALID_REQUEST: 400, Code.METHOD_NOT_FOUND: 404}
_SERVER_ERROR: Final = 500
_MAX_METHOD_LENGTH: Final = 100

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer; an empty body for notifications."""

    status: int
    body: bytes


@dataclass(slots=True)
class _Call:
    """One call as far as it could be read; a broken one is answered in the version it managed to state."""

    call_id: Any = None
    is_v2: bool = False
    is_notification: bool = False
    method: str = ""
    params: Any = None


class Dispatcher:
    """Answers calls with a node, or with `warming up` as long as there is none."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self._methods = methods
        self.node: Node | None = None
        self.warmup_status = "Starting"
        """What is going on while `node` is None."""

    def answer(self, body: bytes) -> Reply:
        """Return the reply to a request body."""
        try:
            request = orjson.loads(body)
        except orjson.JSONDecodeError:
            return self._refusal(_Call(), RpcError(Code.PARSE, "Parse error"))
        if isinstance(request, list):
            return self._answer_batch(request)
        if not isinstance(request, dict):
            return self._refusal(_Call(), RpcError(Code.PARSE, "Top-level object parse error"))
        return self._answer_single(request)

    def _answer_single(self, request: dict[str, Any]) -> Reply:
        call = _Call()
        try:
            _read(request, call)
        except RpcError as error:
            return self._refusal(call, error)
        try:
            result = self._execute(call)
        except RpcError as error:
            if not call.is_v2:
                return self._refusal(call, error)
            reply = _error_object(call, error)
        else:
            reply = _result_object(call, result)
        return Reply(NO_CONTENT, b"") if call.is_notification else Reply(OK, _encode(reply))

    def _answer_batch(self, requests: list[Any]) -> Reply:
        if len(requests) > MAX_BATCH_CALLS:
            message = f"an array holds at most {MAX_BATCH_CALLS} calls"
            return self._refusal(_Call(), RpcError(Code.INVALID_REQUEST, message))
        replies: list[bytes] = []
        room = MAX_BATCH_REPLY_BYTES
        for request in requests:
            call = _Call()
            try:
                _read(request, call)
                self._require_going_on(room)
                reply = orjson.dumps(_result_object(call, self._execute(call)))
            except RpcError as error:
                reply = orjson.dumps(_error_object(call, error))
            if not call.is_notification:
                replies.append(reply)
                room -= len(reply)
        if requests and not replies:
            return Reply(NO_CONTENT, b"")
        return Reply(OK, b"[" + b",".join(replies) + b"]\n")

    def _require_going_on(self, room: int) -> None:
        """Refuse an array's remaining calls once its answers fill the memory meant for them, or at the stop.

        Without this 10,000 calls for a block of 4 MB would be answered with 80 GB, and a stop would wait.
        """
        if room <= 0:
            raise RpcError(Code.MISC, "not done: the answers to this array are too long; send smaller arrays")
        if self.node is not None and self.node.interrupted():
            raise RpcError(Code.MISC, "not done: this process is stopping")

    def _execute(self, call: _Call) -> Any:
        """Run one call; every error leaves as RpcError, except damage that must stop the process.

        A failing disk is such damage: what was written is unknown until the next start reads it again.
        """
        method = self._methods.get(call.method)
        if self.node is None:
            raise RpcError(Code.IN_WARMUP, self.warmup_status)
        if method is None:
            raise RpcError(Code.METHOD_NOT_FOUND, "Method not found")
        arguments = bind(method.params, call.params)
        try:
            return method.handler(self.node, arguments)
        except InvariantViolation:
            raise
        except BitaiError as error:
            logger.warning("%s: %s", call.method, error)
            raise RpcError(Code.MISC, str(error)) from error
        except OSError as error:
            raise InvariantViolation("node.disk_failed", str(error), call=call.method) from error
        except RpcError:
            raise
        except Exception as error:
            logger.exception("BUG: %s failed", call.method)
            raise RpcError(
                Code.INTERNAL, "Internal error; the log of this process has the details"
            ) from error

    def _refusal(self, call: _Call, error: RpcError) -> Reply:
        return Reply(_STATUS_OF.get(error.code, _SERVER_ERROR), _encode(_error_object(call, error)))


def _read(request: Any, call: _Call) -> None:
    """Read id, version, method and parameters, in this order: an error still names id and version."""
    if not isinstance(request, dict):
        raise RpcError(Code.INVALID_REQUEST, "Invalid Request object")
    call_id = request.get("id")
    is_echoable = not isinstance(call_id, (list, dict))
    call.call_id = call_id if is_echoable else None
    version = request.get("jsonrpc")
    if version is not None:
        if not isinstance(version, str):
            raise RpcError(Code.INVALID_REQUEST, "jsonrpc field must be a string")
        if version not in ("1.0", "2.0"):
            raise RpcError(Code.INVALID_REQUEST, "JSON-RPC version not supported")
    call.is_v2 = version == "2.0"
    call.is_notification = call.is_v2 and "id" not in request
    if not is_echoable:  # one that is nested deep enough could be read but not written
        raise RpcError(Code.INVALID_REQUEST, "Identifier must be a string, a number or null")
    method = request.get("method")
    if method is None:
        raise RpcError(Code.INVALID_REQUEST, "Missing method")
    if not isinstance(method, str):
        raise RpcError(Code.INVALID_REQUEST, "Method must be a string")
    call.method = method[:_MAX_METHOD_LENGTH]
    call.params = request.get("params")
    if not isinstance(call.params, (list, dict, type(None))):
        raise RpcError(Code.INVALID_REQUEST, "Params must be an array or object")


def _result_object(call: _Call, result: Any) -> dict[str, Any]:
    if call.is_v2:
        return {"jsonrpc": "2.0", "result": result, "id": call.call_id}
    return {"result": result, "error": None, "id": call.call_id}


def _error_object(call: _Call, error: RpcError) -> dict[str, Any]:
    if call.is_v2:
        return {"jsonrpc": "2.0", "error": error.as_json(), "id": call.call_id}
    return {"result": None, "error": error.as_json(), "id": call.call_id}


def _encode(reply: Any) -> bytes:
    return orjson.dumps(reply) + b"\n"
