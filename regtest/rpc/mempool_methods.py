"""Calls about waiting transactions."""

from collections.abc import Sequence
from typing import Any, Final

from primitives.bitcoin.parser import ParsedTx
from primitives.ids import display_hash
from regtest import limits
from regtest.coins import is_unspendable
from regtest.mempool.entry import Entry, fee_at, vbytes_of
from regtest.mempool.package import Judged, PackageRejected, is_child_with_parents
from regtest.mempool.pool import chunks_of
from regtest.node import Node
from regtest.policy.rejection import RejectKind, TransactionRejected
from regtest.rpc import lookup
from regtest.rpc.amounts import SATS_PER_COIN, to_json, to_sats
from regtest.rpc.errors import Code, RpcError
from regtest.rpc.method import Method
from regtest.rpc.parameters import AMOUNT, ARRAY, BOOLEAN, NUMBER, STRING, Arguments, Param
from regtest.rpc.shapes import transaction_shape

_IN_MEMPOOL: Final = frozenset({"txn-already-in-mempool", "txn-same-nonwitness-data-in-mempool"})
_FEE_TOO_HIGH: Final = "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)"
_BURNS: Final = "Unspendable output exceeds maximum configured by user (maxburnamount)"


def getrawmempool(node: Node, args: Arguments) -> Any:
    """Ids of all waiting transactions, or everything about them."""
    with_sequence = args.flag("mempool_sequence")
    if args.flag("verbose"):
        if with_sequence:
            raise RpcError(Code.INVALID_PARAMETER, "Verbose results cannot contain mempool sequence values.")
        return {display_hash(entry.txid): _entry_shape(node, entry) for entry in node.pool}
    txids = [display_hash(entry.txid) for entry in node.pool]
    return {"txids": txids, "mempool_sequence": node.pool.sequence} if with_sequence else txids


def getmempoolinfo(node: Node, _args: Arguments) -> Any:
    """Size of the mempool, and the limits it works by."""
    pool = node.pool
    least = to_json(limits.MIN_RELAY_FEERATE)
    return {
        "loaded": True,
        "size": len(pool),
        "bytes": sum(entry.vbytes for entry in pool),
        "usage": pool.size,
        "total_fee": to_json(sum(entry.fee_sats for entry in pool)),
        "maxmempool": limits.MAX_MEMPOOL_BYTES,
        "mempoolminfee": least,
        "minrelaytxfee": least,
        "incrementalrelayfee": to_json(limits.INCREMENTAL_FEERATE),
        "unbroadcastcount": 0,
        "permitbaremultisig": True,
        "maxdatacarriersize": limits.MAX_DATACARRIER_BYTES,
        "limitclustercount": limits.MAX_CLUSTER_TRANSACTIONS,
        "limitclustersize": limits.MAX_CLUSTER_WEIGHT // limits.WITNESS_SCALE,
        "optimal": True,
    }


def getmempoolentry(node: Node, args: Arguments) -> Any:
    """Everything about one waiting transaction."""
    return _entry_shape(node, lookup.waiting_entry(node, args.block_hash("txid")))


def getmempoolancestors(node: Node, args: Arguments) -> Any:
    """All waiting transactions that one depends on."""
    return _relatives(node, args, node.pool.ancestors(lookup.waiting_entry(node, args.block_hash("txid"))))


def getmempooldescendants(node: Node, args: Arguments) -> Any:
    """All waiting transactions that depend on one."""
    entry = lookup.waiting_entry(node, args.block_hash("txid"))
    return _relatives(node, args, node.pool.descendants([entry]))


def getmempoolcluster(node: Node, args: Arguments) -> Any:
    """All waiting transactions connected with one, in chunks as they would be mined."""
    cluster = node.pool.cluster([lookup.waiting_entry(node, args.block_hash("txid"))])
    return {
        "clusterweight": sum(entry.weight for entry in cluster),
        "txcount": len(cluster),
        "chunks": [
            {
                "chunkfee": to_json(chunk.pays.fee_sats),
                "chunkweight": chunk.pays.weight,
                "txs": [display_hash(entry.txid) for entry in entries],
            }
            for chunk, entries in chunks_of(cluster)
        ],
    }


def sendrawtransaction(node: Node, args: Arguments) -> Any:
    """Let a signed transaction wait for a block; sending it again is no error."""
    transaction = lookup.decoded_transaction(args.value("hexstring"))
    _require_no_burn([transaction], to_sats(args.value("maxburnamount")))
    if node.admission.is_confirmed(transaction):
        raise RpcError(Code.ALREADY_IN_UTXO_SET, "Transaction outputs already in utxo set")
    try:
        node.submit_transaction(transaction, _max_feerate(args))
    except TransactionRejected as rejection:
        if rejection.reason not in _IN_MEMPOOL:
            raise _broadcast_error(rejection) from rejection
    return display_hash(transaction.txid)


