"""Tell a WebSocket client of new heads, logs and waiting transactions as they come: `eth_subscribe`.

Each connection has its own, bounded, set; what is to be told goes into the connection's outbox, in the order in
which the chain moved, and never before the client knows the subscription's id. One block may hold tens of thousands
of logs and many connections may want them all: so they are written down a few at a time, on a thread of the
server's, and no faster than the client reads. Who falls too far behind is given up.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import orjson

from bitai.rpc.encode import data, header_object, transaction_object
from bitai.rpc.framing import INVALID_PARAMS, METHOD_NOT_FOUND, RpcError
from bitai.rpc.limits import over
from bitai.rpc.log_query import LogQuery, parse_log_query
from bitai.rpc.params import parse_bool, require_count
from bitai.rpc.pending_feed import PendingNews
from bitai.rpc.sync_feed import SyncNews

if TYPE_CHECKING:
    from bitai.rpc.framing import Call
    from bitai.rpc.head_feed import BlockNews, HeadFeed
    from bitai.rpc.workers import Workers

MAX_WEIGHT: Final = 10_000
"""Addresses and topics in all of one connection's subscriptions together."""
SLICE: Final = 128
"""Notifications written at a time: a few milliseconds, after which another connection has its turn."""
MAX_BEHIND: Final = 100_000
"""Blocks, logs and hashes that may wait to be told when news comes; a client that far behind reads too slowly."""
METHODS: Final = frozenset({"eth_subscribe", "eth_unsubscribe"})

Notify = Callable[[bytes], Awaitable[None]]
Piece: TypeAlias = "BlockNews | PendingNews | SyncNews"
News = tuple[Piece, ...]


class Plain(StrEnum):
    """What can be subscribed to beside logs."""

    HEADS = "newHeads"
    PENDING = "newPendingTransactions"
    WHOLE_PENDING = "newPendingTransactions, whole"
    SYNCING = "syncing"


Wanted = LogQuery | Plain


class Subscriptions:
    """The subscriptions of one connection; belongs to the event loop."""

    def __init__(
        self,
        feed: HeadFeed,
        notify: Notify,
        *,
        writer: Workers,
        on_behind: Callable[[], None],
        most: int = 64,
    ) -> None:
        """Follow `feed`; `notify` takes a notification once there is room, `writer` writes it down.

        `on_behind` is called when more waits than MAX_BEHIND. `most` of them there may be.
        """
        self._feed = feed
        self._notify = notify
        self._writer = writer
        self._on_behind = on_behind
        self._most = most
        self._wanted: dict[str, Wanted] = {}
        self._announced: set[str] = set()
        self._waiting: deque[tuple[News, tuple[str, ...]]] = deque()
        self._behind = 0
        self._came = asyncio.Event()
        self._stop_listening: Callable[[], None] | None = None
        self._stop_logs: Callable[[], None] | None = None
        self._stop_pending: Callable[[], None] | None = None
        self._stop_whole: Callable[[], None] | None = None
        self._stop_syncing: Callable[[], None] | None = None

    async def dispatch(self, call: Call, made: list[str]) -> Any:
        """Answer eth_subscribe(kind, ...) and eth_unsubscribe(id); new ids are added to `made`."""
        if call.method == "eth_unsubscribe":
            require_count(call.params, 1, 1)
            return self._unsubscribe(call.params[0])
        require_count(call.params, 1, 2)
        made.append(await self._subscribe(call.params))
        return made[-1]

    def activate(self, made: list[str]) -> None:
        """Begin to tell of subscriptions whose id the client has been told."""
        self._announced.update(each for each in made if each in self._wanted)
        asking = tuple(each for each in made if self._wanted.get(each) is Plain.SYNCING)
        if asking:  # who asks is told how things are, not only when they change
            self._queue((self._feed.sync.now(),), asking)

    def close(self) -> None:
        """End all of them."""
        self._wanted.clear()
        self._announced.clear()
        self._waiting.clear()
        self._adjust()

    async def _subscribe(self, params: list[Any]) -> str:
        wanted = _parse_wanted(params)
        weight = sum(each.weight for each in (*self._wanted.values(), wanted) if isinstance(each, LogQuery))
        if len(self._wanted) >= self._most or weight > MAX_WEIGHT:
            raise over("too many subscriptions on this connection", "subscriptions")
        await self._feed.start()
        subscription = "0x" + secrets.token_hex(16)
        self._wanted[subscription] = wanted
        self._adjust()
        return subscription

    def _unsubscribe(self, subscription: Any) -> bool:
        if not isinstance(subscription, str) or subscription not in self._wanted:
            raise RpcError(INVALID_PARAMS, "subscription not found")
        del self._wanted[subscription]
        self._announced.discard(subscription)
        self._adjust()
        return True

    def _adjust(self) -> None:
        """Follow the feed, and have it keep logs, only while that is wanted."""
        wanted = tuple(self._wanted.values())
        logs = any(isinstance(each, LogQuery) for each in wanted)
        heads = logs or Plain.HEADS in wanted
        feed, tell = self._feed, self._tell
        self._stop_listening = _switch(self._stop_listening, lambda: feed.listen(tell), wanted=heads)
        self._stop_logs = _switch(self._stop_logs, feed.watch_logs, wanted=logs)
        whole = Plain.WHOLE_PENDING in wanted
        self._stop_whole = _switch(self._stop_whole, feed.pending.want_whole, wanted=whole)
        syncing = Plain.SYNCING in wanted
        self._stop_syncing = _switch(self._stop_syncing, lambda: feed.sync.listen(tell), wanted=syncing)
        pending = whole or Plain.PENDING in wanted
        self._stop_pending = _switch(self._stop_pending, lambda: feed.pending.listen(tell), wanted=pending)

    def _tell(self, news: News) -> None:
        """Note what the subscriptions of this moment are to be told."""
        if not self._announced:
            return
        if self._behind > MAX_BEHIND:
            self._on_behind()
            return
        self._queue(news, tuple(sorted(self._announced)))

    def _queue(self, news: News, subscriptions: tuple[str, ...]) -> None:
        self._waiting.append((news, subscriptions))
        self._behind += sum(each.weight for each in news)
        self._came.set()

    async def run(self) -> None:
        """Tell what waits, for as long as the connection lives."""
        while True:
            await self._came.wait()
            self._came.clear()
            while self._waiting:
                await self._tell_all(*self._waiting.popleft())

    async def _tell_all(self, news: News, subscriptions: tuple[str, ...]) -> None:
        for each in news:
            for subscription in subscriptions:
                await self._tell_one(subscription, each)
            self._behind -= each.weight

    async def _tell_one(self, subscription: str, news: Piece) -> None:
        if subscription not in self._wanted:
            return
        results = _results(self._wanted[subscription], news)
        while results is not None and subscription in self._wanted:
            written = await self._writer.run(_write, subscription, results)
            for each in written:
                if subscription in self._wanted:  # nothing follows the answer to an unsubscription
                    await self._notify(each)
            if len(written) < SLICE:
                return


