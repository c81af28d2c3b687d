"""What the facts of a row mean: its status, the reason in words, and what should be sent now.

A status is worked out by `classify`, never set by hand; `TRANSITIONS` says which changes are possible:

    queued ──► signed ──► commit sent ──► reveal sent ──► confirmed n ──► final
      │ ▲         └───────────┴──── evicted ◄─┘  ▲ reorg        │
      ▼ └───────── replaced (a rival's spend got deep) ◄────────┘
    expired (also a signed row that a node refused each time)

A row whose coins are gone for good, by a rival's spend or because the transaction that made them is no more,
goes back to queued and is signed with others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from l1.inscription import RivalSpend, Row, RowStatus
from l1.inscription_package import Attempt
from l1.ports import Verdict
from l1.wallet import SignedTransaction
from primitives.errors import InvariantViolation
from primitives.ids import display_hash

_SHOWN_WORDS: Final = 200
"""Characters of a node's refusal that go into a reason: reasons are stored, and a node may say anything."""
_ON_THE_WAY: Final = frozenset(
    {
        RowStatus.SIGNED,
        RowStatus.COMMIT_SENT,
        RowStatus.REVEAL_SENT,
        RowStatus.CONFIRMED,
        RowStatus.FINAL,
        RowStatus.REPLACED,
        RowStatus.EVICTED,
    }
)
_UNCONFIRMED: Final = _ON_THE_WAY - {RowStatus.CONFIRMED, RowStatus.FINAL}
_SENT: Final = _ON_THE_WAY - {RowStatus.SIGNED}
_REVEALED: Final = _SENT - {RowStatus.COMMIT_SENT}
TRANSITIONS: Final[Mapping[RowStatus, frozenset[RowStatus]]] = {
    RowStatus.QUEUED: frozenset({RowStatus.SIGNED, RowStatus.EXPIRED}),
    RowStatus.SIGNED: _SENT | {RowStatus.QUEUED, RowStatus.EXPIRED},
    RowStatus.COMMIT_SENT: _REVEALED | {RowStatus.QUEUED},
    RowStatus.REVEAL_SENT: _REVEALED | {RowStatus.QUEUED},
    RowStatus.CONFIRMED: _REVEALED,
    RowStatus.REPLACED: _ON_THE_WAY | {RowStatus.QUEUED},
    RowStatus.EVICTED: _SENT | {RowStatus.QUEUED},
    RowStatus.FINAL: frozenset(),
    RowStatus.EXPIRED: frozenset(),
}
"""What may follow what; staying is always possible. A node's block may show a row confirmed at any time."""


@dataclass(frozen=True, slots=True)
class SendRules:
    """Bounds on what hangs on an unconfirmed commit, and the patience between tries.

    Core >= 31 takes 101,000 vbytes and 64 transactions a cluster, older versions 25 transactions; one maximal
    reveal with its commit is 100,107 vbytes.
    """

    finality_depth: int
    cluster_vbytes: int = 101_000
    cluster_transactions: int = 25
    retry_ms: int = 5_000


def classify(row: Row, tip_height: int, rules: SendRules) -> Row:
    """Return the row with the current version, status and reason that its facts give.

    Raises InvariantViolation `inscription.bad_transition` for a change that `TRANSITIONS` does not have.
    """
    if row.status in (RowStatus.FINAL, RowStatus.EXPIRED):
        return row
    current = _find_current(row)
    row = row if current == row.current else replace(row, current=current)
    status = _status(row, tip_height, rules)
    if status is not row.status and status not in TRANSITIONS[row.status]:
        raise InvariantViolation(
            "inscription.bad_transition",
            "a row made an impossible step",
            row=row.row_id,
            before=row.status.name,
            after=status.name,
        )
    queued = status is RowStatus.QUEUED
    reason = row.reason if queued else _reason(row, status, tip_height)
    if (status, reason) == (row.status, row.reason):
        return row
    return replace(row, status=status, reason=reason)


@dataclass(frozen=True, slots=True)
class Moment:
    """When a decision is made: the tip's height and the clock."""

    tip_height: int
    now_ms: int


def list_due_sends(row: Row, moment: Moment, rules: SendRules) -> tuple[tuple[SignedTransaction, ...], ...]:
    """Return what should be sent now: the commit first and alone, then reveals as its cluster has room.

    A commit that must stay but pays too little is sent as a package with its first reveal.
    """
    attempt = row.attempt
    if attempt is None or row.status in (RowStatus.FINAL, RowStatus.EXPIRED, RowStatus.REPLACED):
        return ()
    commit_confirmed = attempt.commit.txid in row.heights
    if not commit_confirmed and attempt.commit.txid not in row.present:
        return _due_commit(row, attempt, moment, rules)
    waiting = [entry for entry in row.unconfirmed if entry.txid != attempt.commit.txid]
    if not commit_confirmed:
        waiting = _fit_cluster(row, attempt.commit, waiting, rules)
    missing = [entry for entry in waiting if entry.txid not in row.present]
    return tuple((entry,) for entry in missing if _may_try(row, entry, moment, rules))


def _due_commit(
    row: Row, attempt: Attempt, moment: Moment, rules: SendRules
) -> tuple[tuple[SignedTransaction, ...], ...]:
    commit = attempt.commit
    if not (row.latched and _is_underpaid(row, commit)):
        return ((commit,),) if _may_try(row, commit, moment, rules) else ()
    untried = not row.refusals[commit.txid].packaged
    package = (commit, attempt.reveals[0])
    return (package,) if untried or _may_try(row, commit, moment, rules) else ()


