"""The index: which outputs are unspent, where each transaction is, and how to undo a block.

One LevelDB, a cache of the block log. Whatever one block (or one reorganisation) changes goes into one batch,
with the hash of the block it leads to, so the index always describes exactly one tip. Keys:

    h hash32              block row (see `block_tree.encode_row`)
    c txid32 vout4        coin
    t txid32              block hash, offset and length of the transaction within the block
    u hash32              coins that the block spent
    x hash32              a block that the operator invalidated
    m name                best block, end of the log, generation, schema, wallet address count
"""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import plyvel

from primitives.bitcoin.parser import ParsedBlock, ParsedTx
from primitives.errors import InvariantViolation
from primitives.ids import L1Hash, OutPoint, Txid
from regtest.block_tree import BlockRow, decode_row, encode_row
from regtest.coins import (
    OUTPOINT_BYTES,
    Coin,
    coin_of,
    decode_coin,
    decode_outpoint,
    encode_coin,
    encode_outpoint,
    is_unspendable,
)
from regtest.faults import FaultPoint, nothing

SCHEMA: Final = b"1"
_PLACE: Final = struct.Struct(">32sII")
_UNDO_LENGTH: Final = struct.Struct(">I")
_BEST: Final = b"mbest"
_SCHEMA: Final = b"mschema"


class TxPlace(NamedTuple):
    """Where a confirmed transaction is: its block, and offset and length within the raw block."""

    block_hash: L1Hash
    offset: int
    length: int


class Index:
    """An open index; one thread."""

    def __init__(self, directory: Path, fault: FaultPoint = nothing) -> None:
        """Open or create it; raises InvariantViolation `index.unreadable`, after which it may be deleted."""
        self._fault = fault
        try:
            self._db: Any = plyvel.DB(str(directory), create_if_missing=True)
        except plyvel.Error as error:
            raise InvariantViolation("index.unreadable", str(error), directory=str(directory)) from error
        schema = self._db.get(_SCHEMA)
        if schema is None:
            self._db.put(_SCHEMA, SCHEMA, sync=True)
        elif schema != SCHEMA:
            self._db.close()
            raise InvariantViolation("index.unreadable", "written by another version", schema=schema)

    def close(self) -> None:
        """Let go of the directory."""
        self._db.close()

    @property
    def best(self) -> L1Hash | None:
        """Return the block whose state this is, None before the first."""
        best = self._db.get(_BEST)
        return None if best is None else L1Hash(best)

    def rows(self) -> list[BlockRow]:
        """Return every block row in the order of the log, parents first."""
        return sorted((decode_row(row) for row in self._scan(b"h")), key=lambda row: row.offset)

    def invalidated(self) -> frozenset[L1Hash]:
        """Return the blocks that the operator invalidated."""
        return frozenset(L1Hash(key[1:]) for key in self._db.iterator(prefix=b"x", include_value=False))

    def number(self, name: str) -> int:
        """Return a number kept under a name, 0 if there is none."""
        return int.from_bytes(self._db.get(b"m" + name.encode()) or b"", "big")

    def coin(self, outpoint: OutPoint) -> Coin | None:
        """Return an unspent output of the index's tip."""
        row = self._db.get(b"c" + encode_outpoint(outpoint))
        return None if row is None else decode_coin(row)

    def coins(self) -> Iterator[tuple[OutPoint, Coin]]:
        """Yield every unspent output, in the order of the outpoints."""
        for key, row in self._db.iterator(prefix=b"c"):
            yield decode_outpoint(key[1:]), decode_coin(row)

    def place(self, txid: Txid) -> TxPlace | None:
        """Return where a transaction of the active chain is."""
        row = self._db.get(b"t" + txid)
        if row is None:
            return None
        block_hash, offset, length = _PLACE.unpack(row)
        return TxPlace(L1Hash(block_hash), offset, length)

    def spent_coins(self, block_hash: L1Hash) -> dict[OutPoint, Coin]:
        """Return the coins that a block of the active chain spent from earlier blocks."""
        undo = self._db.get(b"u" + block_hash)
        if undo is None:
            raise InvariantViolation("index.no_undo", "a block cannot be undone", hash=block_hash.hex())
        return dict(_decode_undo(undo))

    def batch(self) -> "IndexBatch":
        """Return an empty batch of changes."""
        return IndexBatch(self)

    def write(self, changes: dict[bytes, bytes | None]) -> None:
        """Make all changes or none, on disk when this returns.

        Raises InvariantViolation `index.write_failed`; the log has everything, so a restart repairs it.
        """
        self._fault("index.before_write")
        try:
            self._write(changes)
        except plyvel.Error as error:
            raise InvariantViolation("index.write_failed", str(error)) from error
        self._fault("index.written")

    def _write(self, changes: dict[bytes, bytes | None]) -> None:
        with self._db.write_batch(transaction=True, sync=True) as batch:
            for key, value in changes.items():
                if value is None:
                    batch.delete(key)
                else:
                    batch.put(key, value)

    def _scan(self, prefix: bytes) -> Iterator[bytes]:
        return iter(self._db.iterator(prefix=prefix, include_key=False))


