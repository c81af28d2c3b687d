"""Drive the chain on this machine: Bitcoin's blocks and the sequencer's, each in one step that a crash cannot halve.

Every method runs on the chain thread. Blocks are executed and committed one by one; the derivation cursor, the
pipeline's snapshot and the heads follow in one write when a Bitcoin block is worked through. A crash between leaves
executed blocks above an older cursor: the same Bitcoin block is worked through again, finds the blocks that it yields
already there, and moves on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from bitai.admission import JOURNAL_PREFIX
from bitai.chain_rows import (
    ChainRows,
    epoch_key,
    outcome_key,
    put_cursor,
    put_epoch,
    put_made,
    put_outcome,
    put_safe_at,
    put_silent,
    put_snapshot,
    retired_key,
    safe_at_key,
    snapshot_key,
)
from bitai.decode_ahead import DecodeAhead
from bitai.dev.scratch import ScratchChain
from bitai.l1_scan import L1BlockInput
from bitai.pipeline import Pipeline
from bitai.pipeline_events import Epoch, Finalized, L1Done, ModelStored, Reset, SafeHead
from l1.ports import ChainPoint
from primitives.errors import ConfigError, InvariantViolation, Rejected, Temporary
from primitives.hashes import keccak256
from rollup.derivation.judge import Candidate, DerivedHead, judge_block
from rollup.follower.signed_block import SignedBlock, sign_block
from rollup.sequencer.driver import MadeBlock, Proposal
from rollup.sequencer.rules import next_slot
from vm import schema
from vm._core import keccak256_many, next_base_fee
from vm.schema import BlockId
from vm.store import WriteBatch
from vm.types import BlockData

if TYPE_CHECKING:
    from primitives.ids import Hash32, ModelId
    from rollup.config import RollupConfig
    from vm._core import Transaction
    from vm.builder import BlockBuilder
    from vm.executor import Executor
    from vm.store import KeyValueStore
    from vm.types import InferenceRecord, L1Origin, Outcome

log = structlog.get_logger(__name__)

KEPT_SNAPSHOTS: Final = 64
"""L1 blocks whose pipeline state is kept beyond the finality depth, at a few hundred bytes each while idle."""


@dataclass(frozen=True, slots=True)
class ChainUpdate:
    """What a step changed, for pool, subscribers and pages.

    `removed` are blocks that left the chain, highest first; `added` those that joined it, lowest first; `returned`
    are users' transactions of removed blocks that no added one holds.
    """

    removed: tuple[BlockId, ...] = ()
    added: tuple[int, ...] = ()
    returned: tuple[bytes, ...] = ()
    included: tuple[bytes, ...] = ()
    """Hashes of the users' transactions in the added blocks."""
    epoch: L1Origin | None = None
    dropped: tuple[str, ...] = ()
    """Codes of envelopes and channels that a Bitcoin block held and derivation did not take."""


@dataclass(slots=True)
class _Changes:
    removed: list[BlockId] = field(default_factory=list)
    added: list[int] = field(default_factory=list)
    taken: list[bytes] = field(default_factory=list)
    """Users' transactions of removed blocks."""
    included: list[bytes] = field(default_factory=list)
    epoch: L1Origin | None = None
    dropped: list[str] = field(default_factory=list)


def no_fault(_site: str) -> None:
    """Let every step pass; tests inject a function that raises at a chosen site."""


