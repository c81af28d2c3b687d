"""Write the chain's history beside the chain: a thread follows the head, and drops what is kept no longer."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING, Final

from primitives.errors import InvariantViolation

if TYPE_CHECKING:
    from vm.history import History

IDLE_S: Final = 1.0
"""How long the thread sleeps when nobody wakes it: what is swept while no block comes."""
SWEEP_PAUSE_S: Final = 0.02
"""Between two steps of a sweep, which take about as long: reading old rows leaves at least half of the disk's time."""


class HistoryKeeper:
    """Follows one executor's history on a thread of its own; a step under way ends before `run` does."""

    def __init__(self, history: History, *, kept_blocks: int | None) -> None:
        """Keep the states of the last `kept_blocks` blocks, None: of all."""
        self._history = history
        self._kept_blocks = kept_blocks
        self._grown = Event()
        self._stop = Event()

    async def run(self) -> None:
        """Follow until cancelled; raises what writing raises, for then the node must stop."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="history") as thread:
            work = asyncio.get_running_loop().run_in_executor(thread, self.follow)
            try:
                await asyncio.shield(work)
            finally:
                self.stop()

    def follow(self) -> None:
        """Write and sweep until `stop`."""
        self._history.on_growth = self._grown.set
        while not self._stop.is_set():
            while not self._stop.is_set() and self._history.step():
                pass
            if self._stop.is_set() or not self._sweep():
                self._grown.wait(IDLE_S)
                self._grown.clear()

    def stop(self) -> None:
        """Let `follow` end after its step."""
        self._history.on_growth = None
        self._stop.set()
        self._grown.set()

    def _sweep(self) -> bool:
        """Drop some old rows; tell whether there is more to do."""
        kept = self._kept_blocks
        if kept is None:
            return False
        head = self._history.head()
        if head is None:
            raise InvariantViolation("store.corrupt", "the chain database has lost its head")
        self._history.raise_floor(head.number - kept)
        more = self._history.sweep(kept)
        if more and not self._grown.is_set():
            self._grown.wait(SWEEP_PAUSE_S)
        return more
