"""The machine that turns leaves into inscriptions: a wallet and rows, driven by blocks, answers and time.

It signs, sends again, bumps and lets go; it never asks the world. Duties depend only on the state, so a
driver that loses one, or does one twice, loses nothing: they carry ids that say what they are, and are
offered until the facts say that they are done.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from l1.coin_choice import Coin
from l1.fees import INCREMENTAL_RATE, VBYTES_PER_KVB, FeePolicy, choose_bumped_rate, choose_rate
from l1.inscription import (
    Refusal,
    Row,
    RowStatus,
    expire_row,
    forget_mempool,
    record_answer,
    record_funding,
    record_outcome,
    record_presence,
    record_spends,
    requeue_row,
    sign_row,
    unwind_row,
)
from l1.inscription_package import (
    Attempt,
    PackagePlan,
    SigningKeys,
    build_package,
    bump_reveals,
    estimate_vbytes,
    require_standard_leaves,
)
from l1.ports import ChainPoint, SendOutcome
from l1.transitions import Moment, SendRules, classify, is_lost, is_stale, list_due_sends
from l1.wallet import Unconfirmed, Wallet, apply_block, find_alive, list_spendable, undo_block
from primitives.errors import Rejected
from primitives.ids import OutPoint, Txid

_UNCONFIRMED: Final = (RowStatus.SIGNED, RowStatus.COMMIT_SENT, RowStatus.REVEAL_SENT, RowStatus.EVICTED)


@dataclass(frozen=True, slots=True)
class InscriberConfig:
    """Keys, fee policy and bounds.

    Change is split so that about `lanes` confirmed coins of `lane_sats` are kept ready: each large
    inscription needs one of its own, because two of them do not fit one mempool cluster. The default pays for
    a full-size one, 100,107 vbytes, at the policy's fallback rate with headroom. What is put aside as headroom
    bounds how far a latched row can follow a rising market: to five times its first rate. It comes back.
    """

    keys: SigningKeys
    rules: SendRules
    fees: FeePolicy = field(default_factory=FeePolicy)
    headroom_percent: int = 400
    lanes: int = 4
    lane_sats: int = 1_100_000
    max_unconfirmed_rows: int = 8
    presence_ms: int = 5_000


@dataclass(frozen=True, slots=True)
class InscriberState:
    """Our coins, and every row that is not final. `looked_at` is when the mempool was last asked."""

    wallet: Wallet
    rows: Mapping[int, Row] = field(default_factory=dict)
    next_row_id: int = 1
    estimate: int | None = None
    looked_at: tuple[ChainPoint | None, int] = (None, 0)


@dataclass(frozen=True, slots=True)
class Enqueue:
    """Ask for leaves to be inscribed under one commit; lower priorities go first."""

    purpose: str
    reference: bytes
    leaves: tuple[bytes, ...]
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Cancel:
    """Ask that a row be dropped that nobody else can have: never signed, or refused each time it was sent."""

    row_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class BlockConnected:
    """The active chain grew by this block."""

    height: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class BlockDisconnected:
    """The active chain lost its tip."""

    point: ChainPoint


@dataclass(frozen=True, slots=True)
class Answered:
    """A node answered a `Send`."""

    row_id: int
    txids: tuple[Txid, ...]
    outcome: SendOutcome
    now_ms: int


@dataclass(frozen=True, slots=True)
class Looked:
    """A node answered a `Look`."""

    row_id: int
    txid: Txid
    present: bool


@dataclass(frozen=True, slots=True)
class FeeEstimated:
    """A node's fee estimate, sats per kvB, or that it has none."""

    rate: int | None


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time passed, and all blocks up to the node's tip were given: sign, bump and send may follow."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class Restarted:
    """The process is new: nothing is known of the mempool."""


InscriberEvent = (
    Enqueue
    | Cancel
    | BlockConnected
    | BlockDisconnected
    | Answered
    | Looked
    | FeeEstimated
    | Ticked
    | Restarted
)


@dataclass(frozen=True, slots=True)
class Send:
    """Duty: offer these transactions to the mempool; two are a parent and its child, offered as a package."""

    row_id: int
    txids: tuple[Txid, ...]
    raws: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """Duty: look whether a transaction is still in the mempool."""

    row_id: int
    txid: Txid


Duty = Send | Look


@dataclass(frozen=True, slots=True)
class RowChanged:
    """Signal: a row moved to another status, or got a new reason."""

    row: Row
    before: RowStatus


