"""Choose the next block's time and origin so that derivation never voids it. Pure.

The sequencer looks at the clock, derivation never does: what is chosen here is one of the blocks that
`rollup.derivation.judge` allows, and a property test holds the two together.
"""

from dataclasses import dataclass

from rollup.derivation.judge import DerivedHead, latest_full_time, least_time
from rollup.parameters import Parameters
from vm.types import L1Origin


@dataclass(frozen=True, slots=True)
class Slot:
    """What the next block begins with; `empty_only` when its time lies beyond the drift."""

    timestamp: int
    origin: L1Origin
    new_epoch: bool
    empty_only: bool


def next_slot(parameters: Parameters, head: DerivedHead, upcoming: L1Origin | None, now_s: int) -> Slot:
    """Return what the block after the head begins with, made at this second of the clock.

    `head` is the newest block, safe or not; `upcoming` is the Bitcoin block after the head's origin, None
    while it is not known. The origin advances as soon as it can, because deposits wait for it. Time is the
    clock's, or one block time after the head where that is later: blocks made faster than the clock run ahead
    of it, as far as the drift allows.
    """
    origin = head.origin if upcoming is None else upcoming
    block_time_s = parameters.block_time_s
    clock = head.timestamp + max(now_s - head.timestamp, 0) // block_time_s * block_time_s
    earliest = least_time(parameters, head, origin)
    latest = latest_full_time(parameters, origin)
    latest_step = head.timestamp + (latest - head.timestamp) // block_time_s * block_time_s
    timestamp = max(earliest, min(clock, latest_step))
    return Slot(timestamp, origin, new_epoch=upcoming is not None, empty_only=timestamp > latest)


def is_too_late(parameters: Parameters, origin_height: int, l1_height: int) -> bool:
    """Tell whether a block's data can no longer take effect if its last frame comes in the next L1 block."""
    return l1_height + 1 > origin_height + parameters.seq_window
