"""Turn a Bitcoin node's changing tip into one ordered story: this block left, that block came.

Resumable from any (height, hash): what the consumer persisted with the last event it worked through. The
follower holds no state that matters; after a restart, of either side, the same story continues.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from l1.header_chain import require_work
from l1.ports import ChainPoint, Clock, L1Source
from primitives.bitcoin.header import HEADER_BYTES, BlockHeader, parse_header
from primitives.errors import ConfigError, InvalidInput, Rejected, Temporary
from primitives.ids import L1Hash, display_hash

log = structlog.get_logger(__name__)

REMEMBERED_BLOCKS: Final = 288
"""Hashes kept in memory, so that a node that forgot a stale branch can still be followed back over it."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The chain grew by a block; `raw` is its serialisation."""

    height: int
    header: BlockHeader
    raw: bytes


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The chain lost its tip."""

    height: int
    hash: L1Hash


L1Event = Connected | Disconnected


@dataclass(frozen=True, slots=True)
class FollowerConfig:
    """How often to ask, how far to read ahead (blocks), and how long to wait for a node that is away."""

    poll_ms: int = 1_000
    prefetch: int = 6
    first_wait_ms: int = 500
    longest_wait_ms: int = 15_000


class L1Follower:
    """Follow one node from a cursor on; `floor_height` is the lowest block that may be left."""

    def __init__(
        self,
        source: L1Source,
        clock: Clock,
        cursor: ChainPoint,
        *,
        config: FollowerConfig | None = None,
        floor_height: int = 0,
    ) -> None:
        """Begin after `cursor`, whose block is taken as worked through."""
        self._source = source
        self._clock = clock
        self._config = config or FollowerConfig()
        self._floor_height = floor_height
        self._cursor = cursor
        self._tip: ChainPoint | None = None
        self._asked_at_ms: int | None = None
        self._trail: deque[ChainPoint] = deque([cursor], maxlen=REMEMBERED_BLOCKS)

    @property
    def cursor(self) -> ChainPoint:
        """The newest block told of."""
        return self._cursor

    @property
    def tip(self) -> ChainPoint | None:
        """The node's tip when last asked; None before, and while it does not answer."""
        return self._tip

    @property
    def at_tip(self) -> bool:
        """Tell whether everything the node had when last asked was told."""
        return self._tip == self._cursor

    @property
    def waiting_ms(self) -> int:
        """How long the poll under way has waited for the node; 0 between polls."""
        return 0 if self._asked_at_ms is None else max(0, self._clock.now_ms() - self._asked_at_ms)

    async def poll(self) -> list[L1Event]:
        """Return the next events, at most one batch of them; empty when the node has nothing new.

        Raises Temporary while the node is away, or has not come as far as we have (`l1.behind`), and ConfigError
        `l1.unknown_cursor`, `l1.below_start` when it follows a chain that does not lead to where we are.
        """
        self._asked_at_ms = self._clock.now_ms()
        try:
            return await self._poll()
        finally:
            self._asked_at_ms = None

    async def _poll(self) -> list[L1Event]:
        try:
            self._tip = tip = await self._source.best_tip()
        except Temporary:
            self._tip = None  # what it was says nothing about now: the node does not call itself ready by it
            raise
        if tip == self._cursor:
            return []
        if tip.height < self._floor_height:
            raise self._behind(tip)
        left = await self._walk_back(tip)
        return [*left] if left else [*await self._walk_on(tip.height)]

    async def events(self, should_stop: Callable[[], bool] = lambda: False) -> AsyncIterator[L1Event]:
        """Yield events for ever, waiting out a node that is away; log each change of its state once."""
        wait_ms = 0
        while not should_stop():
            try:
                batch = await self.poll()
            except Temporary as error:
                if wait_ms == 0:
                    log.warning("bitcoin_away", code=error.code, reason=error.message)
                wait_ms = min(max(wait_ms * 2, self._config.first_wait_ms), self._config.longest_wait_ms)
                await self._clock.sleep_ms(wait_ms)
                continue
            if wait_ms:
                log.info("bitcoin_back", height=self._tip.height if self._tip else None)
                wait_ms = 0
            for event in batch:
                yield event
            if not batch:
                await self._clock.sleep_ms(self._config.poll_ms)

    def _behind(self, tip: ChainPoint) -> Temporary:
        """A node that starts anew or indexes anew knows less than before, which takes nothing back.

        Nor is it a tip to be ready by, or to make blocks on.
        """
        self._tip = None
        return Temporary(
            "l1.behind",
            f"the Bitcoin node is at block {tip.height}, we at {self._cursor.height}: it comes after",
        )

    async def _walk_back(self, tip: ChainPoint) -> list[Disconnected]:
        """Leave blocks until one is on the node's active chain; all of them at once, or none if it fails."""
        left: list[Disconnected] = []
        point = self._cursor
        while not await self._is_active(point):
            if point.height <= self._floor_height:
                raise ConfigError(
                    "l1.below_start",
                    "the node's chain leaves ours below the block that we start from",
                    fix="point --l1-rpc at a node of the network that the rollup configuration names",
                    height=point.height,
                )
            left.append(Disconnected(point.height, point.hash))
            point = await self._find_parent(point, tip)
        if left and point == tip:
            raise self._behind(tip)
        if left:
            log.warning("bitcoin_reorg", fork=_shown(point), left=_shown(self._cursor), joined=_shown(tip))
            self._step_to(point)
        return left

    async def _is_active(self, point: ChainPoint) -> bool:
        try:
            return await self._source.block_hash(point.height) == point.hash
        except Rejected as error:
            if error.code == "l1.unknown_height":
                return False
            raise

    async def _find_parent(self, point: ChainPoint, tip: ChainPoint) -> ChainPoint:
        """Return the block before one that left the chain: from memory, else from the node."""
        for older, newer in zip(self._trail, list(self._trail)[1:], strict=False):
            if newer == point:
                return older
        try:
            header = await self._source.header(point.hash)
        except Rejected as error:
            if tip.height < self._cursor.height:
                raise self._behind(tip) from error
            raise ConfigError(
                "l1.unknown_cursor",
                f"the node does not know block {display_hash(point.hash)}, which we have worked through",
                fix="point --l1-rpc at the node used before, or move the folder `chain` of the datadir away",
                height=point.height,
            ) from error
        return ChainPoint(point.height - 1, header.previous)

    async def _walk_on(self, tip_height: int) -> list[Connected]:
        """Read blocks above the cursor side by side, and take those that link."""
        first = self._cursor.height + 1
        heights = range(first, min(tip_height, first + self._config.prefetch - 1) + 1)
        blocks = await asyncio.gather(*(self._fetch(height) for height in heights))
        came: list[Connected] = []
        for height, raw in zip(heights, blocks, strict=True):
            header = None if raw is None else _read_header(raw)
            if raw is None or header is None or header.previous != self._cursor.hash:
                break  # the chain changed while we read; the next poll walks back
            came.append(Connected(height, header, raw))
            self._step_to(ChainPoint(height, header.hash))
        return came

    async def _fetch(self, height: int) -> bytes | None:
        """Return a raw block of the active chain, None when it is gone again."""
        try:
            return await self._source.raw_block(await self._source.block_hash(height))
        except Rejected:
            return None

    def _step_to(self, point: ChainPoint) -> None:
        while self._trail and self._trail[-1].height >= point.height:
            self._trail.pop()
        self._trail.append(point)
        self._cursor = point


def _shown(point: ChainPoint) -> str:
    return f"{point.height} {display_hash(point.hash)}"


def _read_header(raw: bytes) -> BlockHeader:
    """Return a block's header once it proves its work; a node that sends another is not to be trusted."""
    try:
        header = parse_header(raw[:HEADER_BYTES])
        require_work(header)
    except InvalidInput as error:
        raise Temporary("l1.bad_answer", "the node sent a block without work") from error
    return header
