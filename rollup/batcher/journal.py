"""How the batcher's state lies on the disk: small keys, written only when they change, all in one batch.

Keys: `i`+... the inscriber's (see `l1.journal`), `m` counters, `h` the header tail, `c`+number a channel,
`f`+hash an artifact, `y`+row id a row that ended. Numbers are 8 bytes, big-endian.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from l1.header_chain import ChainEntry, HeaderChain
from l1.journal import Put, diff_state, load_state
from primitives.codec import Reader, Writer
from primitives.errors import InvalidInput, InvariantViolation
from primitives.ids import HASH_BYTES, Hash32, L1Hash
from rollup.batcher.state import Artifact, BatcherState, Channel, RowRecord
from rollup.derivation.judge import DerivedHead
from vm.types import L1Origin

INSCRIBER_PREFIX: Final = b"i"
META_KEY: Final = b"m"
HEADERS_KEY: Final = b"h"
CHANNEL_PREFIX: Final = b"c"
ARTIFACT_PREFIX: Final = b"f"
HISTORY_PREFIX: Final = b"y"
_NAME_LIMIT: Final = 256


def diff_batcher(before: BatcherState | None, after: BatcherState) -> list[Put]:
    """Return the writes that turn the stored `before` (None: nothing stored) into `after`."""
    inner = diff_state(before.inscriber if before else None, after.inscriber)
    puts: list[Put] = [(INSCRIBER_PREFIX + key, value) for key, value in inner]
    if before is None or _encode_meta(before) != _encode_meta(after):
        puts.append((META_KEY, _encode_meta(after)))
    if before is None or before.headers is not after.headers:
        puts.append((HEADERS_KEY, _encode_headers(after.headers)))
    if before is None or _listed(before) != _listed(after):
        old, new = _entries(before) if before else {}, _entries(after)
        puts.extend((key, value) for key, value in new.items() if old.get(key) != value)
        puts.extend((key, None) for key in old if key not in new)
    return puts


def _listed(state: BatcherState) -> tuple[object, ...]:
    """Return what `_entries` encodes; tuples that were not touched compare in no time."""
    return state.channels, state.artifacts, state.history


def load_batcher(pairs: Mapping[bytes, bytes], fresh: BatcherState) -> BatcherState:
    """Return the stored state, or `fresh` when nothing is stored.

    Raises InvariantViolation `journal.corrupt` for a disk that does not hold what we wrote.
    """
    inner = {key[1:]: value for key, value in pairs.items() if key[:1] == INSCRIBER_PREFIX}
    inscriber = load_state(inner, fresh.inscriber.wallet.script)
    if inscriber is None:
        return fresh
    try:
        state = _decode_meta(pairs[META_KEY], replace(fresh, inscriber=inscriber))
        headers = _decode_headers(pairs[HEADERS_KEY], fresh.headers.limit)
        channels = [_decode_channel(value) for value in _values(pairs, CHANNEL_PREFIX)]
        artifacts = [_decode_artifact(value) for value in _values(pairs, ARTIFACT_PREFIX)]
        history = [_decode_record(value) for value in _values(pairs, HISTORY_PREFIX)]
    except (InvalidInput, KeyError, ValueError) as error:
        raise InvariantViolation("journal.corrupt", f"the batcher's state does not parse: {error}") from error
    if headers.tip != inscriber.wallet.tip:
        raise InvariantViolation("journal.corrupt", "the wallet stands on another block than the headers")
    return replace(
        state,
        headers=headers,
        channels=tuple(channels),
        artifacts={artifact.hash: artifact for artifact in artifacts},
        history=tuple(history),
    )


def _entries(state: BatcherState) -> dict[bytes, bytes]:
    entries = {
        CHANNEL_PREFIX + channel.number.to_bytes(8, "big"): _encode_channel(channel)
        for channel in state.channels
    }
    for artifact in state.artifacts.values():
        entries[ARTIFACT_PREFIX + artifact.hash] = _encode_artifact(artifact)
    for record in state.history:
        entries[HISTORY_PREFIX + record.row_id.to_bytes(8, "big")] = _encode_record(record)
    return entries


def _values(pairs: Mapping[bytes, bytes], prefix: bytes) -> list[bytes]:
    return [pairs[key] for key in sorted(pairs) if key[:1] == prefix]


def _encode_meta(state: BatcherState) -> bytes:
    writer = Writer()
    for number in (
        state.next_channel,
        state.floor_channel,
        state.floor_number,
        state.next_artifact,
        state.spent_sats,
    ):
        writer.uvarint(number)
    return writer.finish()


def _decode_meta(data: bytes, state: BatcherState) -> BatcherState:
    reader = Reader(data)
    next_channel, floor_channel, floor_number, next_artifact, spent = (reader.uvarint() for _ in range(5))
    reader.done()
    return replace(
        state,
        next_channel=next_channel,
        floor_channel=floor_channel,
        floor_number=floor_number,
        next_artifact=next_artifact,
        spent_sats=spent,
    )


def _encode_headers(headers: HeaderChain) -> bytes:
    writer = Writer()
    writer.uvarint(len(headers.older_times))
    for time in headers.older_times:
        writer.u32(time)
    writer.uvarint(headers.entries[0].height)
    writer.byte_string(headers.entries[0].work.to_bytes(HASH_BYTES, "big"))
    writer.uvarint(len(headers.entries))
    previous_work = headers.entries[0].work
    for entry in headers.entries:
        writer.raw(entry.hash)
        writer.u32(entry.time)
        writer.byte_string((entry.work - previous_work).to_bytes(HASH_BYTES, "big").lstrip(b"\0"))
        previous_work = entry.work
    return writer.finish()


def _decode_headers(data: bytes, limit: int) -> HeaderChain:
    reader = Reader(data)
    older_times = tuple(reader.u32() for _ in range(reader.uvarint()))
    first = reader.uvarint()
    work = int.from_bytes(reader.byte_string(HASH_BYTES), "big")
    entries = []
    for height in range(first, first + reader.uvarint()):
        block_hash, time = L1Hash(reader.take(HASH_BYTES)), reader.u32()
        work += int.from_bytes(reader.byte_string(HASH_BYTES), "big")
        entries.append(ChainEntry(height, block_hash, time, work))
    reader.done()
    if not entries:
        raise InvalidInput("codec.truncated", "a header chain has at least one entry")
    return HeaderChain(tuple(entries), limit, older_times)


def _encode_channel(channel: Channel) -> bytes:
    writer = Writer()
    for number in (
        channel.number,
        channel.row_id,
        channel.first_number,
        channel.first_origin,
        channel.last.number,
        channel.last.timestamp,
        channel.last.origin.height,
        channel.last.origin.mtp,
        channel.frames,
        channel.payload_bytes,
        channel.batch_bytes,
        int(channel.settled),
    ):
        writer.uvarint(number)
    writer.raw(channel.last.origin.hash)
    writer.raw(channel.last_hash)
    return writer.finish()


def _decode_channel(data: bytes) -> Channel:
    reader = Reader(data)
    number, row_id, first, first_origin = (reader.uvarint() for _ in range(4))
    last_number, timestamp, origin_height, mtp = (reader.uvarint() for _ in range(4))
    frames, payload_bytes, batch_bytes, settled = (reader.uvarint() for _ in range(4))
    origin_hash, last_hash = L1Hash(reader.take(HASH_BYTES)), Hash32(reader.take(HASH_BYTES))
    reader.done()
    return Channel(
        number=number,
        row_id=row_id,
        first_number=first,
        first_origin=first_origin,
        last=DerivedHead(last_number, timestamp, L1Origin(origin_height, origin_hash, mtp)),
        last_hash=last_hash,
        frames=frames,
        payload_bytes=payload_bytes,
        batch_bytes=batch_bytes,
        settled=bool(settled),
    )


def _encode_artifact(artifact: Artifact) -> bytes:
    writer = Writer()
    writer.raw(artifact.hash)
    writer.uvarint(artifact.sequence)
    writer.uvarint(artifact.size)
    for rows in (artifact.row_ids, artifact.final_rows):
        writer.uvarint(len(rows))
        for row_id in rows:
            writer.uvarint(row_id)
    return writer.finish()


def _decode_artifact(data: bytes) -> Artifact:
    reader = Reader(data)
    artifact_hash, sequence, size = Hash32(reader.take(HASH_BYTES)), reader.uvarint(), reader.uvarint()
    row_ids = tuple(reader.uvarint() for _ in range(reader.uvarint()))
    final_rows = tuple(reader.uvarint() for _ in range(reader.uvarint()))
    reader.done()
    return Artifact(artifact_hash, sequence, size, row_ids, final_rows)


def _encode_record(record: RowRecord) -> bytes:
    writer = Writer()
    for number in (
        record.row_id,
        record.payload_bytes,
        record.cost_sats,
        record.height,
        record.first_block,
        record.last_block,
    ):
        writer.uvarint(number)
    for text in (record.purpose.encode(), record.reference, record.status.encode(), record.commit):
        writer.byte_string(text)
    writer.uvarint(len(record.reveals))
    for txid in record.reveals:
        writer.raw(txid)
    return writer.finish()


def _decode_record(data: bytes) -> RowRecord:
    reader = Reader(data)
    row_id, payload_bytes, cost, height, first, last = (reader.uvarint() for _ in range(6))
    purpose, reference, status, commit = (reader.byte_string(_NAME_LIMIT) for _ in range(4))
    reveals = tuple(reader.take(HASH_BYTES) for _ in range(reader.uvarint()))
    reader.done()
    return RowRecord(
        row_id=row_id,
        purpose=purpose.decode(),
        reference=reference,
        status=status.decode(),
        payload_bytes=payload_bytes,
        commit=commit,
        reveals=reveals,
        cost_sats=cost,
        height=height,
        first_block=first,
        last_block=last,
    )
