"""Checks blocks: hashes that link, roots computed again from what is stored, and the indexes over them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from primitives.errors import BitaiError
from primitives.ids import HASH_BYTES, Hash32
from vm import schema
from vm._core import (
    Header,
    Receipt,
    keccak256_many,
    ordered_root,
    records_root,
    requests_hash,
)
from vm.chain import Chain
from vm.check.fault import HARMLESS, REBUILD, Fault, Findings, Tick
from vm.check.receipts import check_receipts
from vm.records import encode_record
from vm.schema import BlockExtras
from vm.store import Snapshot
from vm.types import BlockBody, TransactionPlace

NUMBER_BYTES = 8
NUMBERED = (
    schema.header_key(0)[:1],
    schema.extras_key(0)[:1],
    schema.body_key(0)[:1],
    schema.receipts_key(0)[:1],
)
"""Tables with one row for each block."""


@dataclass(frozen=True, slots=True)
class _Block:
    number: int
    header: Header
    extras: BlockExtras
    body: BlockBody
    receipts: list[Receipt]


def check_blocks(rows: Snapshot, head: int) -> Findings:
    """Find blocks that are not what their hash says, that do not follow each other, or that indexes misplace."""
    chain, transactions = Chain(rows), 0
    parent: _Block | None = None
    for number in range(head + 1):
        block, faults = _read(chain, number)
        yield from faults
        yield Tick("blocks", 1)
        if block is not None:
            transactions += len(block.body.transactions)
            yield from _contents(block)
            yield from check_receipts(number, block.header, block.body.transactions, block.receipts)
            yield from _links(chain, block, parent)
            yield from _indexes(chain, block)
        parent = block
    yield from _above(rows, head)
    yield from _orphans(rows, chain, head, transactions)


def _read(chain: Chain, number: int) -> tuple[_Block | None, list[Fault]]:
    """Read the four rows of a block."""
    faults: list[Fault] = []

    def row(name: str, key: bytes, read: Callable[[int], object]) -> object:
        try:
            value = read(number)
        except (BitaiError, ValueError) as error:  # ValueError: text that is none
            faults.append(Fault(f"{name}.malformed", key, f"block {number}: {error}", REBUILD))
            return None
        if value is None:
            faults.append(Fault(f"{name}.missing", key, f"block {number} has none", REBUILD))
        return value

    header = row("header", schema.header_key(number), chain.header)
    extras = row("extras", schema.extras_key(number), chain.extras)
    body = row("body", schema.body_key(number), chain.body)
    receipts = row("receipts", schema.receipts_key(number), chain.receipts)
    match header, extras, body, receipts:
        case Header(), BlockExtras(), BlockBody(), list():
            return _Block(number, header, extras, body, receipts), faults
    return None, faults


def _contents(block: _Block) -> Iterator[Fault]:
    """Compute again what the header commits to."""
    number, header = block.number, block.header
    if header.hash != block.extras.hash:
        key = schema.header_key(number)
        yield Fault("header.wrong_hash", key, f"block {number} is not the one of its hash", REBUILD)
    body_key = schema.body_key(number)
    if ordered_root(block.body.transactions) != header.transactions_root:
        yield Fault("body.wrong_root", body_key, f"block {number}: other transactions", REBUILD)
    records = [encode_record(record) for record in block.body.records]
    if requests_hash(records_root(records) if records else None) != header.requests_hash:
        yield Fault("body.wrong_records", body_key, f"block {number}: other inference records", REBUILD)
    ordinary = sum(receipt.gas_used - receipt.infer_gas for receipt in block.receipts)
    if ordinary != block.extras.ordinary_gas_used:
        yield Fault("extras.wrong_gas", schema.extras_key(number), f"block {number}: other gas", REBUILD)
    if header.parent_beacon_block_root != block.extras.origin.hash:
        yield Fault(
            "extras.wrong_origin", schema.extras_key(number), f"block {number}: other origin", REBUILD
        )


def read_extras(chain: Chain, number: int) -> BlockExtras | None:
    """Return what is kept beside a header, None for what does not decode: among the blocks that is told."""
    try:
        return chain.extras(number)
    except BitaiError:
        return None


def _links(chain: Chain, block: _Block, parent: _Block | None) -> Iterator[Fault]:
    """Follow a block to its parent, and its origin to its epoch's first block."""
    number, header, origin = block.number, block.header, block.extras.origin
    key = schema.header_key(number)
    if header.number != number:
        yield Fault("header.wrong_number", key, f"it stands at {number} and says {header.number}", REBUILD)
    if parent is not None and header.parent_hash != parent.header.hash:
        yield Fault("header.wrong_parent", key, f"block {number} does not follow the one below", REBUILD)
    if parent is not None and parent.extras.origin.height == origin.height:
        if parent.extras.origin != origin:
            yield Fault("extras.wrong_origin", schema.extras_key(number), f"block {number}: another", REBUILD)
    else:
        if parent is not None and parent.extras.origin.height + 1 != origin.height:
            yield Fault("extras.wrong_origin", schema.extras_key(number), f"block {number}: a gap", REBUILD)
        epoch = chain.epoch(origin.height)
        if number and parent is None:
            return  # the block below is told already
        if epoch is None or epoch != (origin.hash, number):
            key = schema.origin_key(origin.height)
            yield Fault("epoch.wrong", key, f"the epoch of block {number} is not told right", REBUILD)