@dataclass(frozen=True, slots=True)
class LowFunds:
    """Signal: a row cannot be signed before the wallet gets this many sats more."""

    row_id: int
    missing_sats: int


Signal = RowChanged | LowFunds


@dataclass(frozen=True, slots=True)
class Transition:
    """What one event leads to."""

    state: InscriberState
    duties: tuple[Duty, ...] = ()
    signals: tuple[Signal, ...] = ()


def step(config: InscriberConfig, state: InscriberState, event: InscriberEvent) -> Transition:
    """Return the state after one event, what the driver should do now, and what others may want to know.

    Raises InvalidInput for leaves that no node would relay (`inscription.*`), and for blocks that do not
    follow the wallet's tip (`wallet.*`).
    """
    match event:
        case Ticked():
            return _tick(config, state, event.now_ms)
        case BlockConnected():
            return Transition(_connect(state, event))
        case BlockDisconnected():
            return Transition(_disconnect(state, event.point))
        case Enqueue():
            return Transition(_enqueue(state, event))
        case FeeEstimated():
            return Transition(replace(state, estimate=event.rate))
        case Cancel():
            return _cancel(state, event)
        case Answered() | Looked() | Restarted():
            return Transition(_note(state, event))


def reserved_outpoints(state: InscriberState) -> frozenset[OutPoint]:
    """Return the coins that any version of any row spends."""
    return frozenset(
        outpoint
        for row in state.rows.values()
        for attempt in row.attempts
        for outpoint in attempt.commit.inputs
    )


def _enqueue(state: InscriberState, event: Enqueue) -> InscriberState:
    require_standard_leaves(event.leaves)
    row = Row(
        row_id=state.next_row_id,
        purpose=event.purpose,
        reference=event.reference,
        priority=event.priority,
        leaves=event.leaves,
        progress_height=state.wallet.tip.height,
    )
    return replace(state, rows={**state.rows, row.row_id: row}, next_row_id=state.next_row_id + 1)


def _connect(state: InscriberState, event: BlockConnected) -> InscriberState:
    watched = frozenset[OutPoint]().union(*(row.watched for row in state.rows.values()))
    wallet, spends = apply_block(state.wallet, event.height, event.raw, watched)
    rows = {
        row_id: record_spends(row, event.height, spends) if spends else row
        for row_id, row in state.rows.items()
    }
    return replace(state, wallet=wallet, rows=rows)


def _disconnect(state: InscriberState, point: ChainPoint) -> InscriberState:
    wallet = undo_block(state.wallet, point)
    rows = {row_id: unwind_row(row, point.height) for row_id, row in state.rows.items()}
    return replace(state, wallet=wallet, rows=rows)


def _cancel(state: InscriberState, event: Cancel) -> Transition:
    row = state.rows.get(event.row_id)
    if row is None:
        return Transition(state)
    expired = expire_row(row, event.reason)
    signals = () if expired is row else (RowChanged(expired, row.status),)
    return Transition(_with_row(state, expired), (), signals)


def _note(state: InscriberState, event: Answered | Looked | Restarted) -> InscriberState:
    """Return the state with what became known of rows; of unknown rows nothing is kept."""
    if isinstance(event, Restarted):
        return replace(state, rows={row_id: forget_mempool(row) for row_id, row in state.rows.items()})
    row = state.rows.get(event.row_id)
    if row is None:
        return state
    match event:
        case Looked():
            row = record_presence(row, event.txid, present=event.present)
        case Answered():
            refusal = Refusal(
                event.outcome, state.wallet.tip.height, event.now_ms, packaged=len(event.txids) > 1
            )
            row = record_answer(row)
            answered = event.txids if event.outcome.verdict.holds else event.txids[:1]
            for txid in answered:
                row = record_outcome(row, txid, refusal)
    return _with_row(state, row)