class ChainDriver:
    """One node's chain."""

    def __init__(
        self,
        config: RollupConfig,
        store: KeyValueStore,
        executor: Executor,
        *,
        sequencer_secret: bytes | None = None,
        fault: Callable[[str], None] = no_fault,
    ) -> None:
        """Open the chain where the database left it; with a secret, sign blocks as the sequencer."""
        self.config = config
        self.executor = executor
        self.rows = ChainRows(store)
        self._store = store
        self.scratch = ScratchChain(executor, store)
        self._secret = sequencer_secret
        self._fault = fault
        self._ahead = DecodeAhead(executor.decode)
        self._pipeline = self._open_pipeline()
        self._cursor, self._safe = self._standing()
        self._pieces: frozenset[bytes] = frozenset()
        """Hashes of the large pieces in the last snapshot that was stored."""
        self._untold = _Changes()
        """What was taken back for a block that then was refused; the next step's update tells it."""

    # -- where it stands ---------------------------------------------------------------------------

    @property
    def cursor(self) -> ChainPoint:
        """The last Bitcoin block worked through; other threads see it move only once all of it is on the disk."""
        return self._cursor

    @property
    def safe(self) -> int:
        """The highest block that follows from Bitcoin up to the cursor."""
        return self._safe

    def _standing(self) -> tuple[ChainPoint, int]:
        """Return the pipeline's tip and safe block."""
        tip = self._pipeline.l1_tip
        return ChainPoint(tip.height, tip.hash), self._pipeline.safe_number

    @property
    def shared_head(self) -> int:
        """The highest block that others may hear of: all but a development node's scratch."""
        scratch = self.scratch.now
        return self.executor.head.number if scratch is None else scratch.base.number

    @property
    def derived_head(self) -> DerivedHead:
        """The safe head as derivation knows it."""
        return self._pipeline.derived_head

    @property
    def next_channel(self) -> int:
        """The channel that derivation reads next."""
        return self._pipeline.next_channel

    @property
    def finalized(self) -> int:
        """The finalized block: what was final once stays so, also while a short Bitcoin reorg is under way."""
        mark = self.executor.chain.mark(schema.META_FINALIZED)
        return 0 if mark is None else mark.number

    def container(self, model_id: ModelId) -> bytes | None:
        """Return an inscribed model as stored: the artifact on-chain, the announcement of a neuron model."""
        return self._store.get(schema.artifact_key(model_id))

    def _open_pipeline(self) -> Pipeline:
        cursor = self.rows.cursor()
        if cursor is None:
            return Pipeline(self.config)
        snapshot = self.rows.snapshot(cursor.height)
        if snapshot is None:
            raise InvariantViolation(
                "store.corrupt", "no derivation state at the cursor", height=cursor.height
            )
        return Pipeline.restore(self.config, snapshot)

    # -- Bitcoin -----------------------------------------------------------------------------------

    def connect(self, block: L1BlockInput) -> ChainUpdate:
        """Work through the next Bitcoin block.

        Errors: `InvalidInput` when the source gave a wrong block, `Rejected` "chain.not_next" for one that does not
        extend the last; nothing has changed then.
        """
        self._pipeline.feed(block)
        changes, batch = self._begin(), WriteBatch()
        try:
            self._work_through(block.height, changes, batch)
            pieces = self._put_snapshot(batch, block.height)
            put_cursor(batch, self._standing()[0])
            self._prune(batch, block.height)
            self._fault("chain.connect.persist")
            self._store.write(batch, sync=True)
            self._pieces = pieces
            self._fault("chain.connect.persisted")
        except BaseException:
            # The feed is undone: blocks that were committed will be found again.
            self._pipeline = self._open_pipeline()
            raise
        finally:
            self._cursor, self._safe = self._standing()
        self._drop_undo()
        return self._update(changes)

    def _put_snapshot(self, batch: WriteBatch, height: int) -> frozenset[bytes]:
        pipeline = self._pipeline
        return put_snapshot(
            batch, height, pipeline.snapshot(), pieces=pipeline.waiting_pieces(), stored=self._pieces
        )

    def _work_through(self, height: int, changes: _Changes, batch: WriteBatch) -> None:
        while (event := self._pipeline.next_event()) is not None:
            match event:
                case Epoch():
                    put_epoch(batch, event)
                    changes.epoch = event.origin
                case ModelStored():
                    # Stored before the block that registers the model can ask for it, in this or a later step.
                    artifact = WriteBatch()
                    artifact.put(schema.artifact_key(event.model_id), event.container)
                    self._fault("chain.model.persist")
                    self._store.write(artifact, sync=True)
                    self._fault("chain.model.persisted")
                case BlockData():
                    self._settle(event, changes)
                    put_safe_at(batch, event.number, height)
                    self._pipeline.executed(event.number, self._hash(event.number))
                case SafeHead():
                    self._mark(batch, schema.META_SAFE, event.number)
                case Finalized():
                    self._mark(batch, schema.META_FINALIZED, max(event.number, self.finalized))
                case L1Done():
                    put_outcome(batch, event)
                    changes.dropped += _dropped_codes(event)
                case Reset():
                    raise Rejected(
                        "chain.not_next", "the Bitcoin block does not extend the last", height=height
                    )

    def _settle(self, data: BlockData, changes: _Changes) -> None:
        """Make sure that the chain holds the derived block: it often does, as the sequencer's unsafe one."""
        if data.number <= self.executor.head.number:
            if self.executor.holds(data):
                return
            log.warning("derived block differs from the unsafe one", number=data.number)
            self._rewind(data.number - 1, changes, self._lower_safe(data.number - 1))
        decoded = self._ahead.take(data, self._pipeline.following_block())
        executed = self.executor.execute(data, decoded)
        hashes = keccak256_many(executed.data.transactions)
        self._fault("chain.block.persist")
        self.executor.commit(executed, _forget_waiting(hashes))
        self._fault("chain.block.persisted")
        changes.added.append(data.number)
        changes.included += hashes

    def disconnect(self, point: ChainPoint) -> ChainUpdate:
        """Take back the last Bitcoin block: derivation, heads, and every block that looks back to it.

        Errors: `ConfigError` "l1.deep_reorg" below what was kept: finality would have to move, which no node does
        by itself.
        """
        if point != self.cursor:
            raise Rejected(
                "chain.not_tip", "only the last Bitcoin block can be taken back", height=point.height
            )
        below = point.height - 1
        restored = self._pipeline_at(below)
        if restored.safe_number < self.finalized:
            raise self._deep_reorg(point)
        changes, batch = self._begin(), WriteBatch()
        target = self._last_block_upto(below)
        for number in range(restored.safe_number + 1, self.safe + 1):
            batch.delete(safe_at_key(number))
        for key in (epoch_key(point.height), outcome_key(point.height), snapshot_key(point.height)):
            batch.delete(key)
        tip = restored.l1_tip
        put_cursor(batch, ChainPoint(tip.height, tip.hash))
        if below == self.config.l1_start.height:
            batch.put(snapshot_key(below), restored.snapshot())
        self._mark(batch, schema.META_SAFE, min(restored.safe_number, target))
        self._fault("chain.disconnect.persist")
        if target < self.executor.head.number:
            self._rewind(target, changes, batch)  # one write: a cursor above the head would never be healed
        else:
            self._store.write(batch, sync=True)
        self._fault("chain.disconnect.persisted")
        self._pipeline = restored
        self._cursor, self._safe = self._standing()
        return self._update(changes)

    def take_back(self, to_number: int) -> ChainUpdate:
        """Take unsafe blocks back. Errors: `Rejected` "chain.below_safe" for one that follows from Bitcoin."""
        if to_number < self.safe:
            raise Rejected("chain.below_safe", "Bitcoin holds the blocks above it", number=to_number)
        changes = self._begin()
        if to_number < self.executor.head.number:
            self._rewind(to_number, changes, WriteBatch())
        return self._update(changes)

    def _pipeline_at(self, height: int) -> Pipeline:
        if height == self.config.l1_start.height:
            return Pipeline(self.config)
        snapshot = self.rows.snapshot(height)
        if snapshot is None:
            raise self._deep_reorg(self.cursor)
        return Pipeline.restore(self.config, snapshot)

    def _deep_reorg(self, point: ChainPoint) -> ConfigError:
        return ConfigError(
            "l1.deep_reorg",
            f"Bitcoin left block {point.hash[::-1].hex()} at height {point.height}, deeper than finality "
            f"({self.config.parameters.finality_depth} blocks): finalized L2 blocks would have to move",
            fix="check which Bitcoin branch is right; to follow this one, move the folder `chain` of the datadir away "
            "and start again: the chain is rebuilt from Bitcoin, keys stay",
        )

    def _last_block_upto(self, height: int) -> int:
        """Return the highest block whose origin is at or below an L1 height."""
        number = self.executor.head.number
        while number > 0:
            extras = self.executor.chain.extras(number)
            if extras is None:
                raise InvariantViolation("store.corrupt", "a block of the chain is missing", number=number)
            if extras.origin.height <= height:
                return number
            epoch = self.executor.chain.epoch(extras.origin.height)
            number = epoch.first_number - 1 if epoch is not None else number - 1
        return 0

    # -- the sequencer -----------------------------------------------------------------------------

    def propose(self, now_s: int) -> Proposal:
        """Return what the next block would be opened with now."""
        if self.scratch.now is not None:
            return self.scratch.propose(now_s)
        head = self.executor.head
        upcoming = self.rows.epoch(head.origin.height + 1)
        slot = next_slot(
            self.config.parameters,
            DerivedHead(head.number, head.timestamp, head.origin),
            None if upcoming is None else upcoming[0],
            now_s,
        )
        return Proposal(
            timestamp=slot.timestamp,
            origin=slot.origin,
            system_transactions=upcoming[1] if upcoming is not None and slot.new_epoch else (),
            new_epoch=slot.new_epoch,
            empty_only=slot.empty_only,
            base_fee_wei=next_base_fee(head.base_fee, head.ordinary_gas_used, head.gas_limit),
            gas_limit=head.gas_limit,
            parent=head.hash,
            behind=self.cursor.height - slot.origin.height,
        )

    def make(
        self,
        proposal: Proposal,
        transactions: Sequence[Transaction],
        records: Sequence[InferenceRecord],
        *,
        keep_empty: bool,
    ) -> tuple[MadeBlock, ChainUpdate] | None:
        """Build a block and make it the head; None if head or origin have moved since the proposal."""
        builder = self._open(proposal)
        if builder is None:
            return None
        outcomes = builder.add(transactions, records, missing="park") if transactions else []
        if not builder.transaction_count and not keep_empty:
            builder.abandon()
            return MadeBlock(None, tuple(outcomes)), ChainUpdate()
        executed = builder.seal()
        number, hashes = executed.data.number, keccak256_many(executed.data.transactions)
        batch = _forget_waiting(hashes)
        heard = proposal.origin.height <= self._silent_upto(batch)
        if (
            not heard
            and self.scratch.now is None
            and self.rows.retired(proposal.parent, proposal.origin.hash) in (None, executed.hash)
        ):
            put_made(batch, BlockId(number, executed.hash))
        self._fault("chain.make.persist")
        self.executor.commit(executed, batch)
        self._fault("chain.make.persisted")
        self.scratch.made()
        return MadeBlock(number, tuple(outcomes)), ChainUpdate(added=(number,), included=tuple(hashes))

    def rehearse(
        self, proposal: Proposal, transactions: Sequence[Transaction], records: Sequence[InferenceRecord]
    ) -> tuple[Outcome, ...] | None:
        """Run transactions as `make` would and keep nothing; None if head or origin have moved meanwhile."""
        builder = self._open(proposal)
        if builder is None:
            return None
        try:
            return tuple(builder.add(transactions, records, missing="park"))
        finally:
            builder.abandon()

    def _open(self, proposal: Proposal) -> BlockBuilder | None:
        if proposal.parent != self.executor.head.hash or not self._stands(proposal):
            return None
        if not self.scratch.admits(proposal):
            return None
        wish = self.scratch.wish()
        return self.executor.open(proposal.timestamp, proposal.origin, proposal.system_transactions, wish)

    def _silent_upto(self, batch: WriteBatch) -> int:
        """Return the L1 height up to whose origins nothing is signed; decided with the first block, written with it.

        A database that has made no block, of a chain that has batches, is another one's successor: what was signed
        on the Bitcoin blocks that are there already nobody here knows.
        """
        height = self.rows.silent_upto()
        if height is None:
            succeeds = self.next_channel > 0 and next(self.rows.made_from(0), None) is None
            height = self.cursor.height if succeeds else 0
            put_silent(batch, height)
            if succeeds:
                log.warning(
                    "nothing is signed before the next Bitcoin block: no record of blocks made before"
                )
        return height

    def _stands(self, proposal: Proposal) -> bool:
        """Tell whether the Bitcoin block that a new epoch looks back to is still the one that was proposed."""
        epoch = self.rows.epoch(proposal.origin.height)
        return not proposal.new_epoch or (epoch is not None and epoch[0] == proposal.origin)

    def signed(self, number: int) -> SignedBlock | None:
        """Return the first block from a number on that this node made, signed; None when there is none.

        What it did not make it does not sign, though it is on its chain: a block that Bitcoin put in the place of
        one of its own (the window was over, a reorg took the data) would make two statements about one place. Nor
        does it sign a second block for a place to which Bitcoin went back: followers hear of that from Bitcoin.
        """
        if self._secret is None:
            return None
        chain = self.executor.chain
        for made in self.rows.made_from(number):
            parent = chain.facts(made.number - 1)
            data, facts = chain.block_data(made.number), chain.facts(made.number)
            if data is None or facts is None or parent is None or facts.hash != made.hash:
                continue
            if chain.facts(made.number - 1) != parent:  # a rewind meanwhile: this is not the chain's thread
                continue
            return sign_block(
                self._secret, self.config.identity, data, parent_hash=parent.hash, block_hash=facts.hash
            )
        return None

    # -- a full node's unsafe blocks -----------------------------------------------------------------

    def apply_signed(self, block: SignedBlock) -> ChainUpdate:
        """Execute a block that the sequencer signed, and keep it only if it is what was claimed.

        Errors: `Temporary` "unsafe_block.origin_unknown" while its Bitcoin block has not come; `Rejected`
        "unsafe_block.*" for one that does not fit here: too far ahead, below what Bitcoin says, wrong content.
        """
        data, head = block.data, self.executor.head
        known = self.executor.chain.facts(data.number)
        if known is not None and known.hash == block.hash:
            return ChainUpdate()
        if data.number <= self.safe:
            raise Rejected("unsafe_block.below_safe", "Bitcoin holds another block there", number=data.number)
        parent = self.executor.chain.facts(data.number - 1)
        if data.number > head.number + 1 or parent is None or parent.hash != block.parent_hash:
            raise Rejected("unsafe_block.no_parent", "its parent is not here", number=data.number)
        self._require_epoch(data, parent.origin)
        self._require_derivable(data, DerivedHead(data.number - 1, parent.timestamp, parent.origin))
        changes = self._begin()
        if data.number <= head.number:
            self._rewind(data.number - 1, changes, self._lower_safe(data.number - 1))
        executed = self.executor.execute(data)
        if executed.hash != block.hash:
            executed.execution.abandon()
            self._untold = changes
            raise Rejected(
                "unsafe_block.wrong_hash", "executed, the block has another hash", number=data.number
            )
        hashes = keccak256_many(executed.data.transactions)
        self._fault("chain.unsafe.persist")
        self.executor.commit(executed, _forget_waiting(hashes))
        self._fault("chain.unsafe.persisted")
        changes.added.append(data.number)
        changes.included += hashes
        return self._update(changes)

    def _require_epoch(self, data: BlockData, parent: L1Origin) -> None:
        expected: tuple[object, ...] = ()
        if data.origin != parent:
            epoch = self.rows.epoch(data.origin.height)
            if epoch is None and data.origin.height > self.cursor.height:
                raise Temporary("unsafe_block.origin_unknown", "its Bitcoin block has not come yet")
            if epoch is None or epoch[0] != data.origin or data.origin.height != parent.height + 1:
                raise Rejected(
                    "unsafe_block.origin", "its origin is not on our Bitcoin chain", number=data.number
                )
            expected = epoch[1]
        if data.system_transactions != expected:
            raise Rejected(
                "unsafe_block.system", "its system transactions are not the epoch's", number=data.number
            )

    def _require_derivable(self, data: BlockData, parent: DerivedHead) -> None:
        """Require that the block would stand if its data came with the next Bitcoin block."""
        origin, is_empty = data.origin, not data.transactions
        candidate = Candidate(data.number, data.timestamp, origin.height, origin.hash, is_empty)
        effect_height = max(self.cursor.height, origin.height) + 1
        code = judge_block(
            self.config.parameters, parent, candidate, origin=origin, effect_height=effect_height
        )
        if code:
            raise Rejected("unsafe_block.void", f"Bitcoin would void it: {code}", number=data.number)

    # -- shared steps ------------------------------------------------------------------------------

    def _begin(self) -> _Changes:
        changes, self._untold = self._untold, _Changes()
        return changes

    def _rewind(self, to_number: int, changes: _Changes, batch: WriteBatch) -> None:
        """Take blocks back, in one write with `batch`.

        A sequencing node notes their users' transactions as waiting in that same write: they stand nowhere else
        until they are in a block again, and some of them were safe. And it notes what it may have signed: Bitcoin can
        come back to the very same place.
        """
        for number in range(self.executor.head.number, to_number, -1):
            data, block_hash = self.executor.chain.block_data(number), self._hash(number)
            changes.removed.append(BlockId(number, block_hash))
            if data is not None and self.rows.made(number) == block_hash:
                batch.put(retired_key(self._hash(number - 1), data.origin.hash), block_hash)
            raws = () if data is None else data.transactions
            changes.taken[:0] = raws
            if self._secret is not None:
                batch.extend([(JOURNAL_PREFIX + keccak256(raw), raw) for raw in raws])
        self._fault("chain.rewind.persist")
        self.executor.rewind(to_number, batch)
        log.info("rewound", to=to_number, removed=len(changes.removed))
        changes.added = [number for number in changes.added if number <= to_number]

    def _lower_safe(self, to_number: int) -> WriteBatch:
        """Return a batch that keeps the safe mark from standing above the head."""
        batch = WriteBatch()
        safe = self.executor.chain.mark(schema.META_SAFE)
        if safe is not None and safe.number > to_number:
            self._mark(batch, schema.META_SAFE, to_number)
        return batch

    def _update(self, changes: _Changes) -> ChainUpdate:
        place = self.executor.chain.place
        returned = [raw for raw in changes.taken if place(keccak256(raw)) is None]
        return ChainUpdate(
            removed=tuple(changes.removed),
            added=tuple(changes.added),
            returned=tuple(returned),
            included=tuple(changes.included),
            epoch=changes.epoch,
            dropped=tuple(changes.dropped),
        )

    def _mark(self, batch: WriteBatch, key: bytes, number: int) -> None:
        batch.put(key, schema.encode_block_id(BlockId(number, self._hash(number))))

    def _hash(self, number: int) -> Hash32:
        block_hash = self.executor.chain.block_hash(number)
        if block_hash is None:
            raise InvariantViolation("store.corrupt", "a block of the chain is missing", number=number)
        return block_hash

    def _prune(self, batch: WriteBatch, height: int) -> None:
        depth = self.config.parameters.finality_depth + self.config.parameters.inference_window
        oldest = height - depth - KEPT_SNAPSHOTS
        if oldest >= 0:
            batch.delete(snapshot_key(oldest))

    def _drop_undo(self) -> None:
        if self.finalized > self.executor.undo_floor() + 256:
            self.executor.prune_undo(self.finalized)


def _forget_waiting(hashes: Sequence[bytes]) -> WriteBatch:
    """Take a block's transactions out of the journal of waiting ones, in the write that includes them."""
    return WriteBatch([(JOURNAL_PREFIX + each, None) for each in hashes])


def _dropped_codes(done: L1Done) -> list[str]:
    outcome = done.outcome
    codes = [each.code for each in outcome.envelopes if each.code]
    codes += [each.code for each in outcome.channels if each.code]
    return codes + [each.code for each in done.models if each.code]
