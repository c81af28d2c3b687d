"""What the methods ask of the node: reading the chain, running calls, sending into it, and facts about it.

Who composes a node makes `Context(blocks, states, simulator, sender, facts)`; a `ChainBackend` is the first
three. `neurons` is there only where calls may ask neurons that nobody pays (a node that strangers cannot reach),
and so is `traces`: a trace costs as much as its block.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from bitai.rpc.framing import SERVER_ERROR, RpcError
from bitai.rpc.limits import RpcLimits
from bitai.rpc.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bitai.dev.world import DevWorld
    from bitai.rpc.overrides import BlockOverride
    from bitai.rpc.params import BlockId, CallObject
    from primitives.errors import BitaiError
    from primitives.ids import Address, Hash32
    from rollup.dispatch.state import KnownAnswer
    from vm._core import (
        AccountOverride,
        AccountProof,
        Answers,
        CallResult,
        Header,
        InferenceRequest,
        Receipt,
        SimulatedChain,
        Transaction,
    )
    from vm.tracing import TraceOptions

T = TypeVar("T")

Method = Callable[[list[Any]], Awaitable[Any]]
TogetherMethod = Callable[[list[list[Any]]], "asyncio.Future[list[Any]]"]
"""A method for many calls at once: the parameters of each, and of each its result or an `RpcError`, in order."""


@dataclass(frozen=True, slots=True)
class Place:
    """A transaction's block number and index in it."""

    number: int
    index: int


class BlockReader(Protocol):
    """Blocks that this node has; None for what it does not have. From any thread."""

    def resolve(self, block: BlockId) -> int | None:
        """Return the number of a block that exists now."""
        ...

    def header(self, number: int) -> Header | None:
        """Return a header."""
        ...

    def transactions(self, number: int) -> list[bytes]:
        """Return raw transactions, system ones first. Errors: `Rejected` "rpc.block_gone"."""
        ...

    def receipts(self, number: int) -> list[Receipt]:
        """Return receipts. Errors: `Rejected` "rpc.block_gone"."""
        ...

    def place(self, transaction_hash: Hash32) -> Place | None:
        """Return where a transaction is."""
        ...


class StateReader(Protocol):
    """The state at one block; blocking."""

    def balance(self, address: Address) -> int:
        """Return a balance in wei."""
        ...

    def nonce(self, address: Address) -> int:
        """Return the next nonce."""
        ...

    def code(self, address: Address) -> bytes:
        """Return an account's code."""
        ...

    def storage(self, address: Address, slot: bytes) -> int:
        """Return the value of a 32-byte slot."""
        ...

    def proof(self, address: Address, slots: Sequence[bytes]) -> AccountProof:
        """Return Merkle proofs against the block's state root."""
        ...


class StateSource(Protocol):
    """Opens the state after a block, and prices the one after it; blocking."""

    def state(self, number: int) -> StateReader:
        """Return the state after a block. Errors: `Rejected` "state.pruned" outside the kept window."""
        ...

    def oldest(self) -> int:
        """Return the lowest block whose state is kept."""
        ...

    def next_base_fee(self, number: int) -> int:
        """Return the base fee (wei) of the block after this one. Errors: `Rejected` "rpc.block_gone"."""
        ...


@dataclass(frozen=True, slots=True)
class Simulation:
    """A message to run on the state after a block, and what to pretend meanwhile."""

    number: int
    message: CallObject
    accounts: tuple[AccountOverride, ...] = ()
    block: BlockOverride | None = None


class Simulator(Protocol):
    """Runs messages on a state without keeping anything; blocking."""

    def call(self, simulation: Simulation, answers: Answers | None = None) -> CallResult:
        """Run a message once; `answers` by request hash are what neurons said."""
        ...

    def estimate(
        self, simulation: Simulation, answers: Answers | None = None
    ) -> tuple[int | None, CallResult]:
        """Return the least gas limit with which a message succeeds, or None, and the result with it."""
        ...

    def simulate(
        self,
        number: int,
        work: Callable[[SimulatedChain], T],
        hashes: Mapping[int, bytes],
        *,
        validate: bool,
        trace_transfers: bool,
    ) -> T:
        """Do `work` on blocks over the state after a block; again if the head moves. `hashes`: what it has made."""
        ...

    def access_list(
        self, simulation: Simulation, answers: Answers | None = None
    ) -> tuple[list[tuple[bytes, list[bytes]]], CallResult]:
        """Return the accounts and slots that a message touches, and its result with that list."""
        ...


