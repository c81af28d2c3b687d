"""Budgets: bursts, refills, and memory that stays bounded."""

from bitai.rate_limit import MAX_ASKERS, Budget, RateLimit


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def _limit(clock: _Clock, *, everyone: int = 1_000_000) -> RateLimit:
    return RateLimit(Budget(burst=2, refill_s=10.0), Budget(burst=everyone, refill_s=1.0), clock)


def test_burst_then_refill():
    """Two at once, then one every ten seconds; a refusal takes nothing and says how long to wait."""
    clock = _Clock()
    limit = _limit(clock)
    assert [limit.wait_s("a"), limit.wait_s("a")] == [0, 0]
    assert limit.wait_s("a") == 10.0
    clock.now += 4
    assert limit.wait_s("a") == 6.0
    clock.now += 6
    assert limit.wait_s("a") == 0
    assert limit.wait_s("a") == 10.0


def test_amounts():
    """More than one may be taken at a time; what is too much now waits for all of it."""
    clock = _Clock()
    limit = _limit(clock)
    assert limit.wait_s("a", 2) == 0
    assert limit.wait_s("a", 2) == 20.0
    clock.now += 20
    assert limit.wait_s("a", 2) == 0
    clock.now += 1_000
    assert limit.wait_s("a", 3) > 0


def test_askers_do_not_share_but_all_do():
    """One asker's haste costs others nothing, until the common budget is gone."""
    clock = _Clock()
    limit = _limit(clock, everyone=3)
    assert [limit.wait_s(name) for name in ("a", "a", "b")] == [0, 0, 0]
    assert limit.wait_s("c") == 1.0


def test_memory_is_bounded():
    """A flood of askers forgets the longest unseen, never grows."""
    clock = _Clock()
    limit = _limit(clock)
    for number in range(MAX_ASKERS + 50):
        limit.wait_s(str(number))
    assert len(limit._askers) == MAX_ASKERS
