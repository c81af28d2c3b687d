"""The method that simulates whole blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bitai.rpc.framing import SERVER_ERROR, RpcError
from bitai.rpc.methods_calls import require_success
from bitai.rpc.params import block_param, require_count
from bitai.rpc.simulate import Base, Budget, ParkedError, SimulationRun
from bitai.rpc.simulate_params import parse_simulation

if TYPE_CHECKING:
    from bitai.rpc.context import Context, Method
    from bitai.rpc.neuron_rounds import NeuronRounds
    from bitai.rpc.simulate_params import SimulationRequest
    from vm._core import Answers, CallResult

    Ran = list[dict[str, Any]] | ParkedError


class SimulateMethods:
    """The method, over one context."""

    def __init__(self, context: Context, rounds: NeuronRounds, budget: Budget) -> None:
        """Have calls of models answered by `rounds`."""
        self._context = context
        self._rounds = rounds
        self._budget = budget

    def table(self) -> dict[str, Method]:
        """Return method name -> implementation."""
        return {"eth_simulateV1": self.simulate}

    async def simulate(self, params: list[Any]) -> list[dict[str, Any]]:
        """eth_simulateV1(blocks of calls, block): what they would come to, one upon the other."""
        require_count(params, 1, 2)
        request, number, ran = await self._context.workers.run(self._begin, params)
        ran = await self._rounds.finish(ran, lambda answers: self._run(request, number, answers), _parked)
        if isinstance(ran, ParkedError):
            require_success(ran.result)
            raise RpcError(SERVER_ERROR, "a call waits for a neuron")
        return ran

    def _begin(self, params: list[Any]) -> tuple[SimulationRequest, int, Ran]:
        request = parse_simulation(params[0])
        number = self._context.require_number(block_param(params, 1))
        return request, number, self._run(request, number, {})

    def _run(self, request: SimulationRequest, number: int, answers: Answers) -> Ran:
        context = self._context
        header = context.blocks.header(number)
        if header is None:
            raise RpcError(SERVER_ERROR, "header not found")
        base = Base(header, context.states.next_base_fee(number), context.facts.chain_id)
        hashes: dict[int, bytes] = {}
        run = SimulationRun(request, base, self._budget, answers, hashes)
        ways = {"validate": request.validate, "trace_transfers": request.trace_transfers}
        try:
            return context.simulator.simulate(number, run.run, hashes, **ways)
        except ParkedError as parked:
            return parked


def _parked(ran: Ran) -> CallResult | None:
    return ran.result if isinstance(ran, ParkedError) else None
