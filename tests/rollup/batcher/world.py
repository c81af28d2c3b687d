"""A whole small world for the batcher: a fake Bitcoin, a sequencer, and derivation that starts afresh each time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from l1.fees import FeePolicy
from l1.inscriber import InscriberConfig
from l1.inscription_package import SigningKeys
from l1.journal import Put
from l1.keys import open_wallet_key
from l1.ports import ChainPoint
from l1.transitions import SendRules
from primitives.bitcoin.envelope import EnvelopeKind, scan_block
from primitives.bitcoin.header import median_time_past, parse_header
from primitives.curve import xonly_public_key
from primitives.hashes import sha256
from primitives.ids import Address, Hash32, L1Hash
from rollup.batch.channel import decode_frame, decompress_batch
from rollup.batch.codec import Batch, decode_batch, to_batch_block
from rollup.batcher.driver import Batcher, BatcherPorts, DriverConfig
from rollup.batcher.ports import Backlog, Progress, SourceBlock
from rollup.batcher.state import BatcherConfig
from rollup.config import Keys, L1Start, RollupConfig, regtest_config
from rollup.derivation.events import L1Block, L1BlockFacts
from rollup.derivation.judge import DerivedHead, least_time
from rollup.derivation.machine import step as derive
from rollup.derivation.state import DerivationState, begin_derivation
from tests.l1.fake_bitcoin import FakeBitcoin, FakeBlock
from vm.types import BlockData, L1Origin

SECRET = b"\x07" * 32
KEYS = SigningKeys(open_wallet_key(b"\x05" * 32), SECRET)
SCRIPT = KEYS.wallet.script


class Crash(Exception):
    """The process died on this line."""


class Disk:
    """A journal in memory that outlives the process."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.writes = 0

    def load(self) -> Mapping[bytes, bytes]:
        """See Journal."""
        return dict(self.rows)

    def write(self, puts: Sequence[Put]) -> None:
        """See Journal."""
        self.writes += 1
        for key, value in puts:
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value


class HandClock:
    """Time moves when the test says so, or when someone sleeps."""

    def __init__(self) -> None:
        self.ms = 0

    def now_ms(self) -> int:
        """See Clock."""
        return self.ms

    async def sleep_ms(self, duration_ms: int) -> None:
        """See Clock."""
        self.ms += duration_ms


class Chain(Protocol):
    """An active chain that can be listed: the fake's, or the copy of a real node's."""

    tip: ChainPoint

    def chain(self) -> list[FakeBlock]:
        """Return every block from the first one."""
        ...


class FreshDerivation:
    """What a node that syncs from Bitcoin alone derives; remembered per Bitcoin block only to be quick."""

    def __init__(self, bitcoin: Chain, config: RollupConfig) -> None:
        self.bitcoin = bitcoin
        self.config = config
        self.lag = 0
        self.known: dict[L1Hash, tuple[DerivationState, tuple[BlockData, ...]]] = {}
        self.codes: list[str] = []

    async def progress(self) -> Progress | None:
        """See DerivationView; `lag` blocks behind the tip."""
        chain = self.bitcoin.chain()
        height = max(len(chain) - 1 - self.lag, self.config.l1_start.height)
        state, _ = self.at(height)
        return Progress(chain[height].point, state.bank.next_number, state.head)

    def safe_blocks(self) -> list[BlockData]:
        """Return every block that the active chain gives, by number from 1."""
        blocks: list[BlockData] = []
        for height in range(self.config.l1_start.height + 1, self.bitcoin.tip.height + 1):
            blocks.extend(self.at(height)[1])
        return blocks

    def at(self, height: int) -> tuple[DerivationState, tuple[BlockData, ...]]:
        """Return the state after a height of the active chain, and the blocks that took effect there."""
        chain = self.bitcoin.chain()
        if height == self.config.l1_start.height:
            return begin_derivation(self.config), ()
        point = chain[height].point
        if point.hash not in self.known:
            parent, _ = self.at(height - 1)
            header = parse_header(chain[height].raw[:80])
            scan = scan_block(chain[height].raw, self.config.identity)
            times = [parse_header(block.raw[:80]).time for block in chain[: height + 1]]
            facts = L1BlockFacts(
                height=height,
                hash=point.hash,
                prev_hash=header.previous,
                time=header.time,
                mtp=median_time_past(times),
                fee_rate=25,
                envelopes=scan.envelopes,
                dropped=scan.dropped,
            )
            transition = derive(self.config, parent, L1Block(facts, ()))
            (signal,) = transition.signals
            self.codes.extend(outcome.code for outcome in signal.outcome.channels)
            self.known[point.hash] = (transition.state, signal.blocks)
        return self.known[point.hash]


