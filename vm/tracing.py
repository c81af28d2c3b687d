"""Runs blocks and messages again before a watcher: what debug_*, trace_* and ots_* are answered with.

A block's trace runs its transactions on the state before it, with the answers that its records hold; each must
use the gas that its receipt says, so a trace shows what happened or fails. Traces are JSON made by the core.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from primitives.errors import InvariantViolation, Rejected
from primitives.ids import ModelId
from vm import _core
from vm.chain import Chain
from vm.core_errors import translated
from vm.environment import recorded_environment
from vm.inference.wire import Status
from vm.lane import InferenceLane
from vm.models import ModelView
from vm.registry import NeuronRegistry
from vm.simulation import CallOptions
from vm.types import SYSTEM_TRANSACTION_TYPE, BlockBody
from vm.views import StateView

if TYPE_CHECKING:
    from vm._core import Answer, BlockEnv, CallResult, Header, Host, InferenceRequest, Message, State

TRIES: Final = 4
"""Looks at a block that the chain replaces while it is read."""
Asked = tuple[int | None, bytes]
"""Which user transaction (None: the message) asks, and the request's hash."""


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """What a trace shows (JSON for the core), and what it may cost: bytes of its answer, and time."""

    request: bytes
    limit_bytes: int
    limit_ms: int


class _Block(NamedTuple):
    """A block as it is run again."""

    header: "Header"
    parent: StateView
    transactions: "list[_core.Transaction | _core.SystemTransaction]"
    answers: "dict[Asked, Answer]"
    gas_used: list[int]


class Tracer:
    """Traces under one chain's rules; usable from any thread."""

    def __init__(
        self,
        rules: "_core.Rules",
        chain: Chain,
        view: Callable[[int], StateView],
        *,
        lane: InferenceLane,
        neurons: NeuronRegistry,
    ) -> None:
        """Ask on-chain models through `lane`, and read states through `view`."""
        self._rules = rules
        self._chain = chain
        self._view = view
        self._lane = lane
        self._neurons = neurons

    def block(self, number: int, options: TraceOptions, only: int | None = None) -> bytes:
        """Return the JSON of all transactions of a block, or of the one at index `only`.

        Raises Rejected `trace.genesis`, `trace.too_large`, `trace.timeout`, `state.pruned`, `rpc.block_gone`.
        """
        block = self._block(number)
        environment = recorded_environment(block.header)
        return block.parent.hold(
            lambda state: _core.trace_block(
                state,
                self._rules,
                environment,
                self._host(state, environment, block.answers),
                block.transactions,
                options.request,
                block_hash=block.header.hash,
                gas_used=block.gas_used,
                only=only,
                limit_bytes=options.limit_bytes,
                limit_ms=options.limit_ms,
            )
        )

    def call(
        self, number: int, message: "Message", options: TraceOptions, how: CallOptions
    ) -> "tuple[bytes | None, CallResult]":
        """Return the JSON of a message on the state after a block; None if it could not run (see the result)."""
        view = self._view(number)
        environment = how.environment or recorded_environment(self._header(number))
        return view.hold(
            lambda state: _core.trace_call(
                state,
                self._rules,
                environment,
                self._host(state, environment, {}),
                message,
                options.request,
                answers=how.answers,
                missing=how.missing,
                overrides=how.overrides,
                limit_bytes=options.limit_bytes,
                limit_ms=options.limit_ms,
            )
        )

    def call_amidst(
        self, place: tuple[int, int], message: "Message", options: TraceOptions, how: CallOptions
    ) -> "tuple[bytes | None, CallResult]":
        """Return the same on the state before the transaction at (block number, index)."""
        number, index = place
        block = self._block(number)
        if index > len(block.transactions):
            raise Rejected("trace.no_such_index", f"the block has {len(block.transactions)} transactions")
        own = recorded_environment(block.header)
        environment = how.environment or own
        return block.parent.hold(
            lambda state: _core.trace_call(
                state,
                self._rules,
                environment,
                self._host(state, own, block.answers),
                message,
                options.request,
                answers=how.answers,
                missing=how.missing,
                overrides=how.overrides,
                amidst=(own, block.transactions[:index]),
                limit_bytes=options.limit_bytes,
                limit_ms=options.limit_ms,
            )
        )

    def _header(self, number: int) -> "Header":
        header = self._chain.header(number)
        if header is None:
            raise Rejected("rpc.block_gone", "the chain moved while it was read; ask again")
        return header

    def _block(self, number: int) -> _Block:
        """Read a block whole, though the chain may move, and open the state before it."""
        if number == 0:
            raise Rejected("trace.genesis", "genesis is not traceable")
        for _ in range(TRIES):
            header, body = self._header(number), self._chain.body(number)
            receipts, parent = self._chain.receipts(number), self._view(number - 1)
            again = self._header(number)
            if body is None or receipts is None or again.hash != header.hash:
                continue
            if parent.hash != header.parent_hash:
                continue
            gas_used = [receipt.gas_used for receipt in receipts]
            return _Block(header, parent, self._decode(body), _answers(body), gas_used)
        raise Rejected("rpc.block_gone", "the chain moved while it was read; ask again")

    def _decode(self, body: BlockBody) -> "list[_core.Transaction | _core.SystemTransaction]":
        raws = body.transactions
        system = [raw for raw in raws if raw[0] == SYSTEM_TRANSACTION_TYPE]
        with translated():
            users = _core.decode(list(raws[len(system) :]), self._rules.chain_id, impersonated=True)
            decoded = [_core.SystemTransaction.decode(raw) for raw in system]
        found: list[_core.Transaction | _core.SystemTransaction] = list(decoded)
        for each in users:
            if isinstance(each, tuple):
                raise InvariantViolation("store.corrupt", f"a stored transaction does not decode: {each[1]}")
            found.append(each)
        return found

    def _host(self, state: "State", environment: "BlockEnv", answers: "Mapping[Asked, Answer]") -> "Host":
        origin_height = int.from_bytes(environment.extra_data, "big")
        models = ModelView(state.storage, self._neurons, origin_height)

        def answer(position: int | None, request: "InferenceRequest") -> "Answer | None":
            status = self._lane.check(
                ModelId(request.model_id), request.input, request.params, request.max_output
            )
            if status != Status.OK:
                return int(status), b"", None, -1
            return answers.get((position, request.request_hash))

        return _core.Host(
            models=models.core_facts,
            infer=self._run_on_chain,
            block_hash=self._chain.block_hash,
            answer=answer,
        )

    def _run_on_chain(
        self, model_id: bytes, input_bytes: bytes, params: bytes, max_output: int
    ) -> tuple[int, bytes]:
        status, output = self._lane.run_on_chain(ModelId(model_id), input_bytes, params, max_output)
        return int(status), output


def _answers(body: BlockBody) -> "dict[Asked, Answer]":
    """Index what neurons answered; a block holds only records that were judged and used."""
    return {
        (record.tx_index, record.request_hash): (record.status, record.output, record.neuron, -1)
        for record in body.records
    }
