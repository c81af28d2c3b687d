"""Have neurons answer what a call asks, and run the call again with each answer, within bounds of time and work."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, TypeVar

from bitai.rate_limit import Budget, RateLimit
from bitai.rpc.framing import UNAVAILABLE, RpcError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bitai.rpc.context import Context, NeuronAsker
    from vm._core import Answer, Answers, CallResult

Ran = TypeVar("Ran")

MAX_ROUNDS: Final = 8
"""Answers one call may wait for, one after the other."""
MAX_MACS: Final = 1_000_000_000
"""Multiply-accumulate units of all answers of one call: a fourth of a block's lane, and nobody pays for them."""
UNIT_MACS: Final = 1_000_000
FREE_WORK: Final = Budget(burst=4_000, refill_s=0.004)
"""Units that calls have answered for nothing: a whole block's lane at once, then an eighth of it a block. Where calls
may ask at all, all callers sit on this machine and are one."""
MAX_ASKING: Final = 8
"""Calls that wait for neurons at once."""
ANSWER_LIMIT_S: Final = 10.0


class NeuronRounds:
    """The rounds of all calls of one node; belongs to the event loop."""

    def __init__(self, context: Context) -> None:
        """Ask the context's neurons, if calls may ask any."""
        self._context = context
        self._asking = 0
        self._free_work = RateLimit(FREE_WORK, FREE_WORK, time.monotonic)

    async def finish(
        self, ran: Ran, run: Callable[[Answers], Ran], result: Callable[[Ran], CallResult | None]
    ) -> Ran:
        """Return what `run` comes to once it has the answers it asks for; `ran` is what it came to without any.

        `result` gives the part that may be parked; blocking `run` is run on a worker.
        """
        neurons, first = self._context.neurons, result(ran)
        if first is None or first.kind != "parked" or neurons is None:
            return ran
        if self._asking >= MAX_ASKING:
            raise RpcError(UNAVAILABLE, "too many calls ask neurons; try again", {"code": "infer.busy"})
        self._asking += 1
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                return await self._rounds(ran, run, result, neurons)
        except TimeoutError:
            raise RpcError(
                UNAVAILABLE, "no neuron answered in time; try again", {"code": "infer.no_answer_yet"}
            ) from None
        finally:
            self._asking -= 1

    async def _rounds(
        self,
        ran: Ran,
        run: Callable[[Answers], Ran],
        result: Callable[[Ran], CallResult | None],
        neurons: NeuronAsker,
    ) -> Ran:
        answers: dict[bytes, Answer] = {}
        macs = 0
        while (parked := result(ran)) is not None and (request := parked.request) is not None:
            macs += request.macs
            if len(answers) >= MAX_ROUNDS or macs > MAX_MACS or request.request_hash in answers:
                raise RpcError(
                    UNAVAILABLE,
                    "the call asks neurons for more than a call may; send a transaction",
                    {"code": "infer.call_budget"},
                )
            known = neurons.known_answer(request)
            if known is None:
                self._take(request.macs)
                known = await neurons.answer_once(request, ANSWER_LIMIT_S)
            answers[request.request_hash] = (int(known.answer.status), known.answer.output, known.neuron, -1)
            ran = await self._context.workers.run(run, answers)
        return ran

    def _take(self, macs: int) -> None:
        """Take from the budget of free work, or refuse."""
        wait_s = self._free_work.wait_s("", -(-macs // UNIT_MACS))
        if wait_s > 0:
            words = f"calls have asked neurons for much lately; try again in {wait_s:.1f} s"
            raise RpcError(UNAVAILABLE, words, {"code": "infer.busy"})
