"""A sequencer without a network: executes ahead, posts to a recorded Bitcoin, and follows it as every node does."""

from collections.abc import Sequence

from bench.recorded_bitcoin import RecordedBitcoin, channel_content, channel_reveals
from bench.world import World, decode_all, open_executor
from bitai.pipeline import Pipeline
from bitai.pipeline_events import Epoch, ModelStored
from primitives.bitcoin.transaction import Transaction
from rollup.batch.codec import to_batch_block
from rollup.derivation.judge import DerivedHead
from rollup.sequencer.rules import next_slot
from vm.schema import artifact_key
from vm.store import MemoryStore, WriteBatch
from vm.types import BlockData, InferenceRecord, Outcome


class BenchSequencer:
    """Makes a chain and the Bitcoin blocks that it follows from; everything in memory."""

    def __init__(self, world: World) -> None:
        """Begin at the first block."""
        self.config = world.config
        self.store = MemoryStore()
        self.executor = open_executor(world, self.store)
        self.bitcoin = RecordedBitcoin()
        self._pipeline = Pipeline(world.config)
        self._epochs: dict[int, Epoch] = {}
        self._posted = 0

    def mine(self, reveals: Sequence[Transaction] = ()) -> None:
        """Add a Bitcoin block and work through it; what it derives must be what was executed ahead."""
        self._pipeline.feed(self.bitcoin.mine(reveals))
        while (event := self._pipeline.next_event()) is not None:
            match event:
                case Epoch():
                    self._epochs[event.height] = event
                case ModelStored():
                    row = WriteBatch([(artifact_key(event.model_id), event.container)])
                    self.store.write(row, sync=False)
                case BlockData():
                    assert self.executor.holds(event), "derived something else than was made"
                    block_hash = self.executor.chain.block_hash(event.number)
                    assert block_hash is not None
                    self._pipeline.executed(event.number, block_hash)
                case _:
                    pass

    def make(self, raws: Sequence[bytes] = (), records: Sequence[InferenceRecord] = ()) -> list[Outcome]:
        """Make the next block by the sequencer's rules."""
        head = self.executor.head
        epoch = self._epochs.get(head.origin.height + 1)
        slot = next_slot(
            self.config.parameters,
            DerivedHead(head.number, head.timestamp, head.origin),
            epoch.origin if epoch else None,
            head.timestamp + 2,
        )
        system = epoch.system_transactions if epoch is not None and slot.new_epoch else ()
        builder = self.executor.open(slot.timestamp, slot.origin, system)
        outcomes = builder.add(decode_all(self.executor, raws), records)
        self.executor.commit(builder.seal())
        return outcomes

    def post(self) -> list[Transaction]:
        """Return the inscription of every block that is not inscribed yet, as one channel."""
        first, last = self._posted + 1, self.executor.head.number
        blocks = [self.executor.chain.block_data(number) for number in range(first, last + 1)]
        content = channel_content(self.config, first, [to_batch_block(each) for each in blocks if each])
        self._posted = last
        return channel_reveals(self.config, self._pipeline.next_channel, content)
