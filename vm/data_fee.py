"""What users pay for their bytes on Bitcoin, and the scalar that keeps it near what posting them took. Pure.

The size of a transaction is the core's (`data_sizes`); rate and scalar are in the L1 information contract.
Spec: docs/spec/fees.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from vm._core import data_sizes
from vm.types import SATS_TO_WEI, BlockData

SCALAR_ONE: Final = 1_000_000
"""The scalar counts millionths."""
SCALAR_FLOOR: Final = 250_000
SCALAR_CAP: Final = 2_000_000
"""However a batcher pads what it posts, nobody pays more than twice the measured size."""
STEP_DIVISOR: Final = 100
"""One step moves the scalar by a hundredth at most."""
LEAST_CHARGED_BYTES: Final = 16_384
"""What a step looks back on at least: a few transactions say more about a channel's head than about bytes."""
RECORD_BYTES: Final = 128
"""What a record is charged besides its output, within the price of its call."""
_RATE_WEIGHT: Final = 1_000


def data_fee_wei(size: int, rate: int, scalar: int) -> int:
    """Return what `size` bytes cost at a rate in sats per 1,000 weight units; a witness byte weighs one."""
    return size * rate * scalar * SATS_TO_WEI // (_RATE_WEIGHT * SCALAR_ONE)


def byte_price_wei(rate: int) -> int:
    """Return the wei of one byte before the scalar, as receipts show it."""
    return rate * SATS_TO_WEI // _RATE_WEIGHT


def charged_bytes(blocks: Iterable[BlockData]) -> int:
    """Return the bytes that the users of these blocks are charged for, transactions and records."""
    return sum(
        sum(data_sizes(block.transactions))
        + sum(RECORD_BYTES + len(record.output) for record in block.records)
        for block in blocks
    )


@dataclass(frozen=True, slots=True)
class DataTally:
    """The scalar in force, and the bytes posted and charged since it last moved."""

    scalar: int = SCALAR_ONE
    posted: int = 0
    charged: int = 0

    def counting(self, *, posted: int, charged: int) -> "DataTally":
        """Return the tally with what one L1 block brought."""
        return DataTally(self.scalar, self.posted + posted, self.charged + charged)

    def settled(self) -> "DataTally":
        """Return the tally at an epoch's beginning: one step nearer to the ratio, if there is enough to judge by."""
        if self.charged < LEAST_CHARGED_BYTES:
            return self
        step = self.scalar // STEP_DIVISOR
        ratio = self.posted * SCALAR_ONE // self.charged
        moved = min(max(ratio, self.scalar - step), self.scalar + step)
        return DataTally(min(max(moved, SCALAR_FLOOR), SCALAR_CAP))
