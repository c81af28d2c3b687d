"""The chain on this machine: a head, moved on by block data and back by undo data, in one atomic write each.

One thread executes, commits and rewinds. A process may die on any line: the store then holds the old head or
the new one, with everything that belongs to it. Spec: docs/spec/state.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from primitives.errors import ConfigError, InvariantViolation, Rejected
from primitives.hashes import keccak256
from primitives.ids import Address, Hash32, L1Hash, ModelId
from vm import _core, schema
from vm.block_rows import add_block, add_genesis, remove_block
from vm.builder import BlockBuilder, BlockPlan, ExecutedBlock
from vm.chain import Chain
from vm.console import Console
from vm.core_errors import translated
from vm.edits import add_edit, edited_root, edits_of, forget_edits, take_edits_back
from vm.environment import EnvironmentWish, child_environment, genesis_environment, granted
from vm.genesis import genesis_accounts
from vm.history import History
from vm.lane import InferenceLane
from vm.migrations import put_schema, require_schema
from vm.models import ModelView
from vm.provenance import is_made_from
from vm.records import RecordJudge
from vm.registry import ListedNeurons, NeuronRegistry, assigned_neurons
from vm.schema import BlockId
from vm.simulation import Simulator
from vm.spec import ChainSpec
from vm.store import KeyValueStore, WriteBatch
from vm.tracing import Tracer
from vm.types import BlockData, HeadInfo, InferenceRecord, L1Origin, Outcome, Skipped, SystemTransaction
from vm.views import LiveState, StateView, StateViews

if TYPE_CHECKING:
    from vm._core import AccountOverride, Transaction

STATE_CACHE_BYTES: Final = 256 << 20
PRUNE_STEP: Final = 4_096
"""Blocks whose undo data one call of `prune_undo` drops at most, so that no batch grows without bound."""


class Executor:
    """The head of one chain in one store; opens with the genesis block if the store is empty.

    Opening raises ConfigError `store.other_chain` when the store holds another chain, `store.newer_schema` or
    `store.older_schema` when its layout is another, and InvariantViolation `store.corrupt` when head, header and
    state root do not belong together.
    """

    def __init__(
        self,
        spec: ChainSpec,
        store: KeyValueStore,
        inference: InferenceLane,
        *,
        neurons: NeuronRegistry | None = None,
        cache_bytes: int = STATE_CACHE_BYTES,
        console: Console | None = None,
    ) -> None:
        """Open the chain; `neurons` None means the genesis list, `console` gets what contracts print."""
        self._console = console
        self.spec = spec
        self.chain = Chain(store)
        self._store = store
        self._lane = inference
        self._neurons = neurons or ListedNeurons(
            [(each.address, each.models) for each in spec.genesis.neurons]
        )
        self._rules = spec.rules()
        if store.get(schema.META_IDENTITY) is None:
            self._write_genesis()
        require_schema(store)
        state = _core.State(store.get_many, cache_bytes=cache_bytes)
        self._live = LiveState(state, self._stored_head())
        self._require_consistent()
        self.history = History(store)
        self._views = StateViews(store, self._live)
        self.admits_impersonated = False
        """Whether `decode` takes what a development node's owner sends in somebody else's name."""
        self.simulator = Simulator(
            self._rules, self.chain, lane=inference, neurons=self._neurons, console=console
        )
        self.tracer = Tracer(self._rules, self.chain, self.view, lane=inference, neurons=self._neurons)

    @property
    def head(self) -> HeadInfo:
        """The newest block, the unsafe head."""
        return self._live.head

    def decode(self, raws: Sequence[bytes]) -> "list[Transaction | tuple[str, str]]":
        """Decode transactions and recover their senders; (code, message) for what no state could take."""
        with translated():
            return _core.decode(
                list(raws),
                self.spec.chain_id,
                self.spec.transaction_gas,
                impersonated=self.admits_impersonated,
            )

    def open(
        self,
        timestamp: int,
        origin: L1Origin,
        system_transactions: Sequence[SystemTransaction] = (),
        wish: EnvironmentWish | None = None,
    ) -> BlockBuilder:
        """Begin the block after the head; `timestamp` in seconds; `wish` is for blocks that nobody derives.

        Raises InvariantViolation `executor.out_of_order` for a time or origin that does not follow the head:
        whoever derives or sequences has to make sure of both.
        """
        head = self.head
        if timestamp <= head.timestamp or not _follows(origin, head.origin):
            raise InvariantViolation(
                "executor.out_of_order",
                "time or origin does not follow the head",
                timestamp=timestamp,
                origin=origin,
            )
        models = ModelView(self._live.state.storage, self._neurons, origin.height)
        judge = RecordJudge(self.spec.identity, origin.height, self._origin_hashes(origin), self._neurons)
        plan = BlockPlan(
            number=head.number + 1,
            timestamp=timestamp,
            origin=origin,
            environment=granted(child_environment(self.spec, head, timestamp, origin), wish),
            rules=self._rules,
            models=models,
            judge=judge,
            lane=self._lane,
            console=self._console is not None,
        )
        return BlockBuilder(self._live.state, plan, system_transactions, self.chain.block_hash)

    def execute(
        self, block: BlockData, decoded: "Sequence[Transaction | tuple[str, str]] | None" = None
    ) -> ExecutedBlock:
        """Make the block of some data; whatever the users' transactions and records hold, a block comes out.

        `decoded`: what `decode` says of the block's transactions, if it was asked before. Raises
        InvariantViolation `executor.out_of_order` when the data is not for the block after the head.
        """
        if block.number != self.head.number + 1:
            raise InvariantViolation(
                "executor.out_of_order", "not the block after the head", number=block.number
            )
        builder = self.open(block.timestamp, block.origin, block.system_transactions)
        if decoded is None:
            decoded = self.decode(block.transactions)
        valid = [each for each in decoded if not isinstance(each, tuple)]
        records = block.records if len(valid) == len(decoded) else _renumber(block.records, decoded)
        ran = builder.add(valid, records, missing="skip")
        outcomes = ran if len(valid) == len(decoded) else _interleave(decoded, ran)
        builder.leave_out(_skipped(block.transactions, outcomes))
        return replace(builder.seal(), outcomes=tuple(outcomes))

    def holds(self, data: BlockData) -> bool:
        """Tell whether the chain's block of that number is what this data makes, without executing it."""
        return is_made_from(self.chain, data)

    def commit(self, executed: ExecutedBlock, extra: WriteBatch | None = None) -> None:
        """Make a block the head: one atomic, synced write of it, of the state it leaves, and of `extra`.

        When this raises, nothing has changed, or (a store that fails late) all has and the head says so.
        """
        batch = WriteBatch()
        batch.extend(executed.sealed.writes)
        new_epoch = executed.data.origin.height != self.head.origin.height
        add_block(batch, executed.facts, executed.body, executed.sealed, new_epoch=new_epoch)
        batch.put(schema.META_HEAD, schema.encode_block_id(BlockId(executed.data.number, executed.hash)))
        if extra is not None:
            batch.extend(extra)
        self._move(executed.execution.commit, batch, executed.facts)
        self.history.follow()
        if self._console is not None:
            for transaction_hash, messages in executed.printed:
                self._console(transaction_hash, messages)

    def edit(self, accounts: "Sequence[AccountOverride]", extra: WriteBatch | None = None) -> None:
        """Change the head's state without a block, in one atomic, synced write with `extra`; not for consensus.

        Raises the core's `edit.leaves_storage` and `core.supply`. A rewind below the head takes it back, and so does
        one to the head that keeps fewer edits.
        """
        with translated():
            edit = _core.edit_state(self._live.state, list(accounts))
        number = self.head.number
        with self.history.lock:
            batch = WriteBatch()
            if number > 0:  # the block's history is written anew, from what undoing it now takes with it
                self.history.forget(batch, number - 1)
            add_edit(batch, self._store, number, edit)
            if extra is not None:
                batch.extend(extra)
            self._views.close()  # what was opened of this block before
            self._move(self._live.state.reset, batch, self.head)

    def edits(self) -> int:
        """Count the edits upon the head."""
        return sum(1 for _ in edits_of(self._store, self.head.number))

    def rewind(
        self, to_number: int, extra: WriteBatch | None = None, *, keep_edits: int | None = None
    ) -> None:
        """Make an earlier block the head again, by undo data, in one atomic, synced write with `extra`.

        `keep_edits`: of the edits upon that block, go back to the first so many; None keeps all.

        Raises Rejected `executor.undo_pruned` when that block lies below what can be undone.
        """
        target = self.chain.facts(to_number)
        if target is None or to_number > self.head.number:
            raise Rejected("executor.unknown_block", "no such block to rewind to", number=to_number)
        if to_number + 1 < self.undo_floor():
            raise Rejected(
                "executor.undo_pruned", "undo data is kept from the finalized head up", number=to_number
            )
        with self.history.lock:
            batch = WriteBatch()
            self.history.forget(batch, to_number)
            for number in range(self.head.number, to_number, -1):
                batch.extend(remove_block(self.chain, self._store, number))
                forget_edits(batch, self._store, number)
            if keep_edits is not None:
                take_edits_back(batch, self._store, to_number, keep_edits)
                self._views.close()
            batch.put(schema.META_HEAD, schema.encode_block_id(BlockId(to_number, target.hash)))
            if extra is not None:
                batch.extend(extra)
            self._move(self._live.state.reset, batch, target)

    def prune_undo(self, below: int) -> int:
        """Drop undo data of blocks under `below`, some thousand at most; return the floor that now holds.

        Not synced: what a crash brings back is dropped next time. History rows, which are made from undo data, are
        written before.
        """
        floor = self.undo_floor()
        ceiling = min(below, self.head.number + 1, floor + PRUNE_STEP)
        self.history.write_upto(ceiling - 1)
        if ceiling <= floor:
            return floor
        batch = WriteBatch()
        for number in range(floor, ceiling):
            batch.delete(schema.undo_key(number))
        batch.put(schema.META_UNDO_FLOOR, schema.encode_number(ceiling))
        self._store.write(batch, sync=False)
        return ceiling

    def undo_floor(self) -> int:
        """Return the lowest block that can be undone."""
        value = self._store.get(schema.META_UNDO_FLOOR)
        return 1 if value is None else schema.decode_number(value)

    def view(self, number: int) -> StateView:
        """Return the state after a kept block; raises Rejected `state.pruned` or `state.unknown_block`."""
        return self._views.open(number)

    def assigned(self, model_id: ModelId, request_hash: Hash32, ask_height: int) -> tuple[Address, ...]:
        """Return who may answer a request asked at an L1 height, best first; nobody at one never seen."""
        beacon = self.chain.origin_hash(ask_height)
        if beacon is None:
            return ()
        return assigned_neurons(self._neurons.eligible(model_id, ask_height), beacon, request_hash)

    def close(self) -> None:
        """Let go of what is held in the store, before it is closed."""
        self._views.close()

    def _move(
        self, advance: "Callable[[Callable[[], None]], None]", batch: WriteBatch, head: HeadInfo
    ) -> None:
        """Write the batch and move state and head with it; on any failure, go by what the store says."""

        def persist() -> None:
            self._store.write(batch, sync=True)
            self._live.head = head

        moved = False
        try:
            with translated():
                advance(persist)
            moved = True
        finally:
            if not moved:
                self._reload()

    def _reload(self) -> None:
        stored = self._stored_head()
        if stored.hash != self._live.head.hash or self._live.state.root() != self._expected_root(stored):
            self._live.head = stored
            self._live.state.reset()

    def _stored_head(self) -> HeadInfo:
        head = self.chain.head()
        facts = None if head is None else self.chain.facts(head.number)
        if head is None or facts is None or facts.hash != head.hash:
            raise InvariantViolation("store.corrupt", "the head is not in the chain database", head=head)
        return facts

    def _require_consistent(self) -> None:
        """Check that head, header and state belong together, by three reads."""
        if self._store.get(schema.META_IDENTITY) != self.spec.identity:
            raise ConfigError(
                "store.other_chain",
                "the data directory holds another chain than the rollup configuration names",
                fix="bitai-node run --datadir ANOTHER_FOLDER",
            )
        head = self.head
        header = self.chain.header(head.number)
        if header is None or header.hash != head.hash:
            raise InvariantViolation(
                "store.corrupt", "the head's header is not that of its hash", number=head.number
            )
        with translated():
            root = self._live.state.root()
        if root != self._expected_root(head):
            raise InvariantViolation("store.corrupt", "the state is not that of the head", number=head.number)

    def _expected_root(self, head: HeadInfo) -> Hash32:
        """Return the root of the state as the head leaves it, edits included."""
        return edited_root(self._store, head.number) or head.state_root

    def _write_genesis(self) -> None:
        spec = self.spec
        accounts = genesis_accounts(spec.genesis, spec.origin, spec.l1_fee_rate)
        with translated():
            sealed = _core.build_genesis(genesis_environment(spec), accounts)
        batch = WriteBatch()
        add_genesis(batch, sealed, self.spec)
        put_schema(batch)
        self._store.write(batch, sync=True)

    def _origin_hashes(self, origin: L1Origin) -> "Callable[[int], L1Hash | None]":
        """Answer for a block that looks back to `origin`, which the store may not know yet."""
        return lambda height: origin.hash if height == origin.height else self.chain.origin_hash(height)


