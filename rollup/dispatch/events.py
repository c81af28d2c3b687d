"""What happens to the dispatcher, what it wants done, and what it tells others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from primitives.ids import Address, Hash32, ModelId
from rollup.dispatch.state import KnownAnswer
from vm.inference.wire import Request, SignedAnswer


@dataclass(frozen=True, slots=True)
class Asked:
    """A transaction was parked at call `ordinal`; `assigned` may answer at `ask_height`, best first.

    `price_wei` is what this call costs its sender, who holds `balance_wei` (None: nobody pays for an estimate).
    """

    transaction: Hash32
    sender: Address
    ordinal: int
    request: Request
    ask_height: int
    assigned: tuple[Address, ...]
    price_wei: int = 0
    balance_wei: int | None = None


class Assignment(NamedTuple):
    """Who may answer a request at an ask height."""

    request_hash: Hash32
    ask_height: int
    assigned: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Reassigned:
    """The ask heights of questions and answers expired: who may answer them at a newer one.

    All at once: thousands of answers may expire with one L1 block, and each event goes over the books once.
    """

    assignments: tuple[Assignment, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """A neuron answered; the driver has checked the signature and, where it can, the answer itself."""

    neuron: Address
    answer: SignedAnswer


@dataclass(frozen=True, slots=True)
class Declined:
    """A neuron gave a job back; or, `wrong`, its answer was, and it is not to be asked this again."""

    neuron: Address
    request_hash: Hash32
    wrong: bool = False


@dataclass(frozen=True, slots=True)
class Joined:
    """A neuron connected."""

    neuron: Address
    models: tuple[ModelId, ...]
    capacity: int


@dataclass(frozen=True, slots=True)
class Left:
    """A neuron's connection ended."""

    neuron: Address


@dataclass(frozen=True, slots=True)
class Settled:
    """A transaction is in a block or out of the pool: it no longer counts against its sender."""

    transaction: Hash32


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


Event: TypeAlias = Asked | Reassigned | Answered | Declined | Joined | Left | Settled | Tick


@dataclass(frozen=True, slots=True)
class SendJob:
    """Duty: hand a request to a neuron. Sending twice is harmless: a neuron signs one answer a request."""

    neuron: Address
    request_hash: Hash32
    request: Request
    ask_height: int


@dataclass(frozen=True, slots=True)
class AnswerKnown:
    """Signal: transactions that wait for this request can run again."""

    request_hash: Hash32
    known: KnownAnswer


@dataclass(frozen=True, slots=True)
class TransactionRefused:
    """Signal: a parked transaction must leave the pool; `code` says why."""

    transaction: Hash32
    code: str


Duty: TypeAlias = SendJob
Signal: TypeAlias = AnswerKnown | TransactionRefused
