"""Why derivation left something out. The codes are part of what two nodes compare, so they never change.

None of them is an exception: whatever Bitcoin holds, derivation goes on.
"""

from enum import StrEnum


class FrameCode(StrEnum):
    """What became of a frame."""

    ACCEPTED = ""
    NOT_ACTIVE = "envelope.not_active"
    """A kind that this version of the protocol does not read yet."""
    WRONG_SIGNER = "frame.wrong_signer"
    CHANNEL_CLOSED = "frame.channel_closed"
    """Its channel is complete or timed out; a copied envelope ends here too."""
    TOO_FAR_AHEAD = "frame.too_far_ahead"
    TOO_MANY_FRAMES = "frame.too_many_frames"
    BAD_INDEX = "frame.bad_index"
    DUPLICATE = "frame.duplicate"
    CONFLICT = "frame.conflict"
    """The slot is taken by other data, or an earlier frame described the channel otherwise."""
    CHANNEL_TOO_LARGE = "frame.channel_too_large"
    BUFFER_FULL = "frame.buffer_full"


class ChannelCode(StrEnum):
    """What became of a channel; those of `rollup.batch` stand beside these."""

    TOOK_EFFECT = ""
    TIMED_OUT = "channel.timed_out"
    CONTENT_HASH = "channel.content_hash"


class VoidCode(StrEnum):
    """Why a block of a batch, and with it the rest of its channel, is void."""

    VALID = ""
    NUMBER = "block.number"
    TIME_STEP = "block.time_step"
    """Not later than its parent, or not by a multiple of the block time."""
    ORIGIN_STEP = "block.origin_step"
    ORIGIN_UNKNOWN = "block.origin_unknown"
    """Not below the L1 block at which the channel takes effect."""
    ORIGIN_HASH = "block.origin_hash"
    """Of another branch of Bitcoin."""
    WINDOW = "block.window"
    BEFORE_MTP = "block.before_mtp"
    DRIFT = "block.drift"
    """Beyond the drift with transactions."""
    DRIFT_JUMP = "block.drift_jump"
    """Beyond the drift by more than one block time."""
    EPOCH_FULL = "block.epoch_full"
    """More blocks, transactions or records than take effect at one L1 block; so is what comes after it there."""


class ArtifactCode(StrEnum):
    """What became of an artifact chunk."""

    ACCEPTED = ""
    TOO_MANY_CHUNKS = "artifact.too_many_chunks"
    BAD_INDEX = "artifact.bad_index"
    DUPLICATE = "artifact.duplicate"
    CONFLICT = "artifact.conflict"
    TOO_LARGE = "artifact.too_large"
    BUFFER_FULL = "artifact.buffer_full"
    TOO_MANY_OPEN = "artifact.too_many_open"
    CONTENT_HASH = "artifact.content_hash"
    """Complete, but its chunks do not hash to what they all promised."""
