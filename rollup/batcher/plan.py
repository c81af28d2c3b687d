"""Which blocks to post next, or why to wait: worked out afresh each time from what Bitcoin and we hold."""

from collections.abc import Sequence
from dataclasses import dataclass

from l1.inscription import RowStatus
from l1.ports import ChainPoint
from rollup.batcher.ports import SourceBlock
from rollup.batcher.state import BatcherConfig, BatcherState, Channel
from rollup.derivation.errors import VoidCode
from rollup.derivation.judge import Candidate, DerivedHead, judge_block
from vm.types import L1Origin


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to post now, and why in words (empty: nothing waits)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Post:
    """Make a channel of the blocks after `parent`."""

    parent: DerivedHead


@dataclass(frozen=True, slots=True)
class Postable:
    """How many blocks may be posted, the last of them as a head, and why not the next one."""

    count: int
    last: DerivedHead
    code: VoidCode


@dataclass(frozen=True, slots=True)
class PostedHead:
    """The last block that derivation has read or will read, the channels that lead there, and the others.

    `doomed` channels will be read too, but their blocks no longer follow: all of them are void.
    """

    head: DerivedHead
    unread: tuple[Channel, ...]
    doomed: tuple[Channel, ...]


def find_posted_head(state: BatcherState) -> PostedHead | None:
    """Return the posted head, or None before derivation has said where it stands."""
    if state.progress is None:
        return None
    head = state.progress.head
    unread: list[Channel] = []
    doomed: list[Channel] = []
    for channel in state.channels:
        if channel.number < state.progress.next_channel:
            continue
        if channel.first_number == head.number + 1:
            unread.append(channel)
            head = channel.last
        else:
            doomed.append(channel)
    return PostedHead(head, tuple(unread), tuple(doomed))


def plan_channel(config: BatcherConfig, state: BatcherState, now_ms: int) -> Post | Wait:
    """Say whether a channel is due.

    Waits while derivation does not stand on our chain, or has not read what we know to be final; while a
    channel posted before blocks the way; and while too little waits.
    """
    posted = find_posted_head(state)
    progress, backlog = state.progress, state.backlog
    if posted is None or progress is None or backlog is None:
        return Wait("derivation has not begun")
    if progress.next_channel < state.floor_channel or progress.head.number < state.floor_number:
        return Wait("derivation has not read yet what is final already")
    if not state.headers.holds(progress.l1):
        return Wait("derivation stands on another branch of Bitcoin")
    if backlog.head_number <= posted.head.number:
        return Wait("")
    blocked = _blocked_by(config, state, posted)
    if blocked:
        return Wait(blocked)
    if posted.unread and posted.unread[-1].last_hash != backlog.parent_hash:
        return Wait("the sequencer has replaced blocks that are posted; Bitcoin decides first")
    return _weigh(config, state, posted.head, now_ms)


def count_postable(
    config: BatcherConfig, state: BatcherState, parent: DerivedHead, blocks: Sequence[SourceBlock]
) -> int:
    """Return how many of the blocks after `parent` fit one channel, and one L1 block with all unread ones.

    Channels that waited for an earlier one take effect together, so their blocks are counted together.
    """
    limits = config.rollup.limits
    read = state.progress.head.number if state.progress is not None else parent.number
    most = min(limits.channel_blocks, limits.epoch_blocks - (parent.number - read))
    count = transactions = records = 0
    for entry in blocks[: max(most, 0)]:
        transactions += len(entry.block.transactions)
        records += len(entry.block.records)
        if count and max(transactions, records) > limits.channel_transactions:
            break
        count += 1
    return count


def count_room_bytes(config: BatcherConfig, state: BatcherState) -> int:
    """Return what one more batch may unfold to, if it takes effect at one L1 block with all unread ones."""
    posted = find_posted_head(state)
    under_way = (*posted.unread, *posted.doomed) if posted is not None else ()
    taken = sum(channel.batch_bytes for channel in under_way)
    return max(config.rollup.limits.decompressed_bytes - taken, 0)