def _indexes(chain: Chain, block: _Block) -> Iterator[Fault]:
    """Look a block and its transactions up by hash."""
    number = block.number
    if chain.number_of(block.extras.hash) != number:
        key = schema.block_hash_key(block.extras.hash)
        yield Fault("index.block", key, f"block {number} is not found by its hash", REBUILD)
    for index, transaction_hash in enumerate(keccak256_many(block.body.transactions)):
        if chain.place(Hash32(transaction_hash)) != TransactionPlace(number, index):
            key = schema.transaction_key(transaction_hash)
            yield Fault("index.transaction", key, f"transaction {index} of block {number}", REBUILD)


def _above(rows: Snapshot, head: int) -> Iterator[Fault]:
    """Find rows of blocks above the head."""
    for table in NUMBERED:
        for key, _ in rows.scan(table, schema.encode_number(head + 1)):
            yield Fault("orphan.block", key, "it belongs to no block of the chain", HARMLESS)


def _orphans(rows: Snapshot, chain: Chain, head: int, transactions: int) -> Findings:
    """Find index entries that lead nowhere; what leads right was seen from the block's side."""
    for key, value in rows.scan(b"#"):
        extras = read_extras(chain, int.from_bytes(value, "big")) if len(value) == NUMBER_BYTES else None
        if extras is None or extras.hash != key[1:]:
            yield Fault("orphan.index", key, "no block has this hash", HARMLESS)
    entries = 0
    for entries, _ in enumerate(rows.scan(b"T"), 1):  # noqa: B007 -- counts
        yield Tick("indexes", 1)
    if entries != transactions:
        yield from _lost_transactions(rows, chain)
    for key, value in rows.scan(b"O"):
        first = int.from_bytes(value[HASH_BYTES:], "big")
        extras = read_extras(chain, first) if first <= head else None
        if extras is None or schema.origin_key(extras.origin.height) != key:
            yield Fault("orphan.epoch", key, "no block looks back to it", HARMLESS)


def _lost_transactions(rows: Snapshot, chain: Chain) -> Findings:
    for key, value in rows.scan(b"T"):
        yield Tick("indexes", 1)
        place = schema.decode_place(value) if len(value) == 12 else None
        raws = () if place is None else _transactions(chain, place.number)
        if place is None or place.index >= len(raws) or keccak256_many([raws[place.index]])[0] != key[1:]:
            yield Fault("orphan.transaction", key, "no block holds this transaction", HARMLESS)


def _transactions(chain: Chain, number: int) -> tuple[bytes, ...]:
    try:
        body = chain.body(number)
    except (BitaiError, ValueError):  # told before
        return ()
    return () if body is None else body.transactions
