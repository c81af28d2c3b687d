"""Run the slow part of a method on one of a few threads, and refuse when too many wait for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar, TypeVarTuple

from bitai.rpc.framing import LIMIT_EXCEEDED, RpcError

Parts = TypeVarTuple("Parts")
Result = TypeVar("Result")

THREADS: Final = 4
"""The native core releases the interpreter while it works, so a few threads fill a machine's cores."""
WAITING: Final = 512
"""Calls that may wait for a thread: beyond it they would wait longer than their callers do."""


class Workers:
    """A few threads for reading, decoding and simulating."""

    def __init__(self, threads: int = THREADS, waiting: int = WAITING) -> None:
        """Start threads as they are needed."""
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="rpc")
        self._room = threads + waiting
        self._held = 0

    async def run(self, function: Callable[[*Parts], Result], *parts: *Parts) -> Result:
        """Return what the function returns. Errors: LIMIT_EXCEEDED when too many wait."""
        if self._held >= self._room:
            raise RpcError(LIMIT_EXCEEDED, "too many calls at once; try again later")
        self._held += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, function, *parts)
        finally:
            self._held -= 1

    def close(self) -> None:
        """Finish what runs, drop what waits: what is read from is closed next."""
        self._pool.shutdown(wait=True, cancel_futures=True)
