"""How blocks, transactions and scripts look in JSON, as Bitcoin Core shows them."""

from collections.abc import Mapping
from typing import Any, Final

from primitives.bitcoin.header import expand_target
from primitives.bitcoin.parser import ParsedBlock, ParsedTx
from primitives.bitcoin.script import OP_1, OP_1NEGATE, OP_16
from primitives.ids import OutPoint, display_hash
from regtest.block_tree import BlockRow, BlockTree
from regtest.coins import Coin
from regtest.limits import REGTEST_BITS
from regtest.mempool.entry import vbytes_of
from regtest.policy.scripts import read_script, solve_script
from regtest.rpc.addresses import address_of_script
from regtest.rpc.amounts import to_json
from regtest.rpc.opcode_names import OPCODE_NAMES

MAX_SCRIPT_NUMBER_BYTES: Final = 4
_DIFFICULTY_ONE: Final = expand_target(0x1D00FFFF)


def difficulty_of(bits: int) -> float:
    """Return how much harder than the easiest mainnet block a compact target is."""
    return _DIFFICULTY_ONE / expand_target(bits)


REGTEST_DIFFICULTY: Final = difficulty_of(REGTEST_BITS)


def confirmations_of(tree: BlockTree, row: BlockRow) -> int:
    """Return how deep a block is in the active chain, -1 beside it."""
    return tree.height - row.height + 1 if tree.is_active(row) else -1


def header_shape(tree: BlockTree, row: BlockRow) -> dict[str, Any]:
    """Return `getblockheader`'s object."""
    header = row.header
    shape: dict[str, Any] = {
        "hash": display_hash(row.hash),
        "confirmations": confirmations_of(tree, row),
        "height": row.height,
        "version": header.version,
        "versionHex": f"{header.version & 0xFFFFFFFF:08x}",
        "merkleroot": display_hash(header.merkle_root),
        "time": header.time,
        "mediantime": tree.median_time(row),
        "nonce": header.nonce,
        "bits": f"{header.bits:08x}",
        "target": f"{header.target:064x}",
        "difficulty": difficulty_of(header.bits),
        "chainwork": f"{row.work:064x}",
        "nTx": row.transactions,
    }
    if row.height > 0:
        shape["previousblockhash"] = display_hash(row.previous)
    following = tree.active_hash(row.height + 1)
    if following is not None and tree.is_active(row):
        shape["nextblockhash"] = display_hash(following)
    return shape


def block_shape(
    tree: BlockTree, row: BlockRow, block: ParsedBlock, transactions: list[Any]
) -> dict[str, Any]:
    """Return `getblock`'s object with the transactions shaped by the caller."""
    size = len(block.raw)
    weight = block.weight
    sizes = {"strippedsize": (weight - size) // 3, "size": size, "weight": weight}
    return {**header_shape(tree, row), **sizes, "tx": transactions}


def script_shape(script: bytes) -> dict[str, Any]:
    """Return a scriptPubKey object; without Core's `desc`."""
    shape: dict[str, Any] = {"asm": disassemble(script), "hex": script.hex()}
    address = address_of_script(script)
    if address is not None:
        shape["address"] = address
    shape["type"] = solve_script(script).kind.value
    return shape


def transaction_shape(
    transaction: ParsedTx, spent: Mapping[OutPoint, Coin] | None = None, *, prevouts: bool = False
) -> dict[str, Any]:
    """Return a decoded transaction; with the spent coins also its fee, and on request the coins."""
    shape = {
        "txid": display_hash(transaction.txid),
        "hash": display_hash(transaction.wtxid),
        "version": transaction.version & 0xFFFFFFFF,
        "size": len(transaction.raw),
        "vsize": vbytes_of(transaction.weight),
        "weight": transaction.weight,
        "locktime": transaction.locktime,
        "vin": [_input_shape(transaction, index) for index in range(len(transaction.inputs))],
        "vout": [
            {"value": to_json(output.value), "n": vout, "scriptPubKey": script_shape(bytes(output.script))}
            for vout, output in enumerate(transaction.outputs)
        ],
    }
    if spent is not None and not transaction.is_coinbase:
        _add_spent(shape, transaction, spent, prevouts=prevouts)
    return shape


def disassemble(script: bytes) -> str:
    """Return a script as words: opcode names, small pushes as numbers, others as hex."""
    operations = read_script(script)
    if operations is None:
        return "[error]"
    return " ".join(_word(opcode, data) for opcode, data in operations)


def _word(opcode: int, data: bytes | None) -> str:
    if data is None:
        return OPCODE_NAMES.get(opcode, "OP_UNKNOWN")
    if opcode == OP_1NEGATE or OP_1 <= opcode <= OP_16:
        return str(_script_number(data))
    return str(_script_number(data)) if len(data) <= MAX_SCRIPT_NUMBER_BYTES else data.hex()


def _script_number(data: bytes) -> int:
    magnitude = int.from_bytes(data, "little")
    sign = 1 << (8 * len(data) - 1) if data else 0
    return -(magnitude & ~sign) if magnitude & sign else magnitude


def _input_shape(transaction: ParsedTx, index: int) -> dict[str, Any]:
    entry = transaction.inputs[index]
    shape: dict[str, Any]
    script_sig = bytes(entry.script_sig)
    if transaction.is_coinbase:
        shape = {"coinbase": script_sig.hex()}
    else:
        shape = {
            "txid": display_hash(entry.prevout.txid),
            "vout": entry.prevout.vout,
            "scriptSig": {"asm": disassemble(script_sig), "hex": script_sig.hex()},
        }
    witness = transaction.witnesses[index]
    if witness:
        shape["txinwitness"] = [item.hex() for item in witness]
    shape["sequence"] = entry.sequence
    return shape


def _add_spent(
    shape: dict[str, Any], transaction: ParsedTx, spent: Mapping[OutPoint, Coin], *, prevouts: bool
) -> None:
    coins = [spent[entry.prevout] for entry in transaction.inputs]
    if prevouts:
        for vin, coin in zip(shape["vin"], coins, strict=True):
            vin["prevout"] = {
                "generated": coin.is_coinbase,
                "height": coin.height,
                "value": to_json(coin.value_sats),
                "scriptPubKey": script_shape(coin.script),
            }
    paid = sum(output.value for output in transaction.outputs)
    shape["fee"] = to_json(sum(coin.value_sats for coin in coins) - paid)
