"""One thread that owns the chain: whatever moves the head or the database runs there, in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class ChainThread:
    """Runs functions one after the other, off the event loop."""

    def __init__(self) -> None:
        """Start the thread at the first call."""
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="chain")

    async def run(
        self, function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        """Run a function when those before it are done; a cancelled caller does not undo it.

        The function runs to its end even then: half a commit is what this thread exists to prevent.
        """
        future = asyncio.get_running_loop().run_in_executor(self._pool, lambda: function(*args, **kwargs))
        return await asyncio.shield(future)

    def close(self) -> None:
        """Finish what was asked and end."""
        self._pool.shutdown(wait=True)
