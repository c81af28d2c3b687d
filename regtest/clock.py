"""The node's clock: the machine's, moved by an offset that `setmocktime` sets; it never stands still."""

from collections.abc import Callable

from primitives.errors import InvalidInput
from regtest.limits import MAX_FUTURE_SECONDS


class OffsetClock:
    """Unix seconds, possibly days away from the machine's."""

    def __init__(self, machine: Callable[[], float], offset_seconds: int = 0) -> None:
        self._machine = machine
        self._offset = offset_seconds

    def now(self) -> int:
        """Return the node's time."""
        return int(self._machine()) + self._offset

    def latest_block_time(self) -> int:
        """Return the latest time a block may carry; the kernel measures by the machine's clock alone."""
        return int(self._machine()) + MAX_FUTURE_SECONDS

    def set(self, time: int) -> None:
        """Make it this time now, 0 for the machine's.

        Raises InvalidInput `clock.too_far` beyond what the kernel accepts as a block time.
        """
        if time == 0:
            self._offset = 0
            return
        if time > self.latest_block_time():
            raise InvalidInput(
                "clock.too_far",
                "the kernel refuses blocks more than two hours ahead of this machine's clock; to move time "
                "forward further, start the chain in the past with --clock-offset",
            )
        self._offset = time - int(self._machine())
