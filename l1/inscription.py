"""The facts of one inscription: a row that holds what we signed, what a node took, and what blocks showed.

A row is one commit with the reveals of its leaves. It holds its signed transactions before anything is sent.
Sending them again is always right, signing others is not: after a restart the same bytes go out, and Bitcoin
knows them by txid. Versions of a row (fee bumps) share their first coin, so at most one commit confirms, and
of each leaf at most one reveal. What the facts mean is worked out in `transitions`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from l1.inscription_package import Attempt
from l1.ports import SendOutcome, Verdict
from l1.wallet import SignedTransaction, Spend
from primitives.ids import OutPoint, Txid


class RowStatus(IntEnum):
    """Where a row stands; the numbers are stored."""

    QUEUED = 0
    SIGNED = 1
    COMMIT_SENT = 2
    REVEAL_SENT = 3
    CONFIRMED = 4
    FINAL = 5
    REPLACED = 6
    EVICTED = 7
    EXPIRED = 8


@dataclass(frozen=True, slots=True)
class Refusal:
    """A node's no, when it came, and whether it was to a package or to the transaction alone."""

    outcome: SendOutcome
    height: int
    at_ms: int
    packaged: bool = False


@dataclass(frozen=True, slots=True)
class RivalSpend:
    """A transaction that is not ours spent a coin of ours at this height."""

    spender: Txid
    height: int


@dataclass(frozen=True, slots=True)
class Row:
    """One inscription of one or more leaves, paid by one commit.

    `purpose` and `reference` name it for its owner. `heights` holds our transactions seen in blocks,
    `accepted` those a node has ever taken. `present` and `absent` are what we believe of the mempool now;
    with `refusals` they are not stored, so a restart asks again. Nor is `unanswered`, how many sends have no
    answer: a restart counts one, for nobody knows what was sent last. `progress_height` is when a version was
    signed or confirmed last, `orphan_since` since when a coin of the commit has not existed. `stuck` says why
    blocks pass by a row that pays no more; it is worked out anew, not stored.
    """

    row_id: int
    purpose: str
    reference: bytes
    priority: int
    leaves: tuple[bytes, ...]
    status: RowStatus = RowStatus.QUEUED
    reason: str = "waits to be signed"
    attempts: tuple[Attempt, ...] = ()
    current: int = 0
    heights: Mapping[Txid, int] = field(default_factory=dict)
    rivals: Mapping[OutPoint, RivalSpend] = field(default_factory=dict)
    accepted: frozenset[Txid] = frozenset()
    present: frozenset[Txid] = frozenset()
    absent: frozenset[Txid] = frozenset()
    refusals: Mapping[Txid, Refusal] = field(default_factory=dict)
    unanswered: int = 0
    progress_height: int = 0
    orphan_since: int | None = None
    stuck: str = ""

    @property
    def attempt(self) -> Attempt | None:
        """The version that is, or should be, on its way; None before signing."""
        return self.attempts[self.current] if self.attempts else None

    @property
    def confirmed_reveals(self) -> Mapping[OutPoint, SignedTransaction]:
        """Reveals in blocks, of whatever version, by the commit output that they spend."""
        return {
            reveal.inputs[0]: reveal
            for attempt in self.attempts
            for reveal in attempt.reveals
            if reveal.txid in self.heights
        }

    @property
    def reveals(self) -> tuple[SignedTransaction, ...]:
        """One reveal a leaf: the confirmed one, else that of the current version."""
        confirmed, attempt = self.confirmed_reveals, self.attempt
        if attempt is None:
            return ()
        return tuple(confirmed.get(reveal.inputs[0], reveal) for reveal in attempt.reveals)

    @property
    def transactions(self) -> tuple[SignedTransaction, ...]:
        """The commit, and one reveal a leaf."""
        attempt = self.attempt
        return () if attempt is None else (attempt.commit, *self.reveals)

    @property
    def cost_sats(self) -> int:
        """Fees of commit and reveals; what was given up for lack of change is among them."""
        return sum(transaction.fee_sats for transaction in self.transactions)

    @property
    def unconfirmed(self) -> tuple[SignedTransaction, ...]:
        """Transactions that should be in the mempool: no block holds them, nor another version of them."""
        return tuple(entry for entry in self.transactions if entry.txid not in self.heights)

    @property
    def watched(self) -> frozenset[OutPoint]:
        """Outputs whose spending tells what became of any version."""
        return frozenset(
            outpoint
            for attempt in self.attempts
            for transaction in (attempt.commit, *attempt.reveals)
            for outpoint in transaction.inputs
        )

    @property
    def confirmed_height(self) -> int | None:
        """The height at which the last reveal confirmed, None while one is missing."""
        heights = [self.heights.get(reveal.txid) for reveal in self.reveals]
        known = [height for height in heights if height is not None]
        return max(known) if known and len(known) == len(heights) else None

    @property
    def latched(self) -> bool:
        """Tell whether the commit must stay: a reveal of it is out, and others may build on its change."""
        attempt = self.attempt
        return attempt is not None and any(
            reveal.txid in self.accepted
            for version in self.attempts
            if version.commit.txid == attempt.commit.txid
            for reveal in version.reveals
        )

    @property
    def is_ours_alone(self) -> bool:
        """Tell whether nobody else can have any version: it is not signed, or every send of it was refused."""
        if self.status is RowStatus.QUEUED:
            return True
        known = self.accepted or self.heights or self.rivals
        return self.status is RowStatus.SIGNED and not known and not self.unanswered

    @property
    def commit_is_located(self) -> bool:
        """Tell whether a node or a block has said where the current commit is; after a restart nobody has."""
        attempt = self.attempt
        if attempt is None:
            return False
        txid = attempt.commit.txid
        return txid in self.heights or txid in self.present or txid in self.absent or txid in self.refusals

    def confirmations(self, tip_height: int) -> int:
        """Return how many blocks hold or follow the whole row, 0 while it is incomplete."""
        height = self.confirmed_height
        return 0 if height is None else tip_height - height + 1


