"""Call the RPC in process, as a client would over HTTP."""

from dataclasses import dataclass
from typing import Any

import orjson

from regtest.rpc.dispatch import Dispatcher
from regtest.rpc.registry import METHODS


@dataclass
class RpcFailure(Exception):
    """An error object."""

    code: int
    message: str


class Caller:
    """`caller.getblockcount()` is a JSON-RPC 2.0 call; errors are raised."""

    def __init__(self, node):
        self.dispatcher = Dispatcher(METHODS)
        self.dispatcher.node = node

    def post(self, body: bytes) -> tuple[int, Any]:
        """Status and decoded body of a raw request."""
        reply = self.dispatcher.answer(body)
        return reply.status, orjson.loads(reply.body) if reply.body else None

    def __getattr__(self, name):
        def call(*params, **named):
            request = {"jsonrpc": "2.0", "id": 1, "method": name, "params": named or list(params)}
            status, reply = self.post(orjson.dumps(request))
            assert status == 200
            if "error" in reply:
                raise RpcFailure(**reply["error"])
            return reply["result"]

        return call
