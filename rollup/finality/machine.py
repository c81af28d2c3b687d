"""The finalized head: `step(parameters, state, event) -> Transition(state, signals)`; it needs no proposer.

Final is the highest block whose data and everything before are `finality_depth` deep, `inference_window` L1
blocks after the data of every record up to it took effect, with no game on such a record open. Source:
protocol section 3.
"""

from dataclasses import dataclass, replace

from primitives.codec import Reader, Writer
from primitives.errors import InvariantViolation
from rollup.parameters import Parameters


@dataclass(frozen=True, slots=True)
class Stretch:
    """Blocks after the stretch before and up to `last_number`, which become final together.

    `effect_height` is the L1 block at which their data took effect; `disputable` once a record is among them
    or, in the same L1 block, before them: nothing after a record is final before it.
    """

    last_number: int
    effect_height: int
    disputable: bool


@dataclass(frozen=True, slots=True)
class FinalityState:
    """The finalized head, and what is not final yet: at most two stretches an L1 block."""

    finalized: int = 0
    stretches: tuple[Stretch, ...] = ()


@dataclass(frozen=True, slots=True)
class L1Height:
    """Event: an L1 block was taken in, moves of games included.

    `blocks` are those whose data took effect there: number, and whether they hold a record. `first_disputed`
    is the lowest block with a record on which a game is open, None without games.
    """

    height: int
    blocks: tuple[tuple[int, bool], ...] = ()
    first_disputed: int | None = None


@dataclass(frozen=True, slots=True)
class FinalizedHead:
    """Signal: the finalized head moved."""

    number: int


@dataclass(frozen=True, slots=True)
class Transition:
    """The state after an L1 block, and the news."""

    state: FinalityState
    signals: tuple[FinalizedHead, ...] = ()
    duties: tuple[()] = ()


def step(parameters: Parameters, state: FinalityState, event: L1Height) -> Transition:
    """Take in what an L1 block added, then finalize what it made old enough.

    Raises InvariantViolation `finality.gap` for blocks that do not follow: derivation numbers them without
    gaps.
    """
    stretches = (*state.stretches, *_group(state, event))
    finalized, waiting = state.finalized, stretches
    while waiting and _is_settled(parameters, waiting[0], event.height):
        finalized, waiting = waiting[0].last_number, waiting[1:]
    if event.first_disputed is not None and finalized >= event.first_disputed:
        finalized = max(state.finalized, event.first_disputed - 1)
        waiting = tuple(each for each in stretches if each.last_number > finalized)
    moved = (FinalizedHead(finalized),) if finalized != state.finalized else ()
    return Transition(replace(state, finalized=finalized, stretches=waiting), moved)


def write_finality(writer: Writer, state: FinalityState) -> None:
    """Append the state's bytes."""
    writer.u64(state.finalized)
    writer.uvarint(len(state.stretches))
    for stretch in state.stretches:
        writer.u64(stretch.last_number)
        writer.u64(stretch.effect_height)
        writer.u8(stretch.disputable)


def read_finality(reader: Reader) -> FinalityState:
    """Read what `write_finality` wrote; raises InvalidInput `codec.*`."""
    finalized = reader.u64()
    stretches = tuple(Stretch(reader.u64(), reader.u64(), bool(reader.u8())) for _ in range(reader.uvarint()))
    return FinalityState(finalized, stretches)


def _group(state: FinalityState, event: L1Height) -> tuple[Stretch, ...]:
    """Cut one L1 block's blocks in two: those before the first with a record, and the rest."""
    if not event.blocks:
        return ()
    expected = (state.stretches[-1].last_number if state.stretches else state.finalized) + 1
    numbers = [number for number, _ in event.blocks]
    if numbers != list(range(expected, expected + len(numbers))):
        raise InvariantViolation("finality.gap", "blocks do not follow those before", expected=expected)
    plain = next((place for place, (_, has_record) in enumerate(event.blocks) if has_record), len(numbers))
    stretches = []
    if plain:
        stretches.append(Stretch(numbers[plain - 1], event.height, disputable=False))
    if plain < len(numbers):
        stretches.append(Stretch(numbers[-1], event.height, disputable=True))
    return tuple(stretches)


def _is_settled(parameters: Parameters, stretch: Stretch, height: int) -> bool:
    """Tell whether a stretch is old enough; a window includes the moves in its last L1 block."""
    age = parameters.finality_depth
    if stretch.disputable:
        age = max(age, parameters.inference_window)
    return height >= stretch.effect_height + age