class TraceSource(Protocol):
    """Runs what has run, and messages, before a watcher; blocking."""

    def trace_block(self, number: int, options: TraceOptions, only: int | None = None) -> bytes:
        """Return the JSON of a block's transactions, or of one. Errors: `Rejected` "trace.*", "state.pruned"."""
        ...

    def trace_call(
        self,
        simulation: Simulation,
        options: TraceOptions,
        answers: Answers | None = None,
        before: int | None = None,
    ) -> tuple[bytes | None, CallResult]:
        """Return the JSON of a message, None if it did not run; `before`: amidst the block, at this index."""
        ...


class Sender(Protocol):
    """Takes signed transactions and knows the ones that wait; belongs to the event loop."""

    def submit_many(self, raws: Sequence[bytes]) -> asyncio.Future[list[Hash32 | BitaiError]]:
        """Take transactions; what comes of each, in order: its hash, `InvalidInput` "tx.*", `Rejected` "pool.*"."""
        ...

    def waiting(self, transaction_hash: Hash32) -> Transaction | None:
        """Return a transaction that waits."""
        ...

    def pending_nonce(self, address: Address, state_nonce: int) -> int:
        """Return the nonce after the account's waiting transactions."""
        ...

    def counts(self) -> tuple[int, int]:
        """Return how many transactions could run, and how many wait for a model's answer."""
        ...

    def content(
        self, limit: int, sender: Address | None = None
    ) -> tuple[list[Transaction], list[Transaction]]:
        """Return what could run and what waits for a nonce, `limit` of each at most; all senders' or one's."""
        ...


class Facts(Protocol):
    """What the `bitai_*` methods and the identity methods tell; belongs to the event loop."""

    chain_id: int
    version: str

    def status(self) -> dict[str, Any]:
        """Return the node's status."""
        ...

    def anchor(self, number: int) -> dict[str, Any] | None:
        """Return where a block stands on Bitcoin."""
        ...

    def records(self, number: int) -> list[dict[str, Any]]:
        """Return the inference records of a block."""
        ...

    def models(self) -> list[dict[str, Any]]:
        """Return the registered models at the head."""
        ...

    def outcomes(self, l1_height: int) -> list[dict[str, Any]] | None:
        """Return what derivation made of an L1 block."""
        ...


class BitcoinFacts(Protocol):
    """Where the node stands on Bitcoin; belongs to the event loop."""

    def progress(self) -> tuple[int, int]:
        """Return the heights of the last L1 block worked through and of the newest one known."""
        ...

    def batch(self, number: int) -> dict[str, Any] | None:
        """Return the batch on Bitcoin that holds a block, None before that is known or where there is none."""
        ...


class NeuronAsker(Protocol):
    """Has neurons answer what a call asks, outside any transaction."""

    def known_answer(self, request: InferenceRequest) -> KnownAnswer | None:
        """Return an answer that is there already, at no neuron's cost."""
        ...

    async def answer_once(self, request: InferenceRequest, limit_s: float) -> KnownAnswer:
        """Return a checked answer. Errors: `TimeoutError`; `Rejected` "infer.*" when too much waits already."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """Everything the methods work on, in one value."""

    blocks: BlockReader
    states: StateSource
    simulator: Simulator
    sender: Sender
    facts: Facts
    bitcoin: BitcoinFacts
    neurons: NeuronAsker | None = None
    dev: DevWorld | None = None
    """There only on a development node that strangers cannot reach."""
    limits: RpcLimits = field(default_factory=RpcLimits)
    traces: TraceSource | None = None
    workers: Workers = field(default_factory=Workers)

    def require_number(self, block: BlockId) -> int:
        """Return the number of a block that must exist. Errors: SERVER_ERROR "header not found"."""
        number = self.blocks.resolve(block)
        if number is None:
            raise RpcError(SERVER_ERROR, "header not found")
        return number

    def off_loop(self, method: Callable[[list[Any]], Any]) -> Method:
        """Make a method of a blocking function: it runs on a worker thread."""

        async def run(params: list[Any]) -> Any:
            return await self.workers.run(method, params)

        return run
