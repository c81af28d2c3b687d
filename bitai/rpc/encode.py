"""Write chain values as the JSON objects that Ethereum clients read.

Quantities are hex without leading zeros, data is hex of whole bytes. Source: the execution-apis schema;
system transactions take the shape that OP chains use for type 0x7e, which explorers already show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from primitives.hashes import keccak256
from vm.data_fee import SCALAR_ONE, byte_price_wei

if TYPE_CHECKING:
    from vm._core import Header, Log, Receipt, SystemTransaction, Transaction

EMPTY_OMMERS_HASH: Final = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"
ZERO_NONCE: Final = "0x" + "00" * 8
PENDING_STEP_S: Final = 2
"""Seconds after the head at which the next block is shown to come."""


def quantity(value: int) -> str:
    """Return an integer as Ethereum's hex quantity."""
    return hex(value)


def data(value: bytes) -> str:
    """Return bytes as hex data."""
    return "0x" + value.hex()


def checksum_address(address: bytes) -> str:
    """Return an address in the mixed case that tells typing errors (EIP-55)."""
    text = address.hex()
    digest = keccak256(text.encode()).hex()
    return "0x" + "".join(
        letter.upper() if int(mark, 16) >= 8 else letter for letter, mark in zip(text, digest, strict=False)
    )


@dataclass(frozen=True, slots=True)
class BlockPlace:
    """Where a transaction stands: its block's hash, number and time (seconds)."""

    hash: bytes
    number: int
    timestamp: int


def header_object(header: Header) -> dict[str, Any]:
    """Return the header as `eth_subscribe` newHeads and `eth_getBlockBy*` show it."""
    return {
        "hash": data(header.hash),
        "parentHash": data(header.parent_hash),
        "sha3Uncles": EMPTY_OMMERS_HASH,
        "miner": data(header.coinbase),
        "stateRoot": data(header.state_root),
        "transactionsRoot": data(header.transactions_root),
        "receiptsRoot": data(header.receipts_root),
        "logsBloom": data(header.logs_bloom),
        "difficulty": "0x0",
        "number": quantity(header.number),
        "gasLimit": quantity(header.gas_limit),
        "gasUsed": quantity(header.gas_used),
        "timestamp": quantity(header.timestamp),
        "extraData": data(header.extra_data),
        "mixHash": data(header.prev_randao),
        "nonce": ZERO_NONCE,
        "baseFeePerGas": quantity(header.base_fee),
        "withdrawalsRoot": data(header.withdrawals_root),
        "blobGasUsed": "0x0",
        "excessBlobGas": "0x0",
        "parentBeaconBlockRoot": data(header.parent_beacon_block_root),
        "requestsHash": data(header.requests_hash),
    }


def block_object(header: Header, size: int, transactions: list[Any]) -> dict[str, Any]:
    """Return a block; `transactions` are hashes or objects, `size` the bytes of header and transactions."""
    return header_object(header) | {
        "size": quantity(size),
        "totalDifficulty": "0x0",
        "uncles": [],
        "withdrawals": [],
        "transactions": transactions,
    }


def pending_block_object(parent: Header, base_fee_wei: int, transactions: list[Any]) -> dict[str, Any]:
    """Return the block that would follow `parent`.

    Null is what clients take for the mark of a pending block: hash, miner, bloom and nonce. The roots, of which
    clients want a hash, and what the next block shares with its parent anyway, are the parent's.
    """
    return block_object(parent, 0, transactions) | {
        "hash": None,
        "parentHash": data(parent.hash),
        "miner": None,
        "number": quantity(parent.number + 1),
        "gasUsed": "0x0",
        "timestamp": quantity(parent.timestamp + PENDING_STEP_S),
        "logsBloom": None,
        "nonce": None,
        "baseFeePerGas": quantity(base_fee_wei),
    }


