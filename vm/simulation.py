"""Runs a message on a block's state and keeps nothing: eth_call and gas estimates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from primitives.errors import Rejected
from primitives.ids import ModelId
from vm import _core
from vm.chain import Chain
from vm.environment import recorded_environment
from vm.inference.wire import Status
from vm.lane import InferenceLane
from vm.models import ModelView
from vm.registry import NeuronRegistry
from vm.views import StateView

if TYPE_CHECKING:
    from vm._core import (
        AccountOverride,
        Answer,
        Answers,
        BlockEnv,
        CallResult,
        Host,
        InferenceRequest,
        Message,
        Missing,
        State,
    )


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How a message runs: answers by request hash, what a neuron call without one does, changed accounts.

    `environment` None means the viewed block's own; `check_balance`: the sender must hold what the gas would
    cost.
    """

    answers: "Answers | None" = None
    missing: "Missing" = "park"
    overrides: "Sequence[AccountOverride]" = ()
    check_balance: bool = False
    environment: "BlockEnv | None" = None


class Simulator:
    """Runs messages under one chain's rules; usable from any thread."""

    def __init__(
        self, rules: "_core.Rules", chain: Chain, *, lane: InferenceLane, neurons: NeuronRegistry
    ) -> None:
        """Ask models through `lane`, and old block hashes of `chain`."""
        self._rules = rules
        self._chain = chain
        self._lane = lane
        self._neurons = neurons

    def call(self, view: StateView, message: "Message", options: CallOptions | None = None) -> "CallResult":
        """Run a message once."""
        how = options or CallOptions()
        environment = how.environment or self._environment(view)
        return view.ask(
            lambda state: _core.call(
                state,
                self._rules,
                environment,
                self._host(state, environment),
                message,
                answers=how.answers,
                missing=how.missing,
                overrides=how.overrides,
                check_balance=how.check_balance,
            )
        )

    def estimate_gas(
        self, view: StateView, message: "Message", options: CallOptions | None = None
    ) -> "tuple[int | None, CallResult]":
        """Return the least gas limit with which a message succeeds, or None, and the result with it."""
        how = options or CallOptions()
        environment = how.environment or self._environment(view)
        return view.ask(
            lambda state: _core.estimate_gas(
                state,
                self._rules,
                environment,
                self._host(state, environment),
                message,
                answers=how.answers,
                missing=how.missing,
                overrides=how.overrides,
            )
        )

    def _environment(self, view: StateView) -> "BlockEnv":
        header = self._chain.header(view.number)
        if header is None or header.hash != view.hash:
            raise Rejected("state.unknown_block", "the chain has left this block", number=view.number)
        return recorded_environment(header)

    def _host(self, state: "State", environment: "BlockEnv") -> "Host":
        origin_height = int.from_bytes(environment.extra_data, "big")
        models = ModelView(state.storage, self._neurons, origin_height)
        return _core.Host(
            models=models.core_facts,
            infer=self._run_on_chain,
            block_hash=self._chain.block_hash,
            answer=self._answer,
        )

    def _run_on_chain(
        self, model_id: bytes, input_bytes: bytes, params: bytes, max_output: int
    ) -> tuple[int, bytes]:
        status, output = self._lane.run_on_chain(ModelId(model_id), input_bytes, params, max_output)
        return int(status), output

    def _answer(self, position: int | None, request: "InferenceRequest") -> "Answer | None":
        """Answer what needs no neuron."""
        del position
        status = self._lane.check(
            ModelId(request.model_id), request.input, request.params, request.max_output
        )
        return None if status == Status.OK else (int(status), b"", None, -1)
