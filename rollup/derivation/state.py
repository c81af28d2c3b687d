"""What derivation remembers between two Bitcoin blocks."""

from dataclasses import dataclass

from rollup.config import RollupConfig
from rollup.derivation.channels import ChannelBank
from rollup.derivation.events import EpochStart
from rollup.derivation.judge import DerivedHead
from vm.types import L1Origin


@dataclass(frozen=True, slots=True)
class DerivationState:
    """Everything; equal states derive equal chains from equal blocks.

    `epochs` are those that the next blocks may look back to: from the head's origin to the last L1 block,
    without a gap. They are few, because the head's origin is never more than `seq_window` below.
    """

    head: DerivedHead
    epochs: tuple[EpochStart, ...]
    bank: ChannelBank

    @property
    def l1_tip(self) -> L1Origin:
        """Return the last L1 block taken in."""
        return self.epochs[-1].origin

    def epoch_at(self, height: int) -> EpochStart | None:
        """Return the epoch of an L1 height, or None."""
        place = height - self.epochs[0].origin.height
        return self.epochs[place] if 0 <= place < len(self.epochs) else None


def begin_derivation(config: RollupConfig) -> DerivationState:
    """Return the state after the start block: the first L2 block looks back to it, and its epoch is over."""
    origin = config.l1_start.origin
    head = DerivedHead(0, config.genesis.timestamp, origin)
    return DerivationState(head, (EpochStart(origin, ()),), ChannelBank())
