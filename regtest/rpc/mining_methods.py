"""Calls that make blocks, or decide which blocks count."""

from typing import Any, Final

from primitives.bitcoin.parser import ParsedTx
from primitives.errors import InvalidInput, Rejected
from primitives.ids import L1Hash, display_hash
from regtest import limits
from regtest.block_tree import BlockRow
from regtest.node import Node
from regtest.rpc import lookup
from regtest.rpc.errors import Code, RpcError
from regtest.rpc.method import Method
from regtest.rpc.parameters import ARRAY, BOOLEAN, NUMBER, STRING, Arguments, Param, to_hash
from regtest.rpc.shapes import REGTEST_DIFFICULTY

_TXID_DIGITS: Final = 64


def generatetoaddress(node: Node, args: Arguments) -> Any:
    """Mine blocks at once and pay them to an address; returns their hashes."""
    script = lookup.address_script(args.text("address"), "Error: Invalid address")
    return _mine(node, args, script)


def generatetodescriptor(node: Node, args: Arguments) -> Any:
    """Mine blocks at once and pay them to addr(), raw() or rawtr(); returns their hashes."""
    return _mine(node, args, lookup.output_script(args.text("descriptor")))


def generateblock(node: Node, args: Arguments) -> Any:
    """Mine one block of exactly the given transactions (ids of waiting ones, or hex).

    `prevhash` is not in Core: it puts the block on any known block, which is how a fork is made. A fork
    becomes the active chain when it has more work. With `submit` false the block is returned and nothing
    checks it.
    """
    script = lookup.output_script(args.text("output"))
    parent = node.tip
    if args.value("prevhash") is not None:
        parent = lookup.block_row(node, args.block_hash("prevhash"))
    transactions = [_named_transaction(node, item) for item in args.items("transactions")]
    raw = _assembled(node, parent, script, transactions)
    if not args.flag("submit"):
        return {"hash": display_hash(_hash_of(raw)), "hex": raw.hex()}
    submitted = node.submit_block(raw)
    if submitted.reason not in ("", "inconclusive"):
        raise RpcError(Code.VERIFY, f"TestBlockValidity failed: {submitted.reason}")
    return {"hash": display_hash(submitted.block_hash)}


def submitblock(node: Node, args: Arguments) -> Any:
    """Take a block made elsewhere; null when it is now the tip, else why it is not."""
    raw = args.hex("hexdata")
    if not raw:
        raise RpcError(Code.DESERIALIZATION, "Block decode failed")
    try:
        submitted = node.submit_block(raw)
    except InvalidInput as error:
        raise RpcError(Code.DESERIALIZATION, f"Block decode failed ({error.code})") from error
    return submitted.reason.partition(",")[0] or None


def invalidateblock(node: Node, args: Arguments) -> Any:
    """Rule out a block and everything on it; its transactions return to the mempool."""
    try:
        node.invalidate(L1Hash(args.block_hash("blockhash")))
    except Rejected as error:
        raise _unknown_block(error) from error


def reconsiderblock(node: Node, args: Arguments) -> Any:
    """Take back `invalidateblock` for a block, its ancestors and its descendants."""
    try:
        node.reconsider(L1Hash(args.block_hash("blockhash")))
    except Rejected as error:
        raise _unknown_block(error) from error


def getmininginfo(node: Node, _args: Arguments) -> Any:
    """State of mining."""
    return {
        "blocks": node.tip.height,
        "bits": f"{limits.REGTEST_BITS:08x}",
        "difficulty": REGTEST_DIFFICULTY,
        "target": f"{node.tip.header.target:064x}",
        "networkhashps": 0,
        "pooledtx": len(node.pool),
        "chain": "regtest",
        "warnings": [],
    }


def _mine(node: Node, args: Arguments, script: bytes) -> list[str]:
    count = args.integer("nblocks" if "nblocks" in args else "num_blocks")
    if not 0 <= count <= limits.MAX_BLOCKS_PER_CALL:
        raise RpcError(Code.INVALID_PARAMETER, f"between 0 and {limits.MAX_BLOCKS_PER_CALL} blocks a call")
    try:
        return [display_hash(block_hash) for block_hash in node.mine_many(count, script)]
    except Rejected as error:
        raise RpcError(Code.MISC, error.message) from error


def _assembled(node: Node, parent: BlockRow, script: bytes, transactions: list[ParsedTx]) -> bytes:
    try:
        return node.assemble(parent, script, transactions)
    except Rejected as error:
        raise RpcError(Code.MISC, error.message) from error


def _named_transaction(node: Node, item: object) -> ParsedTx:
    if isinstance(item, str) and len(item) == _TXID_DIGITS:
        entry = node.pool.find(lookup.txid_of(to_hash(item, "txid")))
        if entry is None:
            raise RpcError(Code.INVALID_ADDRESS_OR_KEY, f"Transaction {item} not in mempool.")
        return entry.transaction
    shown = str(item)[:80]
    return lookup.decoded_transaction(item, f"Transaction decode failed for {shown}.")


def _hash_of(raw: bytes) -> L1Hash:
    return lookup.header_of(raw).hash


def _unknown_block(error: Rejected) -> RpcError:
    unknown = error.code == "chain.unknown_block"
    return RpcError(Code.INVALID_ADDRESS_OR_KEY if unknown else Code.INVALID_PARAMETER, error.message)


_BLOCK: Final = Param("blockhash", STRING)
METHODS: Final = (
    Method(
        "generatetoaddress",
        generatetoaddress,
        (Param("nblocks", NUMBER), Param("address", STRING), Param("maxtries", NUMBER, 1_000_000)),
    ),
    Method(
        "generatetodescriptor",
        generatetodescriptor,
        (Param("num_blocks", NUMBER), Param("descriptor", STRING), Param("maxtries", NUMBER, 1_000_000)),
    ),
    Method(
        "generateblock",
        generateblock,
        (
            Param("output", STRING),
            Param("transactions", ARRAY),
            Param("submit", BOOLEAN, True),
            Param("prevhash", STRING, None),
        ),
    ),
    Method("submitblock", submitblock, (Param("hexdata", STRING), Param("dummy", STRING, None))),
    Method("invalidateblock", invalidateblock, (_BLOCK,)),
    Method("reconsiderblock", reconsiderblock, (_BLOCK,)),
    Method("getmininginfo", getmininginfo),
)
