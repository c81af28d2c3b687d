"""The shapes waiting transactions may form: small clusters, version 3 pairs, dust that a child spends."""

from collections.abc import Sequence

from primitives.ids import OutPoint, display_hash
from regtest import limits
from regtest.mempool.entry import Entry
from regtest.mempool.pool import Pool
from regtest.policy.rejection import TransactionRejected
from regtest.policy.standard import dust_outputs


def require_small_cluster(pool: Pool, entry: Entry, leaving: Sequence[Entry]) -> None:
    """Refuse an entry whose cluster would exceed 64 transactions or 101,000 virtual bytes."""
    gone = {each.txid for each in leaving}
    found = {entry.txid: entry}
    waiting = pool.parents(entry.transaction)
    while waiting:
        each = waiting.pop()
        if each.txid in found or each.txid in gone:
            continue
        found[each.txid] = each
        waiting += pool.parents(each.transaction) + pool.children(each)
    weight = sum(each.weight for each in found.values())
    if len(found) > limits.MAX_CLUSTER_TRANSACTIONS or weight > limits.MAX_CLUSTER_WEIGHT:
        raise TransactionRejected("too-large-cluster")


def require_dust_spent(pool: Pool, entry: Entry) -> None:
    """Refuse a child that leaves its parent's ephemeral dust unspent."""
    spends = frozenset(entry.spends)
    for parent in pool.parents(entry.transaction):
        for vout in dust_outputs(parent.transaction):
            if OutPoint(parent.txid, vout) not in spends:
                raise TransactionRejected(
                    "missing-ephemeral-spends", f"{_name(entry)} did not spend parent's ephemeral dust"
                )


def require_truc(pool: Pool, entry: Entry, conflicts: Sequence[Entry]) -> Entry | None:
    """Hold version 3 to its promise: small, one parent, one child (BIP 431).

    Returns the other child of the parent when the entry may only enter in its place.
    """
    parents = pool.parents(entry.transaction)
    _require_same_kind(entry, parents)
    if not _is_truc(entry):
        return None
    if entry.vbytes > limits.TRUC_MAX_VBYTES:
        raise _violation(
            f"version=3 {_name(entry)} is too big: {entry.vbytes} > {limits.TRUC_MAX_VBYTES} virtual bytes"
        )
    if not parents:
        return None
    if len(parents) >= limits.TRUC_CLUSTER_TRANSACTIONS or len(pool.ancestors(parents[0])) > 1:
        raise _violation(f"{_name(entry)} would have too many ancestors")
    if entry.vbytes > limits.TRUC_CHILD_MAX_VBYTES:
        limit = limits.TRUC_CHILD_MAX_VBYTES
        raise _violation(f"version=3 child {_name(entry)} is too big: {entry.vbytes} > {limit} virtual bytes")
    return _sibling(pool, parents[0], conflicts)


def _require_same_kind(entry: Entry, parents: Sequence[Entry]) -> None:
    for parent in parents:
        if _is_truc(entry) and not _is_truc(parent):
            raise _violation(f"version=3 {_name(entry)} cannot spend from non-version=3 {_name(parent)}")
        if _is_truc(parent) and not _is_truc(entry):
            raise _violation(f"non-version=3 {_name(entry)} cannot spend from version=3 {_name(parent)}")


def _sibling(pool: Pool, parent: Entry, conflicts: Sequence[Entry]) -> Entry | None:
    others = [each for each in pool.descendants([parent]) if each.txid != parent.txid]
    replaced = {each.txid for each in conflicts}
    if not others or any(each.txid in replaced for each in others):
        return None
    if len(others) == 1 and len(pool.ancestors(others[0])) == limits.TRUC_CLUSTER_TRANSACTIONS:
        return others[0]
    raise _violation(f"{_name(parent)} would exceed descendant count limit")


def _is_truc(entry: Entry) -> bool:
    return entry.transaction.version == limits.TRUC_VERSION


def _name(entry: Entry) -> str:
    return f"tx {display_hash(entry.txid)} (wtxid={display_hash(entry.wtxid)})"


def _violation(detail: str) -> TransactionRejected:
    return TransactionRejected("TRUC-violation", detail)