class Sequencer:
    """Make unsafe blocks, and make them anew when Bitcoin says otherwise. Block 0 is genesis."""

    def __init__(self, bitcoin: Chain, config: RollupConfig, derivation: FreshDerivation) -> None:
        self.bitcoin = bitcoin
        self.config = config
        self.derivation = derivation
        self.heads = [DerivedHead(0, config.genesis.timestamp, config.l1_start.origin)]
        self.blocks: list[SourceBlock] = []
        self.made = 0

    def origin(self, height: int) -> L1Origin | None:
        """Return a block of the active chain as an origin."""
        chain = self.bitcoin.chain()
        if height >= len(chain):
            return None
        times = [parse_header(block.raw[:80]).time for block in chain[: height + 1]]
        return L1Origin(height, chain[height].point.hash, median_time_past(times))

    def make(self, count: int = 1, size: int = 100) -> None:
        """Add blocks on the head, each with one transaction."""
        self.follow()
        for _ in range(count):
            head = self.heads[-1]
            origin = self.origin(head.origin.height + 1) or head.origin
            timestamp = least_time(self.config.parameters, head, origin)
            self.made += 1
            parts = [sha256(b"%d.%d" % (self.made, part)) for part in range(size // 32 + 1)]
            transaction = b"".join(parts)  # nothing to compress
            block = BlockData(head.number + 1, timestamp, origin, (), (transaction[:size],), ())
            self.push(block)

    def push(self, data: BlockData) -> None:
        """Put a block on the head."""
        parent = self.blocks[-1].hash if self.blocks else Hash32(bytes(32))
        block = to_batch_block(data)
        block_hash = sha256(parent + repr(block).encode())
        self.blocks.append(SourceBlock(data.number, block_hash, block))
        self.heads.append(DerivedHead(data.number, data.timestamp, data.origin))

    def follow(self) -> None:
        """Take over what Bitcoin says, and drop what it does not allow any more."""
        for data in self.derivation.safe_blocks():
            if data.number <= len(self.blocks) and self.blocks[data.number - 1].block == to_batch_block(data):
                continue
            self.truncate(data.number - 1)
            self.push(data)
        while len(self.heads) > 1 and self.origin(self.heads[-1].origin.height) != self.heads[-1].origin:
            self.truncate(len(self.blocks) - 1)

    def truncate(self, number: int) -> None:
        """Forget the blocks above a number."""
        del self.blocks[number:]
        del self.heads[number + 1 :]

    async def backlog(self, first_number: int) -> Backlog:
        """See BlockSource."""
        waiting = self.blocks[first_number - 1 :]
        parent = self.blocks[first_number - 2].hash if 1 < first_number <= len(self.blocks) + 1 else None
        return Backlog(
            head_number=len(self.blocks),
            waiting_bytes=sum(len(raw) for entry in waiting for raw in entry.block.transactions),
            first_origin_height=waiting[0].block.origin_height if waiting else 0,
            parent_hash=parent,
        )

    async def read(self, first_number: int, max_bytes: int) -> Sequence[SourceBlock]:
        """See BlockSource."""
        taken: list[SourceBlock] = []
        size = 0
        for entry in self.blocks[first_number - 1 :]:
            taken.append(entry)
            size += sum(len(raw) for raw in entry.block.transactions)
            if size >= max_bytes:
                break
        return taken


def count_frames(
    bitcoin: Chain, identity: Hash32, kind: EnvelopeKind = EnvelopeKind.BATCH_FRAME
) -> Counter[tuple[int, int]]:
    """Return how often each (number, index) of a kind stands on the active chain."""
    found: Counter[tuple[int, int]] = Counter()
    for block in bitcoin.chain():
        for envelope in scan_block(block.raw, identity).envelopes:
            if envelope.header.kind == kind:
                found[envelope.header.number, envelope.header.index] += 1
    return found


class World:
    """Everything together; `crash_at` counts the lines where the batcher may die."""

    def __init__(self, *, coins: int = 6, sats: int = 20_000_000, **settings: object) -> None:
        self.bitcoin = FakeBitcoin()
        self.bitcoin.mine(12)
        chain = self.bitcoin.chain()
        times = tuple(parse_header(block.raw[:80]).time for block in chain[-11:])
        start = L1Start(self.bitcoin.tip.height, self.bitcoin.tip.hash, times)
        signer = xonly_public_key(SECRET)
        self.config = regtest_config(start, Keys(signer, signer, signer), Address(bytes(20)))
        self.derivation = FreshDerivation(self.bitcoin, self.config)
        self.sequencer = Sequencer(self.bitcoin, self.config, self.derivation)
        self.clock = HandClock()
        self.disk = Disk()
        self.signals: list[object] = []
        self.lines = 0
        self.crash_at: int | None = None
        self.settings = BatcherConfig(
            rollup=self.config,
            inscriber=InscriberConfig(
                KEYS,
                SendRules(finality_depth=self.config.parameters.finality_depth),
                fees=FeePolicy(max_bumps=30),
                headroom_percent=300,
            ),
            **{"post_age_ms": 5_000, **settings},
        )
        if coins:
            self.bitcoin.fund(SCRIPT, sats, coins)
        self.batcher = self.open()

    def open(self) -> Batcher:
        """Start a batcher on the disk as it is."""
        ports = BatcherPorts(
            self.sequencer, self.derivation, self.bitcoin, self.bitcoin, self.disk, self.clock
        )
        return Batcher(
            self.settings,
            ports,
            self.config.l1_start,
            driver=DriverConfig(fee_poll_ms=1_000),
            observer=self.signals.append,
            faults=self.line,
        )

    def line(self, name: str) -> None:
        """Pass a place where the process may die."""
        self.lines += 1
        if self.crash_at is not None and self.lines >= self.crash_at:
            self.crash_at = None
            raise Crash(name)

    async def run(self, passes: int = 8) -> None:
        """Let the batcher work until it has nothing to do, coming back whenever it dies."""
        for _ in range(passes):
            self.sequencer.follow()
            self.clock.ms += 1_000
            try:
                if not await self.batcher.run_once():
                    return
            except Crash:
                self.batcher = self.open()

    async def settle(self, blocks: int = 30) -> None:
        """Mine and run until everything is final."""
        for _ in range(blocks):
            self.clock.ms += 10_000
            await self.run(passes=12)
            self.bitcoin.mine()
        await self.run(passes=12)

    def frames(self, kind: EnvelopeKind = EnvelopeKind.BATCH_FRAME) -> Counter[tuple[int, int]]:
        """Return how often each (number, index) stands on the active chain."""
        return count_frames(self.bitcoin, self.config.identity, kind)

    def batches(self) -> dict[int, Batch]:
        """Return the complete channels of the active chain, decoded, whatever derivation says of them."""
        pieces: dict[int, dict[int, bytes]] = {}
        totals: dict[int, int] = {}
        for block in self.bitcoin.chain():
            for envelope in scan_block(block.raw, self.config.identity).envelopes:
                if envelope.header.kind == EnvelopeKind.BATCH_FRAME:
                    frame = decode_frame(envelope.payload)
                    pieces.setdefault(envelope.header.number, {})[envelope.header.index] = frame.data
                    totals[envelope.header.number] = frame.of
        batches: dict[int, Batch] = {}
        for number, parts in sorted(pieces.items()):
            if len(parts) == totals[number]:
                content = b"".join(parts[index] for index in range(totals[number]))
                raw = decompress_batch(content, 1 << 26)
                batches[number] = decode_batch(self.settings.batch_format, raw, self.config.limits)
        return batches

    def posted_numbers(self) -> list[int]:
        """Return the numbers of all blocks in all channels, in the order of the channels."""
        return [
            batch.first_number + offset
            for batch in self.batches().values()
            for offset in range(len(batch.blocks))
        ]

    def oracle_balance(self) -> int:
        """Return what the oracle says that our script owns."""
        return sum(value for value, script in self.bitcoin.coins().unspent.values() if script == SCRIPT)

    def tip(self) -> ChainPoint:
        """Return Bitcoin's tip."""
        return self.bitcoin.tip