def testmempoolaccept(node: Node, args: Arguments) -> Any:
    """Tell what `sendrawtransaction` would say about transactions, parents first, without sending."""
    transactions = _decoded_list(args.items("rawtxs"))
    max_feerate = _max_feerate(args)
    answers = [{"txid": display_hash(each.txid), "wtxid": display_hash(each.wtxid)} for each in transactions]
    try:
        judged = node.packages.try_all(transactions, node.clock.now())
    except PackageRejected as error:
        return [{**answer, "package-error": error.reason} for answer in answers]
    verdicts: list[dict[str, Any]] = []
    for item in judged:
        verdicts.append(_verdict(item, max_feerate))
        if not verdicts[-1]["allowed"]:
            break
    verdicts += [{}] * (len(answers) - len(verdicts))
    return [{**answer, **verdict} for answer, verdict in zip(answers, verdicts, strict=True)]


def submitpackage(node: Node, args: Arguments) -> Any:
    """Let a child and its parents in together, the child paying for parents that pay too little."""
    transactions = _decoded_list(args.items("package"))
    _require_no_burn(transactions, to_sats(args.value("maxburnamount")))
    if len(transactions) > 1 and not is_child_with_parents(transactions):
        message = "package topology disallowed. not child-with-parents or parents depend on each other."
        raise RpcError(Code.VERIFY, message)
    try:
        outcome = node.submit_package(transactions, _max_feerate(args))
    except PackageRejected as error:
        results = {
            display_hash(each.wtxid): {"txid": display_hash(each.txid), "error": "package-not-validated"}
            for each in transactions
        }
        return {"package_msg": error.reason, "tx-results": results, "replaced-transactions": []}
    return {
        "package_msg": outcome.message,
        "tx-results": {
            display_hash(item.transaction.wtxid): _package_result(item) for item in outcome.judged
        },
        "replaced-transactions": [display_hash(txid) for txid in outcome.replaced],
    }


def decoderawtransaction(_node: Node, args: Arguments) -> Any:
    """Show what a serialised transaction says."""
    return transaction_shape(lookup.decoded_transaction(args.value("hexstring"), "TX decode failed"))


def estimatesmartfee(node: Node, args: Arguments) -> Any:
    """Fee rate for the next block: what the fullest block's last place costs, at least 1 sat/vB."""
    target = args.integer("conf_target")
    if not 1 <= target <= 1008:
        raise RpcError(Code.INVALID_PARAMETER, "Invalid conf_target, must be between 1 and 1008")
    return {"feerate": to_json(node.feerate()), "blocks": max(target, 2)}


def _relatives(node: Node, args: Arguments, entries: Sequence[Entry]) -> Any:
    txid = args.block_hash("txid")
    others = [entry for entry in entries if entry.txid != txid]
    if args.flag("verbose"):
        return {display_hash(entry.txid): _entry_shape(node, entry) for entry in others}
    return [display_hash(entry.txid) for entry in others]


def _entry_shape(node: Node, entry: Entry) -> dict[str, Any]:
    pool = node.pool
    ancestors, descendants = pool.ancestors(entry), pool.descendants([entry])
    chunks = chunks_of(pool.cluster([entry]))
    chunk = next(chunk for chunk, entries in chunks if any(each is entry for each in entries))
    return {
        "vsize": entry.vbytes,
        "vsize_bip141": vbytes_of(entry.transaction.weight),
        "vsize_adjusted": entry.vbytes,
        "weight": entry.transaction.weight,
        "time": entry.time,
        "height": entry.height,
        "descendantcount": len(descendants),
        "descendantsize": sum(each.vbytes for each in descendants),
        "ancestorcount": len(ancestors),
        "ancestorsize": sum(each.vbytes for each in ancestors),
        "chunkweight": chunk.pays.weight,
        "wtxid": display_hash(entry.wtxid),
        "fees": {
            "base": to_json(entry.fee_sats),
            "modified": to_json(entry.fee_sats),
            "ancestor": to_json(sum(each.fee_sats for each in ancestors)),
            "descendant": to_json(sum(each.fee_sats for each in descendants)),
            "chunk": to_json(chunk.pays.fee_sats),
        },
        "depends": sorted(display_hash(parent.txid) for parent in pool.parents(entry.transaction)),
        "spentby": [display_hash(child.txid) for child in pool.children(entry)],
        "unbroadcast": False,
    }


def _decoded_list(items: Sequence[object]) -> list[ParsedTx]:
    if not 1 <= len(items) <= limits.MAX_PACKAGE_TRANSACTIONS:
        message = f"Array must contain between 1 and {limits.MAX_PACKAGE_TRANSACTIONS} transactions."
        raise RpcError(Code.INVALID_PARAMETER, message)
    return [
        lookup.decoded_transaction(item, f"TX decode failed for tx {number}.")
        for number, item in enumerate(items)
    ]


