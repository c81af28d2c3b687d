"""What a node says about itself: plain values that health, web page and command line all show.

Heights are of L1 blocks, numbers of L2 blocks; hashes are text as people paste it (Bitcoin's in display
order, L2's with 0x); money is in sats.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Phase(StrEnum):
    """How far start-up has come, in order; a stop may come from any of them."""

    OPENING = "opening"
    STARTING_BITCOIN = "starting bitcoin"
    CONNECTING_BITCOIN = "connecting to bitcoin"
    REPLAYING = "replaying"
    SYNCING = "syncing"
    READY = "ready"
    STOPPING = "stopping"


@dataclass(frozen=True)
class PhaseReport:
    """The present phase, what exactly it does, and seconds since the process began."""

    phase: Phase
    detail: str
    elapsed_s: float


@dataclass(frozen=True)
class Readiness:
    """Whether requests are answered from a current state; `reasons` says in words what is missing."""

    ready: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class L1Status:
    """Bitcoin as this node sees it."""

    url: str
    connected: bool
    height: int | None = None
    hash: str | None = None
    processed_height: int | None = None
    processed_hash: str | None = None
    embedded: bool = False


@dataclass(frozen=True)
class Head:
    """One of the three heads of the L2 chain."""

    number: int
    hash: str


@dataclass(frozen=True)
class BlockSummary:
    """One L2 block for a list; `state` is unsafe, safe or finalized."""

    number: int
    hash: str
    timestamp: int
    transactions: int
    gas_used: int
    l1_origin_height: int
    state: str


@dataclass(frozen=True)
class InscriptionSummary:
    """One inscription row; `state` and `reason` are the words of the batcher's row."""

    kind: str
    state: str
    payload_bytes: int
    commit_txid: str | None = None
    reveal_txid: str | None = None
    cost_sats: int | None = None
    l1_height: int | None = None
    first_block: int | None = None
    last_block: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class ModelSummary:
    """One registered model; `tier` is on-chain or neuron, `neurons` how many may answer now."""

    model_id: str
    name: str
    tier: str
    macs: int
    input_bytes: int
    output_bytes_max: int
    callable: bool
    neurons: int
    price_gas: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class NeuronSummary:
    """One neuron in the eligible set or on a connection."""

    address: str
    connected: bool
    models: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeStatus:
    """Everything at once; `heads` has the keys unsafe, safe and finalized as far as they exist."""

    version: str
    network: str
    role: str
    chain_id: int
    config_identity: str
    phase: PhaseReport
    readiness: Readiness
    l1: L1Status
    heads: dict[str, Head] = field(default_factory=dict)
    mempool: dict[str, int] = field(default_factory=dict)
    blocks: tuple[BlockSummary, ...] = ()
    inscriptions: tuple[InscriptionSummary, ...] = ()
    models: tuple[ModelSummary, ...] = ()
    neurons: tuple[NeuronSummary, ...] = ()
    urls: dict[str, str] = field(default_factory=dict)
    scratch: int | None = None
    """On a development node whose owner changed what only it knows: the last block that others share."""


class StatusSource(Protocol):
    """What the pages ask of the node; it answers at once from what it knows, never by asking Bitcoin."""

    def phase(self) -> PhaseReport:
        """How far start-up has come."""

    def readiness(self) -> Readiness:
        """Whether the node answers from a current state."""

    def status(self) -> NodeStatus:
        """Everything, with the latest blocks and inscriptions first."""


@dataclass(frozen=True)
class FaucetReceipt:
    """Where the coins went: `layer` is L1 or L2, `transaction` its id."""

    layer: str
    transaction: str
    amount_sats: int


@dataclass(frozen=True)
class ReorgReceipt:
    """What a forced Bitcoin reorg replaced: the old tip and the new one, one block longer."""

    depth: int
    old_tip: str
    new_tip: str


class DevControls(Protocol):
    """What a regtest node lets its owner do to the world."""

    async def faucet(self, address: str, amount_sats: int) -> FaucetReceipt:
        """Send coins to an L2 address (0x...) or to a Bitcoin address (bcrt1...).

        Raises Rejected `faucet.*` when it cannot.
        """

    async def mine(self, blocks: int) -> tuple[str, ...]:
        """Mine Bitcoin blocks and return their hashes."""

    async def height(self) -> int:
        """Return the height of Bitcoin's newest block."""

    async def reorg(self, depth: int) -> ReorgReceipt:
        """Replace the last `depth` Bitcoin blocks by `depth` + 1 others."""

    async def reset(self) -> bool:
        """Leave the scratch; False if there is none. Raises Temporary `dev.still_syncing`."""