class IndexBatch:
    """Changes that become visible together; reads see them before they are written."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._changes: dict[bytes, bytes | None] = {}

    def write(self) -> None:
        """Write everything in one synchronous batch."""
        if self._changes:
            self._index.write(self._changes)

    def put_row(self, row: BlockRow) -> None:
        """Add or replace a block row."""
        self._changes[b"h" + row.hash] = encode_row(row)

    def put_number(self, name: str, value: int) -> None:
        """Keep a number under a name."""
        self._changes[b"m" + name.encode()] = value.to_bytes(8, "big")

    def put_invalidated(self, before: Iterable[L1Hash], after: Iterable[L1Hash]) -> None:
        """Replace the set of blocks that the operator invalidated."""
        for block_hash in before:
            self._changes[b"x" + block_hash] = None
        for block_hash in after:
            self._changes[b"x" + block_hash] = b""

    def connect(self, row: BlockRow, block: ParsedBlock) -> None:
        """Apply a block on top of the tip; the kernel has found it valid.

        Raises InvariantViolation `index.missing_coin` when the index does not describe the block's parent.
        """
        undo: list[bytes] = []
        created: dict[OutPoint, Coin] = {}
        for transaction in block.transactions:
            self._spend(transaction, created, undo)
            self._create(transaction, row.height, created)
            place = _PLACE.pack(row.hash, transaction.start, transaction.end - transaction.start)
            self._changes[b"t" + transaction.txid] = place
        for outpoint, coin in created.items():
            self._changes[b"c" + encode_outpoint(outpoint)] = encode_coin(coin)
        self._changes[b"u" + row.hash] = b"".join(undo)
        self._changes[_BEST] = row.hash

    def disconnect(self, row: BlockRow, block: ParsedBlock) -> None:
        """Take the tip's block back; the parent becomes the tip."""
        undo = self._get(b"u" + row.hash)
        if undo is None:
            raise InvariantViolation("index.no_undo", "a block cannot be undone", hash=row.hash.hex())
        for transaction in block.transactions:
            for vout in range(len(transaction.outputs)):
                self._changes[b"c" + encode_outpoint(OutPoint(transaction.txid, vout))] = None
            self._changes[b"t" + transaction.txid] = None
        for outpoint, coin in _decode_undo(undo):
            self._changes[b"c" + encode_outpoint(outpoint)] = encode_coin(coin)
        self._changes[b"u" + row.hash] = None
        self._changes[_BEST] = row.previous

    def _spend(self, transaction: ParsedTx, created: dict[OutPoint, Coin], undo: list[bytes]) -> None:
        """Delete what a transaction spends; what earlier blocks made is kept for undoing."""
        if transaction.is_coinbase:
            return
        for entry in transaction.inputs:
            if created.pop(entry.prevout, None) is not None:
                continue
            key = encode_outpoint(entry.prevout)
            coin = self._get(b"c" + key)
            if coin is None:
                raise InvariantViolation(
                    "index.missing_coin", "a block spends an unknown coin", key=key.hex()
                )
            undo.append(key + _UNDO_LENGTH.pack(len(coin)) + coin)
            self._changes[b"c" + key] = None

    def _create(self, transaction: ParsedTx, height: int, created: dict[OutPoint, Coin]) -> None:
        if height == 0:
            return  # the genesis coinbase is in no node's coin set
        is_coinbase = transaction.is_coinbase
        for vout, output in enumerate(transaction.outputs):
            if not is_unspendable(output.script):
                coin = coin_of(output, height, is_coinbase=is_coinbase)
                created[OutPoint(transaction.txid, vout)] = coin

    def _get(self, key: bytes) -> bytes | None:
        if key in self._changes:
            return self._changes[key]
        value: bytes | None = self._index._db.get(key)  # noqa: SLF001 - a batch is a part of its index
        return value


def _decode_undo(undo: bytes) -> Iterator[tuple[OutPoint, Coin]]:
    position = 0
    while position < len(undo):
        key = undo[position : position + OUTPOINT_BYTES]
        position += OUTPOINT_BYTES
        (length,) = _UNDO_LENGTH.unpack_from(undo, position)
        position += _UNDO_LENGTH.size
        yield decode_outpoint(key), decode_coin(undo[position : position + length])
        position += length