def _tick(config: InscriberConfig, state: InscriberState, now_ms: int) -> Transition:
    before = state.rows
    tip_height = state.wallet.tip.height
    rows = {row_id: classify(row, tip_height, config.rules) for row_id, row in state.rows.items()}
    state = _note_funding(replace(state, rows=rows))
    state = _each_row(state, lambda row: requeue_row(row) if is_lost(row, tip_height, config.rules) else row)
    state = _bump_stale(config, state)
    state, shortages = _sign_queued(config, state)
    rows = {row_id: classify(row, tip_height, config.rules) for row_id, row in state.rows.items()}
    signals: list[Signal] = [
        RowChanged(row, before[row_id].status)
        for row_id, row in rows.items()
        if (row.status, row.reason) != (before[row_id].status, before[row_id].reason)
    ]
    ended = (RowStatus.FINAL, RowStatus.EXPIRED)
    state = replace(state, rows={key: row for key, row in rows.items() if row.status not in ended})
    looks = _list_looks(config, state, now_ms)
    if looks:
        state = replace(state, looked_at=(state.wallet.tip, now_ms))
    sends = _list_sends(config, state, now_ms)
    for send in sends:
        row = state.rows[send.row_id]
        state = _with_row(state, replace(row, unanswered=row.unanswered + 1))
    return Transition(state, (*sends, *looks), (*signals, *shortages))


def _note_funding(state: InscriberState) -> InscriberState:
    """Notice commits that spend what does not exist, because a reorg or a fee bump took it away."""
    alive = find_alive(state.wallet, _list_unconfirmed(state))
    tip_height = state.wallet.tip.height

    def note(row: Row) -> Row:
        funded = row.attempt is None or row.attempt.commit.txid in alive
        return record_funding(row, tip_height, alive=funded)

    return _each_row(state, note)


def _sign_queued(config: InscriberConfig, state: InscriberState) -> tuple[InscriberState, list[Signal]]:
    """Sign queued rows in order of priority, until one finds no money or enough are on their way."""
    queued = [row for row in state.rows.values() if row.status is RowStatus.QUEUED]
    for row in sorted(queued, key=lambda entry: (entry.priority, entry.row_id)):
        busy = sum(entry.status in _UNCONFIRMED for entry in state.rows.values())
        if busy >= config.max_unconfirmed_rows:
            state = _with_row(state, replace(row, reason=f"{busy} rows before it wait for a block"))
            break
        try:
            attempt = _sign(config, state, row)
        except Rejected as shortage:
            state = _with_row(state, replace(row, reason=shortage.message))
            return state, [LowFunds(row.row_id, _missing_sats(shortage))]
        signed = replace(sign_row(row, attempt), status=RowStatus.SIGNED)
        state = _with_row(state, signed)
    return state, []


def _sign(config: InscriberConfig, state: InscriberState, row: Row) -> Attempt:
    """Return a signed version paid by the first funds that suffice."""
    coins = list_spendable(state.wallet, reserved_outpoints(state), _list_unconfirmed(state))
    confirmed = [coin for coin in coins if coin.height is not None]
    ready = sum(coin.value_sats >= config.lane_sats for coin in confirmed)
    plan = PackagePlan(
        rate=choose_rate(config.fees, state.estimate),
        headroom_percent=config.headroom_percent,
        lanes=max(config.lanes - ready + 1, 1),
        lane_sats=config.lane_sats,
    )
    height = state.wallet.tip.height
    shortages: list[Rejected] = []
    for funds in _list_funds(config, coins, row, height):
        try:
            return build_package(config.keys, row.leaves, funds, plan, height=height)
        except Rejected as shortage:
            shortages.append(shortage)
    raise min(shortages, key=_missing_sats)


def _list_funds(
    config: InscriberConfig, coins: tuple[Coin, ...], row: Row, height: int
) -> Iterator[list[Coin]]:
    """Yield what may pay for a row, best first: what no reorg takes back, all confirmed, then one cluster's too."""
    confirmed = [coin for coin in coins if coin.height is not None]
    yield [c for c in confirmed if c.height is not None and height - c.height >= config.rules.finality_depth]
    yield confirmed
    for cluster in _clusters_with_room(config.rules, coins, row):
        yield [*confirmed, *(coin for coin in coins if coin.cluster == cluster)]


def _missing_sats(shortage: Rejected) -> int:
    missing = shortage.details.get("missing_sats", 0)
    return missing if isinstance(missing, int) else 0


def _clusters_with_room(rules: SendRules, coins: tuple[Coin, ...], row: Row) -> list[Txid]:
    """Return the unconfirmed clusters that the row's package could join, richest first."""
    vbytes, count = estimate_vbytes(row.leaves), len(row.leaves) + 1
    worth: dict[Txid, int] = {}
    for coin in coins:
        fits = (
            coin.cluster_vbytes + vbytes <= rules.cluster_vbytes
            and coin.cluster_transactions + count <= rules.cluster_transactions
        )
        if coin.cluster is not None and fits:
            worth[coin.cluster] = worth.get(coin.cluster, 0) + coin.value_sats
    return sorted(worth, key=lambda cluster: (-worth[cluster], cluster))


