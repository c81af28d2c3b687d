"""Tell which transactions came to wait: what `newPendingTransactions` and its filter follow.

These are the transactions that this node was asked to send and took; hashes only, and no more of them than a client
is shown at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from primitives.ids import Hash32

JOURNAL: Final = 10_000
"""Hashes remembered for filters; who asks for more at once has asked too rarely."""


@dataclass(frozen=True, slots=True)
class PendingNews:
    """Transactions that came together."""

    hashes: tuple[bytes, ...]

    @property
    def weight(self) -> int:
        """What it costs to keep: each hash."""
        return len(self.hashes)


Listener = Callable[[tuple[PendingNews, ...]], None]


class PendingFeed:
    """The hashes, in the order in which they came; belongs to the event loop."""

    def __init__(self) -> None:
        """Begin with none."""
        self._journal: deque[bytes] = deque(maxlen=JOURNAL)
        self._moves = 0
        self._fresh: list[bytes] = []
        self._listeners: list[Listener] = []

    @property
    def moves(self) -> int:
        """How many came so far: a cursor for `since`."""
        return self._moves

    def note(self, transaction_hash: Hash32) -> None:
        """Say that a transaction waits now; listeners are told of all of this turn of the loop together."""
        self._moves += 1
        self._journal.append(transaction_hash)
        if not self._listeners:
            return
        self._fresh.append(transaction_hash)
        if len(self._fresh) == 1:
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        news = (PendingNews(tuple(self._fresh)),)
        self._fresh.clear()
        for listener in tuple(self._listeners):
            listener(news)

    def since(self, cursor: int) -> list[bytes] | None:
        """Return what came after a cursor, oldest first; None if it is more than is remembered."""
        missing = self._moves - cursor
        if missing > len(self._journal):
            return None
        return list(self._journal)[len(self._journal) - missing :]

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Have `listener` called with what comes; returns what ends that. It must not block."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)