def _parse_wanted(params: list[Any]) -> Wanted:
    """Read what is subscribed to: a kind, and for logs a query."""
    kind, more = params[0], params[1] if len(params) > 1 else None
    if kind == "logs":
        return parse_log_query(more if more is not None else {})
    if not isinstance(kind, str) or kind not in {Plain.HEADS, Plain.PENDING, Plain.SYNCING}:
        raise RpcError(METHOD_NOT_FOUND, f'no "{str(kind)[:40]}" subscription in eth namespace')
    if kind == Plain.PENDING and more is not None and parse_bool(more, "whole transactions"):
        return Plain.WHOLE_PENDING
    return Plain(kind)


def _switch(
    stop: Callable[[], None] | None, start: Callable[[], Callable[[], None]], *, wanted: bool
) -> Callable[[], None] | None:
    """Start what is wanted and not there, stop what is there and not wanted; return what stops it now."""
    if wanted and stop is None:
        return start()
    if not wanted and stop is not None:
        stop()
        return None
    return stop


def _results(wanted: Wanted, news: Piece) -> Iterator[Any] | None:
    """Return what one piece of news is to a subscription: logs, a head that came, hashes; None if nothing."""
    if isinstance(news, SyncNews):
        return iter((news.result,)) if wanted is Plain.SYNCING else None
    if isinstance(news, PendingNews):
        if wanted is Plain.WHOLE_PENDING:
            return _whole(news) if news.raws else None
        return map(data, news.hashes) if wanted is Plain.PENDING else None
    if isinstance(wanted, LogQuery):
        return news.logs(wanted) if news.block is not None else None
    return iter((header_object(news.header),)) if wanted is Plain.HEADS and news.header is not None else None


def _whole(news: PendingNews) -> Iterator[Any]:
    """Show waiting transactions; they are decoded when the first is asked for, on the writer's thread."""
    for each in news.transactions:
        yield transaction_object(each, None, None, None)


def _write(subscription: str, results: Iterable[Any]) -> list[bytes]:
    """Return the next notifications, SLICE at most."""
    return [_notification(subscription, each) for each in islice(results, SLICE)]


def _notification(subscription: str, result: Any) -> bytes:
    params = {"subscription": subscription, "result": result}
    return orjson.dumps({"jsonrpc": "2.0", "method": "eth_subscription", "params": params})
