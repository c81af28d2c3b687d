"""Makes one block on top of the head: system transactions, users' transactions, answers, seal.

The sequencer adds as it likes and parks what waits for a neuron; replay adds the data's transactions at once
and leaves out what lacks an answer. Both are the same code, and the block that the sequencer seals is the one
that others derive.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from primitives.ids import Hash32, ModelId
from vm import _core
from vm.console import Printout
from vm.core_errors import translated
from vm.inference.wire import Status
from vm.lane import InferenceLane
from vm.models import ModelView
from vm.records import RecordJudge, encode_record
from vm.types import (
    INCLUDED,
    BlockBody,
    BlockData,
    HeadInfo,
    InferenceRecord,
    L1Origin,
    Outcome,
    Skipped,
    SystemTransaction,
)

if TYPE_CHECKING:
    from vm._core import Answer, BlockExecutor, Header, InferenceRequest, Missing, SealedBlock, Transaction
    from vm._core import Outcome as CoreOutcome


@dataclass(frozen=True, slots=True)
class ExecutedBlock:
    """A sealed block that is not yet in the store.

    `data` is what it is made from, without the transactions and records that it leaves out: the same data
    makes the same block again. `outcomes` has one entry for each user transaction that was given, in order.
    """

    data: BlockData
    body: BlockBody
    outcomes: tuple[Outcome, ...]
    sealed: "SealedBlock"
    execution: "BlockExecutor"
    printed: tuple[tuple[Hash32, tuple[bytes, ...]], ...] = ()
    """What the included transactions printed, by their hash; see `vm.console`."""

    @property
    def header(self) -> "Header":
        """The header."""
        return self.sealed.header

    @property
    def hash(self) -> Hash32:
        """The block hash."""
        return Hash32(self.sealed.hash)

    @property
    def state_root(self) -> Hash32:
        """The root of the state after the block."""
        return Hash32(self.sealed.state_root)

    @property
    def facts(self) -> HeadInfo:
        """What a child is made from."""
        header = self.sealed.header
        return HeadInfo(
            number=self.data.number,
            hash=self.hash,
            state_root=self.state_root,
            timestamp=self.data.timestamp,
            gas_limit=header.gas_limit,
            base_fee=header.base_fee,
            ordinary_gas_used=self.sealed.ordinary_gas_used,
            origin=self.data.origin,
        )


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """What a block is opened with: its place in the chain, and what the chain says where execution asks."""

    number: int
    timestamp: int
    origin: L1Origin
    environment: "_core.BlockEnv"
    rules: "_core.Rules"
    models: ModelView
    judge: RecordJudge
    lane: InferenceLane
    console: bool = False
    """Whether to note what transactions print."""


class BlockBuilder:
    """One block in the making; not thread-safe. Begins with the system transactions it is given."""

    def __init__(
        self,
        state: "_core.State",
        plan: BlockPlan,
        system_transactions: Sequence[SystemTransaction],
        block_hash: "_core.BlockHashCallback",
    ) -> None:
        """Open the block and run its system transactions."""
        self._plan = plan
        self._system_transactions = tuple(system_transactions)
        self._candidates: dict[tuple[int, bytes], list[tuple[int, InferenceRecord]]] = {}
        self._records: list[InferenceRecord] = []
        self._outcomes: list[Outcome] = []
        self._skipped: list[Skipped] = []
        self._included = 0
        self._printout = Printout()
        self._printed: list[tuple[Hash32, tuple[bytes, ...]]] = []
        host = _core.Host(
            models=plan.models.core_facts,
            infer=self._run_on_chain,
            block_hash=block_hash,
            answer=self._answer,
            console=self._printout.note if plan.console else None,
        )
        with translated():
            self._execution = _core.BlockExecutor(state, plan.rules, plan.environment, host)
            self._execution.system([_to_core(transaction) for transaction in system_transactions])

    @property
    def gas_left(self) -> int:
        """Gas that transactions may still declare in this block."""
        return self._execution.gas_left

    @property
    def transaction_count(self) -> int:
        """User transactions in the block so far."""
        return self._included

    def add(
        self,
        transactions: Sequence["Transaction"],
        records: Sequence[InferenceRecord] = (),
        *,
        missing: "Missing" = "park",
    ) -> list[Outcome]:
        """Run transactions at their turn; one outcome each.

        `tx_index` of a record is the place of its transaction in this call. A transaction that is not
        included leaves no trace. `missing`: what a neuron call without a valid record does to its
        transaction.
        """
        self._candidates = _by_call(records)
        self._printout.clear()
        with translated():
            outcomes = self._execution.run(transactions, None, missing)
        if self._plan.console:
            self._keep_printed(transactions, outcomes)
        kinds = [
            outcome.kind for outcome in outcomes
        ]  # once: each time makes a string, and most are included
        self._keep_used(outcomes, kinds, records)
        told = [
            INCLUDED if kind == "included" else _tell(outcome)
            for kind, outcome in zip(kinds, outcomes, strict=True)
        ]
        self._outcomes += told
        return told

    def leave_out(self, skipped: Sequence[Skipped]) -> None:
        """Note transactions of the data that the block leaves out."""
        self._skipped += skipped

    def seal(self) -> ExecutedBlock:
        """Finish the block; the store and the head stay as they are until the executor commits it."""
        records = tuple(self._records)
        with translated():
            sealed = self._execution.seal([encode_record(record) for record in records])
        raws = tuple(sealed.transactions)
        data = BlockData(
            number=self._plan.number,
            timestamp=self._plan.timestamp,
            origin=self._plan.origin,
            system_transactions=self._system_transactions,
            transactions=raws[len(self._system_transactions) :],
            records=records,
        )
        body = BlockBody(raws, records, tuple(self._skipped))
        return ExecutedBlock(data, body, tuple(self._outcomes), sealed, self._execution, tuple(self._printed))

    def abandon(self) -> None:
        """Drop the block; harmless after a commit."""
        self._execution.abandon()

    def _keep_printed(self, transactions: Sequence["Transaction"], outcomes: Sequence["CoreOutcome"]) -> None:
        """Collect what the transactions that are included printed."""
        for position, (transaction, outcome) in enumerate(zip(transactions, outcomes, strict=True)):
            messages = self._printout.take(position)
            if messages and outcome.kind == "included":
                self._printed.append((Hash32(transaction.hash), messages))

    def _keep_used(
        self, outcomes: Sequence["CoreOutcome"], kinds: Sequence[str], records: Sequence[InferenceRecord]
    ) -> None:
        """Collect the records used, their index counting the user transactions of this block."""
        if not records:
            self._included += kinds.count("included")
            return
        for kind, outcome in zip(kinds, outcomes, strict=True):
            if kind == "included":
                used = (records[index] for index in outcome.used_records)
                self._records += [replace(record, tx_index=self._included) for record in used]
                self._included += 1

    def _run_on_chain(
        self, model_id: bytes, input_bytes: bytes, params: bytes, max_output: int
    ) -> tuple[int, bytes]:
        status, output = self._plan.lane.run_on_chain(ModelId(model_id), input_bytes, params, max_output)
        return int(status), output

    def _answer(self, position: int | None, request: "InferenceRequest") -> "Answer | None":
        """Answer a neuron call by the manifest if it refuses the input, else by a record that stands."""
        model_id = ModelId(request.model_id)
        status = self._plan.lane.check(model_id, request.input, request.params, request.max_output)
        if status != Status.OK:
            return int(status), b"", None, -1
        if position is None:
            return None
        candidates = self._candidates.get((position, request.request_hash))
        model = self._plan.models.facts(model_id)
        if not candidates or model is None:
            return None
        found = self._plan.judge.first_valid(candidates, model)
        if found is None:
            return None
        index, record = found
        return record.status, record.output, record.neuron, index


def _by_call(
    records: Sequence[InferenceRecord],
) -> dict[tuple[int, bytes], list[tuple[int, InferenceRecord]]]:
    """Index records by the transaction and the request they are for."""
    found: dict[tuple[int, bytes], list[tuple[int, InferenceRecord]]] = {}
    for index, record in enumerate(records):
        found.setdefault((record.tx_index, record.request_hash), []).append((index, record))
    return found


def _tell(outcome: "CoreOutcome") -> Outcome:
    return Outcome(outcome.kind, outcome.code or "", outcome.request)


def _to_core(transaction: SystemTransaction) -> "_core.SystemTransaction":
    return _core.SystemTransaction(
        source_hash=transaction.source_hash,
        sender=transaction.sender,
        to=transaction.to,
        mint=transaction.mint,
        value=transaction.value,
        gas_limit=transaction.gas,
        input=transaction.data,
    )
