"""What the pipeline remembers between two Bitcoin blocks, as a value and as bytes. Pure."""

from dataclasses import dataclass, field
from typing import Final

from primitives.codec import Reader, Writer
from primitives.errors import InvalidInput, InvariantViolation
from primitives.ids import HASH_BYTES, Hash32, L1Hash, ModelId
from rollup.config import RollupConfig
from rollup.derivation.artifacts import ArtifactState
from rollup.derivation.snapshot import read_artifacts, read_derivation, write_artifacts, write_derivation
from rollup.derivation.state import DerivationState, begin_derivation
from rollup.finality.machine import FinalityState, read_finality, write_finality
from vm.data_fee import DataTally
from vm.inference.manifest import Profile, Tier
from vm.registry import ModelFacts

SNAPSHOT_VERSION: Final = 2
"""1 is what a stored snapshot begins with whose large pieces stand elsewhere."""


@dataclass(frozen=True, slots=True)
class WaitingModel:
    """A model to be registered; `index` counts the models of the L1 block `l1_hash`."""

    facts: ModelFacts
    l1_hash: L1Hash
    index: int


@dataclass(frozen=True, slots=True)
class PipelineState:
    """Everything; `times` are the last header times (at most 11), `fee_rates` those of the last 16 blocks."""

    times: tuple[int, ...]
    fee_rates: tuple[int, ...]
    derivation: DerivationState
    finality: FinalityState
    artifacts: ArtifactState
    waiting: tuple[WaitingModel, ...]
    tally: DataTally = field(default_factory=DataTally)


def begin_pipeline(config: RollupConfig) -> PipelineState:
    """Return the state after the start block."""
    return PipelineState(
        times=config.l1_start.times,
        fee_rates=(),
        derivation=begin_derivation(config),
        finality=FinalityState(),
        artifacts=ArtifactState(),
        waiting=(),
    )


def encode_state(identity: Hash32, state: PipelineState) -> bytes:
    """Return version 1 | identity 32 | the parts one after the other; equal states give equal bytes."""
    writer = Writer()
    writer.u8(SNAPSHOT_VERSION)
    writer.raw(identity)
    for numbers in (state.times, state.fee_rates):
        writer.uvarint(len(numbers))
        for number in numbers:
            writer.uvarint(number)
    write_derivation(writer, state.derivation)
    write_finality(writer, state.finality)
    write_artifacts(writer, state.artifacts)
    writer.uvarint(len(state.waiting))
    for model in state.waiting:
        _write_model(writer, model)
    for number in (state.tally.scalar, state.tally.posted, state.tally.charged):
        writer.uvarint(number)
    return writer.finish()


def decode_state(identity: Hash32, data: bytes) -> PipelineState:
    """Read what `encode_state` wrote.

    Raises InvariantViolation `pipeline.corrupt_snapshot` for anything else: only this program writes it.
    """
    try:
        reader = Reader(data)
        if reader.u8() != SNAPSHOT_VERSION or reader.take(HASH_BYTES) != identity:
            raise InvariantViolation("pipeline.corrupt_snapshot", "a snapshot of another version or chain")
        times, fee_rates = (tuple(reader.uvarint() for _ in range(reader.uvarint())) for _ in range(2))
        state = PipelineState(
            times=times,
            fee_rates=fee_rates,
            derivation=read_derivation(reader),
            finality=read_finality(reader),
            artifacts=read_artifacts(reader),
            waiting=tuple(_read_model(reader) for _ in range(reader.uvarint())),
            tally=DataTally(reader.uvarint(), reader.uvarint(), reader.uvarint()),
        )
        reader.done()
    except (InvalidInput, ValueError) as error:
        raise InvariantViolation("pipeline.corrupt_snapshot", f"a snapshot is damaged: {error}") from error
    return state


def _write_model(writer: Writer, model: WaitingModel) -> None:
    facts = model.facts
    writer.raw(facts.model_id)
    writer.u8(facts.tier)
    writer.u8(facts.profile)
    for number in (facts.input_bytes, facts.output_bytes, facts.macs, facts.l1_height):
        writer.u64(number)
    writer.raw(model.l1_hash)
    writer.u32(model.index)


def _read_model(reader: Reader) -> WaitingModel:
    model_id = ModelId(reader.take(HASH_BYTES))
    tier, profile = Tier(reader.u8()), Profile(reader.u8())
    facts = ModelFacts(
        model_id=model_id,
        active=True,
        tier=tier,
        profile=profile,
        input_bytes=reader.u64(),
        output_bytes=reader.u64(),
        macs=reader.u64(),
        l1_height=reader.u64(),
    )
    return WaitingModel(facts, L1Hash(reader.take(HASH_BYTES)), reader.u32())
