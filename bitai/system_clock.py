"""The machine's clock behind the port that pure packages declare."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """Implements `l1.ports.Clock`."""

    def now_ms(self) -> int:
        """Return milliseconds since the epoch."""
        return time.time_ns() // 1_000_000

    async def sleep_ms(self, duration_ms: int) -> None:
        """Wait."""
        await asyncio.sleep(duration_ms / 1000)
