"""When a transaction may take another's place: it must pay for all it evicts and leave miners better off."""

from collections.abc import Sequence

from primitives.ids import display_hash
from regtest import limits
from regtest.mempool.entry import Entry, fee_at
from regtest.mempool.linearize import Chunk, improves
from regtest.mempool.pool import Pool, chunks_of, split_clusters
from regtest.policy.rejection import RejectKind, TransactionRejected


def require_paying(pool: Pool, entry: Entry, direct: Sequence[Entry], leaving: Sequence[Entry]) -> None:
    """Refuse a replacement that touches too many clusters, or pays less than they did and its own relay.

    Every transaction may be replaced, whether or not it signals so (full replace-by-fee, Core's default).
    """
    name = display_hash(entry.txid)
    clusters = len(split_clusters(pool.cluster(direct)))
    if clusters > limits.MAX_REPLACED_CLUSTERS:
        detail = f"too many conflicting clusters ({clusters} > {limits.MAX_REPLACED_CLUSTERS})"
        raise TransactionRejected(
            "too many potential replacements", f"rejecting replacement {name}; {detail}"
        )
    paid = sum(each.fee_sats for each in leaving)
    if entry.fee_sats < paid:
        detail = f"less fees than conflicting txs; {entry.fee_sats} < {paid} sats"
        raise _insufficient(f"rejecting replacement {name}, {detail}")
    least = fee_at(limits.INCREMENTAL_FEERATE, entry.vbytes)
    if entry.fee_sats - paid < least:
        detail = f"not enough additional fees to relay; {entry.fee_sats - paid} < {least} sats"
        raise _insufficient(f"rejecting replacement {name}, {detail}")


def require_improvement(pool: Pool, entry: Entry, direct: Sequence[Entry], leaving: Sequence[Entry]) -> None:
    """Refuse a replacement after which some amount of block space would earn a miner less."""
    before = pool.cluster([*direct, *pool.parents(entry.transaction)])
    gone = {each.txid for each in leaving}
    after = [each for each in before if each.txid not in gone]
    if not improves(_chunks(before), _chunks([*after, entry])):
        raise TransactionRejected(
            "replacement-failed", "insufficient feerate: does not improve feerate diagram", RejectKind.FEE
        )


def _chunks(entries: Sequence[Entry]) -> list[Chunk]:
    return [chunk for cluster in split_clusters(entries) for chunk, _ in chunks_of(cluster)]


def _insufficient(detail: str) -> TransactionRejected:
    return TransactionRejected("insufficient fee", detail, RejectKind.FEE)
