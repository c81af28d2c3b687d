"""The rules of one block, each a few lines with its reason; the sequencer makes its blocks by the same ones.

A block is void if any rule is broken, and then the rest of its channel is void: what follows was built on it.
"""

from typing import NamedTuple

from rollup.derivation.errors import VoidCode
from rollup.parameters import Parameters
from vm.types import L1Origin


class DerivedHead(NamedTuple):
    """The last block that Bitcoin holds; `timestamp` in seconds."""

    number: int
    timestamp: int
    origin: L1Origin


class Candidate(NamedTuple):
    """What is judged of a block; `origin_hash` may be a prefix."""

    number: int
    timestamp: int
    origin_height: int
    origin_hash: bytes
    is_empty: bool


def judge_block(
    parameters: Parameters,
    head: DerivedHead,
    block: Candidate,
    *,
    origin: L1Origin | None,
    effect_height: int,
) -> VoidCode:
    """Say whether a block follows the head.

    `origin` is the Bitcoin block at the candidate's origin height, None where this chain has none or it is
    not looked at any more; `effect_height` is the L1 block at which the channel takes effect.
    """
    if block.number != head.number + 1:
        return VoidCode.NUMBER
    step = block.timestamp - head.timestamp
    if step <= 0 or step % parameters.block_time_s:
        return VoidCode.TIME_STEP
    if block.origin_height - head.origin.height not in (0, 1):
        return VoidCode.ORIGIN_STEP
    return _judge_origin(parameters, block, origin, effect_height) or _judge_time(
        parameters, head, block, origin
    )


def least_time(parameters: Parameters, head: DerivedHead, origin: L1Origin) -> int:
    """Return the least time of a child of the head with this origin: later, and not before its mtp."""
    block_time_s = parameters.block_time_s
    missing = max(origin.mtp - head.timestamp, block_time_s)
    return head.timestamp + -(-missing // block_time_s) * block_time_s


def latest_full_time(parameters: Parameters, origin: L1Origin) -> int:
    """Return the last time at which a block with this origin may hold transactions."""
    return origin.mtp + parameters.max_drift_s


def must_derive(parameters: Parameters, head: DerivedHead, effect_height: int) -> bool:
    """Tell whether the sequencer's window has passed, so that every node makes a block without batch data.

    Asked after the channels of an L1 block: deposits and forced transactions wait no longer than this.
    """
    return head.origin.height < effect_height - parameters.seq_window


def _judge_origin(
    parameters: Parameters, block: Candidate, origin: L1Origin | None, effect_height: int
) -> VoidCode:
    """An origin lies below the data that names it, on this branch, not so deep that it delays deposits."""
    if block.origin_height >= effect_height or origin is None:
        return VoidCode.ORIGIN_UNKNOWN
    if not origin.hash.startswith(block.origin_hash):
        return VoidCode.ORIGIN_HASH
    if effect_height > block.origin_height + parameters.seq_window:
        return VoidCode.WINDOW
    return VoidCode.VALID


def _judge_time(
    parameters: Parameters, head: DerivedHead, block: Candidate, origin: L1Origin | None
) -> VoidCode:
    """Time follows Bitcoin's: not behind its median, not ahead of it by more than the drift.

    Beyond the drift a block is empty, so that contracts never see such a time, and steps by one block time,
    so that no single block carries the chain's clock away for good.
    """
    if origin is None or block.timestamp < origin.mtp:
        return VoidCode.BEFORE_MTP
    if block.timestamp > latest_full_time(parameters, origin):
        if not block.is_empty:
            return VoidCode.DRIFT
        if block.timestamp != head.timestamp + parameters.block_time_s:
            return VoidCode.DRIFT_JUMP
    return VoidCode.VALID
