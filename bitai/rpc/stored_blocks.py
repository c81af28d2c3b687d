"""Read a block whole: header, transactions and receipts of one and the same block, though the chain may move.

Blocks are stored by number, in rows that a rewind replaces all at once. So what is read between two equal looks
at the header belongs together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bitai.rpc.encode import (
    BlockPlace,
    log_object,
    receipt_object,
    system_transaction_object,
    transaction_object,
)
from primitives.errors import InvariantViolation, Rejected
from vm import _core
from vm.types import SYSTEM_TRANSACTION_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bitai.rpc.context import BlockReader
    from bitai.rpc.log_query import LogQuery
    from vm._core import Header, Receipt

TRIES: Final = 4


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A block as it was at one instant; `receipts` are empty unless they were asked for."""

    header: Header
    raws: list[bytes]
    receipts: list[Receipt]

    @property
    def place(self) -> BlockPlace:
        """Where its transactions say that they are."""
        return BlockPlace(self.header.hash, self.header.number, self.header.timestamp)

    @property
    def size(self) -> int:
        """Bytes of header and transactions."""
        return len(self.header.encode()) + sum(map(len, self.raws))

    def transaction_objects(self, chain_id: int) -> list[dict[str, Any]]:
        """Show every transaction; decodes and recovers users' ones, in parallel."""
        users = [raw for raw in self.raws if raw[0] != SYSTEM_TRANSACTION_TYPE]
        decoded = _decode(users, chain_id)
        return [self._show(index, raw, decoded) for index, raw in enumerate(self.raws)]

    def transaction_object(self, index: int, chain_id: int) -> dict[str, Any]:
        """Show one transaction."""
        raw = self.raws[index]
        users = [] if raw[0] == SYSTEM_TRANSACTION_TYPE else [raw]
        return self._show(index, raw, _decode(users, chain_id))

    def _show(self, index: int, raw: bytes, decoded: dict[bytes, Any]) -> dict[str, Any]:
        if raw[0] == SYSTEM_TRANSACTION_TYPE:
            nonce = self.receipts[index].deposit_nonce
            system = _core.SystemTransaction.decode(raw)
            return system_transaction_object(system, nonce, self.place, index)
        return transaction_object(decoded[raw], self.place, index, self.header.base_fee)

    def receipt_objects(self) -> list[dict[str, Any]]:
        """Show every receipt."""
        shown: list[dict[str, Any]] = []
        first_log = 0
        for index, receipt in enumerate(self.receipts):
            made = receipt_object(receipt, self.place, index=index, first_log_index=first_log)
            first_log += len(made["logs"])
            shown.append(made)
        return shown

    def receipt_object(self, index: int) -> dict[str, Any]:
        """Show one receipt."""
        first_log = sum(len(each.logs) for each in self.receipts[:index])
        return receipt_object(self.receipts[index], self.place, index=index, first_log_index=first_log)

    def log_objects(self, query: LogQuery) -> Iterator[dict[str, Any]]:
        """Show the logs that a query wants, in order."""
        place, log_index = self.place, 0
        for index, receipt in enumerate(self.receipts):
            for log in receipt.logs:
                if query.wants(log.address, log.topics):
                    yield log_object(log, place, receipt.transaction_hash, index=index, log_index=log_index)
                log_index += 1


def _decode(raws: list[bytes], chain_id: int) -> dict[bytes, Any]:
    # What is stored was admitted once; only a development node admits what is sent in somebody else's name.
    decoded = _core.decode(raws, chain_id, impersonated=True)
    for each in decoded:
        if isinstance(each, tuple):
            raise InvariantViolation("store.corrupt", f"a stored transaction does not decode: {each[1]}")
    return dict(zip(raws, decoded, strict=True))


def read_block(blocks: BlockReader, number: int, *, receipts: bool = False) -> StoredBlock | None:
    """Return a block, None if there is none with this number. Errors: `Rejected` "rpc.block_gone"."""
    for _ in range(TRIES):
        header = blocks.header(number)
        if header is None:
            return None
        try:
            raws = blocks.transactions(number)
            found = blocks.receipts(number) if receipts else []
        except Rejected:  # it left the chain this very moment; another takes its number, or none
            continue
        again = blocks.header(number)
        if again is not None and again.hash == header.hash:
            return StoredBlock(header, raws, found)
    raise Rejected("rpc.block_gone", "the chain moved while it was read; ask again")
