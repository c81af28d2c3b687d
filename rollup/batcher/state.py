"""What the batcher knows: channels on their way, artifacts, the tail of Bitcoin's headers, and the inscriber.

The posted head is never stored. It follows from what derivation has read and from the channels that it has
not read yet, so a reorg or a void block moves it back by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from l1.header_chain import HeaderChain
from l1.inscriber import InscriberConfig, InscriberState
from primitives.bitcoin.envelope_codecs import EnvelopeCodec
from primitives.curve import xonly_public_key
from primitives.errors import ConfigError
from primitives.ids import Hash32
from rollup.batch.channel import LEVEL
from rollup.batch.codec import BatchFormat
from rollup.batcher.ports import Backlog, Progress
from rollup.config import RollupConfig
from rollup.derivation.judge import DerivedHead
from rollup.limits import MAX_CHUNK_BYTES

BATCH: str = "batch"
ARTIFACT: str = "artifact"
BATCH_PRIORITY: int = 0
ARTIFACT_PRIORITY: int = 10


@dataclass(frozen=True, slots=True)
class BatcherConfig:
    """When to post and how much; keys and fees are the inscriber's.

    A channel is made once `post_bytes` of transactions wait or the first block waited `post_age_ms`, or its
    origin is `urgent_blocks` from the end of its window. Blocks that would be void if their data
    landed `inclusion_margin` blocks late are not posted, unless the next Bitcoin block is the last chance.
    `channel_bytes` bounds a channel before compression; any zstd `compression_level` is read the same.
    """

    rollup: RollupConfig
    inscriber: InscriberConfig
    codec: EnvelopeCodec = EnvelopeCodec.IF520
    post_bytes: int = 100_000
    post_age_ms: int = 30_000
    urgent_blocks: int = 4
    inclusion_margin: int = 2
    channel_bytes: int = 4 << 20
    frame_bytes: int = MAX_CHUNK_BYTES
    compression_level: int = LEVEL
    channels_in_flight: int = 2
    leaves_per_row: int = 20
    history: int = 256

    @property
    def batch_format(self) -> BatchFormat:
        """What encoder and decoder agree on."""
        return BatchFormat(self.rollup.chain_id, self.rollup.parameters.block_time_s)

    def check(self) -> None:
        """Refuse a configuration whose batches nobody would read; raises ConfigError `batcher.*`."""
        if xonly_public_key(self.inscriber.keys.signer_secret) != self.rollup.keys.batcher:
            raise ConfigError(
                "batcher.wrong_key",
                "the signing key is not the batcher key that the rollup configuration names",
                fix="bitai-node keys list  # and run with the batcher's key",
            )
        if self.codec is EnvelopeCodec.OPRETURN:
            raise ConfigError(
                "batcher.bad_codec",
                "frames are shown in leaves: an OP_RETURN output is for small messages",
                fix="bitai-node run --batch-codec if520",
            )
        if self.inscriber.rules.finality_depth < self.rollup.parameters.finality_depth:
            raise ConfigError(
                "batcher.shallow_finality",
                "rows must be kept at least until their blocks are final",
                fix="leave the batcher's finality depth at the rollup configuration's",
            )
        self.inscriber.fees.check()


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel on its way; kept until Bitcoin cannot take it back any more.

    `first_number` to `last.number` are its blocks, `last_hash` the L2 hash of the last one when it was
    posted; `first_origin` is the origin height of the first one. `batch_bytes` is what its batch counts for where it
    takes effect.
    """

    number: int
    row_id: int
    first_number: int
    first_origin: int
    last: DerivedHead
    last_hash: Hash32
    frames: int
    payload_bytes: int
    batch_bytes: int
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model artifact that was given to us: its rows, in the order of its chunks, and which are final."""

    hash: Hash32
    sequence: int
    size: int
    row_ids: tuple[int, ...]
    final_rows: tuple[int, ...] = ()

    @property
    def done(self) -> bool:
        """Tell whether every chunk is final."""
        return set(self.final_rows) == set(self.row_ids)


@dataclass(frozen=True, slots=True)
class RowRecord:
    """What remains of a row that ended, for people: txids in internal order, fees in sats."""

    row_id: int
    purpose: str
    reference: bytes
    status: str
    payload_bytes: int
    commit: bytes
    reveals: tuple[bytes, ...]
    cost_sats: int
    height: int
    first_block: int
    last_block: int


@dataclass(frozen=True, slots=True)
class BatcherState:
    """Everything; what is `backlog` and below is not stored, for the world says it again.

    `floor_channel` and `floor_number` are the channel and block up to which everything is final: a derivation
    that has not come so far yet knows less than we do, and is waited for.
    """

    inscriber: InscriberState
    headers: HeaderChain
    channels: tuple[Channel, ...] = ()
    next_channel: int = 0
    floor_channel: int = 0
    floor_number: int = 0
    artifacts: Mapping[Hash32, Artifact] = field(default_factory=dict)
    next_artifact: int = 0
    history: tuple[RowRecord, ...] = ()
    spent_sats: int = 0
    backlog: Backlog | None = None
    progress: Progress | None = None
    waiting_since_ms: int | None = None
    hold_reason: str = ""
