"""Reads stored blocks: headers, bodies, receipts, and where things are."""

from collections.abc import Iterator
from typing import Protocol

from primitives.ids import Address, Hash32, L1Hash
from vm import schema
from vm._core import Header, Receipt, decode_receipts
from vm._core import SystemTransaction as CoreSystemTransaction
from vm.body import decode_body
from vm.core_errors import translated
from vm.schema import BlockExtras, BlockId, EpochStart
from vm.types import (
    SYSTEM_TRANSACTION_TYPE,
    BlockBody,
    BlockData,
    HeadInfo,
    SystemTransaction,
    TransactionPlace,
)


class Rows(Protocol):
    """Where rows are read from: the store, or a snapshot of it."""

    def get(self, key: bytes) -> bytes | None:
        """Return a key's value, or None."""
        ...


class Chain:
    """Blocks by number, hash and transaction; None for what is not there.

    Raises InvariantViolation (`store.corrupt`, `header.malformed` ...) for rows this program did not write.
    """

    def __init__(self, rows: Rows) -> None:
        """Read from a store or a snapshot."""
        self._get = rows.get

    def head(self) -> BlockId | None:
        """Return the newest block, the unsafe head; None in a store without a chain."""
        return self.mark(schema.META_HEAD)

    def mark(self, key: bytes) -> BlockId | None:
        """Return the block that one of the META heads names."""
        value = self._get(key)
        return None if value is None else schema.decode_block_id(value)

    def header(self, number: int) -> Header | None:
        """Return a block's header."""
        value = self._get(schema.header_key(number))
        if value is None:
            return None
        with translated():
            return Header.decode(value)

    def extras(self, number: int) -> BlockExtras | None:
        """Return what is kept beside a header."""
        value = self._get(schema.extras_key(number))
        return None if value is None else schema.decode_extras(value)

    def facts(self, number: int) -> HeadInfo | None:
        """Return what a child would be made from."""
        header, extras = self.header(number), self.extras(number)
        if header is None or extras is None:
            return None
        return HeadInfo(
            number=number,
            hash=extras.hash,
            state_root=Hash32(header.state_root),
            timestamp=header.timestamp,
            gas_limit=header.gas_limit,
            base_fee=header.base_fee,
            ordinary_gas_used=extras.ordinary_gas_used,
            origin=extras.origin,
        )

    def block_hash(self, number: int) -> Hash32 | None:
        """Return a block's hash."""
        extras = self.extras(number)
        return None if extras is None else extras.hash

    def number_of(self, block_hash: Hash32) -> int | None:
        """Return the number of the block with this hash."""
        value = self._get(schema.block_hash_key(block_hash))
        return None if value is None else schema.decode_number(value)

    def body(self, number: int) -> BlockBody | None:
        """Return a block's transactions, records and skipped transactions."""
        value = self._get(schema.body_key(number))
        return None if value is None else decode_body(value)

    def receipts(self, number: int) -> list[Receipt] | None:
        """Return a block's receipts, one a transaction."""
        value = self._get(schema.receipts_key(number))
        if value is None:
            return None
        with translated():
            return decode_receipts(value)

    def place(self, transaction_hash: Hash32) -> TransactionPlace | None:
        """Return where a transaction is."""
        value = self._get(schema.transaction_key(transaction_hash))
        return None if value is None else schema.decode_place(value)

    def epoch(self, height: int) -> EpochStart | None:
        """Return an L1 origin's hash and the first block that looked back to it."""
        value = self._get(schema.origin_key(height))
        return None if value is None else schema.decode_epoch_start(value)

    def origin_hash(self, height: int) -> L1Hash | None:
        """Return the hash of an L1 origin of this chain."""
        epoch = self.epoch(height)
        return None if epoch is None else epoch.hash

    def block_data(self, number: int) -> BlockData | None:
        """Return the data that makes this block again, its system transactions included."""
        header, extras, body = self.header(number), self.extras(number), self.body(number)
        if header is None or extras is None or body is None:
            return None
        system = tuple(_system_transactions(body.transactions))
        return BlockData(
            number=number,
            timestamp=header.timestamp,
            origin=extras.origin,
            system_transactions=system,
            transactions=body.transactions[len(system) :],
            records=body.records,
        )


def _system_transactions(raws: tuple[bytes, ...]) -> Iterator[SystemTransaction]:
    """Yield those that lead the block."""
    for raw in raws:
        if raw[0] != SYSTEM_TRANSACTION_TYPE:
            return
        with translated():
            decoded = CoreSystemTransaction.decode(raw)
        yield SystemTransaction(
            source_hash=Hash32(decoded.source_hash),
            sender=Address(decoded.sender),
            to=None if decoded.to is None else Address(decoded.to),
            mint=decoded.mint,
            value=decoded.value,
            gas=decoded.gas_limit,
            data=decoded.input,
        )
