"""Carry signed unsafe blocks from the sequencer to full nodes over a WebSocket.

Nothing here is trusted or needed: a full node checks each block whole, and lives from Bitcoin alone when the
feed is silent, wrong or gone. Two signed blocks with one parent and one origin are kept as evidence, also when they
were heard in different runs.
Layout: docs/spec/unsafe-blocks.md.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final, Protocol

import aiohttp
import structlog
from aiohttp import WSMsgType, web

from primitives.errors import InvalidInput, Rejected, Temporary
from primitives.ids import Hash32
from rollup.follower.signed_block import (
    MAX_SIGNED_BLOCK_BYTES,
    SignedBlock,
    Statement,
    decode_signed_block,
    encode_signed_block,
)
from vm.store import WriteBatch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from primitives.ids import XOnlyKey
    from vm.store import KeyValueStore

log = structlog.get_logger(__name__)

PATH: Final = "/unsafe"
MAX_FOLLOWERS: Final = 64
FIRST_WORD_S: Final = 10.0
SEND_LIMIT_S: Final = 30.0
LOOK_AGAIN_S: Final = 5.0
"""How long the server waits for an announcement before it looks at the chain anyway."""
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 15.0
ORIGIN_WAIT_S: Final = 0.2
ORIGIN_TRIES: Final = 150
"""Looks for a block's Bitcoin block, half a minute in all: then the sequencer is asked for what it has now."""
REMEMBERED_BLOCKS: Final = 4_096
"""Blocks whose statements are kept to compare with, at 200 bytes of disk and some more of memory each."""
SENT_BLOCKS: Final = 1_024
"""Sent blocks whose hashes the server remembers, to go back to where a rewind began."""
MAX_LOWER: Final = 1_024
EVIDENCE_PREFIX: Final = b"V"
MAX_EVIDENCE: Final = 128
"""Statements kept as evidence: two convict, and a broken sequencer may make many."""
HEARD_PREFIX: Final = b"L"
"""The statements heard last, each in the slot of its count modulo `REMEMBERED_BLOCKS`."""
_SLOT_BYTES: Final = 4
_COUNT_BYTES: Final = 8


class BlockSource(Protocol):
    """The sequencer's chain."""

    def signed(self, number: int) -> SignedBlock | None:
        """Return the first block from a number on that the sequencer made, signed, or None; blocking."""
        ...


