"""Find what concerns an address without an index of addresses: by walking blocks, or by halving their number."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import orjson

from bitai.rpc.encode import data
from bitai.rpc.framing import LIMIT_EXCEEDED, RpcError
from bitai.rpc.params import LATEST
from bitai.rpc.stored_blocks import read_block
from bitai.rpc.traces import options_for

if TYPE_CHECKING:
    from bitai.rpc.context import Context, TraceSource
    from primitives.ids import Address
    from vm._core import Receipt

MAX_BLOCKS: Final = 50_000
"""Blocks one search walks: seconds of reading."""
LIMIT_S: Final = 10.0


def search_transactions(
    context: Context, address: bytes, start: tuple[int, int], size: int
) -> dict[str, Any]:
    """Return a page of an address's transactions in Otterscan's form, newest first; blocking.

    `start`: (block, direction): from the block before (-1) or after (+1) it; block 0 means from the end of the
    chain at which that direction begins. A page holds whole blocks, so it may be longer than `size`.
    Errors: LIMIT_EXCEEDED, naming where to go on.
    """
    block, step = start
    head = context.require_number(LATEST)
    at_end = block == 0 or (block > head and step < 0)
    number = (head if step < 0 else 0) if at_end else block + step
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []
    ends = time.monotonic() + LIMIT_S
    walked = 0
    while 0 <= number <= head and len(found) < size:
        if walked >= MAX_BLOCKS or time.monotonic() > ends:
            if found:
                break
            raise RpcError(
                LIMIT_EXCEEDED, f"searched {walked} blocks and found nothing; go on at block {number}"
            )
        of_block = _transactions_of(context, number, address)
        found += reversed(of_block) if step < 0 else of_block
        number += step
        walked += 1
    complete = not 0 <= number <= head
    if step > 0:
        found.reverse()
    return {
        "txs": [shown for shown, _ in found],
        "receipts": [receipt for _, receipt in found],
        "firstPage": complete if step > 0 else at_end,
        "lastPage": complete if step < 0 else at_end,
    }


def _transactions_of(
    context: Context, number: int, address: bytes
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return a block's transactions that concern an address, each with its receipt."""
    receipts = context.blocks.receipts(number)
    if not any(_concerns(receipt, address) for receipt in receipts):
        return []
    block = read_block(context.blocks, number, receipts=True)
    if block is None:
        return []
    places = [index for index, receipt in enumerate(block.receipts) if _concerns(receipt, address)]
    shown = block.transaction_objects(context.facts.chain_id)
    told = block.receipt_objects()
    stamp = {"timestamp": block.header.timestamp}
    return [(shown[index], told[index] | stamp) for index in places]


def _concerns(receipt: Receipt, address: bytes) -> bool:
    if address in (receipt.sender, receipt.to, receipt.contract_address):
        return True
    word = address.rjust(32, b"\0")
    return any(log.address == address or word in log.topics for log in receipt.logs)


def contract_creation(context: Context, source: TraceSource, address: Address) -> dict[str, Any] | None:
    """Return {hash, creator} of the transaction that made a contract; None without one; blocking.

    Code that is there stays there, so the block that made it is found by looking at about log2(blocks) states.
    Errors: `Rejected` "state.pruned" where the search leads below the states that are kept.
    """

    def exists(number: int) -> bool:
        return bool(context.states.state(number).code(address))

    head = context.require_number(LATEST)
    if not exists(head) or exists(0):  # what genesis made has no transaction
        return None
    before, after = 0, head
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (before, middle) if exists(middle) else (middle, after)
    wanted = data(address)
    for entry in orjson.loads(source.trace_block(after, options_for("localized"))):
        if (entry.get("result") or {}).get("address") == wanted:
            return {"hash": entry["transactionHash"], "creator": entry["action"]["from"]}
    return None  # an account that delegates has code that no transaction created
