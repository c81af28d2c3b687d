"""Every implementation of the Bitcoin ports, each with a way to make blocks happen."""

import asyncio
import contextlib
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from bitai.adapters.bitcoin.credentials import CookieFile
from bitai.adapters.bitcoin.node import BitcoinNode
from bitai.adapters.bitcoin.transport import RpcTransport, TransportLimits
from l1.keys import open_wallet_key, sign_key_path
from l1.ports import L1Broadcaster, L1Source
from primitives.bitcoin.parser import parse_block
from primitives.bitcoin.transaction import Transaction, TxIn, TxOut
from primitives.ids import OutPoint
from tests.bitai.adapters.block_maker import make_block
from tests.bitai.adapters.rpc_profile import ProfileServer, load_profile
from tests.l1.fake_bitcoin import FakeBitcoin

ROOT = Path(__file__).resolve().parents[3]
KEY = open_wallet_key(b"\x05" * 32)
URL_VARIABLE = "BITAI_TEST_BITCOIND"
Coin = tuple[OutPoint, int]


class WallClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """See Clock."""
        return int(time.time() * 1_000)

    async def sleep_ms(self, duration_ms: int) -> None:
        """See Clock."""
        await asyncio.sleep(duration_ms / 1_000)


class FixedCredentials:
    """A user and a password."""

    def __init__(self, user: str, password: str) -> None:
        self.pair = (user, password)

    def read(self) -> tuple[str, str]:
        """See Credentials."""
        return self.pair


class Node(L1Source, L1Broadcaster, Protocol):
    """Both ports in one, as every implementation offers them."""


class Peer(Protocol):
    """An implementation of the ports under test, and the world around it."""

    node: Node
    packages: bool

    async def coin(self) -> Coin:
        """Return a mature coin of KEY that was not given out before."""
        ...

    async def mine(self, raws: list[bytes]) -> None:
        """Mine one block with these transactions."""
        ...

    async def reorg(self) -> None:
        """Replace the tip by two other blocks."""
        ...


class FakePeer:
    """The fake itself, or the fake behind a recorded RPC profile."""

    def __init__(self, profile: str | None) -> None:
        self.bitcoin = FakeBitcoin()
        self.packages = profile != "btcd"
        self.node: Node = self.bitcoin
        if profile is not None:
            self.server = ProfileServer(self.bitcoin, load_profile(profile))
            transport = RpcTransport(
                "http://127.0.0.1:1",
                FixedCredentials("u", "p"),
                WallClock(),
                transport=httpx.MockTransport(self.server.handler),
            )
            self.node = BitcoinNode(transport)

    async def coin(self) -> Coin:
        """See Peer."""
        before = set(self.bitcoin.coins().unspent)
        self.bitcoin.fund(KEY.script, 5_000_000)
        new = [o for o, (_, s) in self.bitcoin.coins().unspent.items() if o not in before and s == KEY.script]
        return new[0], 5_000_000

    async def mine(self, raws: list[bytes]) -> None:
        """See Peer."""
        from tests.l1.fake_bitcoin import txid_of

        self.bitcoin.mine(only=[txid_of(raw) for raw in raws])

    async def reorg(self) -> None:
        """See Peer."""
        self.bitcoin.reorg(1, include=False)


class RealPeer:
    """A real regtest node, reached over HTTP; its blocks are made here and handed in by submitblock."""

    MATURE = 110

    def __init__(self, transport: RpcTransport) -> None:
        self.transport = transport
        self.node = BitcoinNode(transport)
        self.packages = False
        self._given = 0
        self._first = 0

    async def prepare(self) -> None:
        """Mine until coins of ours are mature, and find out what the node can do."""
        self.packages = "submitpackage" not in await self.node.probe()
        self._first = (await self.node.best_tip()).height + 1
        for _ in range(self.MATURE):
            await self.mine([])

    async def coin(self) -> Coin:
        """See Peer."""
        block_hash = await self.node.block_hash(self._first + self._given)
        self._given += 1
        coinbase = parse_block(await self.node.raw_block(block_hash)).transactions[0]
        return OutPoint(coinbase.txid, 0), coinbase.outputs[0].value

    async def mine(self, raws: list[bytes]) -> None:
        """See Peer."""
        tip = await self.node.best_tip()
        await self._submit(await self.node.raw_block(tip.hash), tip.height + 1, raws, 0)

    async def reorg(self) -> None:
        """See Peer."""
        tip = await self.node.best_tip()
        parent = await self.node.raw_block((await self.node.header(tip.hash)).previous)
        first = await self._submit(parent, tip.height, [], 1)
        await self._submit(first, tip.height + 1, [], 1)

    async def _submit(self, parent: bytes, height: int, raws: list[bytes], salt: int) -> bytes:
        block = make_block(parent, height, KEY.script, raws, salt)
        answer = await self.transport.call("submitblock", block.hex(), idempotent=False)
        assert answer in (None, "inconclusive"), answer
        return block


def sign(spent: list[Coin], values: list[int]) -> Transaction:
    """Return a signed payment from our coins to ourselves."""
    outputs = tuple(TxOut(value, KEY.script) for value in values)
    unsigned = Transaction(tuple(TxIn(outpoint) for outpoint, _ in spent), outputs)
    return sign_key_path(KEY, unsigned, [TxOut(value, KEY.script) for _, value in spent])


class EmbeddedBitcoin:
    """A process of `python -m regtest` that can be killed and started again on the same port and data."""

    def __init__(self, datadir: Path, *arguments: str) -> None:
        self.datadir = datadir
        self.arguments = arguments
        self.port = 0
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start, and wait until it serves."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "regtest", "--datadir", str(self.datadir), "--port", str(self.port), *self.arguments),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self.process.stdout is not None
        line = (await asyncio.wait_for(self.process.stdout.readline(), 60)).decode()
        found = re.search(r"http://\S+:(\d+)", line)
        assert found, f"the embedded Bitcoin said: {line!r}"
        self.port = int(found[1])

    def transport(self) -> RpcTransport:
        """Return a new transport to it."""
        limits = TransportLimits(tries=2)
        cookie = CookieFile(self.datadir / ".cookie")
        return RpcTransport(f"http://127.0.0.1:{self.port}", cookie, WallClock(), limits=limits)

    async def kill(self) -> None:
        """Kill it at once, as a power cut does."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> None:
        """Ask it to stop, and wait."""
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            await asyncio.wait_for(self.process.wait(), 30)


@contextlib.asynccontextmanager
async def embedded_bitcoin(datadir: Path, *arguments: str) -> AsyncIterator[RpcTransport]:
    """Run an embedded Bitcoin and yield a transport to it."""
    bitcoin = EmbeddedBitcoin(datadir, *arguments)
    await bitcoin.start()
    try:
        async with bitcoin.transport() as transport:
            yield transport
    finally:
        await bitcoin.stop()


@contextlib.asynccontextmanager
async def named_node() -> AsyncIterator[RpcTransport]:
    """Yield a transport to the regtest node that the environment names, http://user:password@host:port."""
    parts = urlsplit(os.environ[URL_VARIABLE])
    url = f"{parts.scheme}://{parts.hostname}:{parts.port}"
    credentials = FixedCredentials(parts.username or "", parts.password or "")
    async with RpcTransport(url, credentials, WallClock()) as transport:
        yield transport