def _list_unconfirmed(state: InscriberState) -> list[Unconfirmed]:
    """Return what should be in the mempool; a commit is settled once a reveal of it was accepted."""
    waiting: list[Unconfirmed] = []
    for row in state.rows.values():
        attempt = row.attempt
        if attempt is None or row.status is RowStatus.REPLACED:
            continue
        for transaction in row.unconfirmed:
            settled = row.latched and transaction.txid == attempt.commit.txid
            waiting.append(Unconfirmed(transaction, settled))
    return waiting


def _bump_stale(config: InscriberConfig, state: InscriberState) -> InscriberState:
    """Sign rows again that blocks pass by, or note why they cannot pay more."""
    for row in state.rows.values():
        attempt = row.attempt
        if attempt is None or not is_stale(row, state.wallet.tip.height, config.fees.stale_blocks):
            settled = replace(row, stuck="") if row.stuck else row
        elif not row.commit_is_located:
            settled = row  # it is offered again first: a reveal may hang on it that a crash made us forget
        elif len(row.attempts) > config.fees.max_bumps:
            settled = replace(
                row, stuck=f"its fee was raised {config.fees.max_bumps} times, as often as allowed"
            )
        elif (rate := choose_bumped_rate(config.fees, attempt.rate, state.estimate)) is None:
            settled = replace(row, stuck=f"it pays {attempt.rate} sats per kvB, about as much as allowed")
        elif (bumped := _bump(config, state, row, rate)) is None:
            settled = replace(row, stuck="its coins leave no room for a higher fee")
        else:
            settled = replace(sign_row(row, bumped), stuck="")
        state = state if settled is row else _with_row(state, settled)
    return state


def _bump(config: InscriberConfig, state: InscriberState, row: Row, rate: int) -> Attempt | None:
    """Return a version that pays more: new reveals, or all new while no reveal of it was accepted."""
    attempt = row.attempts[row.current]
    height = state.wallet.tip.height
    if attempt.commit.txid in row.heights or row.latched or attempt.commit.txid in row.present:
        present = replace(attempt, reveals=row.reveals)
        return bump_reveals(config.keys, present, rate, height=height, confirmed=row.heights.keys())
    own = [state.wallet.coins.get(outpoint) for outpoint in attempt.commit.inputs]
    required = [coin for coin in own if coin is not None]
    if len(required) != len(own):
        return None  # it stands on change that is unconfirmed itself
    relay = -(-attempt.commit.vbytes * INCREMENTAL_RATE // VBYTES_PER_KVB)
    plan = PackagePlan(
        rate=rate,
        headroom_percent=config.headroom_percent,
        least_fee_sats=attempt.commit.fee_sats + relay,
    )
    coins = list_spendable(state.wallet, reserved_outpoints(state), _list_unconfirmed(state))
    confirmed = [coin for coin in coins if coin.height is not None]
    try:
        return build_package(config.keys, row.leaves, confirmed, plan, height=height, required=required)
    except Rejected:
        return None


def _list_sends(config: InscriberConfig, state: InscriberState, now_ms: int) -> list[Send]:
    moment = Moment(state.wallet.tip.height, now_ms)
    return [
        Send(row.row_id, tuple(entry.txid for entry in bundle), tuple(entry.raw for entry in bundle))
        for row in state.rows.values()
        for bundle in list_due_sends(row, moment, config.rules)
    ]


def _list_looks(config: InscriberConfig, state: InscriberState, now_ms: int) -> list[Look]:
    """Return what to look for in the mempool: all we believe in there, after each block and each while."""
    tip, looked_ms = state.looked_at
    if tip == state.wallet.tip and now_ms - looked_ms < config.presence_ms:
        return []
    return [
        Look(row.row_id, transaction.txid)
        for row in state.rows.values()
        for transaction in row.unconfirmed
        if transaction.txid in row.present
    ]


def _each_row(state: InscriberState, change: Callable[[Row], Row]) -> InscriberState:
    return replace(state, rows={row_id: change(row) for row_id, row in state.rows.items()})


def _with_row(state: InscriberState, row: Row) -> InscriberState:
    return replace(state, rows={**state.rows, row.row_id: row})
