"""Packages: a child with the parents it pays for, judged together when a parent cannot stand alone.

Each transaction is tried by itself first, as Core does; only those that pay too little or miss a parent are
then judged as a group by their common fee rate. A package may not replace what is here by its common fee
(Core allows that for one parent with one child).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from primitives.bitcoin.parser import ParsedTx
from primitives.errors import BitaiError
from primitives.ids import Txid, Wtxid
from regtest import limits
from regtest.mempool.admission import Admission, Candidate, Leniency
from regtest.mempool.entry import Entry, fee_at
from regtest.mempool.pool import Pool
from regtest.policy.rejection import RejectKind, TransactionRejected

_IN_PACKAGE = Leniency(below_min_fee=True, no_replacement=True)
_IN_TRIAL = Leniency(no_replacement=True)


class PackageRejected(BitaiError):
    """The package as a whole is not what a package may be; no transaction of it was looked at."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"mempool.{reason}", reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Judged:
    """The outcome for one transaction: an entry with what its fee rate is made of, or a rejection.

    `group` holds the entries whose fees and sizes count together; empty when it was in the mempool before.
    """

    transaction: ParsedTx
    entry: Entry | None = None
    group: tuple[Entry, ...] = ()
    rejection: TransactionRejected | None = None
    other_wtxid: Wtxid | None = None


@dataclass(frozen=True, slots=True)
class PackageOutcome:
    """What became of each transaction, in the given order, and what was replaced."""

    judged: tuple[Judged, ...]
    replaced: tuple[Txid, ...] = ()

    @property
    def message(self) -> str:
        """Return Core's word for the whole."""
        failed = any(item.rejection is not None for item in self.judged)
        return "transaction failed" if failed else "success"


class Trial:
    """Admissions that are taken back unless they are kept."""

    def __init__(self, pool: Pool, admission: Admission) -> None:
        self._pool = pool
        self._admission = admission
        self._done: list[Candidate] = []

    def admit(self, candidate: Candidate) -> None:
        """Admit for now."""
        self._admission.admit(candidate)
        self._done.append(candidate)

    def take_back(self) -> None:
        """Undo everything, last first."""
        for candidate in reversed(self._done):
            self._pool.remove([candidate.entry.txid])
            for entry in candidate.conflicts:
                self._pool.add(entry)
        self._done.clear()


def require_package(transactions: Sequence[ParsedTx]) -> None:
    """Refuse what Core's IsWellFormedPackage refuses; raises PackageRejected."""
    if len(transactions) > limits.MAX_PACKAGE_TRANSACTIONS:
        raise PackageRejected("package-too-many-transactions")
    weight = sum(transaction.weight for transaction in transactions)
    if len(transactions) > 1 and weight > limits.MAX_PACKAGE_WEIGHT:
        raise PackageRejected("package-too-large")
    later = [transaction.txid for transaction in transactions]
    if len(set(later)) != len(later):
        raise PackageRejected("package-contains-duplicates")
    for position, transaction in enumerate(transactions):
        following = later[position:]
        if any(entry.prevout.txid in following for entry in transaction.inputs):
            raise PackageRejected("package-not-sorted")
    spent = [entry.prevout for transaction in transactions for entry in transaction.inputs]
    if len(set(spent)) != len(spent):
        raise PackageRejected("conflict-in-package")


def is_child_with_parents(transactions: Sequence[ParsedTx]) -> bool:
    """Tell whether all but the last are parents of the last, and not of each other."""
    *parents, child = transactions
    spent = {entry.prevout.txid for entry in child.inputs}
    ids = {parent.txid for parent in parents}
    among = any(entry.prevout.txid in ids for parent in parents for entry in parent.inputs)
    return ids <= spent and not among


