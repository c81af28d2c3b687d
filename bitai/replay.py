"""Rebuild a chain from Bitcoin blocks alone: the second driver of the pipeline, without clock or network.

If this stays easy, the core is pure. The live node drives the same pipeline, and tests compare the two.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from bitai.decode_ahead import DecodeAhead
from bitai.l1_scan import L1BlockInput
from bitai.pipeline import Pipeline
from bitai.pipeline_events import Epoch, Finalized, L1Done, ModelStored, PipelineEvent, Reset, SafeHead
from primitives.errors import InvariantViolation
from primitives.ids import Hash32, ModelId
from rollup.config import RollupConfig
from vm.executor import Executor
from vm.schema import artifact_key
from vm.store import KeyValueStore, WriteBatch
from vm.types import BlockData


class BlockRunner(Protocol):
    """Executes derived blocks one after the other and keeps them."""

    def run(self, data: BlockData, following: BlockData | None) -> Hash32:
        """Execute a block on the head, make it the head, and return its hash; `following` comes next, if known."""
        ...

    def keep_model(self, model_id: ModelId, container: bytes) -> None:
        """Store an inscribed model, which a later block may ask."""
        ...


class ExecutorRunner:
    """Runs blocks on the virtual machine, each block and its state in one write."""

    def __init__(self, executor: Executor, store: KeyValueStore) -> None:
        """Execute on this machine, whose chain and models are in this store."""
        self._executor = executor
        self._store = store
        self._ahead = DecodeAhead(executor.decode)

    def run(self, data: BlockData, following: BlockData | None) -> Hash32:
        """See `BlockRunner.run`."""
        executed = self._executor.execute(data, self._ahead.take(data, following))
        self._executor.commit(executed)
        return executed.hash

    def keep_model(self, model_id: ModelId, container: bytes) -> None:
        """See `BlockRunner.keep_model`."""
        batch = WriteBatch()
        batch.put(artifact_key(model_id), container)
        self._store.write(batch, sync=True)


@dataclass(slots=True)
class Replay:
    """What a replay found so far: the heads by number, block hashes by number, outcomes by L1 height."""

    safe_number: int = 0
    finalized_number: int = 0
    hashes: dict[int, Hash32] = field(default_factory=dict)
    epochs: dict[int, Epoch] = field(default_factory=dict)
    outcomes: dict[int, L1Done] = field(default_factory=dict)


def replay_chain(
    config: RollupConfig,
    blocks: Iterable[L1BlockInput],
    runner: BlockRunner,
    on_height: Callable[[Replay, int], None] | None = None,
) -> Replay:
    """Derive and execute everything that the blocks hold; they follow the start block and form one chain.

    Raises InvariantViolation `replay.branches` for blocks that do not follow each other, else what execution
    raises.
    """
    pipeline = Pipeline(config)
    found = Replay()
    for block in blocks:
        pipeline.feed(block)
        while (event := pipeline.next_event()) is not None:
            _apply(event, pipeline, runner, found)
        if on_height is not None:
            on_height(found, block.height)
    return found


def _apply(event: PipelineEvent, pipeline: Pipeline, runner: BlockRunner, found: Replay) -> None:
    match event:
        case Epoch():
            found.epochs[event.height] = event
        case ModelStored():
            runner.keep_model(event.model_id, event.container)
        case BlockData():
            block_hash = runner.run(event, pipeline.following_block())
            found.hashes[event.number] = block_hash
            pipeline.executed(event.number, block_hash)
        case SafeHead():
            found.safe_number = event.number
        case Finalized():
            found.finalized_number = event.number
        case L1Done():
            found.outcomes[event.outcome.height] = event
        case Reset():
            raise InvariantViolation(
                "replay.branches", "the blocks are not one chain", to_height=event.to_height
            )
