"""Calls about blocks and coins."""

from typing import Any, Final

from primitives.ids import L1Hash, OutPoint, Txid, display_hash
from regtest.block_tree import BlockRow
from regtest.coins import Coin
from regtest.node import Node
from regtest.rpc import lookup
from regtest.rpc.amounts import to_json
from regtest.rpc.errors import Code, RpcError
from regtest.rpc.method import Method
from regtest.rpc.parameters import (
    ARRAY,
    BOOLEAN,
    NUMBER,
    OBJECT,
    STRING,
    VERBOSITY,
    Arguments,
    Param,
    to_hash,
    to_integer,
)
from regtest.rpc.shapes import REGTEST_DIFFICULTY, block_shape, header_shape, script_shape, transaction_shape

_ALL_PREVOUTS: Final = 3
_DECODED: Final = 2
_HINT: Final = "Use gettransaction for wallet transactions."


def getblockchaininfo(node: Node, _args: Arguments) -> Any:
    """State of the chain: best block, height, work, difficulty."""
    tree, tip = node.chain.tree, node.tip
    bad = tree.failed() | node.chain.excluded
    return {
        "chain": "regtest",
        "blocks": tip.height,
        "headers": max(row.height for row in tree.rows() if row.hash not in bad),
        "bestblockhash": display_hash(tip.hash),
        "bits": f"{tip.header.bits:08x}",
        "target": f"{tip.header.target:064x}",
        "difficulty": REGTEST_DIFFICULTY,
        "time": tip.header.time,
        "mediantime": tree.median_time(tip),
        "verificationprogress": 1.0,
        "initialblockdownload": False,
        "chainwork": f"{tip.work:064x}",
        "size_on_disk": node.chain.size,
        "pruned": False,
        "warnings": [],
    }


def getblockcount(node: Node, _args: Arguments) -> Any:
    """Height of the best chain."""
    return node.tip.height


def getbestblockhash(node: Node, _args: Arguments) -> Any:
    """Hash of the best chain's last block."""
    return display_hash(node.tip.hash)


def getblockhash(node: Node, args: Arguments) -> Any:
    """Hash of the best chain's block at a height."""
    block_hash = node.chain.tree.active_hash(args.integer("height"))
    if block_hash is None:
        raise RpcError(Code.INVALID_PARAMETER, "Block height out of range")
    return display_hash(block_hash)


def getblockheader(node: Node, args: Arguments) -> Any:
    """Return a block's header, as an object or as hex."""
    row = lookup.block_row(node, args.block_hash("blockhash"))
    return header_shape(node.chain.tree, row) if args.flag("verbose") else row.header.encode().hex()


def getblock(node: Node, args: Arguments) -> Any:
    """A block: hex (0), with txids (1), decoded with fees (2), with the spent outputs too (3)."""
    row = lookup.block_row(node, args.block_hash("blockhash"))
    verbosity = args.integer("verbosity")
    if verbosity <= 0:
        return node.chain.raw_block(row).hex()
    block = lookup.parsed_block(node, row)
    transactions: list[Any] = [display_hash(transaction.txid) for transaction in block.transactions]
    if verbosity >= _DECODED:
        spent = lookup.spent_by_block(node, row, block)
        with_prevouts = verbosity >= _ALL_PREVOUTS
        transactions = [
            {**transaction_shape(each, spent, prevouts=with_prevouts), "hex": each.raw.hex()}
            for each in block.transactions
        ]
    return block_shape(node.chain.tree, row, block, transactions)


def getchaintips(node: Node, _args: Arguments) -> Any:
    """Every end of the block tree: active, valid-fork, valid-headers or invalid."""
    tree = node.chain.tree
    bad = tree.failed() | node.chain.excluded
    tips = []
    for row in tree.leaves():
        fork = row
        while not tree.is_active(fork):
            fork = tree.row(fork.previous)
        status = "valid-fork" if row.was_connected else "valid-headers"
        if row.hash == node.tip.hash:
            status = "active"
        elif row.hash in bad:
            status = "invalid"
        length = row.height - fork.height
        tips.append(
            {"height": row.height, "hash": display_hash(row.hash), "branchlen": length, "status": status}
        )
    if all(tip["status"] != "active" for tip in tips):
        # The active chain may end below blocks that were ruled out, and then is no leaf of the tree.
        active = {"height": node.tip.height, "hash": display_hash(node.tip.hash), "branchlen": 0}
        tips.append({**active, "status": "active"})
    return tips


