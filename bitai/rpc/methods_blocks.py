"""Methods that read stored blocks, transactions, receipts and logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bitai.rpc.encode import (
    BlockPlace,
    block_object,
    data,
    log_object,
    quantity,
    receipt_object,
    system_transaction_object,
    transaction_object,
)
from bitai.rpc.framing import INVALID_PARAMS, LIMIT_EXCEEDED, RpcError
from bitai.rpc.params import (
    BlockId,
    LogQuery,
    parse_block_id,
    parse_bool,
    parse_hash,
    parse_log_query,
    parse_quantity,
    require_count,
)
from vm import _core
from vm.types import SYSTEM_TRANSACTION_TYPE

if TYPE_CHECKING:
    from bitai.rpc.context import Context
    from bitai.rpc.server import Method

MAX_LOG_BLOCKS: Final = 10_000
"""Blocks one `eth_getLogs` may walk; blooms make this quick, and a client can always page."""
MAX_LOGS: Final = 10_000


class BlockMethods:
    """The methods, over one context."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def table(self) -> dict[str, Method]:
        """Return method name -> implementation."""
        return {
            "eth_blockNumber": self.block_number,
            "eth_getBlockByNumber": self.block_by_id,
            "eth_getBlockByHash": self.block_by_hash,
            "eth_getBlockTransactionCountByNumber": self.transaction_count_of_block,
            "eth_getBlockTransactionCountByHash": self.transaction_count_of_block,
            "eth_getUncleCountByBlockNumber": self.uncle_count,
            "eth_getUncleCountByBlockHash": self.uncle_count,
            "eth_getUncleByBlockNumberAndIndex": self.uncle,
            "eth_getUncleByBlockHashAndIndex": self.uncle,
            "eth_getTransactionByHash": self.transaction_by_hash,
            "eth_getTransactionByBlockNumberAndIndex": self.transaction_by_place,
            "eth_getTransactionByBlockHashAndIndex": self.transaction_by_place,
            "eth_getRawTransactionByHash": self.raw_transaction,
            "eth_getTransactionReceipt": self.receipt,
            "eth_getBlockReceipts": self.block_receipts,
            "eth_getLogs": self.logs,
        }

    async def block_number(self, params: list[Any]) -> str:
        """eth_blockNumber: the unsafe head."""
        require_count(params, 0, 0)
        return quantity(self._context.require_number(BlockId(tag="latest")))

    async def block_by_id(self, params: list[Any]) -> dict[str, Any] | None:
        """eth_getBlockByNumber(block, full): null for a block that does not exist yet."""
        require_count(params, 1, 2)
        full = parse_bool(params[1], "full") if len(params) > 1 else False
        number = self._context.blocks.resolve(parse_block_id(params[0]))
        return None if number is None else self._block(number, full=full)

    async def block_by_hash(self, params: list[Any]) -> dict[str, Any] | None:
        """eth_getBlockByHash(hash, full)."""
        require_count(params, 1, 2)
        parse_hash(params[0], "block hash")
        return await self.block_by_id(params)

    def _block(self, number: int, *, full: bool) -> dict[str, Any] | None:
        header = self._context.blocks.header(number)
        if header is None:
            return None
        raws = self._context.blocks.transactions(number)
        size = len(header.encode()) + sum(map(len, raws))
        if not full:
            return block_object(header, size, [data(_core.keccak256(raw)) for raw in raws])
        return block_object(header, size, self._transactions(number, raws))

    def _transactions(self, number: int, raws: list[bytes]) -> list[dict[str, Any]]:
        return [self._transaction(number, index, raw) for index, raw in enumerate(raws)]

    def _transaction(self, number: int, index: int, raw: bytes) -> dict[str, Any]:
        header = self._context.blocks.header(number)
        if header is None:
            raise RpcError(INVALID_PARAMS, "header not found")
        place = BlockPlace(header.hash, number, header.timestamp)
        if raw[0] == SYSTEM_TRANSACTION_TYPE:
            receipt = self._context.blocks.receipts(number)[index]
            return system_transaction_object(
                _core.SystemTransaction.decode(raw), receipt.deposit_nonce, place, index
            )
        (decoded,) = _core.decode([raw], self._context.facts.chain_id)
        if isinstance(decoded, tuple):
            raise RpcError(INVALID_PARAMS, f"stored transaction does not decode: {decoded[1]}")
        return transaction_object(decoded, place, index, header.base_fee)

    async def transaction_count_of_block(self, params: list[Any]) -> str | None:
        """eth_getBlockTransactionCountBy*."""
        require_count(params, 1, 1)
        number = self._context.blocks.resolve(parse_block_id(params[0]))
        return None if number is None else quantity(len(self._context.blocks.transactions(number)))

    async def uncle_count(self, params: list[Any]) -> str | None:
        """eth_getUncleCountBy*: this chain has none."""
        require_count(params, 1, 1)
        return None if self._context.blocks.resolve(parse_block_id(params[0])) is None else "0x0"

    async def uncle(self, params: list[Any]) -> None:
        """eth_getUncleBy*: this chain has none."""
        require_count(params, 2, 2)

    async def transaction_by_hash(self, params: list[Any]) -> dict[str, Any] | None:
        """eth_getTransactionByHash: mined, or waiting with null block fields, or null."""
        require_count(params, 1, 1)
        transaction_hash = parse_hash(params[0], "transaction hash")
        place = self._context.blocks.place(transaction_hash)
        if place is None:
            waiting = self._context.sender.waiting(transaction_hash)
            return None if waiting is None else transaction_object(waiting, None, None, None)
        return self._transaction(place.number, place.index, self._context.blocks.transactions(place.number)[place.index])

    async def transaction_by_place(self, params: list[Any]) -> dict[str, Any] | None:
        """eth_getTransactionByBlock*AndIndex."""
        require_count(params, 2, 2)
        number = self._context.blocks.resolve(parse_block_id(params[0]))
        index = parse_quantity(params[1], "index", bits=32)
        if number is None:
            return None
        raws = self._context.blocks.transactions(number)
        return self._transaction(number, index, raws[index]) if index < len(raws) else None

    async def raw_transaction(self, params: list[Any]) -> str | None:
        """eth_getRawTransactionByHash."""
        require_count(params, 1, 1)
        transaction_hash = parse_hash(params[0], "transaction hash")
        place = self._context.blocks.place(transaction_hash)
        if place is not None:
            return data(self._context.blocks.transactions(place.number)[place.index])
        waiting = self._context.sender.waiting(transaction_hash)
        return None if waiting is None else data(waiting.raw)

    async def receipt(self, params: list[Any]) -> dict[str, Any] | None:
        """eth_getTransactionReceipt: null until the transaction is in a block."""
        require_count(params, 1, 1)
        place = self._context.blocks.place(parse_hash(params[0], "transaction hash"))
        header = self._context.blocks.header(place.number) if place else None
        if place is None or header is None:
            return None
        receipts = self._context.blocks.receipts(place.number)
        first_log = sum(len(each.logs) for each in receipts[: place.index])
        at = BlockPlace(header.hash, place.number, header.timestamp)
        return receipt_object(receipts[place.index], at, index=place.index, first_log_index=first_log)

    async def block_receipts(self, params: list[Any]) -> list[dict[str, Any]] | None:
        """eth_getBlockReceipts."""
        require_count(params, 1, 1)
        number = self._context.blocks.resolve(parse_block_id(params[0]))
        header = self._context.blocks.header(number) if number is not None else None
        if number is None or header is None:
            return None
        at = BlockPlace(header.hash, number, header.timestamp)
        shown: list[dict[str, Any]] = []
        first_log = 0
        for index, receipt in enumerate(self._context.blocks.receipts(number)):
            shown.append(receipt_object(receipt, at, index=index, first_log_index=first_log))
            first_log += len(receipt.logs)
        return shown

    async def logs(self, params: list[Any]) -> list[dict[str, Any]]:
        """eth_getLogs."""
        require_count(params, 1, 1)
        query = parse_log_query(params[0])
        first, last = self._range(query)
        found: list[dict[str, Any]] = []
        for number in range(first, last + 1):
            found.extend(self._logs_of(number, query))
            if len(found) > MAX_LOGS:
                raise RpcError(
                    LIMIT_EXCEEDED,
                    f"query returns more than {MAX_LOGS} logs; retry with the range {hex(first)} to {hex(number - 1)}",
                )
        return found

    def _range(self, query: LogQuery) -> tuple[int, int]:
        blocks = self._context.blocks
        if query.block_hash is not None:
            number = blocks.resolve(BlockId(hash=query.block_hash))
            if number is None:
                raise RpcError(-32000, "unknown block")
            return number, number
        head = self._context.require_number(BlockId(tag="latest"))
        first, last = blocks.resolve(query.first), blocks.resolve(query.last)
        if first is None or last is None:
            raise RpcError(INVALID_PARAMS, f"block range extends beyond current head block {hex(head)}")
        if first > last:
            raise RpcError(INVALID_PARAMS, "invalid block range params")
        if last - first >= MAX_LOG_BLOCKS:
            raise RpcError(
                LIMIT_EXCEEDED,
                f"range over {MAX_LOG_BLOCKS} blocks; retry with {hex(first)} to {hex(first + MAX_LOG_BLOCKS - 1)}",
            )
        return first, last

    def _logs_of(self, number: int, query: LogQuery) -> list[dict[str, Any]]:
        header = self._context.blocks.header(number)
        if header is None or not any(header.logs_bloom):
            return []
        at = BlockPlace(header.hash, number, header.timestamp)
        found: list[dict[str, Any]] = []
        log_index = 0
        for index, receipt in enumerate(self._context.blocks.receipts(number)):
            for log in receipt.logs:
                if query.wants(log.address, log.topics):
                    found.append(log_object(log, at, receipt.transaction_hash, index=index, log_index=log_index))
                log_index += 1
        return found
