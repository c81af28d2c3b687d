"""What contracts print while they run: calls to hardhat's console address, noted beside execution.

Nobody answers at that address, so printing changes neither state nor gas of any node: it is no part of the chain.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

Console: TypeAlias = Callable[[bytes | None, Sequence[bytes]], None]
"""Takes what was printed: hash of the transaction (None: a call), and the calldata of each message in order."""

MAX_MESSAGES: Final = 256
"""Of one transaction: a loop that prints must not fill memory and log."""
MAX_MESSAGE_BYTES: Final = 8_192


class Printout:
    """The messages of transactions by their place; a transaction that runs again prints anew."""

    def __init__(self) -> None:
        """Begin with nothing printed."""
        self._messages: dict[int | None, list[bytes]] = {}

    def note(self, position: int | None, ordinal: int, message: bytes) -> None:
        """Take a message; `ordinal` counts those of a transaction from 0 each time that it runs."""
        if ordinal == 0:
            self._messages[position] = []
        kept = self._messages.setdefault(position, [])
        if len(kept) < MAX_MESSAGES:
            kept.append(message[:MAX_MESSAGE_BYTES])

    def take(self, position: int | None) -> tuple[bytes, ...]:
        """Return the messages of a transaction, and forget them."""
        return tuple(self._messages.pop(position, ()))

    def clear(self) -> None:
        """Forget everything, before places are counted from the start again."""
        self._messages.clear()