def gettxout(node: Node, args: Arguments) -> Any:
    """Return an unspent output as the mempool sees it, or as the chain does; null when there is none."""
    vout = args.integer("n", limit=0xFFFFFFFF)
    outpoint = OutPoint(Txid(args.block_hash("txid")), vout)
    if vout < 0:
        raise RpcError(Code.INVALID_PARAMETER, "Invalid parameter, vout cannot be negative")
    coin = node.chain.coin(outpoint)
    if args.flag("include_mempool"):
        coin = coin or node.pool.output(outpoint, node.tip.height + 1)
        if node.pool.spender(outpoint) is not None:
            coin = None
    if coin is None:
        return None
    return {
        "bestblock": display_hash(node.tip.hash),
        "confirmations": node.tip.height - coin.height + 1,
        "value": to_json(coin.value_sats),
        "scriptPubKey": script_shape(coin.script),
        "coinbase": coin.is_coinbase,
    }


def getrawtransaction(node: Node, args: Arguments) -> Any:
    """Return a waiting or mined transaction: hex (0), decoded (1), with fee and spent outputs (2)."""
    txid = args.block_hash("txid")
    verbosity = args.integer("verbosity")
    transaction, row, entry_coins = _find_transaction(node, txid, args)
    if verbosity <= 0:
        return transaction.raw.hex()
    spent = None
    if verbosity >= _DECODED:
        spent = entry_coins
        if row is not None:
            spent = lookup.spent_by_block(node, row, lookup.parsed_block(node, row))
    shape = transaction_shape(transaction, spent, prevouts=verbosity >= _DECODED)
    shape["hex"] = transaction.raw.hex()
    if row is not None:
        shape |= _confirmation_shape(node, row)
        if args.value("blockhash") is not None:
            shape["in_active_chain"] = node.chain.tree.is_active(row)
    return shape


def _confirmation_shape(node: Node, row: BlockRow) -> dict[str, Any]:
    tree = node.chain.tree
    shape: dict[str, Any] = {"blockhash": display_hash(row.hash), "confirmations": 0}
    if tree.is_active(row):
        shape["confirmations"] = tree.height - row.height + 1
        shape |= {"time": row.header.time, "blocktime": row.header.time}
    return shape


def _find_transaction(node: Node, txid: bytes, args: Arguments) -> Any:
    """Return transaction, block row or None, and for a waiting one the coins it spends."""
    if args.value("blockhash") is not None:
        row = node.chain.tree.find(L1Hash(args.block_hash("blockhash")))
        if row is None:
            raise RpcError(Code.INVALID_ADDRESS_OR_KEY, "Block hash not found")
        transaction = lookup.transaction_in_block(node, txid, row)
        if transaction is None:
            message = "No such transaction found in the provided block"
            raise RpcError(Code.INVALID_ADDRESS_OR_KEY, f"{message}. {_HINT}")
        return transaction, row, None
    entry = node.pool.find(Txid(txid))
    if entry is not None:
        return entry.transaction, None, dict(zip(entry.spends, entry.coins, strict=True))
    confirmed = lookup.confirmed_transaction(node, txid)
    if confirmed is None:
        message = "No such mempool or blockchain transaction"
        raise RpcError(Code.INVALID_ADDRESS_OR_KEY, f"{message}. {_HINT}")
    return *confirmed, None


