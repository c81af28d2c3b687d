"""Why a transaction is not taken, in Bitcoin Core's own words, because clients compare them."""

from enum import Enum, auto

from primitives.errors import Rejected


class RejectKind(Enum):
    """What a caller does about a rejection."""

    CONSENSUS = auto()
    """No node will ever take it."""
    POLICY = auto()
    """This node does not relay it."""
    FEE = auto()
    """Too little fee by itself; a child may pay for it in a package."""
    MISSING_INPUTS = auto()
    """It spends what is unknown or already spent."""


class TransactionRejected(Rejected):
    """Carry Core's reject reason, which programs compare, and its details, which people read."""

    def __init__(self, reason: str, detail: str = "", kind: RejectKind = RejectKind.POLICY) -> None:
        super().__init__(f"mempool.{reason}", f"{reason}, {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.kind = kind


def consensus(reason: str, detail: str = "") -> TransactionRejected:
    """Return the rejection of a transaction that breaks a consensus rule."""
    return TransactionRejected(reason, detail, RejectKind.CONSENSUS)