def _max_feerate(args: Arguments) -> int | None:
    """Return the caller's limit in sats per 1,000 vbytes, None for no limit."""
    feerate = to_sats(args.value("maxfeerate"))
    if feerate >= SATS_PER_COIN:
        raise RpcError(Code.INVALID_PARAMETER, "Fee rates larger than or equal to 1BTC/kvB are not accepted")
    return feerate or None


def _require_no_burn(transactions: Sequence[ParsedTx], limit_sats: int) -> None:
    for transaction in transactions:
        for output in transaction.outputs:
            if is_unspendable(output.script) and output.value > limit_sats:
                raise RpcError(Code.VERIFY, _BURNS)


def _broadcast_error(rejection: TransactionRejected) -> RpcError:
    if rejection.reason == "max feerate exceeded":
        return RpcError(Code.VERIFY, _FEE_TOO_HIGH)
    missing = rejection.kind is RejectKind.MISSING_INPUTS
    return RpcError(Code.VERIFY if missing else Code.VERIFY_REJECTED, rejection.message)


def _verdict(item: Judged, max_feerate: int | None) -> dict[str, Any]:
    if item.rejection is not None:
        if item.rejection.kind is RejectKind.MISSING_INPUTS:
            return {"allowed": False, "reject-reason": "missing-inputs"}
        rejection = item.rejection
        return {"allowed": False, "reject-reason": rejection.reason, "reject-details": rejection.message}
    entry = item.entry
    if entry is None:
        raise RpcError(Code.INTERNAL, "a verdict without entry or rejection")
    if max_feerate is not None and entry.fee_sats > fee_at(max_feerate, entry.vbytes):
        return {"allowed": False, "reject-reason": "max-fee-exceeded"}
    return {"allowed": True, **_accepted_shape(entry, item.group)}


def _package_result(item: Judged) -> dict[str, Any]:
    txid = {"txid": display_hash(item.transaction.txid)}
    if item.rejection is not None:
        return {**txid, "error": item.rejection.message}
    if item.other_wtxid is not None:
        return {**txid, "other-wtxid": display_hash(item.other_wtxid)}
    if item.entry is None:
        raise RpcError(Code.INTERNAL, "a package result without entry or rejection")
    return {**txid, **_accepted_shape(item.entry, item.group)}


def _accepted_shape(entry: Entry, group: Sequence[Entry]) -> dict[str, Any]:
    fees: dict[str, Any] = {"base": to_json(entry.fee_sats)}
    if group:
        total = sum(each.fee_sats for each in group)
        fees["effective-feerate"] = to_json(total * 1000 // sum(each.vbytes for each in group))
        fees["effective-includes"] = [display_hash(each.wtxid) for each in group]
    sizes = {"vsize_adjusted": entry.vbytes, "vsize": entry.vbytes}
    return {**sizes, "vsize_bip141": vbytes_of(entry.transaction.weight), "fees": fees}


_TXID: Final = Param("txid", STRING)
_VERBOSE: Final = Param("verbose", BOOLEAN, False)
_MAX_FEERATE: Final = Param("maxfeerate", AMOUNT, limits.DEFAULT_MAX_FEERATE / SATS_PER_COIN)
_MAX_BURN: Final = Param("maxburnamount", AMOUNT, 0)
METHODS: Final = (
    Method("getrawmempool", getrawmempool, (_VERBOSE, Param("mempool_sequence", BOOLEAN, False))),
    Method("getmempoolinfo", getmempoolinfo),
    Method("getmempoolentry", getmempoolentry, (_TXID,)),
    Method("getmempoolancestors", getmempoolancestors, (_TXID, _VERBOSE)),
    Method("getmempooldescendants", getmempooldescendants, (_TXID, _VERBOSE)),
    Method("getmempoolcluster", getmempoolcluster, (_TXID,)),
    Method("sendrawtransaction", sendrawtransaction, (Param("hexstring", STRING), _MAX_FEERATE, _MAX_BURN)),
    Method("testmempoolaccept", testmempoolaccept, (Param("rawtxs", ARRAY), _MAX_FEERATE)),
    Method("submitpackage", submitpackage, (Param("package", ARRAY), _MAX_FEERATE, _MAX_BURN)),
    Method(
        "decoderawtransaction",
        decoderawtransaction,
        (Param("hexstring", STRING), Param("iswitness", BOOLEAN, None)),
    ),
    Method(
        "estimatesmartfee",
        estimatesmartfee,
        (Param("conf_target", NUMBER), Param("estimate_mode", STRING, "economical")),
    ),
)
