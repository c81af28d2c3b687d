"""Rows that the chain's driver keeps beside the machine's: where derivation stands, epochs, outcomes, safety.

All below the prefix D, integers big-endian:

    D c                  cursor        height 8 | L1 hash 32: the last Bitcoin block worked through
    D s height8          snapshot      the pipeline's state after that block, large pieces by their hash
    D p hash32           piece         of a channel or an upload that waited for others, once for all snapshots
    D e height8          epoch         origin and system transactions, as block data without users
    D o height8          outcomes      JSON
    D b number8          safe at       height 8: the L1 block whose data made the block safe
    D m number8          made          hash of the block that this node made as the sequencer: all it may sign
    D q                  silent        height 8: nothing is signed on origins up to it
    D r parent32 origin32  retired     hash of a block that it made there, and that has left the chain since
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import orjson

from l1.ports import ChainPoint
from primitives.codec import Reader, Writer
from primitives.errors import InvariantViolation
from primitives.hashes import sha256
from primitives.ids import HASH_BYTES, Hash32, L1Hash
from rollup.follower.signed_block import decode_block_data, encode_block_data
from vm.schema import BlockId
from vm.types import BlockData, L1Origin, SystemTransaction

if TYPE_CHECKING:
    from bitai.pipeline_events import Epoch, L1Done
    from vm.store import ScannedRows, WriteBatch

CURSOR_KEY: Final = b"Dc"
SNAPSHOT_PREFIX: Final = b"Ds"
PIECE_PREFIX: Final = b"Dp"
CUT_BYTES: Final = 1_024
"""A piece of at least this size has a row of its own. Waiting channels and uploads may hold 128 MiB, for a fee that
anybody can pay, and a snapshot is kept of every L1 block: whole ones would fill a disk. Pieces stay when nothing waits
for them any more: together they are no more than Bitcoin holds."""
_CUT: Final = b"\x01"
"""Begins a snapshot that is cut; a whole one begins with its version, 0."""
_ANY_LENGTH: Final = 2**32
MADE_PREFIX: Final = b"Dm"
RETIRED_PREFIX: Final = b"Dr"
SILENT_KEY: Final = b"Dq"
_CURSOR_BYTES: Final = 40


def snapshot_key(height: int) -> bytes:
    """Key of the pipeline's state after an L1 block."""
    return SNAPSHOT_PREFIX + height.to_bytes(8, "big")


def epoch_key(height: int) -> bytes:
    """Key of an epoch."""
    return b"De" + height.to_bytes(8, "big")


def outcome_key(height: int) -> bytes:
    """Key of what an L1 block did."""
    return b"Do" + height.to_bytes(8, "big")


def safe_at_key(number: int) -> bytes:
    """Key of the L1 height that made an L2 block safe."""
    return b"Db" + number.to_bytes(8, "big")


def retired_key(parent: Hash32, origin: L1Hash) -> bytes:
    """Key of the block that was made, and perhaps signed, on a parent at an origin, and is not on the chain now."""
    return RETIRED_PREFIX + parent + origin


