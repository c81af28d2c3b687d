"""How much one caller may ask of a node's JSON-RPC: every bound that an operator may move, with its default.

Each is a setting of the node (`rpc_` and the name), which the error that it causes names.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from bitai.rpc.framing import LIMIT_EXCEEDED, RpcError

if TYPE_CHECKING:
    from bitai.config import NodeConfig

PREFIX: Final = "rpc_"


@dataclass(frozen=True, slots=True)
class RpcLimits:
    """The bounds; what each means stands beside the setting of its name in `bitai.config`."""

    log_blocks: int = 10_000
    logs: int = 10_000
    call_gas: int = 16_777_216
    simulate_gas: int = 50_000_000
    call_seconds: float = 30.0
    waiting_calls: int = 512
    fee_history_blocks: int = 1_024
    proof_slots: int = 1_024
    filters: int = 1_024
    filter_seconds: float = 300.0
    subscriptions: int = 64
    sockets: int = 256
    batch_calls: int = 1_000


def limits_of(config: NodeConfig) -> RpcLimits:
    """Return the bounds that the settings of a node name."""
    return RpcLimits(**{each.name: getattr(config, PREFIX + each.name) for each in fields(RpcLimits)})


def over(words: str, setting: str, hint: str = "") -> RpcError:
    """Return the error for what goes beyond a bound, naming the setting that moves it, and what would pass."""
    return RpcError(LIMIT_EXCEEDED, f"{words} (setting {PREFIX}{setting})" + (hint and f"; {hint}"))
