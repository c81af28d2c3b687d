"""Tell who left the chain and who came, in order: what subscriptions, filters and waiting senders follow.

The node calls `announce` after each step of its chain, which costs it nothing: the feed looks at the chain by itself,
on a thread of its own, so that no crowd of callers can hold up blocks. It compares the chain with its own trail of
recent blocks, and so cannot miss a rewind and needs nobody's word for what changed. What it keeps is bounded: hashes
of recent blocks, and their logs (a block that left the chain can no longer be read) while anybody wants them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from bitai.rpc.params import LATEST
from bitai.rpc.stored_blocks import StoredBlock, read_block
from primitives.errors import BitaiError

if TYPE_CHECKING:
    from bitai.rpc.context import BlockReader
    from bitai.rpc.log_query import LogQuery
    from bitai.rpc.pending_feed import PendingFeed
    from bitai.rpc.sync_feed import SyncFeed
    from vm._core import Header

log = structlog.get_logger(__name__)

TRAIL: Final = 512
"""Recent blocks remembered by hash; a rewind is not told further back than that."""
JOURNAL: Final = 4_096
"""Moves remembered, so that a filter polled now and then learns of each."""
KEPT_LOGS: Final = 20_000
"""Logs of recent blocks kept, in all, to be told again as removed."""


@dataclass(frozen=True, slots=True)
class BlockNews:
    """One block that came or left; `logs` only while somebody wants logs."""

    number: int
    hash: bytes
    removed: bool
    header: Header | None = None
    block: StoredBlock | None = None

    @property
    def weight(self) -> int:
        """What it costs to keep: itself, and each log."""
        return 1 + (_count(self.block) if self.block is not None else 0)

    def logs(self, query: LogQuery) -> Iterator[dict[str, Any]]:
        """Show the logs that a query wants, marked as what they are now; blocking."""
        if self.block is not None and query.may_match(self.block.header.logs_bloom):
            for each in self.block.log_objects(query):
                yield each | {"removed": self.removed}


NO_LOGS: Final = bytes(256)
"""The bloom of a block without logs."""

Listener = Callable[[tuple[BlockNews, ...]], None]


class HeadFeed:
    """Follows one chain; its methods belong to the event loop."""

    def __init__(self, blocks: BlockReader, *, pending: PendingFeed, sync: SyncFeed) -> None:
        """Follow nothing until `start`; `pending` tells of what no block has yet, `sync` of falling behind."""
        self.pending = pending
        self.sync = sync
        self._blocks = blocks
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="head-feed")
        self._trail: deque[tuple[int, bytes]] = deque(maxlen=TRAIL)
        self._journal: deque[BlockNews] = deque(maxlen=JOURNAL)
        self._kept: OrderedDict[bytes, StoredBlock] = OrderedDict()
        self._kept_logs = 0
        self._listeners: list[Listener] = []
        self._log_watchers = 0
        self._moves = 0
        self._started = False
        self._stale = False
        self._looking: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()
        self._turn = asyncio.Lock()

    @property
    def head(self) -> int | None:
        """The newest block that was told, None before `start`."""
        return self._trail[-1][0] if self._trail else None

    @property
    def moves(self) -> int:
        """How many blocks came and left so far: a cursor for `since` and `until_moved`."""
        return self._moves

    async def start(self) -> int:
        """Follow the chain from now on, if that has not begun; return the cursor of now."""
        self._started = True
        if not self._trail:
            async with self._turn:
                if not self._trail:
                    await asyncio.get_running_loop().run_in_executor(self._thread, self._prime)
        return self._moves

    def announce(self) -> None:
        """Say that the chain has moved; costs nothing until somebody has called `start`."""
        self._stale = self._started
        if self._stale and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look_while_stale())

    async def _look_while_stale(self) -> None:
        while self._stale:
            self._stale = False
            try:
                await self.look()
            except BitaiError as error:
                log.exception("the feed of heads cannot read the chain", code=error.code)

    async def look(self) -> None:
        """Look at the chain and tell what changed."""
        async with self._turn:
            if not self._trail:  # nobody has asked yet
                return
            news = await asyncio.get_running_loop().run_in_executor(self._thread, self._compare)
            for each in news:
                self._remember(each)
            for listener in tuple(self._listeners):
                listener(news)
        async with self._news:
            self._news.notify_all()

    async def close(self) -> None:
        """End: the chain is closed next."""
        self._started = self._stale = False
        self.sync.close()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def until_moved(self, seen: int) -> None:
        """Wait until there is news after a cursor."""
        async with self._news:
            await self._news.wait_for(lambda: self._moves != seen)

    def since(self, cursor: int) -> tuple[BlockNews, ...] | None:
        """Return the news after a cursor, oldest first; None if it is too long ago."""
        missing = self._moves - cursor
        if missing > len(self._journal):
            return None
        return tuple(self._journal)[len(self._journal) - missing :] if missing else ()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Have `listener` called with each change; returns what ends that. It must not block."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def watch_logs(self) -> Callable[[], None]:
        """Keep logs from now on, until what this returns is called."""
        self._log_watchers += 1

        def stop() -> None:
            self._log_watchers -= 1
            if not self._log_watchers:
                self._kept.clear()
                self._kept_logs = 0

        return stop

    # -- on the feed's thread ---------------------------------------------------------------------

    def _prime(self) -> None:
        """Remember the recent blocks, so that a rewind below the head of now is told from its fork on.

        While somebody wants logs, also those of these blocks: they may leave the chain next.
        """
        head = self._blocks.resolve(LATEST)
        found: list[tuple[int, bytes]] = []
        logged: list[StoredBlock] = []
        logs, parent_hash = 0, b""
        for number in range(head if head is not None else -1, max(-1, (head or 0) - TRAIL), -1):
            header = self._blocks.header(number)
            if header is None or (found and header.hash != parent_hash):
                break  # the chain moves: what was found so far belongs together
            found.append((number, header.hash))
            parent_hash = header.parent_hash
            block = self._came(header).block if logs < KEPT_LOGS else None
            if block is not None:
                logged.append(block)
                logs += _count(block)
        self._trail.extend(reversed(found))
        for block in reversed(logged):
            self._keep(block)

    def _compare(self) -> tuple[BlockNews, ...]:
        """Compare the chain with the trail: blocks that left, newest first, then those that came.

        Nothing is told while the chain moves under the look: whoever moves it announces that next.
        """
        head = self._blocks.resolve(LATEST)
        if head is None:
            return ()
        left: list[BlockNews] = []
        parent: tuple[int, bytes] | None = None
        for number, block_hash in reversed(self._trail):
            header = self._blocks.header(number)
            if header is not None and header.hash == block_hash:
                parent = (number, block_hash)
                break
            left.append(BlockNews(number, block_hash, removed=True, block=self._kept.get(block_hash)))
        after = -1 if parent is None else parent[0]
        came: list[BlockNews] = []
        for number in range(max(after + 1, head - TRAIL + 1), head + 1):
            header = self._blocks.header(number)
            if header is None:
                return ()
            if parent is not None and number == parent[0] + 1 and header.parent_hash != parent[1]:
                return ()
            came.append(self._came(header))
            parent = (number, header.hash)
        return (*left, *came)

    def _came(self, header: Header) -> BlockNews:
        block = None
        if self._log_watchers and header.logs_bloom != NO_LOGS:
            found = read_block(self._blocks, header.number, receipts=True)
            if found is not None and found.header.hash == header.hash:
                block = found
        return BlockNews(header.number, header.hash, removed=False, header=header, block=block)

    # -- on the event loop ----------------------------------------------------------------------

    def _remember(self, news: BlockNews) -> None:
        self._moves += 1
        self._journal.append(BlockNews(news.number, news.hash, news.removed))
        if news.removed:
            self._trail.pop()
            return
        self._trail.append((news.number, news.hash))
        if news.block is not None:
            self._keep(news.block)

    def _keep(self, block: StoredBlock) -> None:
        self._kept[block.header.hash] = block
        self._kept_logs += _count(block)
        while self._kept_logs > KEPT_LOGS and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._kept_logs -= _count(dropped)

    def kept(self, block_hash: bytes) -> StoredBlock | None:
        """Return a recent block with its receipts, also one that has left the chain, while it is kept."""
        return self._kept.get(block_hash)


def _count(block: StoredBlock) -> int:
    return sum(len(each.logs) for each in block.receipts)
