"""What the dispatcher remembers: neurons at hand, questions under way, answers, and who asks too much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from primitives.ids import Address, Hash32, ModelId
from vm.inference.wire import Request, SignedAnswer


@dataclass(frozen=True, slots=True)
class DispatchConfig:
    """Bounds of one node's dispatcher, none of them consensus; times in milliseconds."""

    job_timeout_ms: int = 8_000
    """A neuron silent for this long is passed over for the next assigned one; nobody is punished for it."""
    jobs: int = 1_024
    answers: int = 8_192
    """Answers kept by request hash, so that equal questions cost no second run."""
    answer_bytes: int = 64 << 20
    """Outputs of kept answers together: one may be a megabyte, and 8,192 of those would not fit."""
    parked: int = 4_096
    """Transactions that wait, in all: each event goes over the books once."""
    parked_per_sender: int = 16
    quota_penalty_ms: int = 3_600_000
    """How long a sender whose replay asked something else keeps half its quota."""
    penalties: int = 4_096
    """Senders whose halved quota is remembered; the oldest is forgiven first."""
    repeats: int = 3
    """How often an answer that its call did not take (its ask height left Bitcoin's chain) is asked anew."""
    ask_window: int = 6
    """L1 blocks that an ask height may lie below a block's origin (consensus; see vm.records)."""


@dataclass(frozen=True, slots=True)
class NeuronLink:
    """A connected neuron: what it serves, how many jobs it takes at once, and how many it holds now."""

    models: frozenset[ModelId]
    capacity: int
    held: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """A request under way. `assigned` may answer, best first; `tried` of them had their chance this round.

    `barred` answered wrongly and are not asked again. `wanted_by` are the transactions that wait for it.
    """

    request: Request
    ask_height: int
    assigned: tuple[Address, ...]
    asker: Address | None = None
    """The neuron that holds the job now."""
    asked_at_ms: int = 0
    tried: tuple[Address, ...] = ()
    barred: tuple[Address, ...] = ()
    wanted_by: tuple[Hash32, ...] = ()


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """A checked answer, with the neuron that signed it and the ask height at which it was assigned."""

    model_id: ModelId
    answer: SignedAnswer
    neuron: Address
    ask_height: int


@dataclass(frozen=True, slots=True)
class ParkedTransaction:
    """A transaction that waits, and what each of its calls asked, by ordinal, with the ask height."""

    sender: Address
    asked: Mapping[int, tuple[Hash32, int]] = field(default_factory=dict)
    dispatches: int = 0
    repeats: int = 0
    price_wei: int = 0
    """Price of all its dispatches, whether their answers were used or not."""


@dataclass(frozen=True, slots=True)
class DispatchState:
    """Everything at once; `questions` and `answers` are by request hash, in order of arrival."""

    neurons: Mapping[Address, NeuronLink] = field(default_factory=dict)
    questions: Mapping[Hash32, Question] = field(default_factory=dict)
    answers: Mapping[Hash32, KnownAnswer] = field(default_factory=dict)
    answer_bytes: int = 0
    """Outputs of all answers together."""
    parked: Mapping[Hash32, ParkedTransaction] = field(default_factory=dict)
    penalties: Mapping[Address, int] = field(default_factory=dict)
    """Sender -> time (ms) at which its quota is whole again."""
