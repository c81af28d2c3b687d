"""What the project needs of a Bitcoin node and of time, in our own types.

A transport failure raises Temporary; everything a node says about a transaction is a value, because a refusal
is an ordinary step of a row's life and not an exception to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from primitives.bitcoin.header import BlockHeader
from primitives.ids import L1Hash, Txid


@dataclass(frozen=True, slots=True)
class ChainPoint:
    """Name one block of Bitcoin by height and hash (internal order)."""

    height: int
    hash: L1Hash


class Verdict(StrEnum):
    """What a node said about a transaction, sorted by what the sender does next."""

    ACCEPTED = "accepted"
    KNOWN = "already in the mempool"
    IN_CHAIN = "already in a block"
    MISSING_INPUTS = "inputs missing or spent"
    FEE_TOO_LOW = "fee too low"
    CONFLICT = "conflicts with a transaction in the mempool"
    CLUSTER_FULL = "too many unconfirmed relatives"
    POLICY = "against the node's policy"
    UNSUPPORTED = "the node has no such call"

    @property
    def holds(self) -> bool:
        """Tell whether the node has the transaction now."""
        return self in (Verdict.ACCEPTED, Verdict.KNOWN, Verdict.IN_CHAIN)


@dataclass(frozen=True, slots=True)
class SendOutcome:
    """A node's answer: the verdict, and its own words for a person."""

    verdict: Verdict
    text: str = ""


class L1Source(Protocol):
    """Read blocks of the node's active chain."""

    async def best_tip(self) -> ChainPoint:
        """Return the tip of the active chain."""
        ...

    async def block_hash(self, height: int) -> L1Hash:
        """Return the active chain's block at a height; raises Rejected `l1.unknown_height`."""
        ...

    async def header(self, block_hash: L1Hash) -> BlockHeader:
        """Return a header, also of a block that left the chain; raises Rejected `l1.unknown_block`."""
        ...

    async def raw_block(self, block_hash: L1Hash) -> bytes:
        """Return a serialised block; raises Rejected `l1.unknown_block`."""
        ...


class L1Broadcaster(Protocol):
    """Hand transactions to Bitcoin. Sending the same bytes again is always safe."""

    async def send(self, raw: bytes) -> SendOutcome:
        """Offer one transaction to the mempool."""
        ...

    async def send_package(self, raws: Sequence[bytes]) -> SendOutcome:
        """Offer parents and one child together, so that the child may pay for them."""
        ...

    async def test_accept(self, raw: bytes) -> SendOutcome:
        """Ask what `send` would answer, without sending."""
        ...

    async def in_mempool(self, txid: Txid) -> bool:
        """Tell whether a transaction waits in the mempool now."""
        ...

    async def fee_rate(self, target_blocks: int) -> int | None:
        """Return the node's estimate in sats per 1,000 vbytes, or None when it has none."""
        ...


class Clock(Protocol):
    """Time, as drivers need it; machines get it as events."""

    def now_ms(self) -> int:
        """Return milliseconds since the epoch."""
        ...

    async def sleep_ms(self, duration_ms: int) -> None:
        """Wait."""
        ...
