"""Join the consensus machines: Bitcoin blocks in, what the driver executes and shows out. Pure.

One L1 block is worked through in this order: scan; its epoch, as the chain stood after the block before;
derivation; uploads of models; finality. Execution never reaches back: what the driver reports of it is for
later machines alone.

    feed(block)  ->  next_event() ...  ->  executed(number, hash, view) for each BlockData  ->  snapshot()
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from bitai.l1_scan import FEE_SPAN, L1BlockInput, ScannedBlock, scan_l1_block
from bitai.model_inscription import InscribedModel, read_inscribed_model
from bitai.pipeline_events import (
    Epoch,
    Finalized,
    L1Done,
    ModelOutcome,
    ModelStored,
    PipelineEvent,
    Reset,
    SafeHead,
)
from bitai.pipeline_state import PipelineState, WaitingModel, begin_pipeline, decode_state, encode_state
from primitives.bitcoin.header import MEDIAN_SPAN, median_time_past
from primitives.errors import ConfigError, Duplicate, InvalidInput, Rejected
from primitives.ids import Hash32, L1Hash
from rollup.config import RollupConfig
from rollup.derivation import artifacts, machine
from rollup.derivation.artifacts import CompleteArtifact
from rollup.derivation.events import EnvelopeOutcome, HeightOutcome, L1Block, L1BlockFacts
from rollup.derivation.judge import DerivedHead
from rollup.finality import machine as finality
from vm.data_fee import charged_bytes
from vm.system import L1Info, build_l1_info_transaction, build_registration
from vm.types import BlockData, L1Origin, SystemTransaction

MODEL_QUEUE_FULL: Final = "model.queue_full"
MODEL_WAITS: Final = "model.waits_already"


class Pipeline:
    """One chain derived from one Bitcoin branch; at a reorg a new one begins from a snapshot."""

    def __init__(self, config: RollupConfig, state: PipelineState | None = None) -> None:
        """Begin after the start block of the configuration, or with a state."""
        self._config = config
        self._state = state or begin_pipeline(config)
        self._events: deque[PipelineEvent] = deque()
        self._unexecuted: deque[int] = deque()

    @classmethod
    def restore(cls, config: RollupConfig, snapshot: bytes) -> "Pipeline":
        """Return the pipeline as it was when the snapshot was taken."""
        return cls(config, decode_state(config.identity, snapshot))

    def snapshot(self) -> bytes:
        """Return the state as bytes; everything that was fed must be worked through.

        Raises Rejected `pipeline.busy`.
        """
        self._require_idle()
        return encode_state(self._config.identity, self._state)

    def waiting_pieces(self) -> Iterator[bytes]:
        """Yield the pieces of channels and uploads that wait for others, in the order in which a snapshot has them."""
        channels, uploads = self._state.derivation.bank.channels, self._state.artifacts.uploads
        for assembly in (
            *(channels[key] for key in sorted(channels)),
            *(uploads[key] for key in sorted(uploads)),
        ):
            yield from (assembly.pieces[index] for index in sorted(assembly.pieces))

    @property
    def l1_tip(self) -> L1Origin:
        """Return the last L1 block taken in."""
        return self._state.derivation.l1_tip

    @property
    def safe_number(self) -> int:
        """Return the highest block that follows from Bitcoin."""
        return self._state.derivation.head.number

    @property
    def derived_head(self) -> DerivedHead:
        """Return what derivation knows of the safe head."""
        return self._state.derivation.head

    @property
    def next_channel(self) -> int:
        """Return the number of the channel that is read next."""
        return self._state.derivation.bank.next_number

    @property
    def finalized_number(self) -> int:
        """Return the finalized block."""
        return self._state.finality.finalized

    def feed(self, block: L1BlockInput) -> None:
        """Work through the next Bitcoin block, or, if it does not extend the last, ask for a reset.

        Raises Rejected `pipeline.busy`, `pipeline.gap`; Duplicate `pipeline.known` for the last block again;
        ConfigError `pipeline.other_bitcoin` when Bitcoin does not hold the start block; InvalidInput as
        `scan_l1_block`. Then nothing has changed.
        """
        self._require_idle()
        scanned = scan_l1_block(block, self._config.identity, self._config.halving_interval)
        tip = self.l1_tip
        if block.height > tip.height + 1:
            raise Rejected("pipeline.gap", "a block between is missing", height=block.height, tip=tip.height)
        if block.height == tip.height and scanned.header.hash == tip.hash:
            raise Duplicate("pipeline.known", "this block is taken in", height=block.height)
        if block.height <= tip.height or scanned.header.previous != tip.hash:
            self._events.append(Reset(self._reset_height(block.height)))
            return
        self._advance(scanned)

    def next_event(self) -> PipelineEvent | None:
        """Return what comes next, or None when the next L1 block is wanted."""
        return self._events.popleft() if self._events else None

    def following_block(self) -> BlockData | None:
        """Return the block that will be yielded next, if what was fed holds one."""
        return next((event for event in self._events if isinstance(event, BlockData)), None)

    def executed(self, number: int, block_hash: Hash32, view: object = None) -> None:
        """Take note that a derived block is executed; `view` shows later machines the state after it.

        Raises Rejected `pipeline.not_derived` for any other than the oldest block that was yielded.
        """
        del block_hash, view
        if not self._unexecuted or self._unexecuted[0] != number:
            raise Rejected("pipeline.not_derived", "not the next block to execute", number=number)
        self._unexecuted.popleft()

    def _require_idle(self) -> None:
        if self._events or self._unexecuted:
            raise Rejected(
                "pipeline.busy",
                "what was fed before is not worked through",
                events=len(self._events),
                unexecuted=len(self._unexecuted),
            )

    def _reset_height(self, height: int) -> int:
        """Return the height below a block of another branch, or below the tip that it does not extend."""
        target = min(height, self.l1_tip.height) - 1
        if target < self._config.l1_start.height:
            raise ConfigError(
                "pipeline.other_bitcoin",
                "this Bitcoin chain does not hold the block that the rollup starts from",
                fix="bitai-node doctor",
                start=self._config.l1_start.height,
            )
        return target

    def _advance(self, scanned: ScannedBlock) -> None:
        before = self._state
        facts, state = self._read_facts(before, scanned)
        epoch, state = self._begin_epoch(state, facts)
        derived = machine.step(self._config, state.derivation, L1Block(facts, epoch.system_transactions))
        (signal,) = derived.signals
        uploads = artifacts.step(self._config.limits, state.artifacts, facts.height, facts.envelopes)
        stored, models, waiting = self._register(state.waiting, uploads.complete, facts)
        blocks = tuple((block.number, bool(block.records)) for block in signal.blocks)
        settled = finality.step(
            self._config.parameters, state.finality, finality.L1Height(facts.height, blocks)
        )
        tally = state.tally.counting(posted=signal.posted_bytes, charged=charged_bytes(signal.blocks))
        self._state = replace(
            state,
            derivation=derived.state,
            artifacts=uploads.state,
            waiting=waiting,
            finality=settled.state,
            tally=tally,
        )
        outcome = _merge_outcomes(signal.outcome, facts, uploads.outcomes)
        self._announce(before, (epoch, *stored, *signal.blocks), L1Done(outcome, models))

    def _announce(self, before: PipelineState, events: tuple[PipelineEvent, ...], done: L1Done) -> None:
        """Queue the events of one L1 block."""
        self._events.extend(events)
        self._unexecuted.extend(event.number for event in events if isinstance(event, BlockData))
        if self.safe_number != before.derivation.head.number:
            self._events.append(SafeHead(self.safe_number))
        if self.finalized_number != before.finality.finalized:
            self._events.append(Finalized(self.finalized_number))
        self._events.append(done)

    def _read_facts(self, state: PipelineState, scanned: ScannedBlock) -> tuple[L1BlockFacts, PipelineState]:
        """Join what the block says with what the blocks before it said."""
        header = scanned.header
        times = (*state.times, header.time)[-MEDIAN_SPAN:]
        fee_rates = (*state.fee_rates, scanned.fee_rate)[-FEE_SPAN:]
        parameters = self._config.parameters
        average = sum(fee_rates) // len(fee_rates)
        facts = L1BlockFacts(
            height=scanned.height,
            hash=header.hash,
            prev_hash=header.previous,
            time=header.time,
            mtp=median_time_past(times),
            fee_rate=min(max(average, parameters.l1_fee_floor), parameters.l1_fee_cap),
            envelopes=scanned.scan.envelopes,
            dropped=scanned.scan.dropped,
        )
        return facts, replace(state, times=times, fee_rates=fee_rates)

    def _begin_epoch(self, state: PipelineState, facts: L1BlockFacts) -> tuple[Epoch, PipelineState]:
        """Return the epoch of an L1 block: finality, scalar and models are those after the block before."""
        finalized, tally = state.finality.finalized, state.tally.settled()
        count = self._config.limits.epoch_models
        due, waiting = state.waiting[:count], state.waiting[count:]
        transactions: list[SystemTransaction] = [
            build_l1_info_transaction(L1Info(facts.origin, facts.fee_rate, finalized, tally.scalar)),
            *(build_registration(model.facts, model.l1_hash, model.index) for model in due),
        ]
        epoch = Epoch(facts.origin, tuple(transactions), facts.fee_rate, finalized)
        return epoch, replace(state, waiting=waiting, tally=tally)

    def _register(
        self, waiting: tuple[WaitingModel, ...], complete: tuple[CompleteArtifact, ...], facts: L1BlockFacts
    ) -> tuple[tuple[ModelStored, ...], tuple[ModelOutcome, ...], tuple[WaitingModel, ...]]:
        """Queue the models of this L1 block for the next epochs."""
        stored: list[ModelStored] = []
        outcomes: list[ModelOutcome] = []
        queue = list(waiting)
        for artifact in complete:
            model, code = self._judge_model(queue, artifact, facts.height)
            if model is not None and not code:
                queue.append(WaitingModel(model.facts, L1Hash(facts.hash), len(stored)))
                stored.append(ModelStored(model.model_id, model.container))
            model_id = None if model is None else model.model_id
            outcomes.append(ModelOutcome(artifact.tx_index, artifact.position, model_id, code))
        return tuple(stored), tuple(outcomes), tuple(queue)

    def _judge_model(
        self, queue: list[WaitingModel], artifact: CompleteArtifact, height: int
    ) -> tuple[InscribedModel | None, str]:
        if len(queue) >= self._config.limits.waiting_models:
            return None, MODEL_QUEUE_FULL
        try:
            model = read_inscribed_model(artifact.data, height)
        except InvalidInput as error:
            return None, error.code
        waits = any(each.facts.model_id == model.model_id for each in queue)
        return model, MODEL_WAITS if waits else ""


def _merge_outcomes(
    outcome: HeightOutcome, facts: L1BlockFacts, chunks: tuple[EnvelopeOutcome, ...]
) -> HeightOutcome:
    """Return one L1 block's outcome with every envelope, in block order: malformed ones, frames, chunks."""
    dropped = tuple(EnvelopeOutcome(*each[:2], 0, 0, 0, each.code) for each in facts.dropped)
    return replace(outcome, envelopes=tuple(sorted((*dropped, *outcome.envelopes, *chunks))))