class Packages:
    """Judge packages against one pool."""

    def __init__(self, pool: Pool, admission: Admission) -> None:
        self._pool = pool
        self._admission = admission

    def try_all(self, transactions: Sequence[ParsedTx], now: int) -> list[Judged]:
        """Return what would become of transactions that come one after another; nothing is changed.

        The list ends with the first that is rejected. Raises PackageRejected.
        """
        require_package(transactions)
        trial = Trial(self._pool, self._admission)
        judged = []
        try:
            for transaction in transactions:
                leniency = _IN_TRIAL if len(transactions) > 1 else Leniency()
                candidate = self._admission.examine(transaction, now, leniency)
                trial.admit(candidate)
                judged.append(Judged(transaction, candidate.entry, (candidate.entry,)))
        except TransactionRejected as rejection:
            judged.append(Judged(transactions[len(judged)], rejection=rejection))
        finally:
            trial.take_back()
        return judged

    def submit(self, transactions: Sequence[ParsedTx], now: int, max_feerate: int | None) -> PackageOutcome:
        """Admit what can be admitted; `max_feerate` is in sats per 1,000 vbytes. Raises PackageRejected."""
        require_package(transactions)
        replaced: list[Txid] = []
        first = [self._submit_alone(each, now, max_feerate, replaced) for each in transactions]
        waiting = [item.transaction for item in first if _may_be_paid_for(item)]
        final = any(item.rejection is not None and not _may_be_paid_for(item) for item in first)
        if waiting and len(transactions) > 1 and not final:
            second = {
                item.transaction.txid: item for item in self._submit_together(waiting, now, max_feerate)
            }
            first = [second.get(item.transaction.txid, item) for item in first]
        return PackageOutcome(tuple(first), tuple(replaced))

    def _submit_alone(
        self, transaction: ParsedTx, now: int, max_feerate: int | None, replaced: list[Txid]
    ) -> Judged:
        known = self._pool.find(transaction.txid)
        if known is not None:
            same = known.wtxid == transaction.wtxid
            return Judged(transaction, known, other_wtxid=None if same else known.wtxid)
        try:
            candidate = self._admission.examine(transaction, now)
            require_below(candidate.entry, max_feerate)
        except TransactionRejected as rejection:
            return Judged(transaction, rejection=rejection)
        self._admission.admit(candidate)
        replaced.extend(entry.txid for entry in candidate.conflicts)
        return Judged(transaction, candidate.entry, (candidate.entry,))

    def _submit_together(
        self, transactions: Sequence[ParsedTx], now: int, max_feerate: int | None
    ) -> list[Judged]:
        """Admit all, judged by their common fee rate, or none."""
        trial = Trial(self._pool, self._admission)
        entries: list[Entry] = []
        try:
            for transaction in transactions:
                candidate = self._admission.examine(transaction, now, _IN_PACKAGE)
                require_below(candidate.entry, max_feerate)
                trial.admit(candidate)
                entries.append(candidate.entry)
            _require_common_fee(entries)
        except TransactionRejected as rejection:
            trial.take_back()
            return [Judged(transaction, rejection=rejection) for transaction in transactions]
        return [Judged(entry.transaction, entry, tuple(entries)) for entry in entries]


def require_below(entry: Entry, max_feerate: int | None) -> None:
    """Refuse a fee rate that the caller thinks is a mistake."""
    if max_feerate is not None and entry.fee_sats > fee_at(max_feerate, entry.vbytes):
        raise TransactionRejected("max feerate exceeded")


def _may_be_paid_for(item: Judged) -> bool:
    kinds = (RejectKind.FEE, RejectKind.MISSING_INPUTS)
    return item.rejection is not None and item.rejection.kind in kinds


def _require_common_fee(entries: Sequence[Entry]) -> None:
    fee = sum(entry.fee_sats for entry in entries)
    least = fee_at(limits.MIN_RELAY_FEERATE, sum(entry.vbytes for entry in entries))
    if fee < least:
        raise TransactionRejected("min relay fee not met", f"{fee} < {least}", RejectKind.FEE)