def judge_posting(
    config: BatcherConfig, state: BatcherState, parent: DerivedHead, blocks: Sequence[SourceBlock]
) -> Postable:
    """Return how many of the blocks may be posted now, and why not more.

    Judged by derivation's own rules, as if the data took effect `inclusion_margin` blocks later than it can.
    When that forbids even the first block, the next Bitcoin block is the last chance and is taken: after an
    outage every node derives blocks up to the very edge of the window, and a batch must land there to end
    that.
    """
    soonest = state.headers.tip.height + 1
    verdict = _judge(config, state, (parent, blocks), soonest + config.inclusion_margin)
    return verdict if verdict.count else _judge(config, state, (parent, blocks), soonest)


def _judge(
    config: BatcherConfig,
    state: BatcherState,
    chain: tuple[DerivedHead, Sequence[SourceBlock]],
    effect_height: int,
) -> Postable:
    head, blocks = chain
    for index, entry in enumerate(blocks):
        origin = find_origin(state, entry.block.origin_height)
        candidate = Candidate(
            number=entry.number,
            timestamp=entry.block.timestamp,
            origin_height=entry.block.origin_height,
            origin_hash=entry.block.origin_hash,
            is_empty=not entry.block.transactions,
        )
        code = judge_block(
            config.rollup.parameters, head, candidate, origin=origin, effect_height=effect_height
        )
        if code or origin is None:
            return Postable(index, head, code)
        head = DerivedHead(entry.number, entry.block.timestamp, origin)
    return Postable(len(blocks), head, VoidCode.VALID)


def find_origin(state: BatcherState, height: int) -> L1Origin | None:
    """Return a block of our Bitcoin chain as an origin, None when it is not there or too old to be kept."""
    entry = state.headers.find(height)
    mtp = state.headers.median_time(height)
    return None if entry is None or mtp is None else L1Origin(height, entry.hash, mtp)


def find_droppable(config: BatcherConfig, state: BatcherState) -> Channel | None:
    """Return the newest channel if it would be void and nobody else can have it: its number can be used again.

    One that was signed and offered without a plain refusal may be out. It stays until it is settled, and is bumped
    like any other: the channels after it take effect only when it has.
    """
    posted = find_posted_head(state)
    if posted is None or not state.channels:
        return None
    newest = max(state.channels, key=lambda channel: channel.number)
    row = state.inscriber.rows.get(newest.row_id)
    if row is None or not row.is_ours_alone or newest.number != state.next_channel - 1:
        return None
    late = state.headers.tip.height + 1 > newest.first_origin + config.rollup.parameters.seq_window
    origin = newest.last.origin
    moved = not state.headers.holds(ChainPoint(origin.height, origin.hash))
    return newest if late or moved or newest not in posted.unread else None


def _blocked_by(config: BatcherConfig, state: BatcherState, posted: PostedHead) -> str:
    """Return why channels on their way forbid another one, or nothing."""
    under_way = (*posted.unread, *posted.doomed)
    if not under_way:
        return ""
    for channel in posted.unread:
        if channel.settled:
            return f"channel {channel.number} is final on Bitcoin, yet derivation has not read it"
        if not state.headers.holds(ChainPoint(channel.last.origin.height, channel.last.origin.hash)):
            return f"Bitcoin moved away from the origins of channel {channel.number}; it is read first"
    if len(under_way) >= config.channels_in_flight:
        return f"{len(under_way)} channels are on their way"
    waiting = [channel for channel in under_way if not _is_confirmed(state, channel)]
    return f"channel {waiting[0].number} is not confirmed yet" if waiting else ""


def _is_confirmed(state: BatcherState, channel: Channel) -> bool:
    row = state.inscriber.rows.get(channel.row_id)
    return row is None or row.status in (RowStatus.CONFIRMED, RowStatus.FINAL)


def _weigh(config: BatcherConfig, state: BatcherState, parent: DerivedHead, now_ms: int) -> Post | Wait:
    backlog, since = state.backlog, state.waiting_since_ms
    if backlog is None:
        return Wait("")
    if backlog.waiting_bytes >= config.post_bytes:
        return Post(parent)
    if since is not None and now_ms - since >= config.post_age_ms:
        return Post(parent)
    deadline = backlog.first_origin_height + config.rollup.parameters.seq_window
    if state.headers.tip.height + 1 + config.inclusion_margin + config.urgent_blocks >= deadline:
        return Post(parent)
    return Wait("")
