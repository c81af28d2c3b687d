"""The batcher against the embedded Bitcoin as a process: kills, reorgs and full-size frames, over real RPC."""

from pathlib import Path

import pytest

from bitai.adapters.bitcoin.node import BitcoinNode
from bitai.adapters.bitcoin.transport import RpcTransport
from l1.fees import FeePolicy
from l1.inscriber import InscriberConfig
from l1.inscription import RowStatus
from l1.ports import ChainPoint
from l1.transitions import SendRules
from primitives.bitcoin.header import parse_header
from primitives.bitcoin.parser import parse_block
from primitives.curve import xonly_public_key
from primitives.errors import Temporary
from primitives.ids import Address, L1Hash, display_hash
from rollup.batch.codec import to_batch_block
from rollup.batcher.driver import Batcher, BatcherPorts
from rollup.batcher.state import BatcherConfig
from rollup.config import Keys, L1Start, regtest_config
from tests.bitai.adapters.peers import EmbeddedBitcoin, WallClock
from tests.l1.fake_bitcoin import FakeBlock
from tests.rollup.batcher.world import KEYS, SCRIPT, SECRET, Disk, FreshDerivation, Sequencer, count_frames

pytestmark = pytest.mark.functional


class Mirror:
    """A copy of a node's active chain, read over RPC."""

    def __init__(self, node: BitcoinNode) -> None:
        self.node = node
        self.blocks: list[FakeBlock] = []
        self.tip = ChainPoint(0, L1Hash(bytes(32)))

    def chain(self) -> list[FakeBlock]:
        """Return every block from the first one."""
        return self.blocks

    async def refresh(self) -> None:
        """Catch up with the node."""
        self.tip = await self.node.best_tip()
        while self.blocks and self.blocks[-1].point.height > self.tip.height:
            self.blocks.pop()
        while self.blocks and await self.node.block_hash(len(self.blocks) - 1) != self.blocks[-1].point.hash:
            self.blocks.pop()
        for height in range(len(self.blocks), self.tip.height + 1):
            block_hash = await self.node.block_hash(height)
            raw = await self.node.raw_block(block_hash)
            point = ChainPoint(height, block_hash)
            self.blocks.append(FakeBlock(point, parse_header(raw[:80]).previous, raw, ()))


class Stage:
    """A batcher with everything around it, on a real node."""

    def __init__(self, bitcoin: EmbeddedBitcoin) -> None:
        self.bitcoin = bitcoin
        self.transport: RpcTransport = bitcoin.transport()
        self.node = BitcoinNode(self.transport)
        self.mirror = Mirror(self.node)
        self.disk = Disk()
        self.clock = WallClock()

    async def prepare(self) -> None:
        """Mine coins for the wallet, then begin a chain at the tip; the wallet is scanned from the start."""
        await self.transport.call("generatetodescriptor", 110, f"raw({SCRIPT.hex()})", idempotent=False)
        await self.mirror.refresh()
        chain = self.mirror.chain()
        times = tuple(parse_header(block.raw[:80]).time for block in chain)
        signer = xonly_public_key(SECRET)
        start = L1Start(self.mirror.tip.height, self.mirror.tip.hash, times[-11:])
        self.config = regtest_config(start, Keys(signer, signer, signer), Address(bytes(20)))
        self.wallet_start = L1Start(0, chain[0].point.hash, times[:1])
        self.derivation = FreshDerivation(self.mirror, self.config)
        self.sequencer = Sequencer(self.mirror, self.config, self.derivation)
        self.batcher = self.open()

    def open(self) -> Batcher:
        """Start a batcher on the disk as it is."""
        rules = SendRules(finality_depth=self.config.parameters.finality_depth, retry_ms=0)
        settings = BatcherConfig(
            rollup=self.config,
            inscriber=InscriberConfig(KEYS, rules, fees=FeePolicy(), presence_ms=0),
            post_bytes=1,
            post_age_ms=0,
        )
        ports = BatcherPorts(self.sequencer, self.derivation, self.node, self.node, self.disk, self.clock)
        return Batcher(settings, ports, self.wallet_start)

    async def run(self, passes: int = 40) -> None:
        """Let the batcher work until it has nothing to send, or the passes end."""
        for _ in range(passes):
            await self.mirror.refresh()
            self.sequencer.follow()
            await self.batcher.run_once()

    async def mine(self, count: int = 1) -> None:
        """Mine to nobody, so that the wallet's coins are those of the first blocks."""
        await self.transport.call("generatetodescriptor", count, "raw(51)", idempotent=False)

    async def settle(self) -> None:
        """Mine and run until everything is final."""
        for _ in range(16):
            await self.run(6)
            await self.mine()
        await self.run(6)

    def own_sats(self) -> int:
        """Return what the chain pays our script and nobody spent, by walking every block."""
        unspent: dict[tuple[bytes, int], int] = {}
        for block in self.mirror.chain():
            for transaction in parse_block(block.raw).transactions:
                for entry in transaction.inputs:
                    unspent.pop((entry.prevout.txid, entry.prevout.vout), None)
                for vout, output in enumerate(transaction.outputs):
                    if output.script == SCRIPT:
                        unspent[transaction.txid, vout] = output.value
        return sum(unspent.values())

    def check(self) -> None:
        """Check that every block is on Bitcoin as it was made, each frame once, and all coins are known."""
        safe = [to_batch_block(data) for data in self.derivation.safe_blocks()]
        assert safe == [entry.block for entry in self.sequencer.blocks]
        frames = count_frames(self.mirror, self.config.identity)
        assert set(frames.values()) <= {1}, frames
        state = self.batcher.state
        assert state.inscriber.rows == {}
        assert state.channels == ()
        assert state.inscriber.wallet.balance_sats == self.own_sats()


@pytest.mark.timeout(300)
async def test_batcher_on_the_embedded_bitcoin(tmp_path: Path) -> None:
    """Through a killed node, a restarted batcher, a reorg and two full-size frames, everything is posted once."""
    bitcoin = EmbeddedBitcoin(tmp_path)
    await bitcoin.start()
    try:
        stage = Stage(bitcoin)
        await stage.prepare()
        await stage.mine(3)
        await stage.mirror.refresh()

        stage.sequencer.make(4)
        await stage.run()
        waiting = await stage.transport.call("getrawmempool")
        assert len(waiting) == 2

        await bitcoin.kill()
        with pytest.raises(Temporary):
            await stage.batcher.run_once()
        await bitcoin.start()
        await stage.run()
        again = await stage.transport.call("getrawmempool")
        assert sorted(again) == sorted(waiting), "the very same transactions are back"

        stage.batcher = stage.open()
        await stage.run()
        await stage.mine()
        await stage.run()
        rows = stage.batcher.state.inscriber.rows.values()
        assert [row.status for row in rows] == [RowStatus.CONFIRMED]

        stage.sequencer.make(3, size=200_000)
        await stage.run()
        (row,) = (row for row in stage.batcher.state.inscriber.rows.values() if len(row.leaves) == 2)
        assert row.status is RowStatus.REVEAL_SENT
        assert sum(len(entry.raw) for entry in row.transactions) > 600_000
        await stage.mine()
        await stage.run()
        await stage.mine()
        await stage.run()

        stale = display_hash(await stage.node.block_hash((await stage.node.best_tip()).height - 2))
        await stage.transport.call("invalidateblock", stale, idempotent=False)
        await stage.mine(4)
        stage.sequencer.make(2)
        await stage.settle()
        stage.check()
    finally:
        await stage.transport.close()
        await bitcoin.stop()
