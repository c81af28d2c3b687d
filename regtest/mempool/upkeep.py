"""What a change of the chain does to the waiting transactions."""

from collections.abc import Iterable, Sequence

from primitives.bitcoin.parser import ParsedTx, parse_whole_transaction
from regtest.mempool.admission import Admission, Leniency
from regtest.mempool.entry import Entry
from regtest.mempool.pool import Pool
from regtest.policy.rejection import TransactionRejected

_RETURNING = Leniency(below_min_fee=True, no_replacement=True)
"""What was mined or let in before comes back whatever it pays; an earlier arrival is not replaced."""


def forget_mined(pool: Pool, transactions: Iterable[ParsedTx]) -> None:
    """Remove what a new block contains, and what can no longer come because the block spent its inputs."""
    for transaction in transactions:
        pool.remove([transaction.txid])
        for entry in transaction.inputs:
            rival = pool.spender(entry.prevout)
            if rival is not None:
                pool.remove(each.txid for each in pool.descendants([pool.entry(rival)]))


def start_over(
    pool: Pool,
    admission: Admission,
    returned: Sequence[ParsedTx],
    now: int,
) -> list[TransactionRejected]:
    """After a reorganisation, let in again what still may be: first what left the chain, lowest first.

    Lock times, maturity and inputs all depend on the tip, so every entry is examined anew. Returns why some
    stay out; those the new chain confirmed are not among them.
    """
    waiting = list(pool)
    pool.remove([entry.txid for entry in waiting])
    refusals = []
    for transaction in returned:
        if not transaction.is_coinbase:
            # A copy, because the parsed one keeps the whole block in memory.
            copy = parse_whole_transaction(bytes(transaction.raw))
            refusals += _return(admission, copy, now)
    for entry in waiting:
        refusals += _return(admission, entry.transaction, entry.time)
    return refusals


def expire(pool: Pool, before: int) -> list[Entry]:
    """Remove what has waited since before a time, with all that depends on it."""
    old = [entry for entry in pool if entry.time < before]
    return pool.remove(entry.txid for entry in pool.descendants(old))


def _return(admission: Admission, transaction: ParsedTx, now: int) -> list[TransactionRejected]:
    try:
        admission.admit(admission.examine(transaction, now, _RETURNING))
    except TransactionRejected as rejection:
        known = ("txn-already-known", "txn-already-in-mempool", "txn-same-nonwitness-data-in-mempool")
        return [] if rejection.reason in known else [rejection]
    return []
