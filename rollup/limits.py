"""Bounds on what derivation keeps in memory or works through; part of a chain's genesis, so all nodes agree.

What goes beyond a bound is dropped with a reason. Each number says what it protects.
"""

from dataclasses import dataclass, fields
from typing import Final

from primitives.bitcoin.envelope import MAX_PAYLOAD_BYTES
from primitives.errors import ConfigError

MIB: Final = 1 << 20
CHUNK_HEADER_BYTES: Final = 2 + 32
"""What a frame or an artifact chunk says before its data: count, hash of the whole."""
MAX_CHUNK_BYTES: Final = MAX_PAYLOAD_BYTES - CHUNK_HEADER_BYTES
"""Data bytes of one frame or artifact chunk."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Counts and bytes; all inclusive."""

    open_channels: int = 64
    """Channel numbers from the next one on that may have frames waiting. A batcher with eight lanes of eight
    channels in flight fits; a number far ahead cannot make a reader keep a hole for ever."""
    channel_frames: int = 64
    """Frames of one channel: 25 MB, more than six full Bitcoin blocks."""
    channel_bytes: int = 16 * MIB
    """Compressed bytes of one channel."""
    buffered_bytes: int = 64 * MIB
    """Compressed bytes of all open channels: sixteen full Bitcoin blocks of frames."""
    decompressed_bytes: int = 64 * MIB
    """One batch, and again the transactions it unfolds to: what decoding one channel may hold in memory."""
    channel_blocks: int = 16_384
    """Blocks of one batch: nine hours of two-second blocks, so one night is caught up in a few."""
    channel_transactions: int = 524_288
    """Transactions of one batch, and again its records; 128 bytes each fill `decompressed_bytes`."""
    epoch_blocks: int = 16_384
    """Blocks that take effect at one L1 block. A channel of empty blocks is 44 bytes, so channels alone bound
    nothing: 64 of them would be a million blocks to execute. Nine hours of blocks an L1 block catch up with
    any outage."""
    epoch_transactions: int = 524_288
    """Transactions that take effect at one L1 block, and again records: one full channel."""
    open_artifacts: int = 1_024
    """Artifacts with chunks missing. A slot costs a Bitcoin transaction, all a third of a block."""
    signer_artifacts: int = 8
    """Of one signer, so that one confused uploader does not fill the table."""
    artifact_chunks: int = 64
    """Chunks of one artifact."""
    artifact_bytes: int = 16 * MIB
    """One artifact: at most 1 MiB of graph and 8 MiB of tables, the rest weights of an on-chain model."""
    artifact_buffered_bytes: int = 64 * MIB
    """All open artifacts; filling it takes sixteen Bitcoin blocks of somebody's fees, for one timeout."""
    artifact_timeout: int = 1_008
    """L1 blocks from an artifact's first chunk to its last: a week, so an upload survives a fee spike."""
    epoch_models: int = 16
    """Models registered in one epoch; more wait for the next ones, so no block is made of them alone."""
    waiting_models: int = 256
    """Models waiting for their epoch; a signer beyond has to inscribe again."""

    def check(self) -> None:
        """Refuse bounds that no chain can live with; raises ConfigError `limits.*`."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < 2**32:
                raise _refusal(field.name, f"{field.name} must be positive and below 2^32")
        if self.channel_frames > 0xFFFF or self.artifact_chunks > 0xFFFF:
            raise _refusal("count", "frames and chunks are counted in 16 bits")
        if self.buffered_bytes < self.channel_bytes or self.artifact_buffered_bytes < self.artifact_bytes:
            raise _refusal("buffer", "a buffer is smaller than one thing it holds")
        if self.epoch_blocks < self.channel_blocks or self.epoch_transactions < self.channel_transactions:
            raise _refusal("epoch", "an L1 block takes less than one channel holds")


def _refusal(reason: str, message: str) -> ConfigError:
    return ConfigError(f"limits.{reason}", message, fix="correct `limits` in the rollup configuration")
