"""Core's numbers for what went wrong (rpc/protocol.h)."""

from enum import IntEnum


class Code(IntEnum):
    """Error codes of JSON-RPC and of Bitcoin Core."""

    MISC = -1
    TYPE = -3
    WALLET = -4
    INVALID_ADDRESS_OR_KEY = -5
    INSUFFICIENT_FUNDS = -6
    INVALID_PARAMETER = -8
    DESERIALIZATION = -22
    VERIFY = -25
    VERIFY_REJECTED = -26
    ALREADY_IN_UTXO_SET = -27
    IN_WARMUP = -28
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INTERNAL = -32603
    PARSE = -32700


class RpcError(Exception):
    """An answer, not a failure of this process: what the client did wrong, or what cannot be done now."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def as_json(self) -> dict[str, object]:
        """Return the error object."""
        return {"code": int(self.code), "message": self.message}