def gettxspendingprevout(node: Node, args: Arguments) -> Any:
    """Tell for each output which transaction of the mempool spends it."""
    outputs = args.items("outputs")
    options = args.value("options") or {}
    if not options.keys() <= {"mempool_only"} or options.get("mempool_only", True) is not True:
        raise RpcError(Code.INVALID_PARAMETER, "only the mempool is searched, and only ids are returned")
    if not outputs:
        raise RpcError(Code.INVALID_PARAMETER, "Invalid parameter, outputs are missing")
    answers = []
    for output in outputs:
        if not isinstance(output, dict) or set(output) != {"txid", "vout"}:
            raise RpcError(Code.TYPE, "each output is an object with txid and vout")
        vout = to_integer(output["vout"])
        if vout < 0:
            raise RpcError(Code.INVALID_PARAMETER, "Invalid parameter, vout cannot be negative")
        spender = node.pool.spender(OutPoint(Txid(to_hash(output["txid"], "txid")), vout))
        answer = {"txid": output["txid"], "vout": vout}
        answers.append(answer if spender is None else {**answer, "spendingtxid": display_hash(spender)})
    return answers


def scantxoutset(node: Node, args: Arguments) -> Any:
    """Find all unspent outputs of addr(), raw() and rawtr() descriptors."""
    action = args.text("action")
    if action == "status":
        return None
    if action == "abort":
        return False
    if action != "start":
        raise RpcError(Code.INVALID_PARAMETER, f"Invalid action '{action[:80]}'")
    if args.value("scanobjects") is None:
        raise RpcError(Code.MISC, "scanobjects argument is required for the start action")
    wanted = dict(_scan_object(item) for item in args.items("scanobjects"))
    count = 0
    found: list[tuple[OutPoint, Coin]] = []
    for outpoint, coin in node.chain.coins():
        count += 1
        if coin.script in wanted:
            found.append((outpoint, coin))
    return {
        "success": True,
        "txouts": count,
        "height": node.tip.height,
        "bestblock": display_hash(node.tip.hash),
        "unspents": [_unspent_shape(node, outpoint, coin, wanted[coin.script]) for outpoint, coin in found],
        "total_amount": to_json(sum(coin.value_sats for _, coin in found)),
    }


def _scan_object(item: object) -> tuple[bytes, str]:
    text = item.get("desc") if isinstance(item, dict) else item
    if not isinstance(text, str):
        raise RpcError(Code.INVALID_PARAMETER, "Scan object needs to be either a string or an object")
    return lookup.output_script(text), text


def _unspent_shape(node: Node, outpoint: OutPoint, coin: Coin, descriptor: str) -> dict[str, Any]:
    made_in = node.chain.tree.active_hash(coin.height)
    return {
        "txid": display_hash(outpoint.txid),
        "vout": outpoint.vout,
        "scriptPubKey": coin.script.hex(),
        "desc": descriptor,
        "amount": to_json(coin.value_sats),
        "coinbase": coin.is_coinbase,
        "height": coin.height,
        "blockhash": display_hash(made_in or b""),
        "confirmations": node.tip.height - coin.height + 1,
    }


_BLOCK: Final = Param("blockhash", STRING)
_TXID: Final = Param("txid", STRING)
METHODS: Final = (
    Method("getblockchaininfo", getblockchaininfo),
    Method("getblockcount", getblockcount),
    Method("getbestblockhash", getbestblockhash),
    Method("getblockhash", getblockhash, (Param("height", NUMBER),)),
    Method("getblockheader", getblockheader, (_BLOCK, Param("verbose", BOOLEAN, True))),
    Method("getblock", getblock, (_BLOCK, Param("verbosity", VERBOSITY, 1))),
    Method("getchaintips", getchaintips),
    Method(
        "gettxout",
        gettxout,
        (_TXID, Param("n", NUMBER), Param("include_mempool", BOOLEAN, True)),
    ),
    Method(
        "getrawtransaction",
        getrawtransaction,
        (_TXID, Param("verbosity", VERBOSITY, 0), Param("blockhash", STRING, None)),
    ),
    Method(
        "gettxspendingprevout",
        gettxspendingprevout,
        (Param("outputs", ARRAY), Param("options", OBJECT, None)),
    ),
    Method("scantxoutset", scantxoutset, (Param("action", STRING), Param("scanobjects", ARRAY, None))),
)
