"""Say the node's own errors in the codes and words that Ethereum clients match.

One table: a stable code of ours on the left, the JSON-RPC code on the right; our code always travels along
in `data.code`. A code that no row names is the caller's (`SERVER_ERROR`) unless it says that the world is slow.
"""

from __future__ import annotations

from typing import Final

from bitai.rpc.framing import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    LIMIT_EXCEEDED,
    SERVER_ERROR,
    UNAVAILABLE,
    RpcError,
)
from primitives.errors import BitaiError, InvariantViolation, Temporary

_WORDS: Final[dict[str, str]] = {
    "tx.type_not_supported": "transaction type not supported: transaction type not valid",
    "tx.unprotected": "only replay-protected (EIP-155) transactions allowed over RPC",
    "tx.wrong_chain": "invalid chain id for signer",
    "tx.bad_signature": "invalid sender",
    "tx.intrinsic_gas": "intrinsic gas too low",
    "tx.floor_gas": "intrinsic gas too low: insufficient gas for floor data gas cost",
    "tx.gas_cap": "transaction gas limit too high",
    "tx.init_code_size": "max initcode size exceeded",
    "tx.priority_above_fee_cap": "max priority fee per gas higher than max fee per gas",
    "tx.nonce_too_low": "nonce too low",
    "tx.nonce_too_high": "nonce too high",
    "tx.nonce_overflow": "nonce has max value",
    "tx.insufficient_funds": "insufficient funds for gas * price + value",
    "tx.fee_cap_below_base_fee": "max fee per gas less than block base fee",
    "tx.sender_is_contract": "sender not an eoa",
    "tx.malformed": "rlp: transaction does not decode",
}
PRUNED_HISTORY: Final = 4444
"""The execution API's number for state or logs that a node no longer keeps."""
_CODES: Final[dict[str, int]] = {
    "state.pruned": PRUNED_HISTORY,
    "pool.full": LIMIT_EXCEEDED,
    "infer.parked_quota": LIMIT_EXCEEDED,
    "infer.queue_full": LIMIT_EXCEEDED,
    "pool.sender_full": LIMIT_EXCEEDED,
    "params.invalid": INVALID_PARAMS,
    "trace.options": INVALID_PARAMS,
    "trace.too_large": LIMIT_EXCEEDED,
    "trace.timeout": LIMIT_EXCEEDED,
    "dev.time_not_after": INVALID_PARAMS,
    "dev.too_deep": INVALID_PARAMS,
}


def to_rpc_error(error: BitaiError) -> RpcError:
    """Return what the caller of a method sees when the node refuses with `error`."""
    return refusal(error.code, error.message, fallback=_fallback(error))


def refusal(code: str, message: str, *, fallback: int = SERVER_ERROR) -> RpcError:
    """Return the error for a refusal by one of our stable codes."""
    words = _WORDS.get(code)
    if words is None:
        shown = message or code.rpartition(".")[2].replace("_", " ")
    elif not message or words in message:
        shown = message or words
    else:
        shown = f"{words}: {message}"
    return RpcError(_CODES.get(code, fallback), shown, {"code": code})


def _fallback(error: BitaiError) -> int:
    if isinstance(error, Temporary):
        return UNAVAILABLE
    if isinstance(error, InvariantViolation):
        return INTERNAL_ERROR
    return SERVER_ERROR
