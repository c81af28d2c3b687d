"""Recover the next block's signatures while the present block executes.

Half of the work of a known block is signatures, which need nothing but the block's bytes; execution and the state
root use one core. So whoever knows several blocks in a row overlaps the two.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vm._core import Transaction
    from vm.types import BlockData

    Decoded = list[Transaction | tuple[str, str]]


class DecodeAhead:
    """One block ahead, on a thread of its own that starts with the first block that has a successor."""

    def __init__(self, decode: Callable[[Sequence[bytes]], Decoded]) -> None:
        """Decode by this function, which may run on any thread."""
        self._decode = decode
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode")
        self._begun: tuple[BlockData, Future[Decoded]] | None = None

    def take(self, block: BlockData, following: BlockData | None) -> Decoded:
        """Return the block's transactions as decoded, and begin with those of the block that will follow."""
        begun, self._begun = self._begun, None
        ours = begun is not None and begun[0] is block
        decoded = begun[1].result() if begun is not None and ours else self._decode(block.transactions)
        if following is not None and following.transactions:
            self._begun = following, self._pool.submit(self._decode, following.transactions)
        return decoded
