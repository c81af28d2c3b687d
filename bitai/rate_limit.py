"""Hold each asker, and all together, to a budget that refills with time."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MAX_ASKERS = 10_000


@dataclass(frozen=True)
class Budget:
    """So many at once, and one more after every `refill_s` seconds."""

    burst: int
    refill_s: float


@dataclass
class _Bucket:
    left: float
    seen_at_s: float


class RateLimit:
    """A token bucket for each asker and one for all; memory is bounded by forgetting the longest unseen."""

    def __init__(self, each: Budget, everyone: Budget, clock: Callable[[], float]) -> None:
        self._each = each
        self._everyone = everyone
        self._clock = clock
        self._askers: OrderedDict[str, _Bucket] = OrderedDict()
        self._all = _Bucket(everyone.burst, clock())

    def wait_s(self, asker: str, amount: int = 1) -> float:
        """Take from both budgets and return 0, or take nothing and return the seconds to wait.

        An amount above a burst is never given.
        """
        now = self._clock()
        bucket = self._askers.pop(asker, None) or _Bucket(self._each.burst, now)
        self._askers[asker] = bucket
        if len(self._askers) > MAX_ASKERS:
            self._askers.popitem(last=False)
        _refill(bucket, self._each, now)
        _refill(self._all, self._everyone, now)
        wait = max(
            (amount - bucket.left) * self._each.refill_s, (amount - self._all.left) * self._everyone.refill_s
        )
        if wait > 0:
            return wait
        bucket.left -= amount
        self._all.left -= amount
        return 0.0


def _refill(bucket: _Bucket, budget: Budget, now_s: float) -> None:
    """Add what time has earned."""
    bucket.left = min(budget.burst, bucket.left + (now_s - bucket.seen_at_s) / budget.refill_s)
    bucket.seen_at_s = now_s
