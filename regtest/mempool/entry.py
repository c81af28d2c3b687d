"""One waiting transaction with everything that was found out when it was let in."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from primitives.bitcoin.parser import ParsedTx
from primitives.ids import OutPoint, Txid, Wtxid
from regtest.coins import Coin
from regtest.limits import BYTES_PER_SIGOP, WITNESS_SCALE


class FeeWeight(NamedTuple):
    """A fee in sats for a weight in units; compared by `is_better`, never by order."""

    fee_sats: int
    weight: int

    def is_better(self, other: "FeeWeight") -> bool:
        """Tell whether this pays strictly more for each unit than the other."""
        return self.fee_sats * other.weight > other.fee_sats * self.weight

    def plus(self, other: "FeeWeight") -> "FeeWeight":
        """Return both together."""
        return FeeWeight(self.fee_sats + other.fee_sats, self.weight + other.weight)


@dataclass(frozen=True)
class Entry:
    """A transaction in the mempool; its parsed form views bytes of its own.

    `coins` are the spent outputs in input order; `time` is Unix seconds and `height` the tip's when it came.
    """

    transaction: ParsedTx
    coins: tuple[Coin, ...]
    fee_sats: int
    sigops_cost: int
    time: int
    height: int

    @cached_property
    def txid(self) -> Txid:
        """Return the transaction id."""
        return self.transaction.txid

    @cached_property
    def wtxid(self) -> Wtxid:
        """Return the id that commits to the witness."""
        return self.transaction.wtxid

    @cached_property
    def size(self) -> int:
        """Return the bytes of the serialisation."""
        return len(self.transaction.raw)

    @cached_property
    def weight(self) -> int:
        """Return the weight that limits and fees count: more for one dense in signature checks."""
        return max(self.transaction.weight, self.sigops_cost * BYTES_PER_SIGOP)

    @property
    def vbytes(self) -> int:
        """Return the virtual size by that weight, rounded up."""
        return vbytes_of(self.weight)

    @property
    def pays(self) -> FeeWeight:
        """Return fee and weight together."""
        return FeeWeight(self.fee_sats, self.weight)

    @cached_property
    def spends(self) -> tuple[OutPoint, ...]:
        """Return the outputs it spends."""
        return tuple(entry.prevout for entry in self.transaction.inputs)


def vbytes_of(weight: int) -> int:
    """Return a weight in virtual bytes, rounded up."""
    return -(-weight // WITNESS_SCALE)


def fee_at(feerate: int, vbytes: int) -> int:
    """Return the sats that a rate in sats per 1,000 virtual bytes asks for, rounded up."""
    return -(-feerate * vbytes // 1000)