def _follows(origin: L1Origin, parent: L1Origin) -> bool:
    """Origins advance by nothing or by one block; the same height is the same block."""
    return origin == parent or origin.height == parent.height + 1


def _renumber(
    records: Sequence[InferenceRecord], decoded: "Sequence[Transaction | tuple[str, str]]"
) -> list[InferenceRecord]:
    """Let records count the transactions that decoded; those of others fall away."""
    places: dict[int, int] = {}
    for position, each in enumerate(decoded):
        if not isinstance(each, tuple):
            places[position] = len(places)
    return [
        replace(record, tx_index=places[record.tx_index]) for record in records if record.tx_index in places
    ]


def _interleave(decoded: "Sequence[Transaction | tuple[str, str]]", ran: Sequence[Outcome]) -> list[Outcome]:
    """Put the outcomes of the transactions that decoded among those that did not."""
    following = iter(ran)
    return [Outcome("skipped", each[0]) if isinstance(each, tuple) else next(following) for each in decoded]


def _skipped(raws: Sequence[bytes], outcomes: Sequence[Outcome]) -> list[Skipped]:
    return [
        Skipped(position, Hash32(keccak256(raws[position])), outcome.code)
        for position, outcome in enumerate(outcomes)
        if outcome.kind != "included"
    ]
