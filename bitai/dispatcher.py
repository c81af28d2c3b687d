"""Bring parked transactions to neurons and answers back to the pool: the driver of `rollup.dispatch`.

Everything here runs on the event loop; only the check of an answer goes to a thread of its own. State lives in
memory: after a restart the pool's transactions run again, park again and ask again, and a neuron signs the same
request with the same bytes.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from bitai.answer_check import AnswerCheck, Finding
from bitai.check_line import CheckLine
from bitai.dev.answers import NO_ANSWER
from primitives.errors import BitaiError, Rejected, Temporary
from primitives.ids import Address, Hash32, ModelId
from rollup.dispatch.events import (
    Answered,
    AnswerKnown,
    Asked,
    Assignment,
    Declined,
    Event,
    Joined,
    Left,
    Reassigned,
    SendJob,
    Settled,
    Signal,
    Tick,
    TransactionRefused,
)
from rollup.dispatch.machine import expired, step
from rollup.dispatch.state import DispatchConfig, DispatchState, KnownAnswer, Question
from vm.inference.messages import DeclineReason, Job
from vm.inference.wire import Request, SignedAnswer
from vm.registry import assigned_neurons
from vm.types import InferenceRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from bitai.dev.answers import AnswerSource, Recorder
    from bitai.metrics import Metrics
    from bitai.neuron_server import NeuronServer
    from rollup.sequencer.pool import Pool
    from vm._core import InferenceRequest
    from vm.executor import Executor
    from vm.registry import NeuronRegistry

log = structlog.get_logger(__name__)

TICK_S: Final = 0.5
HEAD_TRIES: Final = 8
"""A head that is rewound while it is read is read again this often."""
UNCHECKED_MODEL: Final = "infer.unchecked_model"
NOBODY: Final = Address(bytes(20))
"""The sender of estimates: together they hold one sender's quota of questions."""


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
        source: AnswerSource | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """Dispatch for one pool; `on_progress` is called when a waiting transaction can run.

        On a development node `source` answers before neurons are asked, and `recorder` writes right answers down.
        """
        self._executor = executor
        self._neurons = neurons
        self._pool = pool
        self._check = check
        self._metrics = metrics
        self._on_progress = on_progress
        self._config = config or DispatchConfig()
        self._source, self._recorder = source, recorder
        self._state = DispatchState()
        self._server: NeuronServer | None = None
        self._events: deque[Event] = deque()
        self._applying = False
        self._checking: dict[tuple[Address, Hash32], asyncio.Task[None]] = {}
        self._check_line = CheckLine()
        self._estimates: dict[Hash32, tuple[Hash32, asyncio.Future[KnownAnswer]]] = {}
        self._estimate_numbers = itertools.count()
        pool.watch(lambda transaction_hash: self.settled(Hash32(transaction_hash)))

    def attach(self, server: NeuronServer) -> None:
        """Send jobs through this server from now on."""
        self._server = server

    def close(self) -> None:
        """Check no more answers, and wait for none: the check of a large model takes seconds."""
        self._check_line.close()
        for task in list(self._checking.values()):
            task.cancel()

    # -- what the server tells -----------------------------------------------------------------

    def admits(self, neuron: Address, models: tuple[ModelId, ...]) -> bool:
        """Tell whether the chain would ask this neuron about any of these models now."""
        height = self._executor.head.origin.height
        return any(neuron in self._neurons.eligible(model, height) for model in models)

    def joined(self, neuron: Address, models: tuple[ModelId, ...], capacity: int) -> None:
        """A neuron connected."""
        self._apply(Joined(neuron, models, capacity))

    def left(self, neuron: Address) -> None:
        """A neuron is gone; its jobs go to others or wait."""
        self._apply(Left(neuron))

    def declined(self, neuron: Address, request_hash: Hash32, reason: DeclineReason) -> None:
        """A neuron gave a job back; what it does not hold it cannot give."""
        question = self._state.questions.get(request_hash)
        if question is None or question.asker != neuron:
            self._metrics.count("infer_refused_total", code="unasked")
            return
        log.info("neuron declined", neuron=neuron.hex(), request=request_hash.hex(), reason=reason.name)
        self._apply(Declined(neuron, request_hash))

    def answered(self, neuron: Address, answer: SignedAnswer) -> None:
        """A neuron answered: check it off the loop, then use it.

        A check runs the model. So it is done only for who may answer what is asked, for what may be an answer, and
        once at a time for each: what a neuron sends must not cost more than what it was asked.
        """
        question = self._state.questions.get(answer.request_hash)
        if question is None or neuron not in question.assigned or neuron in question.barred:
            self._metrics.count("infer_refused_total", code="unasked")
            return
        key = (neuron, answer.request_hash)
        if key in self._checking:
            return
        if not self._check.may_be_right(question.request, answer):
            self._refuse(neuron, answer, Finding.WRONG)
            return
        task = asyncio.create_task(self._judge(question, answer, neuron))
        self._checking[key] = task
        task.add_done_callback(lambda _: self._checking.pop(key))

    def _refuse(self, neuron: Address, answer: SignedAnswer, finding: Finding) -> None:
        self._metrics.count("infer_refused_total", code=finding.value)
        request = answer.request_hash.hex()
        log.error("neuron answered wrongly", neuron=neuron.hex(), request=request, finding=finding)
        self._apply(Declined(neuron, answer.request_hash, wrong=True))

    async def _judge(self, asked: Question, answer: SignedAnswer, neuron: Address) -> None:
        started = time.perf_counter()
        request = asked.request
        finding = await self._find(asked, answer, neuron)
        if finding in (Finding.WRONG, Finding.FORGED):
            self._refuse(neuron, answer, finding)
            return
        if finding is Finding.UNCHECKED:
            self._metrics.count("records_signed_unverified_total")
            log.warning("answer not checked: no weights", model=request.model_id.hex())
        question = self._state.questions.get(answer.request_hash)
        if question is not None:
            waited_s = (_now_ms() - question.asked_at_ms) / 1000
            self._metrics.observe("infer_seconds", waited_s, tier="neuron")
            self._metrics.count("infer_requests_total", tier="neuron", status=answer.status.name)
        log.debug("answer checked", request=request.hash.hex(), seconds=time.perf_counter() - started)
        if self._recorder is not None:
            self._recorder.note(request, answer)
        self._apply(Answered(neuron, answer))

    async def _find(self, asked: Question, answer: SignedAnswer, neuron: Address) -> Finding:
        """Have an answer checked, before those that only free calls wait for if a transaction waits for it."""
        request = asked.request
        urgent = any(each not in self._estimates for each in asked.wanted_by)
        try:
            return await self._check_line.run(
                lambda: self._check.judge(request, answer, neuron), urgent=urgent
            )
        except (
            BitaiError
        ) as error:  # the check itself failed: say so, and do not record what it could not check
            log.exception("answer could not be checked", code=error.code, request=request.hash.hex())
            return Finding.WRONG

    # -- what the sequencer asks ---------------------------------------------------------------

    def ask(self, transaction: Hash32, sender: Address, request: InferenceRequest) -> None:
        """Have a parked transaction's question answered.

        A transaction that left the pool while its block was made is not asked for: nobody would ever settle it.
        """
        if transaction not in self._pool:
            return
        asked = _to_request(request)
        if self._lacks_answer(asked):
            log.error("no recorded answer", model=asked.model_id.hex(), input=asked.input[:64].hex())
            self._tell(TransactionRefused(transaction, NO_ANSWER))
            return
        if not self._knows(asked.model_id):
            # What this node cannot check never goes into a block that it signs, whoever would answer.
            self._tell(TransactionRefused(transaction, UNCHECKED_MODEL))
            return
        height, assigned = self._assign(asked.model_id, asked.hash)
        head = self._executor.head
        self._apply(
            Asked(
                transaction=transaction,
                sender=sender,
                ordinal=request.ordinal,
                request=asked,
                ask_height=height,
                assigned=assigned,
                price_wei=request.gas * head.base_fee,
                balance_wei=self._balance(sender),
            )
        )
        self._answer_instead(asked)

    def _knows(self, model: ModelId) -> bool:
        """Tell whether answers of a model can be checked, or come from what stands in for neurons."""
        return model in self._check.models or (self._source is not None and model in self._source.models())

    def _lacks_answer(self, request: Request) -> bool:
        source = self._source
        return source is not None and source.is_all() and source.answer(request) is None

    def _answer_instead(self, request: Request) -> None:
        """Answer what is under way from what stands in for neurons; only what was made up goes unchecked."""
        source = self._source
        answer = None if source is None else source.answer(request)
        if source is None or answer is None:
            return
        if source.is_invented(request):
            self._apply(Answered(source.address, answer))
        else:
            self.answered(source.address, answer)

    def forget_answers(self) -> None:
        """Ask anew from now on, whatever was answered before."""
        self._state = replace(self._state, answers={}, answer_bytes=0)

    def _balance(self, sender: Address) -> int:
        """Return a balance at the head, whatever the head is by then; raises Temporary `chain.head_moves`."""
        for _ in range(HEAD_TRIES):
            try:
                return self._executor.view(self._executor.head.number).balance(sender)
            except Rejected:  # rewound at this very moment
                continue
        raise Temporary("chain.head_moves", "the head moves too fast to read it")

    def has_changed(self, transaction: Hash32, request: InferenceRequest) -> bool:
        """Tell whether a parked transaction has asked something else in this place before."""
        parked = self._state.parked.get(transaction)
        before = None if parked is None else parked.asked.get(request.ordinal)
        return before is not None and before[0] != request.request_hash

    def records(self, transaction: Hash32, index: int) -> list[InferenceRecord]:
        """Return the records a transaction may use, with `index` as its place in the block."""
        parked = self._state.parked.get(transaction)
        if parked is None:
            return []
        wanted = dict.fromkeys(request_hash for request_hash, _ in parked.asked.values())
        known = map(self._state.answers.get, wanted)
        return [_record(each, index) for each in known if each is not None]

    def settled(self, transaction: Hash32) -> None:
        """A transaction is in a block or dropped."""
        if transaction in self._state.parked:
            self._apply(Settled(transaction))

    def origin_moved(self, height: int) -> None:
        """Blocks may look back to this L1 height now: give expired questions and answers a new ask height."""
        late = expired(self._config, self._state, height)
        if late:
            self._apply(Reassigned(tuple(self._assignment(each) for each in late)))

    def _assignment(self, request_hash: Hash32) -> Assignment:
        question = self._state.questions.get(request_hash)
        model = question.request.model_id if question else self._state.answers[request_hash].model_id
        return Assignment(request_hash, *self._assign(model, request_hash))

    def known_answer(self, request: InferenceRequest) -> KnownAnswer | None:
        """Return a checked answer to a question that somebody asked before, None if it is not kept."""
        return self._state.answers.get(Hash32(request.request_hash))

    async def answer_once(self, request: InferenceRequest, limit_s: float) -> KnownAnswer:
        """Answer a call's question outside any transaction, as gas estimates need it.

        Errors: `TimeoutError` when no neuron answered in time; `Rejected` "infer.*" when too much waits already.
        """
        asked = _to_request(request)
        if self._lacks_answer(asked):
            what = f"model 0x{asked.model_id.hex()}, input 0x{asked.input[:64].hex()}"
            raise Rejected(NO_ANSWER, f"the recording has no answer to this question: {what}")
        if not self._knows(asked.model_id):
            raise Rejected(UNCHECKED_MODEL, "this node has no weights of the model, so it asks no neuron")
        known = self._state.answers.get(asked.hash)
        if known is not None:
            return known
        # Never a transaction's hash: nobody finds a preimage of 24 zero bytes and a counter.
        estimate = Hash32(next(self._estimate_numbers).to_bytes(32, "big"))
        future: asyncio.Future[KnownAnswer] = asyncio.get_running_loop().create_future()
        self._estimates[estimate] = (asked.hash, future)
        height, assigned = self._assign(asked.model_id, asked.hash)
        try:
            self._apply(Asked(estimate, NOBODY, 0, asked, height, assigned))
            self._answer_instead(asked)
            async with asyncio.timeout(limit_s):
                return await future
        finally:
            del self._estimates[estimate]
            self._apply(Settled(estimate))

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

    def _assign(self, model: ModelId, request_hash: Hash32) -> tuple[int, tuple[Address, ...]]:
        origin = self._executor.head.origin
        eligible = self._neurons.eligible(model, origin.height)
        return origin.height, assigned_neurons(eligible, origin.hash, request_hash)

    def _apply(self, event: Event) -> None:
        """Step the machine, and what follows from that in turn; called from within, it only queues."""
        self._events.append(event)
        if self._applying:
            return
        self._applying = True
        try:
            while self._events:
                transition = step(self._config, self._state, self._events.popleft(), _now_ms())
                self._state = transition.state
                for duty in transition.duties:
                    self._send(duty)
                for signal in transition.signals:
                    self._tell(signal)
        finally:
            self._applying = False
        self._metrics.set("neurons_connected", len(self._state.neurons))
        self._metrics.set("infer_waiting", len(self._state.questions))

    def _send(self, duty: SendJob) -> None:
        job = Job(duty.request_hash, duty.request, duty.ask_height)
        if self._server is None or not self._server.send(duty.neuron, job):
            self._apply(Declined(duty.neuron, duty.request_hash))

    def _tell(self, signal: Signal) -> None:
        if isinstance(signal, AnswerKnown):
            for request_hash, future in self._estimates.values():
                if request_hash == signal.request_hash and not future.done():
                    future.set_result(signal.known)
            if self._pool.wake(signal.request_hash):
                self._on_progress()
            return
        if signal.transaction in self._estimates:
            _, waiting = self._estimates[signal.transaction]
            waiting.set_exception(Rejected(signal.code, "too many questions wait for neurons"))
            return
        self._metrics.count("mempool_refused_total", code=signal.code)
        log.info("parked transaction dropped", transaction=signal.transaction.hex(), code=signal.code)
        self._pool.remove([signal.transaction])


def _now_ms() -> int:
    return int(time.monotonic() * 1000)


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