class UnsafeServer:
    """Sends every follower the blocks from the one it asks for, and then each new one."""

    def __init__(self, source: BlockSource) -> None:
        """Serve blocks of this source."""
        self._source = source
        self._news = asyncio.Condition()
        self._announced = 0
        self._followers: set[web.WebSocketResponse] = set()

    @property
    def followers(self) -> int:
        """How many follow now."""
        return len(self._followers)

    def add_routes(self, app: web.Application) -> None:
        """Serve at /unsafe of an application."""
        app.router.add_get(PATH, self._serve)
        app.on_shutdown.append(self._close)

    async def announce(self) -> None:
        """Say that the head has moved."""
        async with self._news:
            self._announced += 1
            self._news.notify_all()

    async def _close(self, _: web.Application) -> None:
        closing = (each.close(message=b"the node stops") for each in self._followers)
        await asyncio.gather(*closing, return_exceptions=True)

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=64, heartbeat=20, compress=False)
        await socket.prepare(request)
        if len(self._followers) >= MAX_FOLLOWERS:
            await socket.close(message=b"too many followers")
            return socket
        self._followers.add(socket)
        try:
            frame = await socket.receive(timeout=FIRST_WORD_S)
            if frame.type is WSMsgType.BINARY and len(frame.data) == 8:
                await self._feed(socket, int.from_bytes(frame.data, "big"))
        except (TimeoutError, ConnectionError) as error:
            log.debug("follower left", reason=str(error))
        finally:
            self._followers.discard(socket)
            await socket.close()
        return socket

    async def _feed(self, socket: web.WebSocketResponse, first: int) -> None:
        """Send blocks from `first` on until the follower leaves."""
        tasks = [asyncio.create_task(each) for each in (_until_closed(socket), self._send_all(socket, first))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_all(self, socket: web.WebSocketResponse, number: int) -> None:
        sent: deque[Hash32] = deque(maxlen=SENT_BLOCKS)
        while True:
            seen = self._announced
            block = await asyncio.to_thread(self._source.signed, number)
            if block is not None and block.data.number > number:  # those between are Bitcoin's to tell
                number = block.data.number
                sent.clear()
            if block is not None and (not sent or block.parent_hash == sent[-1]):
                async with asyncio.timeout(SEND_LIMIT_S):
                    await socket.send_bytes(encode_signed_block(block))
                sent.append(block.hash)
                number += 1
                continue
            back = await asyncio.to_thread(self._rewound, number, sent)
            for _ in range(back):  # our own chain was rewound: tell from where it left
                sent.pop()
            number -= back
            if not back and block is None:
                await self._wait(seen)

    def _rewound(self, number: int, sent: deque[Hash32]) -> int:
        """Return how many of the blocks sent last are on the chain no more; blocking."""
        for back, block_hash in enumerate(reversed(sent)):
            block = self._source.signed(number - 1 - back)
            if block is not None and block.hash == block_hash:
                return back
        return len(sent)

    async def _wait(self, seen: int) -> None:
        async with self._news:
            try:
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await self._news.wait_for(lambda: self._announced != seen)
            except TimeoutError:
                return


async def _until_closed(socket: web.WebSocketResponse) -> None:
    async for _ in socket:
        pass


class StatementLog:
    """The statements heard last, and those that contradict each other; both outlive the process."""

    def __init__(self, store: KeyValueStore) -> None:
        """Open what the store holds."""
        self._store = store
        heard = sorted(value for _, value in store.scan(HEARD_PREFIX))
        self._count = int.from_bytes(heard[-1][:_COUNT_BYTES], "big") + 1 if heard else 0
        self._seen: OrderedDict[tuple[Hash32, bytes], Statement] = OrderedDict()
        for value in heard:
            self._remember(Statement.decode(value[_COUNT_BYTES:]))
        self._evidence = {key for key, _ in store.scan(EVIDENCE_PREFIX)}

    @property
    def evidence(self) -> int:
        """How many statements are kept that contradict another."""
        return len(self._evidence)

    def hear(self, said: Statement) -> bool:
        """Remember a signed statement; True if it contradicts one heard before and that was not known."""
        before = self._seen.get((said.parent_hash, said.origin_hash))
        if before is None:
            slot = self._count % REMEMBERED_BLOCKS
            value = self._count.to_bytes(_COUNT_BYTES, "big") + said.encode()
            # Not forced to the disk: the blocks that follow are, and what a power cut takes is the newest alone.
            self._store.write(
                WriteBatch([(HEARD_PREFIX + slot.to_bytes(_SLOT_BYTES, "big"), value)]), sync=False
            )
            self._count += 1
            self._remember(said)
            return False
        return said.contradicts(before) and self._keep(before, said)

    def _remember(self, said: Statement) -> None:
        self._seen[said.parent_hash, said.origin_hash] = said
        if len(self._seen) > REMEMBERED_BLOCKS:
            self._seen.popitem(last=False)

    def _keep(self, *pair: Statement) -> bool:
        """Put statements on the disk as evidence, if there is room; tell whether any was new."""
        rows = {
            EVIDENCE_PREFIX + each.parent_hash + each.origin_hash + each.block_hash: each.encode()
            for each in pair
        }
        new = rows.keys() - self._evidence
        if not new or len(self._evidence) + len(new) > MAX_EVIDENCE:
            return False
        self._store.write(WriteBatch(list(rows.items())), sync=True)
        self._evidence |= new
        return True


class UnsafeFollower:
    """Keeps a connection to the sequencer and hands over each block that its signature covers."""

    def __init__(
        self,
        url: str,
        identity: Hash32,
        sequencer: XOnlyKey,
        *,
        store: KeyValueStore,
        next_number: Callable[[], int],
        apply: Callable[[SignedBlock], Awaitable[None]],
        on_evidence: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Follow `url`; `apply` raises `Temporary` for a block that is too early, `Rejected` for a misfit.

        `on_evidence` is told how many statements are kept as evidence, at once and whenever there are more.
        """
        self._url = url.rstrip("/") + PATH
        self._identity = identity
        self._sequencer = sequencer
        self._statements = StatementLog(store)
        self._on_evidence = on_evidence
        on_evidence(self._statements.evidence)
        self._next_number = next_number
        self._apply = apply
        self._lower = 0
        self._taken = 0
        self.connected = False

    async def run(self) -> None:
        """Follow for as long as the node runs."""
        wait_s = FIRST_WAIT_S
        while True:
            away = False
            try:
                await self._follow()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                away = True
                if self.connected or wait_s == FIRST_WAIT_S:
                    log.warning("sequencer away: following Bitcoin alone", url=self._url, reason=str(error))
            except (InvalidInput, Rejected, Temporary) as error:
                log.warning("sequencer's feed broke", code=error.code, reason=error.message)
            self.connected = False
            # A Bitcoin reorg breaks a good feed; one that gave nothing is left alone for longer each time.
            wait_s = FIRST_WAIT_S if self._taken and not away else min(LONGEST_WAIT_S, wait_s * 2)
            self._taken = 0
            await asyncio.sleep(wait_s)

    async def _follow(self) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(self._url, max_msg_size=MAX_SIGNED_BLOCK_BYTES + 1, heartbeat=20) as socket,
        ):
            first = max(1, self._next_number() - self._lower)
            await socket.send_bytes(first.to_bytes(8, "big"))
            self.connected = True
            log.info("following the sequencer", url=self._url, first=first)
            async for frame in socket:
                if frame.type is not WSMsgType.BINARY:
                    return
                await self._take(await asyncio.to_thread(self._read, frame.data))

    def _read(self, raw: bytes) -> SignedBlock:
        """Decode a block and check its signature; blocking, milliseconds for a full one."""
        block = decode_signed_block(raw)
        block.statement.require_signature(self._identity, self._sequencer)
        return block

    async def _take(self, block: SignedBlock) -> None:
        if self._statements.hear(
            block.statement
        ):  # here: a thread might still write when the store is closed
            log.error("the sequencer signed two blocks for one place", number=block.data.number)
            self._on_evidence(self._statements.evidence)
        # What was asked for again from further below is here already; it is no sign of a feed that goes on.
        is_news = block.data.number >= self._next_number()
        for _ in range(ORIGIN_TRIES):
            try:
                await self._apply(block)
            except Temporary:  # its origin is not here yet: Bitcoin's block will come
                await asyncio.sleep(ORIGIN_WAIT_S)
                continue
            except Rejected:
                self._lower = min(2 * self._lower + 8, MAX_LOWER)  # ask again from further below
                raise
            if is_news:
                self._lower = 0
                self._taken += 1
            return
        raise Temporary("unsafe_block.origin_unknown", "its Bitcoin block has not come in a long time")