class ChainRows:
    """Reads the driver's rows."""

    def __init__(self, store: ScannedRows) -> None:
        """Read from this store, or a snapshot of it."""
        self._store = store

    def cursor(self) -> ChainPoint | None:
        """Return the last Bitcoin block worked through, None in a new database."""
        value = self._store.get(CURSOR_KEY)
        if value is None:
            return None
        if len(value) != _CURSOR_BYTES:
            raise InvariantViolation("store.corrupt", "the derivation cursor is malformed")
        return ChainPoint(int.from_bytes(value[:8], "big"), L1Hash(value[8:]))

    def snapshot(self, height: int) -> bytes | None:
        """Return the pipeline's state after an L1 block."""
        value = self._store.get(snapshot_key(height))
        if value is None or value[:1] != _CUT:  # without large pieces it stands as it is
            return value
        reader, parts = Reader(value[1:]), []
        for _ in range(reader.uvarint()):
            parts.append(reader.byte_string(_ANY_LENGTH))
            piece = self._store.get(PIECE_PREFIX + reader.take(HASH_BYTES))
            if piece is None:
                raise InvariantViolation("store.corrupt", "a piece of a snapshot is missing", height=height)
            parts.append(piece)
        return b"".join([*parts, reader.rest()])

    def epoch(self, height: int) -> tuple[L1Origin, tuple[SystemTransaction, ...]] | None:
        """Return an epoch's origin and system transactions."""
        value = self._store.get(epoch_key(height))
        if value is None:
            return None
        data = decode_block_data(value)
        return data.origin, data.system_transactions

    def outcome(self, height: int) -> dict[str, Any] | None:
        """Return what an L1 block did, as JSON values."""
        value = self._store.get(outcome_key(height))
        return None if value is None else orjson.loads(value)

    def safe_at(self, number: int) -> int | None:
        """Return the L1 height that made a block safe."""
        value = self._store.get(safe_at_key(number))
        return None if value is None else int.from_bytes(value, "big")

    def made(self, number: int) -> Hash32 | None:
        """Return the hash of the block of a number that this node made last as the sequencer, if it may sign it."""
        value = self._store.get(MADE_PREFIX + number.to_bytes(8, "big"))
        return None if value is None else Hash32(value)

    def retired(self, parent: Hash32, origin: L1Hash) -> Hash32 | None:
        """Return the hash of what was made at a place and has left the chain."""
        value = self._store.get(retired_key(parent, origin))
        return None if value is None else Hash32(value)

    def silent_upto(self) -> int | None:
        """Return the L1 height up to whose origins nothing is signed, None before the first block is made."""
        value = self._store.get(SILENT_KEY)
        return None if value is None else int.from_bytes(value, "big")

    def made_from(self, number: int) -> Iterator[BlockId]:
        """Yield what this node made as the sequencer from a number on; some of it may have left the chain."""
        for key, value in self._store.scan(MADE_PREFIX, number.to_bytes(8, "big")):
            yield BlockId(int.from_bytes(key[len(MADE_PREFIX) :], "big"), Hash32(value))


def put_made(batch: WriteBatch, block: BlockId) -> None:
    """Note a block that this node made as the sequencer."""
    batch.put(MADE_PREFIX + block.number.to_bytes(8, "big"), block.hash)


def put_silent(batch: WriteBatch, height: int) -> None:
    """Sign nothing on origins up to an L1 height."""
    batch.put(SILENT_KEY, height.to_bytes(8, "big"))


def put_snapshot(
    batch: WriteBatch, height: int, snapshot: bytes, *, pieces: Iterable[bytes], stored: frozenset[bytes]
) -> frozenset[bytes]:
    """Keep the pipeline's state after an L1 block, in which `pieces` stand in this order.

    Returns the hashes of the large ones; those in `stored` have their rows already.
    """
    cuts: list[tuple[bytes, Hash32]] = []
    place = 0
    for piece in pieces:
        if len(piece) < CUT_BYTES:
            continue
        start, piece_hash = snapshot.index(piece, place), sha256(piece)
        cuts.append((snapshot[place:start], piece_hash))
        place = start + len(piece)
        if piece_hash not in stored:
            batch.put(PIECE_PREFIX + piece_hash, piece)
    writer = Writer()
    writer.uvarint(len(cuts))
    for before, piece_hash in cuts:
        writer.byte_string(before)
        writer.raw(piece_hash)
    writer.raw(snapshot[place:])
    batch.put(snapshot_key(height), _CUT + writer.finish() if cuts else snapshot)
    return frozenset(piece_hash for _, piece_hash in cuts)


def put_cursor(batch: WriteBatch, point: ChainPoint) -> None:
    """Set the cursor."""
    batch.put(CURSOR_KEY, point.height.to_bytes(8, "big") + point.hash)


def put_epoch(batch: WriteBatch, epoch: Epoch) -> None:
    """Keep an epoch for whoever makes its first block."""
    data = BlockData(0, 0, epoch.origin, epoch.system_transactions, ())
    batch.put(epoch_key(epoch.height), encode_block_data(data))


def put_outcome(batch: WriteBatch, done: L1Done) -> None:
    """Keep what an L1 block did."""
    outcome = done.outcome
    shown = {
        "height": outcome.height,
        "hash": outcome.hash[::-1].hex(),
        "envelopes": [each._asdict() for each in outcome.envelopes],
        "channels": [each._asdict() for each in outcome.channels],
        "pending": [each._asdict() for each in outcome.pending],
        "derived": outcome.derived,
        "safeNumber": outcome.safe_number,
        "models": [
            {**model._asdict(), "model_id": None if model.model_id is None else "0x" + model.model_id.hex()}
            for model in done.models
        ],
    }
    batch.put(outcome_key(outcome.height), orjson.dumps(shown))


def put_safe_at(batch: WriteBatch, number: int, height: int) -> None:
    """Note that an L1 block made a block safe."""
    batch.put(safe_at_key(number), height.to_bytes(8, "big"))
