"""A node for the pages' tests: fixed answers to what pages ask, and a record of what was done to it."""

from dataclasses import replace

from bitai.status import (
    BlockSummary,
    FaucetReceipt,
    Head,
    InscriptionSummary,
    L1Status,
    ModelSummary,
    NodeStatus,
    Phase,
    PhaseReport,
    Readiness,
    ReorgReceipt,
)
from primitives.errors import Rejected

ADDRESS = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"

READY = NodeStatus(
    version="0.1.0",
    network="regtest",
    role="dev",
    chain_id=726_945,
    config_identity="0x" + "ab" * 32,
    phase=PhaseReport(Phase.READY, "serving", 2.1),
    readiness=Readiness(ready=True),
    l1=L1Status(
        url="http://127.0.0.1:18443",
        connected=True,
        height=112,
        hash="00" * 31 + "01",
        processed_height=112,
        embedded=True,
    ),
    heads={"unsafe": Head(9, "0x" + "09" * 32), "safe": Head(7, "0x" + "07" * 32)},
    mempool={"pending": 1, "parked": 0},
    blocks=(BlockSummary(9, "0x" + "09" * 32, 1_700_000_000, 3, 63_000, 111, "unsafe"),),
    inscriptions=(
        InscriptionSummary(
            "batch frame",
            "final",
            512,
            "c0" * 32,
            "d1" * 32,
            cost_sats=410,
            l1_height=112,
            first_block=1,
            last_block=7,
        ),
        InscriptionSummary("batch frame", "commit sent", 300, "c1" * 32, reason="waits for its commit"),
    ),
    models=(ModelSummary("0x" + "0d" * 32, "digits", "on-chain", 70_000, 64, 4, callable=True, neurons=0),),
    urls={"rpc": "http://127.0.0.1:8545"},
)


class FixedNode:
    """A StatusSource whose status a test sets."""

    def __init__(self, status: NodeStatus = READY) -> None:
        self.current = status

    def phase(self) -> PhaseReport:
        return self.current.phase

    def readiness(self) -> Readiness:
        return self.current.readiness

    def status(self) -> NodeStatus:
        return self.current

    def unready(self, phase: Phase, reason: str) -> None:
        self.current = replace(
            self.current,
            phase=PhaseReport(phase, reason, 1.0),
            readiness=Readiness(ready=False, reasons=(reason,)),
        )


class RecordedWorld:
    """DevControls that note what was asked and pay until `coins_sats` are gone."""

    def __init__(self, coins_sats: int = 10**12) -> None:
        self.coins_sats = coins_sats
        self.asked: list[tuple[str, object]] = []

    async def faucet(self, address: str, amount_sats: int) -> FaucetReceipt:
        if amount_sats > self.coins_sats:
            raise Rejected("faucet.empty", "the faucet is empty")
        self.coins_sats -= amount_sats
        self.asked.append(("faucet", (address, amount_sats)))
        return FaucetReceipt("L2", "0x" + "fa" * 32, amount_sats)

    async def mine(self, blocks: int) -> tuple[str, ...]:
        self.asked.append(("mine", blocks))
        return tuple(f"{number:064x}" for number in range(blocks))

    async def height(self) -> int:
        return 112

    async def reset(self) -> bool:
        return False

    async def reorg(self, depth: int) -> ReorgReceipt:
        self.asked.append(("reorg", depth))
        return ReorgReceipt(depth, "aa" * 32, "bb" * 32)
