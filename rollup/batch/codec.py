"""Encode consecutive L2 blocks as columns, and decode exactly what the encoder makes.

A batch says what its blocks are made from and nothing that follows from it: no parent hash, no roots. Version
0 is laid out in docs/spec/batch.md; the version byte lets a later one take its place.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

from primitives.curve import ECDSA_BYTES
from primitives.errors import InvalidInput
from primitives.ids import ADDRESS_BYTES, HASH_BYTES, Address, Hash32
from rollup.batch.columns import ColumnReader, ColumnWriter, Table
from rollup.batch.transaction_columns import read_transactions, write_transactions
from rollup.limits import Limits
from vm.types import BlockData, InferenceRecord

VERSION: Final = 0
ORIGIN_HASH_BYTES: Final = 4
"""Enough to tell the branches of a reorg apart; the whole hash is on Bitcoin already."""
MAX_TIME: Final = 2**63


class BatchBlock(NamedTuple):
    """One block of a batch; its number follows from its place. `timestamp` in seconds."""

    timestamp: int
    origin_height: int
    origin_hash: bytes
    transactions: tuple[bytes, ...]
    records: tuple[InferenceRecord, ...]


class Batch(NamedTuple):
    """Consecutive blocks, the first of which has `first_number`."""

    first_number: int
    blocks: tuple[BatchBlock, ...]

    def count_bytes(self, encoded: int) -> int:
        """Return what a batch of so many encoded bytes counts for: those, or its transactions if they are more."""
        unfolded = sum(len(raw) for block in self.blocks for raw in block.transactions)
        return max(encoded, unfolded)


class BatchFormat(NamedTuple):
    """What encoder and decoder must agree on besides the version."""

    chain_id: int
    block_time_s: int


def to_batch_block(data: BlockData) -> BatchBlock:
    """Return what a batch says of a block."""
    origin = data.origin
    prefix = origin.hash[:ORIGIN_HASH_BYTES]
    return BatchBlock(data.timestamp, origin.height, prefix, data.transactions, data.records)


def encode_batch(form: BatchFormat, batch: Batch) -> bytes:
    """Return the one encoding of a batch.

    Raises InvalidInput `batch.empty`, `batch.bad_time`, `batch.bad_origin`, `batch.bad_record`,
    `batch.out_of_range` for blocks that no batch can hold.
    """
    blocks = batch.blocks
    if not blocks:
        raise InvalidInput("batch.empty", "a batch has at least one block")
    writer = ColumnWriter()
    writer.octets([VERSION])
    writer.uvarints([batch.first_number, len(blocks)])
    _write_times(writer, blocks, form.block_time_s)
    _write_origins(writer, blocks)
    writer.uvarints(len(block.transactions) for block in blocks)
    writer.uvarints(len(block.records) for block in blocks)
    addresses = Table(ADDRESS_BYTES)
    raws = [raw for block in blocks for raw in block.transactions]
    write_transactions(writer, raws, addresses, form.chain_id)
    _write_records(writer, blocks, addresses)
    return writer.finish()


def decode_batch(form: BatchFormat, data: bytes, limits: Limits) -> Batch:
    """Return the batch that all of `data` encodes.

    Raises InvalidInput `batch.*`: `unknown_version`, `too_many_blocks`, `too_many_transactions`,
    `too_many_records`, `too_large`, `truncated`, `trailing`, and a code for every second way to write the
    same batch.
    """
    reader = ColumnReader(data)
    version = reader.octets(1)[0]
    if version != VERSION:
        raise InvalidInput("batch.unknown_version", "a batch of another version", version=version)
    first_number, count = reader.uvarints(2)
    if not 0 < count <= limits.channel_blocks:
        raise InvalidInput(
            "batch.too_many_blocks", "a batch holds at least one block, and not too many", count=count
        )
    times = _read_times(reader, count, form.block_time_s)
    origins = _read_origins(reader, count)
    transaction_counts, record_counts = reader.uvarints(count), reader.uvarints(count)
    _require_count("transactions", sum(transaction_counts), limits.channel_transactions)
    _require_count("records", sum(record_counts), limits.channel_transactions)
    addresses = Table(ADDRESS_BYTES)
    raws = read_transactions(
        reader,
        sum(transaction_counts),
        addresses,
        chain_id=form.chain_id,
        max_bytes=limits.decompressed_bytes,
    )
    heights = [height for (height, _), each in zip(origins, record_counts, strict=True) for _ in range(each)]
    records = _read_records(reader, heights, addresses, limits.decompressed_bytes)
    reader.done()
    blocks = []
    for timestamp, origin, cut, answers in zip(
        times, origins, _cuts(transaction_counts), _cuts(record_counts), strict=True
    ):
        block = BatchBlock(timestamp, *origin, tuple(raws[slice(*cut)]), tuple(records[slice(*answers)]))
        _require_places([record.tx_index for record in block.records], len(block.transactions))
        blocks.append(block)
    return Batch(first_number, tuple(blocks))


def _write_times(writer: ColumnWriter, blocks: Sequence[BatchBlock], block_time_s: int) -> None:
    writer.uvarints([blocks[0].timestamp])
    steps = []
    for earlier, later in pairwise(block.timestamp for block in blocks):
        step, rest = divmod(later - earlier, block_time_s)
        if rest or step < 0:
            raise InvalidInput(
                "batch.bad_time", "block times are multiples of the block time apart", time=later
            )
        steps.append(step)
    writer.uvarints(steps)


def _read_times(reader: ColumnReader, count: int, block_time_s: int) -> list[int]:
    first = reader.uvarint()
    times = list(accumulate((step * block_time_s for step in reader.uvarints(count - 1)), initial=first))
    if times[-1] >= MAX_TIME:
        raise InvalidInput("batch.bad_time", "a block time is out of this world", time=times[-1])
    return times


def _write_origins(writer: ColumnWriter, blocks: Sequence[BatchBlock]) -> None:
    """Write the first height, a bit a later block for the next origin, and four hash bytes an origin."""
    steps, prefixes = [], [blocks[0].origin_hash]
    for earlier, later in pairwise(blocks):
        step = later.origin_height - earlier.origin_height
        if step not in (0, 1) or (not step and later.origin_hash != earlier.origin_hash):
            height = later.origin_height
            raise InvalidInput("batch.bad_origin", "origins advance by 0 or 1 a block", height=height)
        steps.append(step)
        prefixes += [later.origin_hash] * step
    if any(len(prefix) != ORIGIN_HASH_BYTES for prefix in prefixes):
        raise InvalidInput("batch.bad_origin", "an origin is named by four bytes of its hash")
    writer.uvarints([blocks[0].origin_height])
    writer.bits(steps)
    writer.raw(prefixes)


def _read_origins(reader: ColumnReader, count: int) -> list[tuple[int, bytes]]:
    first = reader.uvarint()
    steps = list(accumulate(reader.bits(count - 1), initial=0))
    prefixes = reader.fixed(steps[-1] + 1, ORIGIN_HASH_BYTES)
    return [(first + step, prefixes[step]) for step in steps]


def _write_records(writer: ColumnWriter, blocks: Sequence[BatchBlock], addresses: Table) -> None:
    for block in blocks:
        _require_places([record.tx_index for record in block.records], len(block.transactions))
    records = [record for block in blocks for record in block.records]
    distances = [block.origin_height - record.ask_height for block in blocks for record in block.records]
    if any(distance < 0 for distance in distances):
        raise InvalidInput("batch.bad_record", "a record asks at a height above its block's origin")
    if any(_is_misshapen(record) for record in records):
        raise InvalidInput("batch.bad_record", "a hash, signature or status of a record has a wrong size")
    writer.uvarints(record.tx_index for record in records)
    writer.raw(record.request_hash for record in records)
    writer.octets([record.status for record in records])
    writer.strings([record.output for record in records])
    addresses.write(writer, [record.neuron for record in records])
    writer.uvarints(distances)
    writer.raw(record.signature for record in records)


def _is_misshapen(record: InferenceRecord) -> bool:
    sizes = (len(record.request_hash), len(record.signature), len(record.neuron))
    return sizes != (HASH_BYTES, ECDSA_BYTES, ADDRESS_BYTES) or not 0 <= record.status <= 0xFF


def _read_records(
    reader: ColumnReader, origin_heights: Sequence[int], addresses: Table, limit: int
) -> list[InferenceRecord]:
    """Read the records of blocks; `origin_heights` has the origin height of each record's block."""
    count = len(origin_heights)
    columns = zip(
        reader.uvarints(count),
        reader.fixed(count, HASH_BYTES),
        reader.octets(count),
        reader.strings(count, limit),
        addresses.read_all(reader, count),
        reader.uvarints(count),
        reader.fixed(count, ECDSA_BYTES),
        strict=True,
    )
    records = []
    for height, (tx_index, request_hash, status, output, neuron, distance, signature) in zip(
        origin_heights, columns, strict=True
    ):
        if distance > height:
            raise InvalidInput("batch.bad_record", "a record asks below height 0", distance=distance)
        records.append(
            InferenceRecord(
                tx_index=tx_index,
                request_hash=Hash32(request_hash),
                status=status,
                output=output,
                neuron=Address(neuron),
                signature=signature,
                ask_height=height - distance,
            )
        )
    return records


def _require_places(indexes: Sequence[int], transactions: int) -> None:
    if any(not 0 <= index < transactions for index in indexes):
        raise InvalidInput("batch.bad_record", "a record belongs to no transaction of its block")


def _require_count(what: str, count: int, limit: int) -> None:
    if count > limit:
        raise InvalidInput(
            f"batch.too_many_{what}", f"more {what} than a batch may hold", count=count, limit=limit
        )


def _cuts(counts: Sequence[int]) -> list[tuple[int, int]]:
    """Return where each block's share of a column begins and ends."""
    return list(pairwise(accumulate(counts, initial=0)))
