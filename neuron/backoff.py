"""How long to wait before trying again: doubling, capped, and spread by chance."""

import random
from typing import Final

FIRST_S: Final = 0.25
CAP_S: Final = 30.0


class Backoff:
    """Yield growing delays; chance keeps a thousand neurons from returning in the same second."""

    def __init__(
        self, *, first_s: float = FIRST_S, cap_s: float = CAP_S, chance: random.Random | None = None
    ) -> None:
        """Start at the first delay."""
        self._first_s = first_s
        self._cap_s = cap_s
        self._chance = chance or random.Random()  # noqa: S311 (spreads load, hides nothing)
        self._failures = 0

    def next_delay_s(self) -> float:
        """Return the next delay in seconds: between half of and the whole of the doubled one."""
        ceiling = min(self._cap_s, self._first_s * (1 << min(self._failures, 32)))
        self._failures += 1
        return ceiling * (1 + self._chance.random()) / 2

    def reset(self) -> None:
        """Start again at the first delay, after a success."""
        self._failures = 0
