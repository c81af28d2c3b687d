"""Keep what polling clients asked to be told: `eth_newFilter` and its kin.

A filter is a definition and a cursor into the feed of heads; nothing is collected for clients that never come
back. One that is not polled for some minutes is dropped, as clients expect.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bitai.rpc.encode import data
from bitai.rpc.framing import LIMIT_EXCEEDED, SERVER_ERROR, RpcError
from bitai.rpc.log_query import LogQuery, parse_log_query
from bitai.rpc.methods_blocks import MAX_LOGS, BlockMethods
from bitai.rpc.params import LATEST, BlockId, invalid, require_count

if TYPE_CHECKING:
    from bitai.metrics import Metrics
    from bitai.rpc.context import Context, Method
    from bitai.rpc.head_feed import BlockNews, HeadFeed

IDLE_S: Final = 300.0
MAX_FILTERS: Final = 1_024
MAX_WEIGHT: Final = 100_000
"""Addresses and topics in all filters together."""


@dataclass(slots=True)
class _Filter:
    """`query` None means block hashes. `number` is the last block told of, `cursor` the feed's.

    `pending` means hashes of transactions that wait; `cursor` is of their feed then.
    """

    query: LogQuery | None
    cursor: int
    number: int
    used_at_s: float
    pending: bool = False


class FilterMethods:
    """The methods, over one context."""

    def __init__(
        self,
        context: Context,
        blocks: BlockMethods,
        feed: HeadFeed,
        *,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Answer from this context; `clock` in seconds."""
        self._context = context
        self._blocks = blocks
        self._feed = feed
        self._metrics = metrics
        self._clock = clock
        self._filters: OrderedDict[str, _Filter] = OrderedDict()
        self._weight = 0
        self._log_filters = 0
        self._stop_logs: Callable[[], None] | None = None

    def table(self) -> dict[str, Method]:
        """Return method name -> implementation."""
        return {
            "eth_newFilter": self.new_filter,
            "eth_newBlockFilter": self.new_block_filter,
            "eth_newPendingTransactionFilter": self.new_pending_filter,
            "eth_getFilterChanges": self.changes,
            "eth_getFilterLogs": self.logs,
            "eth_uninstallFilter": self.uninstall,
        }

    async def new_filter(self, params: list[Any]) -> str:
        """eth_newFilter(query)."""
        require_count(params, 1, 1)
        query = parse_log_query(params[0])
        if query.block_hash is not None:
            raise invalid("a filter follows the chain; blockHash names one block")
        return await self._install(query)

    async def new_block_filter(self, params: list[Any]) -> str:
        """eth_newBlockFilter."""
        require_count(params, 0, 0)
        return await self._install(None)

    async def new_pending_filter(self, params: list[Any]) -> str:
        """eth_newPendingTransactionFilter: what this node is sent."""
        require_count(params, 0, 0)
        return await self._install(None, pending=True)

    async def _install(self, query: LogQuery | None, *, pending: bool = False) -> str:
        self._drop_idle()
        weight = query.weight if query is not None else 1
        if len(self._filters) >= MAX_FILTERS or self._weight + weight > MAX_WEIGHT:
            raise RpcError(LIMIT_EXCEEDED, "too many filters; uninstall some, or use eth_getLogs")
        cursor = self._feed.pending.moves if pending else await self._feed.start()
        number = self._context.require_number(LATEST)
        filter_id = "0x" + secrets.token_hex(16)
        self._filters[filter_id] = _Filter(query, cursor, number, self._clock(), pending)
        self._weigh(query, 1)
        return filter_id

    def _weigh(self, query: LogQuery | None, sign: int) -> None:
        self._weight += sign * (query.weight if query is not None else 1)
        self._log_filters += sign * (query is not None)
        if self._log_filters and self._stop_logs is None:
            self._stop_logs = self._feed.watch_logs()
        elif not self._log_filters and self._stop_logs is not None:
            self._stop_logs()
            self._stop_logs = None
        if self._metrics is not None:
            self._metrics.set("rpc_filters", len(self._filters))

    def _drop_idle(self) -> None:
        oldest = self._clock() - IDLE_S
        while self._filters:
            filter_id, each = next(iter(self._filters.items()))
            if each.used_at_s > oldest:
                return
            self._drop(filter_id)

    def _drop(self, filter_id: str) -> None:
        dropped = self._filters.pop(filter_id, None)
        if dropped is not None:
            self._weigh(dropped.query, -1)

    def _require(self, params: list[Any]) -> _Filter:
        """Return a filter and note that it is in use. Errors: "filter not found", the words viem waits for."""
        require_count(params, 1, 1)
        self._drop_idle()
        found = self._filters.get(params[0]) if isinstance(params[0], str) else None
        if found is None:
            raise RpcError(SERVER_ERROR, "filter not found")
        found.used_at_s = self._clock()
        self._filters.move_to_end(params[0])
        return found

    async def changes(self, params: list[Any]) -> list[Any]:
        """eth_getFilterChanges(id): hashes, or logs, since the last time; logs that left are `removed`."""
        found = self._require(params)
        if found.pending:
            return self._pending_changes(params[0], found)
        cursor, news = self._feed.moves, self._feed.since(found.cursor)
        try:
            changes, number = await self._context.workers.run(self._changes, found, news)
        except _TooManyError as error:  # more than one answer holds: begin anew, as after a restart
            self._drop(params[0])
            raise RpcError(SERVER_ERROR, "filter not found") from error
        found.cursor, found.number = cursor, number
        return changes

    def _pending_changes(self, filter_id: str, asked: _Filter) -> list[str]:
        hashes = self._feed.pending.since(asked.cursor)
        if hashes is None:
            self._drop(filter_id)
            raise RpcError(SERVER_ERROR, "filter not found")
        asked.cursor = self._feed.pending.moves
        return [data(each) for each in hashes]

    def _changes(self, asked: _Filter, news: tuple[BlockNews, ...] | None) -> tuple[list[Any], int]:
        """Return what is new to a filter, and the last block that this tells of."""
        if news is None:
            return self._scan(asked.query, asked.number)
        changes: list[Any] = []
        for each in _net(news):
            if asked.query is None:
                changes += [] if each.removed else [data(each.hash)]
                continue
            logs = self._logs_of(asked.query, each)
            if changes and len(changes) + len(logs) > MAX_LOGS:  # one block passes, however many it holds
                raise _TooManyError
            changes += logs
        return changes, (news[-1].number - news[-1].removed if news else asked.number)

    def _logs_of(self, query: LogQuery, news: BlockNews) -> list[dict[str, Any]]:
        if query.last.number is not None and news.number > query.last.number:
            return []
        if query.first.number is not None and news.number < query.first.number:
            return []
        kept = self._feed.kept(news.hash)
        if kept is not None:
            return [each | {"removed": news.removed} for each in kept.log_objects(query)]
        if news.removed:
            return []  # too old to be kept: whoever needs it finds it missing from the chain
        found = self._blocks.logs_of_block(news.number, query)
        return [each for each in found if each["blockHash"] == data(news.hash)]

    def _scan(self, query: LogQuery | None, number: int) -> tuple[list[Any], int]:
        """Return what the chain itself holds after a block: the filter was asked too rarely for the feed."""
        head = self._context.require_number(LATEST)
        if number >= head:
            return [], head
        if query is not None:
            between = query.between(BlockId(number=number + 1), BlockId(number=head))
            try:
                return self._blocks.find_logs(between), head
            except RpcError as error:
                raise _TooManyError from error
        if head - number > MAX_LOGS:
            raise _TooManyError
        headers = (self._context.blocks.header(each) for each in range(number + 1, head + 1))
        return [data(header.hash) for header in headers if header is not None], head

    async def logs(self, params: list[Any]) -> list[dict[str, Any]]:
        """eth_getFilterLogs(id): everything that the filter's range holds now."""
        query = self._require(params).query
        if query is None:
            raise RpcError(SERVER_ERROR, "filter not found")
        return await self._context.workers.run(self._blocks.find_logs, query)

    async def uninstall(self, params: list[Any]) -> bool:
        """eth_uninstallFilter(id): whether there was one."""
        require_count(params, 1, 1)
        if not isinstance(params[0], str) or params[0] not in self._filters:
            return False
        self._drop(params[0])
        return True


class _TooManyError(Exception):
    """A poll found more than one answer holds."""


def _net(news: tuple[BlockNews, ...]) -> tuple[BlockNews, ...]:
    """Leave out blocks that both came and left: a client that never saw them need not hear of them."""
    balance = Counter(each.hash for each in news if not each.removed)
    balance.subtract(each.hash for each in news if each.removed)
    net = {each.hash: each for each in news if balance[each.hash] == (-1 if each.removed else 1)}
    return tuple(each for each in news if net.get(each.hash) is each)
