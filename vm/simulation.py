"""Runs a message on a block's state and keeps nothing: eth_call and gas estimates."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from primitives.errors import Rejected, Temporary
from primitives.ids import ModelId
from vm import _core
from vm.chain import Chain
from vm.console import Console, Printout
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


T = TypeVar("T")


class _Moved:
    """The head moved away under a simulation."""


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


@dataclass(frozen=True, slots=True)
class ChainPlan:
    """How simulated blocks are made: `hashes` are those of the blocks made so far, by their number.

    `validate`: transactions must be such as a block could hold; `trace_transfers`: transfers of native coin as logs.
    """

    hashes: "Mapping[int, bytes]"
    validate: bool = False
    trace_transfers: bool = False


class Simulator:
    """Runs messages under one chain's rules; usable from any thread."""

    def __init__(
        self,
        rules: "_core.Rules",
        chain: Chain,
        *,
        lane: InferenceLane,
        neurons: NeuronRegistry,
        console: Console | None = None,
    ) -> None:
        """Ask models through `lane`, and old block hashes of `chain`; `console` gets what calls print."""
        self._console = console
        self._rules = rules
        self._chain = chain
        self._lane = lane
        self._neurons = neurons

    def call(self, view: StateView, message: "Message", options: CallOptions | None = None) -> "CallResult":
        """Run a message once."""
        how = options or CallOptions()
        environment = how.environment or self._environment(view)
        printout = Printout()
        done = view.ask(
            lambda state: _core.call(
                state,
                self._rules,
                environment,
                self._host(state, environment, printout=printout),
                message,
                answers=how.answers,
                missing=how.missing,
                overrides=how.overrides,
                check_balance=how.check_balance,
            )
        )
        self._print(printout)
        return done

    def estimate_gas(
        self, view: StateView, message: "Message", options: CallOptions | None = None
    ) -> "tuple[int | None, CallResult]":
        """Return the least gas limit with which a message succeeds, or None, and the result with it."""
        how = options or CallOptions()
        environment = how.environment or self._environment(view)
        printout = Printout()
        done = view.ask(
            lambda state: _core.estimate_gas(
                state,
                self._rules,
                environment,
                self._host(state, environment, printout=printout),
                message,
                answers=how.answers,
                missing=how.missing,
                overrides=how.overrides,
            )
        )
        self._print(printout)
        return done

    def simulate(self, view: StateView, plan: ChainPlan, work: "Callable[[_core.SimulatedChain], T]") -> "T":
        """Do `work` on blocks over a view's state; it is done again from the start if the head moves meanwhile."""
        environment = self._environment(view)

        def attempt(state: "State") -> "T | _Moved":
            host = self._host(state, environment, plan.hashes)
            chain = _core.SimulatedChain(
                state, self._rules, host, validate=plan.validate, trace_transfers=plan.trace_transfers
            )
            try:
                return work(chain)
            except _core.CoreError as error:
                if error.code != "core.stale":
                    raise
                return _Moved()

        done = view.ask(attempt)
        if isinstance(done, _Moved):
            raise Temporary("core.stale", "the state moved while it was simulated on; try again")
        return done

    def access_list(
        self, view: StateView, message: "Message", options: CallOptions | None = None
    ) -> "tuple[list[tuple[bytes, list[bytes]]], CallResult]":
        """Return the accounts and slots that a message touches (EIP-2930), and its result with that list."""
        how = options or CallOptions()
        environment = how.environment or self._environment(view)
        return view.ask(
            lambda state: _core.create_access_list(
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

    def _print(self, printout: Printout) -> None:
        messages = printout.take(0)
        if self._console is not None and messages:
            self._console(None, messages)

    def _host(
        self,
        state: "State",
        environment: "BlockEnv",
        made: "Mapping[int, bytes] | None" = None,
        printout: Printout | None = None,
    ) -> "Host":
        hashes, stored = {} if made is None else made, self._chain.block_hash
        origin_height = int.from_bytes(environment.extra_data, "big")
        models = ModelView(state.storage, self._neurons, origin_height)
        return _core.Host(
            models=models.core_facts,
            infer=self._run_on_chain,
            block_hash=lambda number: hashes.get(number) or stored(number),
            answer=self._answer,
            console=printout.note if printout is not None and self._console is not None else None,
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