def sign_row(row: Row, attempt: Attempt) -> Row:
    """Return the row with one more version, which becomes the current one."""
    attempts = (*row.attempts, attempt)
    return replace(row, attempts=attempts, current=len(attempts) - 1, progress_height=attempt.signed_height)


def record_spends(row: Row, height: int, spends: Iterable[Spend]) -> Row:
    """Return the row after a block at `height` spent some watched outputs."""
    own = {entry.txid for attempt in row.attempts for entry in (attempt.commit, *attempt.reveals)}
    watched = row.watched
    heights, rivals = dict(row.heights), dict(row.rivals)
    for spend in spends:
        if spend.outpoint not in watched:
            continue
        if spend.spender in own:
            heights[spend.spender] = height
        else:
            rivals[spend.outpoint] = RivalSpend(spend.spender, height)
    if heights == row.heights and rivals == row.rivals:
        return row
    seen = frozenset(heights)
    return replace(
        row,
        heights=heights,
        rivals=rivals,
        accepted=row.accepted | seen,
        present=row.present - seen,
        absent=row.absent - seen,
        progress_height=height,
    )


def unwind_row(row: Row, height: int) -> Row:
    """Return the row without what blocks at `height` and above showed; what they held must be sent again."""
    heights = {txid: seen for txid, seen in row.heights.items() if seen < height}
    rivals = {outpoint: rival for outpoint, rival in row.rivals.items() if rival.height < height}
    if len(heights) == len(row.heights) and len(rivals) == len(row.rivals):
        return row
    lost = frozenset(row.heights) - frozenset(heights)
    return replace(row, heights=heights, rivals=rivals, present=row.present - lost, refusals={})


def record_answer(row: Row) -> Row:
    """Return the row after a send was answered, whatever the answer."""
    return replace(row, unanswered=max(row.unanswered - 1, 0))


def record_outcome(row: Row, txid: Txid, refusal: Refusal) -> Row:
    """Return the row after a node answered about one of its transactions."""
    if refusal.outcome.verdict.holds:
        refusals = {key: value for key, value in row.refusals.items() if key != txid}
        return replace(
            row,
            accepted=row.accepted | {txid},
            present=row.present | {txid},
            absent=row.absent - {txid},
            refusals=refusals,
        )
    changed = replace(row, present=row.present - {txid}, refusals={**row.refusals, txid: refusal})
    attempt = row.attempt
    if refusal.outcome.verdict is Verdict.MISSING_INPUTS and attempt and txid != attempt.commit.txid:
        return replace(changed, present=changed.present - {attempt.commit.txid})  # look at the parent again
    return changed


def record_presence(row: Row, txid: Txid, *, present: bool) -> Row:
    """Return the row after a look into the mempool."""
    if txid in row.heights or present == (txid in row.present):
        return row
    if present:
        return replace(row, present=row.present | {txid}, absent=row.absent - {txid})
    return replace(row, present=row.present - {txid}, absent=row.absent | {txid})


def record_funding(row: Row, tip_height: int, *, alive: bool) -> Row:
    """Return the row after a look at its commit's coins: `alive` when all are there, or will be."""
    if alive or row.attempt is None or row.attempt.commit.txid in row.heights:
        return row if row.orphan_since is None else replace(row, orphan_since=None)
    return row if row.orphan_since is not None else replace(row, orphan_since=tip_height)


def forget_mempool(row: Row) -> Row:
    """Return the row as a fresh process sees it: nothing is known of the mempool."""
    doubt = max(row.unanswered, 1 if row.attempts else 0)
    return replace(row, present=frozenset(), absent=frozenset(), refusals={}, unanswered=doubt)


def expire_row(row: Row, reason: str) -> Row:
    """Return a row that will never be sent (again) and claims no coins; others stay, for their bytes may be out."""
    if not row.is_ours_alone:
        return row
    return replace(row, status=RowStatus.EXPIRED, reason=reason, attempts=(), current=0, refusals={})


def requeue_row(row: Row) -> Row:
    """Return a lost row as a fresh one with the same leaves, to be paid by other coins."""
    return replace(
        row,
        status=RowStatus.QUEUED,
        reason="its coins are gone for good; waits to be signed with others",
        attempts=(),
        current=0,
        heights={},
        rivals={},
        accepted=frozenset(),
        present=frozenset(),
        absent=frozenset(),
        refusals={},
        unanswered=0,
        orphan_since=None,
        stuck="",
    )
