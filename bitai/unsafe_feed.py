"""Carry signed unsafe blocks from the sequencer to full nodes over a WebSocket, and transactions the other way.

Nothing here is trusted or needed: a full node checks each block whole, and lives from Bitcoin alone when the
feed is silent, wrong or gone. Two signed blocks with one parent and one origin are kept as evidence.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol

import aiohttp
import orjson
import structlog
from aiohttp import WSMsgType, web

from primitives.errors import BitaiError, Rejected, Temporary
from primitives.hashes import sha256
from primitives.ids import Hash32
from rollup.follower.signed_block import (
    MAX_SIGNED_BLOCK_BYTES,
    SignedBlock,
    decode_signed_block,
    encode_signed_block,
    require_signature,
)
from vm.store import WriteBatch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from primitives.ids import XOnlyKey
    from vm.store import KeyValueStore

log = structlog.get_logger(__name__)

PATH: Final = "/unsafe"
MAX_FOLLOWERS: Final = 64
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 15.0
REMEMBERED_BLOCKS: Final = 4_096
EVIDENCE_PREFIX: Final = b"V"


class BlockSource(Protocol):
    """The sequencer's chain."""

    def signed(self, number: int) -> SignedBlock | None:
        """Return a block of the chain, signed, or None beyond the head."""
        ...


class UnsafeServer:
    """Sends every follower the blocks from the one it asks for, and then each new one."""

    def __init__(self, source: BlockSource) -> None:
        """Serve blocks of this source."""
        self._source = source
        self._news = asyncio.Condition()
        self._followers = 0

    def add_routes(self, app: web.Application) -> None:
        """Serve at /unsafe of an application."""
        app.router.add_get(PATH, self._serve)

    async def announce(self) -> None:
        """Say that the head has moved."""
        async with self._news:
            self._news.notify_all()

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=64, heartbeat=20)
        await socket.prepare(request)
        if self._followers >= MAX_FOLLOWERS:
            await socket.close(message=b"too many followers")
            return socket
        self._followers += 1
        try:
            frame = await socket.receive(timeout=10)
            if frame.type is WSMsgType.BINARY and len(frame.data) == 8:
                await self._feed(socket, int.from_bytes(frame.data, "big"))
        except (TimeoutError, ConnectionError) as error:
            log.debug("follower left", reason=str(error))
        finally:
            self._followers -= 1
            await socket.close()
        return socket

    async def _feed(self, socket: web.WebSocketResponse, number: int) -> None:
        sent: Hash32 | None = None
        reader = asyncio.create_task(_until_closed(socket))
        try:
            while not reader.done():
                block = await asyncio.to_thread(self._source.signed, number)
                if block is not None and sent is not None and block.parent_hash != sent:
                    number, sent = max(0, number - 1), None  # our own chain was rewound: tell from below
                    continue
                if block is not None:
                    await socket.send_bytes(encode_signed_block(block))
                    number, sent = number + 1, block.hash
                    continue
                if sent is not None:
                    before = await asyncio.to_thread(self._source.signed, number - 1)
                    if before is None or before.hash != sent:
                        number, sent = max(0, number - 2), None
                        continue
                await self._wait()
        finally:
            reader.cancel()

    async def _wait(self) -> None:
        async with self._news:
            try:
                async with asyncio.timeout(5):
                    await self._news.wait()
            except TimeoutError:
                return


async def _until_closed(socket: web.WebSocketResponse) -> None:
    async for _ in socket:
        pass


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
    ) -> None:
        """Follow `url`; `apply` raises `Rejected` for a block that does not fit now."""
        self._url = url.rstrip("/") + PATH
        self._identity = identity
        self._sequencer = sequencer
        self._store = store
        self._next_number = next_number
        self._apply = apply
        self._seen: OrderedDict[bytes, SignedBlock] = OrderedDict()
        self._lower = 0
        self._taken = 0
        self.connected = False

    async def run(self) -> None:
        """Follow for as long as the node runs."""
        wait_s = FIRST_WAIT_S
        while True:
            try:
                await self._follow()
                wait_s = FIRST_WAIT_S
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                if self.connected or wait_s == FIRST_WAIT_S:
                    log.warning("sequencer away: following Bitcoin alone", url=self._url, reason=str(error))
                wait_s = min(LONGEST_WAIT_S, wait_s * 2)
            except BitaiError as error:
                log.warning("sequencer's feed broke", code=error.code, reason=error.message)
                # A Bitcoin reorg breaks a good feed; only one that gave nothing is left alone for longer.
                wait_s = FIRST_WAIT_S if self._taken else min(LONGEST_WAIT_S, wait_s * 2)
            self.connected = False
            await asyncio.sleep(wait_s)

    async def _follow(self) -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(
            self._url, max_msg_size=MAX_SIGNED_BLOCK_BYTES, heartbeat=20
        ) as socket:
            first = max(1, self._next_number() - self._lower)
            await socket.send_bytes(first.to_bytes(8, "big"))
            self.connected, self._taken = True, 0
            log.info("following the sequencer", url=self._url, first=first)
            async for frame in socket:
                if frame.type is not WSMsgType.BINARY:
                    return
                await self._take(decode_signed_block(frame.data))

    async def _take(self, block: SignedBlock) -> None:
        require_signature(block, self._identity, self._sequencer)
        self._keep_evidence(block)
        while True:
            try:
                await self._apply(block)
            except Temporary:  # its origin is not here yet: Bitcoin's block will come
                await asyncio.sleep(0.2)
                continue
            except Rejected:
                self._lower = min(2 * self._lower + 8, 1_024)  # ask again from further below
                raise
            self._lower = 0
            self._taken += 1
            return

    def _keep_evidence(self, block: SignedBlock) -> None:
        place = bytes(block.parent_hash + block.data.origin.hash)
        other = self._seen.get(place)
        if other is None:
            self._seen[place] = block
            if len(self._seen) > REMEMBERED_BLOCKS:
                self._seen.popitem(last=False)
        elif other.hash != block.hash:
            batch = WriteBatch()
            for each in (other, block):
                batch.put(EVIDENCE_PREFIX + sha256(place) + each.hash, encode_signed_block(each))
            self._store.write(batch, sync=True)
            log.error("the sequencer signed two blocks for one place", number=block.data.number)


class SequencerClient:
    """Forwards transactions to the sequencer's JSON-RPC."""

    def __init__(self, url: str) -> None:
        """`url` is the feed's; JSON-RPC answers on the same port."""
        self._url = url.replace("ws://", "http://", 1).replace("wss://", "https://", 1)

    async def submit(self, raw: bytes) -> Hash32:
        """Send one transaction. Errors: `Rejected` "sequencer.refused" with its words, `Temporary` "sequencer.away"."""
        body = {"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": ["0x" + raw.hex()]}
        try:
            timeout = aiohttp.ClientTimeout(total=20)
            async with aiohttp.ClientSession(timeout=timeout) as session, session.post(
                self._url, data=orjson.dumps(body), headers={"Content-Type": "application/json"}
            ) as response:
                answer = orjson.loads(await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError, orjson.JSONDecodeError) as error:
            raise Temporary("sequencer.away", f"the sequencer does not answer: {error}") from error
        if answer.get("error"):
            raise Rejected("sequencer.refused", str(answer["error"].get("message", "refused")))
        return Hash32(bytes.fromhex(str(answer["result"])[2:]))
