"""Methods that read stored blocks, transactions, receipts and logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bitai.rpc.encode import block_object, data, pending_block_object, quantity, transaction_object
from bitai.rpc.framing import INVALID_PARAMS, SERVER_ERROR, RpcError
from bitai.rpc.limits import over
from bitai.rpc.log_query import LogQuery, parse_log_query
from bitai.rpc.params import (
    LATEST,
    PENDING,
    BlockId,
    parse_address,
    parse_block_id,
    parse_bool,
    parse_hash,
    parse_quantity,
    require_count,
)
from bitai.rpc.sender_search import find_by_sender
from bitai.rpc.stored_blocks import read_block
from vm import _core

if TYPE_CHECKING:
    from bitai.rpc.context import Context, Method
    from bitai.rpc.stored_blocks import StoredBlock
    from primitives.ids import Address, Hash32

MAX_LOG_CHARACTERS: Final = 32 << 20
"""Hex of the data of all logs of one answer: a log may hold two megabytes."""
MAX_PENDING: Final = 1_000
"""Waiting transactions that the pending block shows."""


class BlockMethods:
    """The methods, over one context."""

    def __init__(self, context: Context) -> None:
        """Answer from this context."""
        self._context = context
        self._blocks = context.blocks
        self._chain_id = context.facts.chain_id

    def table(self) -> dict[str, Method]:
        """Return method name -> implementation."""
        off_loop = self._context.off_loop
        return {
            "eth_blockNumber": self.block_number,
            "eth_getBlockByNumber": self.block_by_id,
            "eth_getBlockByHash": off_loop(self.block_by_hash),
            "eth_getBlockTransactionCountByNumber": self.transaction_count_of_block,
            "eth_getBlockTransactionCountByHash": self.transaction_count_of_block,
            "eth_getUncleCountByBlockNumber": self.uncle_count,
            "eth_getUncleCountByBlockHash": self.uncle_count,
            "eth_getUncleByBlockNumberAndIndex": self.uncle,
            "eth_getUncleByBlockHashAndIndex": self.uncle,
            "eth_getTransactionByHash": self.transaction_by_hash,
            "eth_getTransactionByBlockNumberAndIndex": self.transaction_by_place,
            "eth_getTransactionByBlockHashAndIndex": self.transaction_by_place,
            "eth_getTransactionBySenderAndNonce": self.transaction_by_sender,
            "eth_getRawTransactionByHash": self.raw_transaction,
            "eth_getRawTransactionByBlockNumberAndIndex": self.raw_transaction_by_place,
            "eth_getRawTransactionByBlockHashAndIndex": self.raw_transaction_by_place,
            "eth_getTransactionReceipt": self.receipt,
            "eth_getBlockReceipts": off_loop(self.block_receipts),
            "eth_getLogs": off_loop(self.logs),
        }

    async def block_number(self, params: list[Any]) -> str:
        """eth_blockNumber: the unsafe head."""
        require_count(params, 0, 0)
        return quantity(self._context.require_number(LATEST))

    async def block_by_id(self, params: list[Any]) -> dict[str, Any] | None:
        """eth_getBlockByNumber(block, full): null for a block that does not exist yet."""
        require_count(params, 1, 2)
        full = parse_bool(params[1], "full") if len(params) > 1 else False
        block = parse_block_id(params[0])
        if block == PENDING:
            return await self._pending(full=full)
        number = self._blocks.resolve(block)
        return None if number is None else await self._context.workers.run(self._block, number, full)

    def block_by_hash(self, params: list[Any]) -> dict[str, Any] | None:
        """eth_getBlockByHash(hash, full)."""
        require_count(params, 1, 2)
        full = parse_bool(params[1], "full") if len(params) > 1 else False
        number = self._blocks.resolve(BlockId(hash=parse_hash(params[0], "block hash")))
        return None if number is None else self._block(number, full)

    def _block(self, number: int, full: bool) -> dict[str, Any] | None:  # noqa: FBT001 -- a worker takes parts
        block = read_block(self._blocks, number, receipts=full)
        if block is None:
            return None
        if full:
            return block_object(block.header, block.size, block.transaction_objects(self._chain_id))
        hashes = [data(each) for each in _core.keccak256_many(block.raws)]
        return block_object(block.header, block.size, hashes)

    async def _pending(self, *, full: bool) -> dict[str, Any]:
        """Show the block that would come next: no hash, the next base fee, what could run."""
        number = self._context.require_number(LATEST)
        header = self._blocks.header(number)
        if header is None:
            raise RpcError(SERVER_ERROR, "header not found")
        runnable, _ = self._context.sender.content(MAX_PENDING)

        def show() -> dict[str, Any]:
            shown = [
                transaction_object(each, None, None, None) if full else data(each.hash) for each in runnable
            ]
            return pending_block_object(header, self._context.states.next_base_fee(number), shown)

        return await self._context.workers.run(show)

    async def transaction_count_of_block(self, params: list[Any]) -> str | None:
        """eth_getBlockTransactionCountBy*."""
        require_count(params, 1, 1)
        block = parse_block_id(params[0])
        if block == PENDING:
            return quantity(len(self._context.sender.content(MAX_PENDING)[0]))
        number = self._blocks.resolve(block)
        if number is None:
            return None
        return quantity(len(await self._context.workers.run(self._blocks.transactions, number)))

    async def uncle_count(self, params: list[Any]) -> str | None:
        """eth_getUncleCountBy*: this chain has none."""
        require_count(params, 1, 1)
        return None if self._blocks.resolve(parse_block_id(params[0])) is None else "0x0"

    async def uncle(self, params: list[Any]) -> None:
        """eth_getUncleBy*: this chain has none."""
        require_count(params, 2, 2)

    async def transaction_by_hash(self, params: list[Any]) -> dict[str, Any] | None:
        """eth_getTransactionByHash: mined, or waiting with null block fields, or null."""
        require_count(params, 1, 1)
        transaction_hash = parse_hash(params[0], "transaction hash")
        # The pool is asked first: what a block takes is in the chain before it leaves the pool.
        waiting = self._context.sender.waiting(transaction_hash)
        place = self._blocks.place(transaction_hash)
        if place is not None:
            return await self._context.workers.run(self._transaction, place.number, place.index)
        return None if waiting is None else transaction_object(waiting, None, None, None)

    async def transaction_by_place(self, params: list[Any]) -> dict[str, Any] | None:
        """eth_getTransactionByBlock*AndIndex; of the pending block, what could run."""
        require_count(params, 2, 2)
        block, index = parse_block_id(params[0]), parse_quantity(params[1], "index", bits=32)
        if block == PENDING:
            runnable, _ = self._context.sender.content(MAX_PENDING)
            return transaction_object(runnable[index], None, None, None) if index < len(runnable) else None
        number = self._blocks.resolve(block)
        return None if number is None else await self._context.workers.run(self._transaction, number, index)

    def _transaction(self, number: int, index: int) -> dict[str, Any] | None:
        block = read_block(self._blocks, number, receipts=True)
        if block is None or index >= len(block.raws):
            return None
        return block.transaction_object(index, self._chain_id)

    async def transaction_by_sender(self, params: list[Any]) -> dict[str, Any] | None:
        """eth_getTransactionBySenderAndNonce: mined, or waiting with null block fields, or null."""
        require_count(params, 2, 2)
        sender, nonce = parse_address(params[0]), parse_quantity(params[1], "nonce", bits=64)
        parts = self._context.sender.content(MAX_PENDING, sender)  # first the pool, as by hash
        waiting = next((each for part in parts for each in part if each.nonce == nonce), None)
        found = await self._context.workers.run(self._find_by_sender, sender, nonce)
        if found is None and waiting is not None:
            return transaction_object(waiting, None, None, None)
        return found

    def _find_by_sender(self, sender: Address, nonce: int) -> dict[str, Any] | None:
        place = find_by_sender(self._context, sender, nonce, self._context.require_number(LATEST))
        return None if place is None else self._transaction(place.number, place.index)

    async def raw_transaction(self, params: list[Any]) -> str | None:
        """eth_getRawTransactionByHash."""
        require_count(params, 1, 1)
        transaction_hash = parse_hash(params[0], "transaction hash")
        waiting = self._context.sender.waiting(transaction_hash)
        place = self._blocks.place(transaction_hash)
        if place is not None:
            raws = await self._context.workers.run(self._blocks.transactions, place.number)
            return data(raws[place.index]) if place.index < len(raws) else None
        return None if waiting is None else data(waiting.raw)

    async def raw_transaction_by_place(self, params: list[Any]) -> str | None:
        """eth_getRawTransactionByBlock*AndIndex; of the pending block, what could run."""
        require_count(params, 2, 2)
        block, index = parse_block_id(params[0]), parse_quantity(params[1], "index", bits=32)
        if block == PENDING:
            runnable, _ = self._context.sender.content(MAX_PENDING)
            return data(runnable[index].raw) if index < len(runnable) else None
        number = self._blocks.resolve(block)
        if number is None:
            return None
        raws = await self._context.workers.run(self._blocks.transactions, number)
        return data(raws[index]) if index < len(raws) else None

    async def receipt(self, params: list[Any]) -> dict[str, Any] | None:
        """eth_getTransactionReceipt: null until the transaction is in a block."""
        require_count(params, 1, 1)
        transaction_hash = parse_hash(params[0], "transaction hash")
        if self._blocks.place(transaction_hash) is None:
            return None  # asked again and again by who waits: no thread for that
        return await self._context.workers.run(self.find_receipt, transaction_hash)

    def find_receipt(self, transaction_hash: Hash32) -> dict[str, Any] | None:
        """Return a transaction's receipt as shown, or None; blocking."""
        place = self._blocks.place(transaction_hash)
        block = read_block(self._blocks, place.number, receipts=True) if place is not None else None
        if place is None or block is None or place.index >= len(block.receipts):
            return None
        shown = block.receipt_object(place.index)
        return shown if shown["transactionHash"] == data(transaction_hash) else None

    def block_receipts(self, params: list[Any]) -> list[dict[str, Any]] | None:
        """eth_getBlockReceipts: null for a block that does not exist yet, and so for the pending one."""
        require_count(params, 1, 1)
        asked = parse_block_id(params[0])
        number = self._blocks.resolve(asked) if asked != PENDING else None
        block = read_block(self._blocks, number, receipts=True) if number is not None else None
        return None if block is None else block.receipt_objects()

    def logs(self, params: list[Any]) -> list[dict[str, Any]]:
        """eth_getLogs."""
        require_count(params, 1, 1)
        return self.find_logs(parse_log_query(params[0]))

    def find_logs(self, query: LogQuery) -> list[dict[str, Any]]:
        """Return the logs that a query wants, in order; blocking.

        Errors: INVALID_PARAMS for a range that is none; LIMIT_EXCEEDED, naming one that would pass.
        """
        first, last = self._range(query)
        found: list[dict[str, Any]] = []
        room, most = MAX_LOG_CHARACTERS, self._context.limits.logs
        for number in range(first, last + 1):
            logs = self.logs_of_block(number, query)
            room -= sum(len(each["data"]) for each in logs)
            if number > first and (len(found) + len(logs) > most or room < 0):
                passes = f"retry with the range {hex(first)} to {hex(number - 1)}"
                raise over(f"query returns more than {most} logs or too much data", "logs", passes)
            found += logs
        return found

    def logs_of_block(self, number: int, query: LogQuery) -> list[dict[str, Any]]:
        """Return the logs of one block that a query wants; none for a block that is not there."""
        header = self._blocks.header(number)
        if header is None or not query.may_match(header.logs_bloom):
            return []
        block: StoredBlock | None = read_block(self._blocks, number, receipts=True)
        return [] if block is None else list(block.log_objects(query))

    def _range(self, query: LogQuery) -> tuple[int, int]:
        if query.block_hash is not None:
            number = self._blocks.resolve(BlockId(hash=query.block_hash))
            if number is None:
                raise RpcError(SERVER_ERROR, "unknown block")
            return number, number
        head = self._context.require_number(LATEST)
        first, last = self._blocks.resolve(query.first), self._blocks.resolve(query.last)
        if first is None or last is None:
            raise RpcError(INVALID_PARAMS, f"block range extends beyond current head block {hex(head)}")
        if first > last:
            raise RpcError(INVALID_PARAMS, "invalid block range params")
        most = self._context.limits.log_blocks
        if last - first >= most:
            end = hex(first + most - 1)
            raise over(f"range over {most} blocks", "log_blocks", f"retry with {hex(first)} to {end}")
        return first, last
