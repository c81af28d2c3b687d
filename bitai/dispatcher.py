"""Bring parked transactions to neurons and answers back to the pool: the driver of `rollup.dispatch`.

Everything here runs on the event loop; only the check of an answer goes to a thread. State lives in memory:
after a restart the pool's transactions run again, park again and ask again, and a neuron signs the same
request with the same bytes.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog

from bitai.answer_check import AnswerCheck, Finding
from primitives.ids import Address, Hash32, ModelId
from rollup.dispatch.events import (
    Answered,
    AnswerKnown,
    Asked,
    Declined,
    Event,
    Joined,
    Left,
    Reassigned,
    Settled,
    Tick,
    TransactionRefused,
)
from rollup.dispatch.machine import expired, step
from rollup.dispatch.state import DispatchConfig, DispatchState, KnownAnswer
from vm.inference.messages import DeclineReason, Job
from vm.inference.wire import Request, SignedAnswer
from vm.registry import assigned_neurons
from vm.types import InferenceRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from bitai.metrics import Metrics
    from bitai.neuron_server import NeuronServer
    from rollup.sequencer.pool import Pool
    from vm._core import InferenceRequest
    from vm.executor import Executor
    from vm.registry import NeuronRegistry

log = structlog.get_logger(__name__)

TICK_S: Final = 0.5


class Dispatcher:
    """Implements `NeuronEvents` for the server and answers the sequencer's questions."""

    def __init__(
        self,
        executor: Executor,
        neurons: NeuronRegistry,
        *,
        pool: Pool,
        check: AnswerCheck,
        metrics: Metrics,
        on_progress: Callable[[], None],
        config: DispatchConfig | None = None,
    ) -> None:
        """Dispatch for one pool; `on_progress` is called when a waiting transaction can run."""
        self._executor = executor
        self._neurons = neurons
        self._pool = pool
        self._check = check
        self._metrics = metrics
        self._on_progress = on_progress
        self._config = config or DispatchConfig()
        self._state = DispatchState()
        self._server: NeuronServer | None = None
        self._checks: set[asyncio.Task[None]] = set()
        self._askers: dict[Hash32, list[asyncio.Future[KnownAnswer]]] = {}

    def attach(self, server: NeuronServer) -> None:
        """Send jobs through this server from now on."""
        self._server = server

    # -- what the server tells -----------------------------------------------------------------

    def joined(self, neuron: Address, models: tuple[ModelId, ...], capacity: int) -> None:
        """A neuron connected."""
        self._apply(Joined(neuron, models, capacity))

    def left(self, neuron: Address) -> None:
        """A neuron is gone; its jobs go to others or wait."""
        self._apply(Left(neuron))

    def declined(self, neuron: Address, request_hash: Hash32, reason: DeclineReason) -> None:
        """A neuron gave a job back."""
        log.info("neuron declined", neuron=neuron.hex(), request=request_hash.hex(), reason=reason.name)
        self._apply(Declined(neuron, request_hash))

    def answered(self, neuron: Address, answer: SignedAnswer) -> None:
        """A neuron answered: check it off the loop, then use it."""
        question = self._state.questions.get(answer.request_hash)
        if question is None:
            return  # late or unasked: nobody waits for it
        task = asyncio.create_task(self._judge(question.request, answer, neuron))
        self._checks.add(task)
        task.add_done_callback(self._checks.discard)

    async def _judge(self, request: Request, answer: SignedAnswer, neuron: Address) -> None:
        finding = await asyncio.to_thread(self._check.judge, request, answer, neuron)
        if finding in (Finding.WRONG, Finding.FORGED):
            self._metrics.count("infer_refused_total", code=finding.value)
            log.error("neuron answered wrongly", neuron=neuron.hex(), request=request.hash.hex(), finding=finding)
            self._apply(Declined(neuron, answer.request_hash))
            return
        if finding is Finding.UNCHECKED:
            self._metrics.count("records_signed_unverified_total")
            log.warning("answer not checked: no weights", model=request.model_id.hex())
        self._apply(Answered(neuron, answer))

    # -- what the sequencer asks ---------------------------------------------------------------

    def ask(self, transaction: Hash32, sender: Address, request: InferenceRequest) -> None:
        """Have a parked transaction's question answered."""
        asked = _to_request(request)
        height, assigned = self._assign(asked)
        self._apply(Asked(transaction, sender, request.ordinal, asked, height, assigned))

    def records(self, transaction: Hash32, index: int) -> list[InferenceRecord]:
        """Return the records a transaction may use, with `index` as its place in the block."""
        parked = self._state.parked.get(transaction)
        if parked is None:
            return []
        known = (self._state.answers.get(request_hash) for request_hash, _ in parked.asked.values())
        return [_record(each, index) for each in known if each is not None]

    def settled(self, transaction: Hash32) -> None:
        """A transaction is in a block or dropped."""
        if transaction in self._state.parked:
            self._apply(Settled(transaction))

    def origin_moved(self, height: int) -> None:
        """Blocks may look back to this L1 height now: give expired questions and answers a new ask height."""
        for request_hash in expired(self._config, self._state, height):
            question = self._state.questions.get(request_hash)
            known = self._state.answers.get(request_hash)
            model = question.request.model_id if question else known.model_id if known else None
            if model is not None:
                new_height, assigned = self._assign_model(model, request_hash)
                self._apply(Reassigned(request_hash, new_height, assigned))

    async def answer_once(self, request: InferenceRequest, limit_s: float) -> KnownAnswer:
        """Answer a call's question outside any transaction, as gas estimates need it.

        Errors: `TimeoutError` when no neuron answered in time.
        """
        asked = _to_request(request)
        known = self._state.answers.get(asked.hash)
        if known is not None:
            return known
        future: asyncio.Future[KnownAnswer] = asyncio.get_running_loop().create_future()
        self._askers.setdefault(asked.hash, []).append(future)
        height, assigned = self._assign(asked)
        probe = Hash32(b"\xff" * 12 + asked.hash[:20])  # never a transaction: estimates share one slot a request
        self._apply(Asked(probe, Address(bytes(20)), 0, asked, height, assigned))
        try:
            async with asyncio.timeout(limit_s):
                return await future
        finally:
            self._apply(Settled(probe))

    async def run(self) -> None:
        """Let time pass."""
        while True:
            await asyncio.sleep(TICK_S)
            self._apply(Tick())

    def counts(self) -> dict[str, int]:
        """How many neurons, questions and answers there are."""
        return {
            "neurons": len(self._state.neurons),
            "questions": len(self._state.questions),
            "answers": len(self._state.answers),
        }

    def _assign(self, request: Request) -> tuple[int, tuple[Address, ...]]:
        return self._assign_model(request.model_id, request.hash)

    def _assign_model(self, model: ModelId, request_hash: Hash32) -> tuple[int, tuple[Address, ...]]:
        origin = self._executor.head.origin
        eligible = self._neurons.eligible(model, origin.height)
        return origin.height, assigned_neurons(eligible, origin.hash, request_hash)

    def _apply(self, event: Event) -> None:
        transition = step(self._config, self._state, event, int(time.monotonic() * 1000))
        self._state = transition.state
        for duty in transition.duties:
            job = Job(duty.request_hash, duty.request, duty.ask_height)
            if self._server is None or not self._server.send(duty.neuron, job):
                self._apply(Declined(duty.neuron, duty.request_hash))
        for signal in transition.signals:
            if isinstance(signal, AnswerKnown):
                self._tell(signal)
            elif isinstance(signal, TransactionRefused):
                self._metrics.count("mempool_refused_total", code=signal.code)
                log.info("parked transaction dropped", transaction=signal.transaction.hex(), code=signal.code)
                self._pool.remove([signal.transaction])
        self._metrics.set("neurons_connected", len(self._state.neurons))
        self._metrics.set("infer_waiting", len(self._state.questions))

    def _tell(self, signal: AnswerKnown) -> None:
        for future in self._askers.pop(signal.request_hash, []):
            if not future.done():
                future.set_result(signal.known)
        if self._pool.wake(signal.request_hash):
            self._on_progress()


def _to_request(request: InferenceRequest) -> Request:
    return Request(
        model_id=ModelId(request.model_id),
        input=request.input,
        params=request.params,
        max_output=request.max_output,
        seed=Hash32(request.seed),
    )


def _record(known: KnownAnswer, index: int) -> InferenceRecord:
    answer = known.answer
    return InferenceRecord(
        tx_index=index,
        request_hash=answer.request_hash,
        status=int(answer.status),
        output=answer.output,
        neuron=known.neuron,
        signature=answer.signature,
        ask_height=known.ask_height,
    )
