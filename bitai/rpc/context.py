"""What the methods ask of the node: reading the chain, sending into it, and facts about both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from bitai.rpc.framing import SERVER_ERROR, RpcError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bitai.rpc.params import BlockId, CallObject
    from primitives.ids import Address, Hash32
    from vm._core import AccountProof, CallResult, Header, Receipt, Transaction


@dataclass(frozen=True, slots=True)
class Place:
    """A transaction's block number and index in it."""

    number: int
    index: int


class BlockReader(Protocol):
    """Blocks that this node has, by number or hash; None for what it does not have."""

    def resolve(self, block: BlockId) -> int | None: ...
    def header(self, number: int) -> Header | None: ...
    def transactions(self, number: int) -> list[bytes]: ...
    def receipts(self, number: int) -> list[Receipt]: ...
    def place(self, transaction_hash: Hash32) -> Place | None: ...


class StateReader(Protocol):
    """The state at one block; the methods that run code block and belong in a thread."""

    def balance(self, address: Address) -> int: ...
    def nonce(self, address: Address) -> int: ...
    def code(self, address: Address) -> bytes: ...
    def storage(self, address: Address, slot: bytes) -> int: ...
    def proof(self, address: Address, slots: Sequence[bytes]) -> AccountProof: ...


class Simulator(Protocol):
    """Runs messages on a state without keeping anything; blocking."""

    def call(self, number: int, message: CallObject) -> CallResult: ...
    def estimate(self, number: int, message: CallObject) -> tuple[int | None, CallResult]: ...


class Sender(Protocol):
    """Takes signed transactions and knows the ones that wait."""

    async def submit(self, raw: bytes) -> Hash32: ...
    def waiting(self, transaction_hash: Hash32) -> Transaction | None: ...
    def pending_nonce(self, address: Address, state_nonce: int) -> int: ...
    def counts(self) -> tuple[int, int]: ...


class Facts(Protocol):
    """What the `bitai_*` methods and the identity methods tell."""

    chain_id: int
    version: str

    def status(self) -> dict[str, Any]: ...
    def anchor(self, number: int) -> dict[str, Any] | None: ...
    def records(self, number: int) -> list[dict[str, Any]]: ...
    def models(self) -> list[dict[str, Any]]: ...
    def outcomes(self, l1_height: int) -> list[dict[str, Any]] | None: ...


class StateSource(Protocol):
    """Opens the state after a block. Errors: `Rejected` "state.pruned" outside the kept window."""

    def state(self, number: int) -> StateReader: ...


@dataclass(frozen=True, slots=True)
class Context:
    """Everything the methods work on, in one value."""

    blocks: BlockReader
    states: StateSource
    simulator: Simulator
    sender: Sender
    facts: Facts

    def require_number(self, block: BlockId) -> int:
        """Return the number of a block that must exist. Errors: SERVER_ERROR "header not found"."""
        number = self.blocks.resolve(block)
        if number is None:
            raise RpcError(SERVER_ERROR, "header not found")
        return number
