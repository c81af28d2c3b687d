"""Tell when the node falls behind Bitcoin and when it has caught up: what `eth_syncing` and its subscription show.

The node itself is asked, now and then, and only while somebody wants to know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bitai.rpc.encode import quantity

if TYPE_CHECKING:
    from bitai.rpc.context import BitcoinFacts

LOOK_EVERY_S: Final = 1.0
SYNCED_LAG_BLOCKS: Final = 2
"""Bitcoin blocks that a node may be behind and still be called in step, as `/readyz` does."""


@dataclass(frozen=True, slots=True)
class SyncNews:
    """What subscribers are told: false, or that it syncs and how far it is."""

    result: Any
    weight: int = 1


Listener = Callable[[tuple[SyncNews, ...]], None]


def sync_state(facts: BitcoinFacts) -> dict[str, str] | None:
    """Return how far derivation is behind Bitcoin, in Bitcoin's blocks; None while it is in step."""
    reached, tip = facts.progress()
    if tip - reached <= SYNCED_LAG_BLOCKS:
        return None
    return {"startingBlock": "0x0", "currentBlock": quantity(reached), "highestBlock": quantity(tip)}


class SyncFeed:
    """Watches one node; belongs to the event loop."""

    def __init__(self, facts: BitcoinFacts, *, look_every_s: float = LOOK_EVERY_S) -> None:
        """Ask `facts`; nothing runs until somebody listens."""
        self._facts = facts
        self._look_every_s = look_every_s
        self._listeners: list[Listener] = []
        self._task: asyncio.Task[None] | None = None

    def now(self) -> SyncNews:
        """Return the present state, as subscribers are told it."""
        state = sync_state(self._facts)
        return SyncNews(False if state is None else {"syncing": True, "status": state})

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Have `listener` called when the node begins or ends to sync; returns what ends that."""
        self._listeners.append(listener)
        if self._task is None:
            self._task = asyncio.create_task(self._look())

        def stop() -> None:
            self._listeners.remove(listener)
            if not self._listeners:
                self.close()

        return stop

    def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _look(self) -> None:
        syncing = self.now().result is not False
        while True:
            await asyncio.sleep(self._look_every_s)
            news = self.now()
            if (news.result is not False) != syncing:
                syncing = not syncing
                for listener in tuple(self._listeners):
                    listener((news,))
