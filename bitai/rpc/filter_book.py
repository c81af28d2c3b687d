"""The filters that a node keeps for its clients: bounded, ended when idle, and on disk so that a restart keeps them.

A restart does not count as a client's idleness: a filter goes on with the time that it had left. Cursors are written
together every few seconds, never while a client waits.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import structlog

from bitai.rpc.filter_rows import ID_BYTES, FilterCursor, StoredFilter
from bitai.rpc.framing import SERVER_ERROR, RpcError
from bitai.rpc.limits import over
from bitai.rpc.log_query import LogQuery, parse_log_query

if TYPE_CHECKING:
    from collections.abc import Callable

    from bitai.metrics import Metrics
    from bitai.rpc.context import Context
    from bitai.rpc.filter_rows import FilterRows
    from bitai.rpc.head_feed import HeadFeed

log = structlog.get_logger(__name__)

MAX_WEIGHT: Final = 100_000
"""Addresses and topics in all filters together."""
WRITE_EVERY_S: Final = 2.0
"""What a crash may take back of cursors; a client is then told once more."""


class Kind(StrEnum):
    """What a filter tells of."""

    LOGS = "logs"
    BLOCKS = "blocks"
    PENDING = "pending"


@dataclass(slots=True)
class Filter:
    """A definition and a cursor: `number` and `hash` are the last block told of, `cursor` is the feed's.

    `catch_up` is set after a restart: the head at that time, up to which the chain itself is read at the next poll.
    """

    kind: Kind
    query: LogQuery | None
    cursor: int
    number: int
    hash: bytes
    used_at_s: float
    catch_up: int | None = None

    @property
    def weight(self) -> int:
        """How many values it compares with."""
        return self.query.weight if self.query is not None else 1


class FilterBook:
    """All of them; belongs to the event loop."""

    def __init__(
        self,
        context: Context,
        feed: HeadFeed,
        *,
        rows: FilterRows | None,
        metrics: Metrics | None,
        clock: Callable[[], float],
    ) -> None:
        """Keep them in `rows`, or in memory alone; `clock` in seconds."""
        self._context = context
        self._feed = feed
        self._rows = rows
        self._metrics = metrics
        self._clock = clock
        self._filters: OrderedDict[bytes, Filter] = OrderedDict()
        self._moved: set[bytes] = set()
        self._gone: set[bytes] = set()
        self._weight = 0
        self._log_filters = 0
        self._stop_logs: Callable[[], None] | None = None
        self._writing: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many there are."""
        return len(self._filters)

    # -- over a restart ---------------------------------------------------------------------------

    async def open(self) -> None:
        """Take up what an earlier run kept; before the chain moves, so that what leaves it is told as removed."""
        if self._rows is None:
            return
        for kept in await self._context.workers.run(lambda rows: list(rows.read()), self._rows):
            self._take_up(kept)
        if self._filters:
            cursor = await self._feed.start()
            head = self._feed.head
            for each in self._filters.values():
                each.cursor, each.catch_up = cursor, head
            log.info("filters kept over the restart", filters=len(self._filters))
        self._writing = asyncio.create_task(self._write_now_and_then())

    def _take_up(self, kept: StoredFilter | bytes) -> None:
        if isinstance(kept, bytes):
            self._gone.add(kept)
            return
        header = self._context.blocks.header(kept.cursor.number)
        on_chain = header is not None and header.hash == kept.cursor.hash
        if kept.kind not in tuple(Kind) or not on_chain:  # it cannot be told what it missed
            self._gone.add(kept.id)
            return
        query = parse_log_query(kept.query) if kept.kind == Kind.LOGS else None
        used_at_s = self._clock() - kept.cursor.idle_ms / 1_000
        cursor = kept.cursor
        self._filters[kept.id] = Filter(Kind(kept.kind), query, 0, cursor.number, cursor.hash, used_at_s)
        self._weigh(self._filters[kept.id], 1)

    async def close(self) -> None:
        """Write where each filter stands, and how long it has been idle."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        if self._rows is not None:
            self._moved.update(self._filters)
            self._rows.move(*self._changes())

    async def _write_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            self.drop_idle()
            if self._rows is not None and (self._moved or self._gone):
                await self._context.workers.run(self._rows.move, *self._changes())

    def _changes(self) -> tuple[list[tuple[bytes, FilterCursor]], list[bytes]]:
        moved = [(each, self._cursor(self._filters[each])) for each in self._moved if each in self._filters]
        gone = list(self._gone)
        self._moved.clear()
        self._gone.clear()
        return moved, gone

    def _cursor(self, each: Filter) -> FilterCursor:
        return FilterCursor(each.number, each.hash, max(0, int((self._clock() - each.used_at_s) * 1_000)))

    # -- while running ----------------------------------------------------------------------------

    async def install(self, kind: Kind, query: LogQuery | None, asked: Any) -> str:
        """Keep a new filter and return its id; `asked` is the query as it came. Errors: LIMIT_EXCEEDED."""
        self.drop_idle()
        weight = query.weight if query is not None else 1
        if len(self._filters) >= self._context.limits.filters or self._weight + weight > MAX_WEIGHT:
            raise over("too many filters", "filters", "uninstall some, or use eth_getLogs")
        cursor = self._feed.pending.moves if kind is Kind.PENDING else await self._feed.start()
        header = self._context.blocks.header(self._feed.head if self._feed.head is not None else 0)
        if header is None:
            raise RpcError(SERVER_ERROR, "the chain moved while it was read; ask again")
        made = Filter(kind, query, cursor, header.number, header.hash, self._clock())
        filter_id = secrets.token_bytes(ID_BYTES)
        self._filters[filter_id] = made
        self._weigh(made, 1)
        if self._rows is not None:
            kept = StoredFilter(filter_id, kind, asked, self._cursor(made))
            await self._context.workers.run(self._rows.put, kept)
        return "0x" + filter_id.hex()

    def use(self, filter_id: Any) -> Filter:
        """Return a filter and note that it is in use. Errors: "filter not found", the words viem waits for."""
        self.drop_idle()
        key = _key(filter_id)
        found = self._filters.get(key)
        if found is None:
            raise RpcError(SERVER_ERROR, "filter not found")
        found.used_at_s = self._clock()
        self._filters.move_to_end(key)
        self._moved.add(key)
        return found

    def drop(self, filter_id: Any) -> bool:
        """End a filter; return whether there was one."""
        key = _key(filter_id)
        dropped = self._filters.pop(key, None)
        if dropped is None:
            return False
        self._gone.add(key)
        self._weigh(dropped, -1)
        return True

    def drop_idle(self) -> None:
        """End those that nobody has asked for too long."""
        oldest = self._clock() - self._context.limits.filter_seconds
        while self._filters:
            key, each = next(iter(self._filters.items()))
            if each.used_at_s > oldest:
                return
            self.drop("0x" + key.hex())

    def _weigh(self, each: Filter, sign: int) -> None:
        self._weight += sign * each.weight
        self._log_filters += sign * (each.kind is Kind.LOGS)
        if self._log_filters and self._stop_logs is None:
            self._stop_logs = self._feed.watch_logs()
        elif not self._log_filters and self._stop_logs is not None:
            self._stop_logs()
            self._stop_logs = None
        if self._metrics is not None:
            self._metrics.set("rpc_filters", len(self._filters))


def _key(filter_id: Any) -> bytes:
    """Return the id as it is kept; what is no id is nobody's."""
    if not isinstance(filter_id, str) or not filter_id.startswith("0x") or len(filter_id) != 2 + 2 * ID_BYTES:
        return b""
    try:
        return bytes.fromhex(filter_id[2:])
    except ValueError:
        return b""
