"""Answer polling clients: `eth_newFilter` and its kin.

A filter is a definition and a cursor into the feed of heads (bitai/rpc/filter_book.py); nothing is collected for
clients that never come back.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from bitai.rpc.encode import data
from bitai.rpc.filter_book import Filter, FilterBook, Kind
from bitai.rpc.framing import SERVER_ERROR, RpcError
from bitai.rpc.log_query import LogQuery, parse_log_query
from bitai.rpc.methods_blocks import BlockMethods
from bitai.rpc.params import LATEST, BlockId, invalid, require_count
from primitives.errors import Rejected

if TYPE_CHECKING:
    from bitai.rpc.context import Context, Method
    from bitai.rpc.head_feed import BlockNews, HeadFeed
    from vm._core import Header


class FilterMethods:
    """The methods, over one context."""

    def __init__(self, context: Context, blocks: BlockMethods, feed: HeadFeed, book: FilterBook) -> None:
        """Answer from this context; `book` keeps the filters."""
        self._context = context
        self._blocks = blocks
        self._feed = feed
        self._book = book

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
        return await self._book.install(Kind.LOGS, query, params[0])

    async def new_block_filter(self, params: list[Any]) -> str:
        """eth_newBlockFilter."""
        require_count(params, 0, 0)
        return await self._book.install(Kind.BLOCKS, None, None)

    async def new_pending_filter(self, params: list[Any]) -> str:
        """eth_newPendingTransactionFilter: what this node is sent."""
        require_count(params, 0, 0)
        return await self._book.install(Kind.PENDING, None, None)

    async def changes(self, params: list[Any]) -> list[Any]:
        """eth_getFilterChanges(id): hashes, or logs, since the last time; logs that left are `removed`."""
        require_count(params, 1, 1)
        found = self._book.use(params[0])
        if found.kind is Kind.PENDING:
            return self._pending_changes(params[0], found)
        cursor, news = self._feed.moves, self._feed.since(found.cursor)
        try:
            changes, last = await self._context.workers.run(self._changes, found, news)
        except _TooManyError as error:  # more than one answer holds: begin anew
            self._book.drop(params[0])
            raise RpcError(SERVER_ERROR, "filter not found") from error
        found.cursor, found.catch_up = cursor, None
        found.number, found.hash = last
        return changes

    def _pending_changes(self, filter_id: str, asked: Filter) -> list[str]:
        hashes = self._feed.pending.since(asked.cursor)
        if hashes is None:
            self._book.drop(filter_id)
            raise RpcError(SERVER_ERROR, "filter not found")
        asked.cursor = self._feed.pending.moves
        return [data(each) for each in hashes]

    def _changes(self, asked: Filter, news: tuple[BlockNews, ...] | None) -> tuple[list[Any], _Told]:
        """Return what is new to a filter, and the last block that this tells of; blocking."""
        if news is None:
            head = self._header(self._context.require_number(LATEST))
            return self._scan(asked, head.number), (head.number, head.hash)
        seen, changes = _net(news), list[Any]()
        if asked.catch_up is not None:
            kept = min((each.number - 1 for each in seen if each.removed), default=asked.catch_up)
            changes += self._scan(asked, min(kept, asked.catch_up))
            # What was never told need not be told as removed.
            seen = tuple(each for each in seen if not each.removed or each.number <= asked.number)
        for each in seen:
            if asked.query is None:
                changes += [] if each.removed else [data(each.hash)]
                continue
            logs = self._logs_of(asked.query, each)
            if changes and len(changes) + len(logs) > self._context.limits.logs:
                raise _TooManyError  # one block passes, however many it holds
            changes += logs
        return changes, self._told(asked, news)

    def _told(self, asked: Filter, news: tuple[BlockNews, ...]) -> _Told:
        """Return the block up to which the news tell."""
        if not news:
            if asked.catch_up is None or asked.catch_up == asked.number:
                return asked.number, asked.hash
            header = self._header(asked.catch_up)
            return header.number, header.hash
        last = news[-1]
        if not last.removed:
            return last.number, last.hash
        header = self._header(last.number - 1)
        return header.number, header.hash

    def _header(self, number: int) -> Header:
        header = self._context.blocks.header(number)
        if header is None:
            raise Rejected("rpc.block_gone", "the chain moved while it was read; ask again")
        return header

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

    def _scan(self, asked: Filter, last: int) -> list[Any]:
        """Return what the chain itself holds after the block that a filter was told last, up to another."""
        number, query = asked.number, asked.query
        if number >= last:
            return []
        if query is not None:
            between = query.between(BlockId(number=number + 1), BlockId(number=last))
            try:
                return [*self._blocks.find_logs(between)]
            except RpcError as error:
                raise _TooManyError from error
        if last - number > self._context.limits.logs:
            raise _TooManyError
        headers = (self._context.blocks.header(each) for each in range(number + 1, last + 1))
        return [data(header.hash) for header in headers if header is not None]

    async def logs(self, params: list[Any]) -> list[dict[str, Any]]:
        """eth_getFilterLogs(id): everything that the filter's range holds now."""
        require_count(params, 1, 1)
        query = self._book.use(params[0]).query
        if query is None:
            raise RpcError(SERVER_ERROR, "filter not found")
        return await self._context.workers.run(self._blocks.find_logs, query)

    async def uninstall(self, params: list[Any]) -> bool:
        """eth_uninstallFilter(id): whether there was one."""
        require_count(params, 1, 1)
        return self._book.drop(params[0])


_Told = tuple[int, bytes]
"""Number and hash of the last block that a client has been told of."""


class _TooManyError(Exception):
    """A poll found more than one answer holds."""


def _net(news: tuple[BlockNews, ...]) -> tuple[BlockNews, ...]:
    """Leave out blocks that both came and left: a client that never saw them need not hear of them."""
    balance = Counter(each.hash for each in news if not each.removed)
    balance.subtract(each.hash for each in news if each.removed)
    net = {each.hash: each for each in news if balance[each.hash] == (-1 if each.removed else 1)}
    return tuple(each for each in news if net.get(each.hash) is each)
