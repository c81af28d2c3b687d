"""Keep the gauges current that no event moves: sampled from the node's report every few seconds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from bitai.metrics import Metrics
    from bitai.node_status import NodeReport
    from rollup.batcher.driver import Batcher

SAMPLE_S: Final = 2.0
VBYTES_PER_KVB: Final = 1_000


class Gauges:
    """Samples one node."""

    def __init__(self, report: NodeReport, metrics: Metrics, database: Path) -> None:
        """Read from `report`, and the size of the chain database in this folder."""
        self._report = report
        self._metrics = metrics
        self._database = database
        self._paid_sats = 0
        self.batcher: Batcher | None = None

    async def run(self) -> None:
        """Sample for as long as the node runs."""
        while True:
            self.sample()
            await asyncio.sleep(SAMPLE_S)

    def sample(self) -> None:
        """Set every gauge once."""
        metrics, report = self._metrics, self._report
        tip = report.follower.tip if report.follower is not None else None
        if tip is not None:
            metrics.set("l1_height", tip.height, source="node")
        if report.driver is not None:
            metrics.set("l1_height", report.driver.cursor.height, source="processed")
        metrics.set("l1_lag_blocks", report.lag())
        metrics.set("db_size_bytes", _size(self._database))
        if self.batcher is not None:
            self._sample_batcher(self.batcher)

    def _sample_batcher(self, batcher: Batcher) -> None:
        shown = batcher.report()
        self._metrics.set("l1_wallet_balance_sats", shown.balance_sats)
        states: dict[str, int] = {}
        for record, _ in shown.rows:
            states[record.status] = states.get(record.status, 0) + 1
        for state in ("queued", "signed", "commit_sent", "reveal_sent", "confirmed", "evicted", "replaced"):
            self._metrics.set("inscriptions", states.get(state, 0), state=state)
        paid = max(shown.spent_sats, self._paid_sats)
        self._metrics.count("inscription_cost_sats_total", paid - self._paid_sats)
        self._paid_sats = paid
        estimate = batcher.state.inscriber.estimate
        if estimate is not None:
            self._metrics.set("l1_fee_rate_sat_vb", estimate / VBYTES_PER_KVB)


def _size(folder: Path) -> int:
    """Add up the files of a folder; one that compaction removes meanwhile counts as nothing."""
    total = 0
    for path in folder.iterdir():
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total
