"""How much we pay for a place in a block: a rate within bounds, and what to add when one is stuck.

Rates are integers in sats per 1,000 vbytes (Bitcoin Core's sat/kvB); fees are rounded up, never down.
"""

from dataclasses import dataclass
from typing import Final

from primitives.errors import ConfigError

WEIGHT_PER_VBYTE: Final = 4
VBYTES_PER_KVB: Final = 1_000
INCREMENTAL_RATE: Final = 1_000
"""A replacement pays this much more per kvB of itself: Core asks 100 since version 30, others 1,000."""


@dataclass(frozen=True, slots=True)
class FeePolicy:
    """Bound what a transaction may pay, and say when and by how much to raise it.

    `fallback` is used while the node has no estimate. A row is stale after `stale_blocks` blocks without
    confirmation; it is then signed again at `bump_percent` of its rate or at the estimate, whichever is
    more, at most `max_bumps` times.
    """

    floor: int = 1_000
    cap: int = 200_000
    fallback: int = 2_000
    target_blocks: int = 2
    stale_blocks: int = 2
    bump_percent: int = 125
    max_bumps: int = 5

    def check(self) -> None:
        """Refuse a policy that cannot be followed; raises ConfigError `fees.bad_policy`."""
        if not 0 < self.floor <= self.fallback <= self.cap:
            raise ConfigError(
                "fees.bad_policy",
                "fee rates must satisfy 0 < floor <= fallback <= cap",
                fix="set fee floor, fallback and cap in rising order",
            )
        if self.bump_percent <= 100 or self.stale_blocks < 1:
            raise ConfigError(
                "fees.bad_policy",
                "a bump must raise the rate, and wait for at least one block",
                fix="set bump_percent above 100 and stale_blocks to 1 or more",
            )


def choose_rate(policy: FeePolicy, estimate: int | None) -> int:
    """Return the rate to sign with, given the node's estimate."""
    wanted = policy.fallback if estimate is None else estimate
    return min(max(wanted, policy.floor), policy.cap)


def choose_bumped_rate(policy: FeePolicy, current: int, estimate: int | None) -> int | None:
    """Return a higher rate for a stale transaction, or None when the cap leaves no room for a replacement."""
    least = current + INCREMENTAL_RATE
    raised = max(-(-current * policy.bump_percent // 100), least, choose_rate(policy, estimate))
    return min(raised, policy.cap) if least <= policy.cap else None


def vbytes_of_weight(weight: int) -> int:
    """Return the virtual size: weight divided by four, rounded up (BIP 141)."""
    return -(-weight // WEIGHT_PER_VBYTE)


def fee_of_weight(weight: int, rate: int) -> int:
    """Return the least fee in sats that pays `rate` for a transaction of this weight."""
    return -(-vbytes_of_weight(weight) * rate // VBYTES_PER_KVB)