def transaction_object(
    transaction: Transaction, place: BlockPlace | None, index: int | None, base_fee_wei: int | None
) -> dict[str, Any]:
    """Return a user transaction; `place` None means that it waits in the pool."""
    shown: dict[str, Any] = {
        "type": quantity(transaction.type),
        "hash": data(transaction.hash),
        "chainId": quantity(transaction.chain_id),
        "nonce": quantity(transaction.nonce),
        "from": data(transaction.sender),
        "to": data(transaction.to) if transaction.to is not None else None,
        "value": quantity(transaction.value),
        "input": data(transaction.input),
        "gas": quantity(transaction.gas_limit),
        "v": quantity(transaction.v),
        "r": quantity(transaction.r),
        "s": quantity(transaction.s),
    } | _place_fields(place, index)
    shown["gasPrice"] = quantity(
        transaction.effective_gas_price(base_fee_wei)
        if base_fee_wei is not None
        else transaction.max_fee_per_gas
    )
    if transaction.type >= 1:
        shown["yParity"] = quantity(transaction.y_parity)
        shown["accessList"] = [
            {"address": data(address), "storageKeys": [data(slot) for slot in slots]}
            for address, slots in transaction.access_list
        ]
    if transaction.type >= 2:
        shown["maxFeePerGas"] = quantity(transaction.max_fee_per_gas)
        shown["maxPriorityFeePerGas"] = quantity(transaction.max_priority_fee_per_gas)
    if transaction.type == 4:
        shown["authorizationList"] = [
            {
                "chainId": quantity(each.chain_id),
                "address": data(each.address),
                "nonce": quantity(each.nonce),
                "yParity": quantity(each.y_parity),
                "r": quantity(each.r),
                "s": quantity(each.s),
            }
            for each in transaction.authorization_list
        ]
    return shown


def system_transaction_object(
    transaction: SystemTransaction, deposit_nonce: int | None, place: BlockPlace, index: int
) -> dict[str, Any]:
    """Return a derived transaction in the shape that OP chains give their deposits."""
    return {
        "type": "0x7e",
        "hash": data(transaction.hash),
        "sourceHash": data(transaction.source_hash),
        "from": data(transaction.sender),
        "to": data(transaction.to) if transaction.to is not None else None,
        "mint": quantity(transaction.mint),
        "value": quantity(transaction.value),
        "gas": quantity(transaction.gas_limit),
        "gasPrice": "0x0",
        "isSystemTx": False,
        "input": data(transaction.input),
        "nonce": quantity(deposit_nonce or 0),
        "v": "0x0",
        "r": "0x0",
        "s": "0x0",
    } | _place_fields(place, index)


def _data_fee_fields(receipt: Receipt) -> dict[str, Any]:
    """Return what a transaction paid for its bytes, by the names that wallets know from OP chains."""
    whole, millionths = divmod(receipt.data_scalar, SCALAR_ONE)
    return {
        "l1Fee": quantity(receipt.data_fee),
        "l1GasUsed": quantity(receipt.data_size),
        "l1GasPrice": quantity(byte_price_wei(receipt.data_rate)),
        "l1FeeScalar": f"{whole}.{millionths:06}".rstrip("0").rstrip("."),
    }


def _place_fields(place: BlockPlace | None, index: int | None) -> dict[str, Any]:
    return {
        "blockHash": data(place.hash) if place else None,
        "blockNumber": quantity(place.number) if place else None,
        "blockTimestamp": quantity(place.timestamp) if place else None,
        "transactionIndex": quantity(index) if index is not None else None,
    }


def log_object(
    log: Log, place: BlockPlace, transaction_hash: bytes, *, index: int, log_index: int
) -> dict[str, Any]:
    """Return one log; `index` is the transaction's place in the block, `log_index` the log's."""
    return {
        "address": data(log.address),
        "topics": [data(topic) for topic in log.topics],
        "data": data(log.data),
        "transactionHash": data(transaction_hash),
        "logIndex": quantity(log_index),
        "removed": False,
    } | _place_fields(place, index)


def receipt_object(
    receipt: Receipt, place: BlockPlace, *, index: int, first_log_index: int
) -> dict[str, Any]:
    """Return a receipt; `inferGasUsed` is the part of `gasUsed` that model calls cost."""
    shown: dict[str, Any] = {
        "type": quantity(receipt.type),
        "transactionHash": data(receipt.transaction_hash),
        "transactionIndex": quantity(index),
        "blockHash": data(place.hash),
        "blockNumber": quantity(place.number),
        "from": data(receipt.sender),
        "to": data(receipt.to) if receipt.to is not None else None,
        "contractAddress": data(receipt.contract_address) if receipt.contract_address is not None else None,
        "status": quantity(receipt.status),
        "gasUsed": quantity(receipt.gas_used),
        "inferGasUsed": quantity(receipt.infer_gas),
        "cumulativeGasUsed": quantity(receipt.cumulative_gas_used),
        "effectiveGasPrice": quantity(receipt.effective_gas_price),
        "logsBloom": data(receipt.logs_bloom),
        "logs": [
            log_object(log, place, receipt.transaction_hash, index=index, log_index=first_log_index + offset)
            for offset, log in enumerate(receipt.logs)
        ],
    }
    if receipt.deposit_nonce is None:
        shown |= _data_fee_fields(receipt)
    else:
        shown["depositNonce"] = quantity(receipt.deposit_nonce)
        shown["depositReceiptVersion"] = "0x1"
    return shown
