"""What the pipeline tells its driver, in the order in which it has to be acted upon."""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from primitives.ids import ModelId
from rollup.derivation.events import HeightOutcome
from vm.types import BlockData, L1Origin, SystemTransaction


@dataclass(frozen=True, slots=True)
class Epoch:
    """An L1 block was taken in; the first L2 block that looks back to it begins with these transactions.

    The driver keeps epochs by height: the sequencer makes its blocks with them.
    """

    origin: L1Origin
    system_transactions: tuple[SystemTransaction, ...]
    fee_rate: int
    finalized_number: int

    @property
    def height(self) -> int:
        """Return the L1 height."""
        return self.origin.height


@dataclass(frozen=True, slots=True)
class ModelStored:
    """A model's inscription is complete: store the container; execution asks for it once it is registered."""

    model_id: ModelId
    container: bytes


@dataclass(frozen=True, slots=True)
class SafeHead:
    """The highest block that follows from Bitcoin."""

    number: int


@dataclass(frozen=True, slots=True)
class Finalized:
    """The highest block that no honest Bitcoin reorg and no game takes back."""

    number: int


class ModelOutcome(NamedTuple):
    """What became of a complete artifact; `code` is empty if its model waits to be registered."""

    tx_index: int
    position: int
    model_id: ModelId | None
    code: str


@dataclass(frozen=True, slots=True)
class L1Done:
    """The L1 block is worked through: after this and the execution of its blocks, take a snapshot."""

    outcome: HeightOutcome
    models: tuple[ModelOutcome, ...]


@dataclass(frozen=True, slots=True)
class Reset:
    """The block that was fed does not extend the chain: restore this height's snapshot, feed what follows it.

    If that height is not on the best chain either, feeding its successor gives the next lower one.
    """

    to_height: int


PipelineEvent: TypeAlias = Epoch | ModelStored | BlockData | SafeHead | Finalized | L1Done | Reset
