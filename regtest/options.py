"""What a person can choose about one embedded Bitcoin."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """How a node behaves beyond the rules."""

    mine_on_transaction: bool = False
    """Mine a block as soon as a transaction is accepted."""
    payout_script: bytes | None = None
    """Where unattended mining pays; None for the faucet."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a process runs a node."""

    directory: Path
    host: str = "127.0.0.1"
    port: int = 18443
    """0 takes a free one."""
    mine_interval_seconds: float | None = None
    """None mines on demand only."""
    premine_blocks: int = 0
    """The height to mine to before serving."""
    clock_offset_seconds: int = 0
    user_and_password: str | None = None
    """Let in beside the cookie: `user:password`."""
    node: NodeOptions = field(default_factory=NodeOptions)
