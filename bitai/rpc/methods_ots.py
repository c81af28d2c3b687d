"""ots_*: what the Otterscan explorer asks (API level 8), without an index of addresses.

Transactions of an address are searched block by block among what blocks store of them: sender, receiver, what
they created, and who logged or stands in a log's topics. A call inside a transaction that leaves no log is not
found so. Contracts are found by the block in which their code appeared, searched by halves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from bitai.rpc.address_search import contract_creation, search_transactions
from bitai.rpc.encode import data, header_object, quantity
from bitai.rpc.params import (
    LATEST,
    block_param,
    invalid,
    parse_address,
    parse_block_id,
    parse_quantity,
    require_count,
)
from bitai.rpc.sender_search import find_by_sender
from bitai.rpc.stored_blocks import read_block
from bitai.rpc.traces import fragment, options_for

if TYPE_CHECKING:
    from bitai.rpc.context import Context, Method
    from bitai.rpc.stored_blocks import StoredBlock
    from bitai.rpc.traces import Traces

API_LEVEL: Final = 8
MAX_PAGE: Final = 1_000
"""Transactions on a page of a block."""
SELECTOR_CHARACTERS: Final = 10
"""Lists of transactions show this much of their input: 0x and the selector."""


class OtterscanMethods:
    """The methods, over one context."""

    def __init__(self, context: Context, traces: Traces) -> None:
        """Answer from this context."""
        self._context = context
        self._traces = traces

    def table(self) -> dict[str, Method]:
        """Return method name -> implementation."""
        off_loop = self._context.off_loop
        return {
            "ots_getApiLevel": self.api_level,
            "ots_hasCode": off_loop(self.has_code),
            "ots_getInternalOperations": self.internal_operations,
            "ots_getTransactionError": self.transaction_error,
            "ots_traceTransaction": self.trace,
            "ots_getBlockDetails": off_loop(self.block_details),
            "ots_getBlockDetailsByHash": off_loop(self.block_details),
            "ots_getBlockTransactions": off_loop(self.block_transactions),
            "ots_searchTransactionsBefore": off_loop(self.search_before),
            "ots_searchTransactionsAfter": off_loop(self.search_after),
            "ots_getTransactionBySenderAndNonce": off_loop(self.by_sender),
            "ots_getContractCreator": self.contract_creator,
            "erigon_getHeaderByNumber": off_loop(self.header),
        }

    async def api_level(self, params: list[Any]) -> int:
        """ots_getApiLevel."""
        require_count(params, 0, 0)
        return API_LEVEL

    def has_code(self, params: list[Any]) -> bool:
        """ots_hasCode(address, block)."""
        require_count(params, 1, 2)
        number = self._context.require_number(block_param(params, 1))
        return bool(self._context.states.state(number).code(parse_address(params[0])))

    async def internal_operations(self, params: list[Any]) -> orjson.Fragment:
        """ots_getInternalOperations(hash): transfers, creations and self-destructs inside a transaction."""
        return fragment(await self._trace(params, "operations"))

    async def transaction_error(self, params: list[Any]) -> str:
        """ots_getTransactionError(hash): what it reverted with; nothing if it did not."""
        tree = orjson.loads(
            await self._trace(params, {"debug": {"tracer": "callTracer", "tracerConfig": _TOP}})
        )
        reverted = tree.get("error") == "execution reverted"
        output: str = tree.get("output", "0x") if reverted else "0x"
        return output

    async def trace(self, params: list[Any]) -> list[dict[str, Any]]:
        """ots_traceTransaction(hash): its calls in the order in which they began."""
        tree = orjson.loads(await self._trace(params, {"debug": {"tracer": "callTracer"}}))
        entries: list[dict[str, Any]] = []
        frames = [(tree, 0)]
        while frames:
            frame, depth = frames.pop()
            entries.append(
                {
                    "type": frame["type"],
                    "depth": depth,
                    "from": frame["from"],
                    "to": frame.get("to"),
                    "value": frame.get("value"),
                    "input": frame.get("input", "0x"),
                    "output": frame.get("output", "0x"),
                }
            )
            frames += [(call, depth + 1) for call in reversed(frame.get("calls", []))]
        return entries

    async def _trace(self, params: list[Any], request: Any) -> bytes:
        require_count(params, 1, 1)
        place = self._traces.require_place(params[0])
        source = self._traces.source
        return await self._traces.run(
            lambda: source.trace_block(place.number, options_for(request), place.index)
        )

    def block_details(self, params: list[Any]) -> dict[str, Any] | None:
        """ots_getBlockDetails(block) and ByHash: the block without its transactions, and what they paid."""
        require_count(params, 1, 1)
        block = self._block(params[0])
        if block is None:
            return None
        fees = sum(receipt.gas_used * receipt.effective_gas_price for receipt in block.receipts)
        nothing = {"blockReward": "0x0", "uncleReward": "0x0", "issuance": "0x0"}
        return {"block": _slim(block), "issuance": nothing, "totalFees": quantity(fees)}

    def block_transactions(self, params: list[Any]) -> dict[str, Any] | None:
        """ots_getBlockTransactions(block, page, size): pages count from the block's end."""
        require_count(params, 3, 3)
        block = self._block(params[0])
        if block is None:
            return None
        page, size = (_number(value, name) for value, name in zip(params[1:], ("page", "size"), strict=True))
        if size > MAX_PAGE:
            raise invalid(f"a page has at most {MAX_PAGE} transactions")
        end = max(0, len(block.raws) - page * size)
        shown = block.transaction_objects(self._context.facts.chain_id)[max(0, end - size) : end]
        for each in shown:
            each["input"] = each["input"][:SELECTOR_CHARACTERS]
        receipts = block.receipt_objects()[max(0, end - size) : end]
        return {
            "fullblock": _slim(block) | {"transactions": shown},
            "receipts": [
                each | {"logs": None, "logsBloom": None, "timestamp": block.header.timestamp}
                for each in receipts
            ],
        }

    def search_before(self, params: list[Any]) -> dict[str, Any]:
        """ots_searchTransactionsBefore(address, block, size): newest first; block 0 means from the head."""
        address, block, size = self._search(params)
        return search_transactions(self._context, address, (block, -1), size)

    def search_after(self, params: list[Any]) -> dict[str, Any]:
        """ots_searchTransactionsAfter(address, block, size): newest first too; block 0 means from genesis."""
        address, block, size = self._search(params)
        return search_transactions(self._context, address, (block, 1), size)

    def _search(self, params: list[Any]) -> tuple[bytes, int, int]:
        require_count(params, 3, 3)
        size = _number(params[2], "size")
        if not 1 <= size <= MAX_PAGE:
            raise invalid(f"a page has 1 to {MAX_PAGE} transactions")
        return bytes(parse_address(params[0])), _number(params[1], "block"), size

    def by_sender(self, params: list[Any]) -> str | None:
        """ots_getTransactionBySenderAndNonce(address, nonce): its hash."""
        require_count(params, 2, 2)
        sender, nonce = parse_address(params[0]), _number(params[1], "nonce")
        place = find_by_sender(self._context, sender, nonce, self._context.require_number(LATEST))
        block = None if place is None else read_block(self._context.blocks, place.number, receipts=True)
        if place is None or block is None or place.index >= len(block.receipts):
            return None
        return data(block.receipts[place.index].transaction_hash)

    async def contract_creator(self, params: list[Any]) -> dict[str, Any] | None:
        """ots_getContractCreator(address): who made a contract, in which transaction; null if none did."""
        require_count(params, 1, 1)
        address = parse_address(params[0])
        return await self._traces.run(lambda: contract_creation(self._context, self._traces.source, address))

    def header(self, params: list[Any]) -> dict[str, Any] | None:
        """erigon_getHeaderByNumber(block)."""
        require_count(params, 1, 1)
        number = self._context.blocks.resolve(parse_block_id(params[0]))
        header = None if number is None else self._context.blocks.header(number)
        return None if header is None else header_object(header)

    def _block(self, value: Any) -> StoredBlock | None:
        # Otterscan names blocks by numbers where other methods take hex.
        known = hex(value) if isinstance(value, int) and not isinstance(value, bool) else value
        number = self._context.blocks.resolve(parse_block_id(known))
        return None if number is None else read_block(self._context.blocks, number, receipts=True)


_TOP: Final = {"onlyTopCall": True}


def _slim(block: StoredBlock) -> dict[str, Any]:
    """Show a block without transactions and bloom, which lists of blocks have no use for."""
    return header_object(block.header) | {
        "logsBloom": None,
        "size": quantity(block.size),
        "totalDifficulty": "0x0",
        "transactionCount": len(block.raws),
        "uncles": [],
        "withdrawals": [],
    }


def _number(value: Any, name: str) -> int:
    """Return a number that comes as one, as Otterscan sends them, or as a quantity."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value < 2**53:
            raise invalid(f"{name} is out of range")
        return value
    return parse_quantity(value, name, bits=53)