def is_stale(row: Row, tip_height: int, stale_blocks: int) -> bool:
    """Tell whether a row has seen no progress for too many blocks, or a node says that it pays too little."""
    if row.status not in (RowStatus.SIGNED, RowStatus.COMMIT_SENT, RowStatus.REVEAL_SENT, RowStatus.EVICTED):
        return False
    if row.orphan_since is not None:
        return False
    waited = tip_height - row.progress_height
    underpaid = any(_is_underpaid(row, entry) for entry in row.unconfirmed)
    return waited >= stale_blocks or (underpaid and waited >= 1)


def is_lost(row: Row, tip_height: int, rules: SendRules) -> bool:
    """Tell whether the coins of every version are gone so long that they will not come back.

    Either a rival's spend is final, or a coin has not existed for as long: the block or the version of
    another row that made it is no more. Nobody keeps transactions whose inputs do not exist, and we stop
    sending them.
    """
    if row.status not in _UNCONFIRMED or row.heights:
        return False
    if row.orphan_since is not None and tip_height - row.orphan_since >= rules.finality_depth:
        return True
    deep = {
        outpoint
        for outpoint, rival in row.rivals.items()
        if tip_height - rival.height + 1 >= rules.finality_depth
    }
    return all(any(outpoint in deep for outpoint in entry.commit.inputs) for entry in row.attempts)


def _find_current(row: Row) -> int:
    """Return the newest version whose commit is in the chain, else the newest that still can be."""
    newest = range(len(row.attempts) - 1, -1, -1)
    confirmed = [index for index in newest if row.attempts[index].commit.txid in row.heights]
    possible = [
        index
        for index in newest
        if not any(outpoint in row.rivals for outpoint in row.attempts[index].commit.inputs)
    ]
    return next(iter((*confirmed, *possible, *newest)), 0)


def _status(row: Row, tip_height: int, rules: SendRules) -> RowStatus:
    attempt = row.attempt
    if attempt is None:
        return RowStatus.QUEUED
    if row.confirmed_height is not None:
        deep = row.confirmations(tip_height) >= rules.finality_depth
        return RowStatus.FINAL if deep else RowStatus.CONFIRMED
    if _rival(row) is not None:
        return RowStatus.REPLACED
    if any(entry.txid in row.absent and entry.txid in row.accepted for entry in row.unconfirmed):
        return RowStatus.EVICTED
    reveals = {entry.txid for version in row.attempts for entry in version.reveals}
    if reveals & row.accepted:
        return RowStatus.REVEAL_SENT
    commits = {version.commit.txid for version in row.attempts}
    return RowStatus.COMMIT_SENT if commits & row.accepted else RowStatus.SIGNED


def _rival(row: Row) -> RivalSpend | None:
    """Return a rival that took an input of the current version."""
    for transaction in row.unconfirmed:
        for outpoint in transaction.inputs:
            if outpoint in row.rivals:
                return row.rivals[outpoint]
    return None


def _reason(row: Row, status: RowStatus, tip_height: int) -> str:
    """Return in words why the row stands where it stands."""
    rival = _rival(row)
    if status is RowStatus.REPLACED and rival is not None:
        return f"{display_hash(rival.spender)} spent its coin at height {rival.height}"
    if status in (RowStatus.CONFIRMED, RowStatus.FINAL):
        return f"{row.confirmations(tip_height)} confirmations"
    for entry in row.unconfirmed:
        refusal = row.refusals.get(entry.txid)
        if refusal is not None:
            words = f" ({refusal.outcome.text[:_SHOWN_WORDS]})" if refusal.outcome.text else ""
            return f"the node refused {display_hash(entry.txid)}: {refusal.outcome.verdict}{words}"
    if row.orphan_since is not None:
        return f"a coin it spends has not been there since height {row.orphan_since}"
    if status is RowStatus.EVICTED:
        return "the mempool lost it; it is sent again"
    return f"{_WAITING[status]}; {row.stuck}" if row.stuck else _WAITING[status]


_WAITING: Final[Mapping[RowStatus, str]] = {
    RowStatus.QUEUED: "waits to be signed",
    RowStatus.SIGNED: "waits to be sent",
    RowStatus.COMMIT_SENT: "the commit waits for a block or room for its reveals",
    RowStatus.REVEAL_SENT: "waits for a block",
}


def _is_underpaid(row: Row, transaction: SignedTransaction) -> bool:
    refusal = row.refusals.get(transaction.txid)
    return refusal is not None and refusal.outcome.verdict is Verdict.FEE_TOO_LOW


def _may_try(row: Row, transaction: SignedTransaction, moment: Moment, rules: SendRules) -> bool:
    """Tell whether enough happened since a refusal: a block, or some time."""
    refusal = row.refusals.get(transaction.txid)
    if refusal is None:
        return True
    return moment.tip_height != refusal.height or moment.now_ms - refusal.at_ms >= rules.retry_ms


def _fit_cluster(
    row: Row, commit: SignedTransaction, waiting: list[SignedTransaction], rules: SendRules
) -> list[SignedTransaction]:
    """Return the reveals that may hang on an unconfirmed commit, those in the mempool counted first."""
    ordered = sorted(waiting, key=lambda entry: entry.txid not in row.present)
    room = rules.cluster_vbytes - commit.vbytes
    fitting: list[SignedTransaction] = []
    for entry in ordered[: rules.cluster_transactions - 1]:
        room -= entry.vbytes
        if room >= 0 or entry.txid in row.present:
            fitting.append(entry)
    return fitting
