"""Tell which transactions came to wait: what `newPendingTransactions` and its filter follow.

These are the transactions that this node was asked to send and took; hashes only, and no more of them than a client
is shown at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vm import _core

if TYPE_CHECKING:
    from primitives.ids import Hash32
    from vm._core import Transaction

BODY_UNIT_BYTES: Final = 256
"""Bytes of a transaction that weigh as much as a hash: 100,000 of them are 25 MB."""
JOURNAL: Final = 10_000
"""Hashes remembered for filters; who asks for more at once has asked too rarely."""


@dataclass(frozen=True)
class PendingNews:
    """Transactions that came together."""

    hashes: tuple[bytes, ...]
    raws: tuple[bytes, ...] = ()
    """The same whole, while somebody wants them so."""
    chain_id: int = 0

    @property
    def weight(self) -> int:
        """What it costs to keep: each hash, and the bodies by their size."""
        return len(self.hashes) + sum(map(len, self.raws)) // BODY_UNIT_BYTES

    @cached_property
    def transactions(self) -> tuple[Transaction, ...]:
        """Return them decoded, once for all listeners; blocking."""
        decoded = _core.decode(self.raws, self.chain_id, impersonated=True)
        return tuple(each for each in decoded if not isinstance(each, tuple))


Listener = Callable[[tuple[PendingNews, ...]], None]


class PendingFeed:
    """The hashes, in the order in which they came; belongs to the event loop."""

    def __init__(self, chain_id: int) -> None:
        """Begin with none."""
        self._chain_id = chain_id
        self._whole = 0
        self._journal: deque[bytes] = deque(maxlen=JOURNAL)
        self._moves = 0
        self._fresh: list[tuple[bytes, bytes]] = []
        self._listeners: list[Listener] = []

    @property
    def moves(self) -> int:
        """How many came so far: a cursor for `since`."""
        return self._moves

    def note(self, transaction_hash: Hash32, raw: bytes) -> None:
        """Say that a transaction waits now; listeners are told of all of this turn of the loop together."""
        self._moves += 1
        self._journal.append(transaction_hash)
        if not self._listeners:
            return
        self._fresh.append((transaction_hash, raw))
        if len(self._fresh) == 1:
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        hashes = tuple(each for each, _ in self._fresh)
        raws = tuple(raw for _, raw in self._fresh) if self._whole else ()
        news = (PendingNews(hashes, raws, self._chain_id),)
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

    def want_whole(self) -> Callable[[], None]:
        """Tell listeners of whole transactions too, until what this returns is called."""
        self._whole += 1

        def stop() -> None:
            self._whole -= 1

        return stop
