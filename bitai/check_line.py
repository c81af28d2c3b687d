"""One thread on which answers are checked, one at a time, what transactions wait for before what calls do.

The thread is a daemon: a check of a large model takes seconds, and neither the event loop nor the end of the
process waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import dataclass, field
from queue import PriorityQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from primitives.errors import BitaiError, Temporary

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


@dataclass(order=True, slots=True)
class _Check:
    """Work to do, least first: by class, then by arrival."""

    place: tuple[int, int]
    work: Callable[[], Any] | None = field(compare=False)
    """None ends the thread."""
    future: asyncio.Future[Any] | None = field(default=None, compare=False)


class CheckLine:
    """Runs blocking work for an event loop; made anywhere, used on one loop."""

    def __init__(self) -> None:
        """Start no thread yet."""
        self._waiting: PriorityQueue[_Check] = PriorityQueue()
        self._arrivals = itertools.count()
        self._thread: Thread | None = None
        self._closed = False

    async def run(self, work: Callable[[], T], *, urgent: bool) -> T:
        """Return what `work` returns, or raise what it raises; cancelled while it waits, it is never begun.

        Raises Temporary `check.closed` once nothing is begun any more.
        """
        if self._closed:
            raise Temporary("check.closed", "the node stops, and checks no more answers")
        if self._thread is None:
            self._start()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.put(_Check((1 if urgent else 2, next(self._arrivals)), work, future))
        return await future

    def close(self) -> None:
        """Begin no more work; what is under way ends unheard."""
        self._closed = True
        self._waiting.put(_Check((0, 0), None))

    def _start(self) -> None:
        self._thread = Thread(target=self._serve, name="answer-check", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            check = self._waiting.get()
            if check.work is None or check.future is None:
                return
            if check.future.cancelled():
                continue
            try:
                _tell(check.future, check.work(), None)
            except BitaiError as error:
                _tell(check.future, None, error)
            except (
                BaseException
            ) as error:  # a bug: told where the work was asked for, and another thread goes on
                _tell(check.future, None, error)
                self._start()
                raise


def _tell(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    def settle() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        elif isinstance(error, StopIteration):  # the one exception that no future takes
            future.set_exception(RuntimeError(repr(error)))
        else:
            future.set_exception(error)

    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
        future.get_loop().call_soon_threadsafe(settle)
