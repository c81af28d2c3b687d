"""Let calls and gas estimates ask neurons: run, fetch the answer that was missing, and run again with it.

A transaction's gas cannot be estimated without knowing what the model says. Each answer costs a neuron's work
that nobody pays for, so rounds, multiply-accumulates and calls at once are bounded, and a node that strangers
can reach does not ask at all.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import TimeoutError as FutureTimeoutError
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Final, TypeVar

from primitives.errors import Rejected, Temporary

if TYPE_CHECKING:
    from collections.abc import Callable

    from bitai.dispatcher import Dispatcher
    from bitai.rpc.backend import ChainBackend
    from bitai.rpc.params import CallObject
    from vm._core import Answer, CallResult, InferenceRequest

MAX_ROUNDS: Final = 8
"""Answers one call may wait for, one after the other."""
MAX_MACS: Final = 100_000_000
"""Multiply-accumulate units of all answers of one call: far less than a block's lane, which is paid for."""
MAX_AT_ONCE: Final = 4
ANSWER_LIMIT_S: Final = 10.0

Ran = TypeVar("Ran")


class AskingSimulator:
    """The RPC's `Simulator` on a node that has neurons at hand; its methods block and belong in a thread."""

    def __init__(
        self, backend: ChainBackend, dispatcher: Dispatcher, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Run calls on `backend` and ask through `dispatcher`, which lives on `loop`."""
        self._backend = backend
        self._dispatcher = dispatcher
        self._loop = loop
        self._free = BoundedSemaphore(MAX_AT_ONCE)

    def call(self, number: int, message: CallObject) -> CallResult:
        """See `Simulator.call`. Errors: `Rejected` "infer.call_budget", `Temporary` "infer.no_answer_yet"."""
        return self._with_answers(
            lambda answers: self._backend.call(number, message, answers), lambda result: result
        )

    def estimate(self, number: int, message: CallObject) -> tuple[int | None, CallResult]:
        """See `Simulator.estimate`; errors as in `call`."""
        return self._with_answers(
            lambda answers: self._backend.estimate(number, message, answers), lambda result: result[1]
        )

    def _with_answers(
        self, run: Callable[[dict[bytes, Answer]], Ran], result_of: Callable[[Ran], CallResult]
    ) -> Ran:
        answers: dict[bytes, Answer] = {}
        macs = 0
        for _ in range(MAX_ROUNDS):
            ran = run(answers)
            request = result_of(ran).request
            if result_of(ran).kind != "parked" or request is None:
                return ran
            macs += request.macs
            if macs > MAX_MACS:
                break
            answers[request.request_hash] = self._ask(request)
        raise Rejected(
            "infer.call_budget", "the call asks neurons for more than a call may; send a transaction"
        )

    def _ask(self, request: InferenceRequest) -> Answer:
        if not self._free.acquire(timeout=ANSWER_LIMIT_S):
            raise Temporary("infer.no_answer_yet", "too many calls wait for neurons; try again")
        try:
            future = asyncio.run_coroutine_threadsafe(
                self._dispatcher.answer_once(request, ANSWER_LIMIT_S), self._loop
            )
            known = future.result(ANSWER_LIMIT_S + 1)
        except (TimeoutError, FutureTimeoutError) as error:
            raise Temporary("infer.no_answer_yet", "no neuron answered in time; try again") from error
        finally:
            self._free.release()
        return int(known.answer.status), known.answer.output, known.neuron, -1
