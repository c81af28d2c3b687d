"""Find what a call names, with Core's complaints when it is not there."""

from typing import Final

from primitives.bitcoin.header import HEADER_BYTES, BlockHeader, parse_header
from primitives.bitcoin.parser import ParsedBlock, ParsedTx, parse_block, parse_whole_transaction
from primitives.errors import InvalidInput
from primitives.ids import L1Hash, OutPoint, Txid
from regtest.block_tree import BlockRow
from regtest.coins import Coin
from regtest.mempool.entry import Entry
from regtest.node import Node
from regtest.rpc.addresses import script_of_address
from regtest.rpc.errors import Code, RpcError
from regtest.rpc.parameters import to_bytes

_GENESIS: Final = (
    "The genesis block coinbase is not considered an ordinary transaction and cannot be retrieved"
)


def block_row(node: Node, block_hash: bytes) -> BlockRow:
    """Return a block's row; raises RpcError -5."""
    row = node.chain.tree.find(L1Hash(block_hash))
    if row is None:
        raise RpcError(Code.INVALID_ADDRESS_OR_KEY, "Block not found")
    return row


def waiting_entry(node: Node, txid: bytes) -> Entry:
    """Return an entry of the mempool; raises RpcError -5."""
    entry = node.pool.find(Txid(txid))
    if entry is None:
        raise RpcError(Code.INVALID_ADDRESS_OR_KEY, "Transaction not in mempool")
    return entry


def parsed_block(node: Node, row: BlockRow) -> ParsedBlock:
    """Return a block from the log, parsed."""
    return parse_block(node.chain.raw_block(row))


def confirmed_transaction(node: Node, txid: bytes) -> tuple[ParsedTx, BlockRow] | None:
    """Return a transaction of the active chain with its block, None when there is none.

    Raises RpcError -5 for the genesis block's, which is in no node's index.
    """
    place = node.chain.place(Txid(txid))
    if place is None:
        return None
    row = node.chain.tree.row(place.block_hash)
    if row.height == 0:
        raise RpcError(Code.INVALID_ADDRESS_OR_KEY, _GENESIS)
    return parse_whole_transaction(node.chain.raw_part(row, place.offset, place.length)), row


def transaction_in_block(node: Node, txid: bytes, row: BlockRow) -> ParsedTx | None:
    """Return a transaction of one block, which may stand beside the active chain."""
    transactions = parsed_block(node, row).transactions
    return next((transaction for transaction in transactions if transaction.txid == txid), None)


def spent_by_block(node: Node, row: BlockRow, block: ParsedBlock) -> dict[OutPoint, Coin] | None:
    """Return every coin that a block spends, made before it or within it; None beside the active chain."""
    if not node.chain.tree.is_active(row) or row.height == 0:
        return None
    spent = node.chain.spent_coins(row)
    for transaction in block.transactions:
        for vout, output in enumerate(transaction.outputs):
            made = Coin(output.value, bytes(output.script), row.height, transaction.is_coinbase)
            spent[OutPoint(transaction.txid, vout)] = made
    return spent


def decoded_transaction(value: object, complaint: str = "TX decode failed.") -> ParsedTx:
    """Return the transaction that a hex string encodes; raises RpcError -22."""
    data = to_bytes(value)
    hint = "Make sure the tx has at least one input."
    if not data:
        raise RpcError(Code.DESERIALIZATION, f"{complaint} {hint}")
    try:
        return parse_whole_transaction(data)
    except InvalidInput as error:
        raise RpcError(Code.DESERIALIZATION, f"{complaint} {hint} ({error.code})") from error


def address_script(address: str, complaint: str) -> bytes:
    """Return the output script of an address; raises RpcError -5 with the complaint."""
    try:
        return script_of_address(address)
    except InvalidInput as error:
        raise RpcError(Code.INVALID_ADDRESS_OR_KEY, complaint) from error


def output_script(text: str) -> bytes:
    """Return the output script of an address, or of addr(), raw() or rawtr(); a checksum is not read.

    Raises RpcError -5.
    """
    body = text.partition("#")[0]
    kind, bracket, rest = body.partition("(")
    if not bracket:
        return address_script(text, "Error: Invalid address or descriptor")
    data = to_bytes(rest[:-1])
    if kind == "addr" and rest.endswith(")"):
        return address_script(rest[:-1], "Address is not valid")
    if kind == "raw" and rest.endswith(")") and data is not None:
        return data
    if kind == "rawtr" and rest.endswith(")") and data is not None and len(data) == 32:
        return b"\x51\x20" + data
    raise RpcError(
        Code.INVALID_ADDRESS_OR_KEY, f"'{body[:80]}' is not one of addr(...), raw(...), rawtr(...)"
    )


def txid_of(data: bytes) -> Txid:
    """Return bytes in internal order as a transaction id."""
    return Txid(data)


def header_of(raw: bytes) -> BlockHeader:
    """Return the header at the front of a raw block."""
    return parse_header(raw[:HEADER_BYTES])
