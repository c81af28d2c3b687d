"""The batcher's rows as pages, commands and RPC show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bitai.status import InscriptionSummary
from primitives.ids import display_hash
from rollup.batcher.state import BATCH, RowRecord

if TYPE_CHECKING:
    from rollup.batcher.driver import Batcher

SHOWN_ROWS: Final = 20


class InscriptionView:
    """Reads one batcher's report."""

    def __init__(self, batcher: Batcher) -> None:
        """Show this batcher."""
        self._batcher = batcher

    def latest(self) -> tuple[InscriptionSummary, ...]:
        """Return the newest rows first."""
        return tuple(self._all())[:SHOWN_ROWS]

    def covering(self, number: int) -> tuple[InscriptionSummary, ...]:
        """Return the rows that carry a block's data, newest first."""
        return tuple(
            row
            for row in self._all()
            if row.first_block is not None
            and row.last_block is not None
            and row.first_block <= number <= row.last_block
        )

    def _all(self) -> list[InscriptionSummary]:
        report = self._batcher.report()
        live = [_summary(record, reason) for record, reason in reversed(report.rows)]
        ended = [_summary(record, "") for record in reversed(report.history)]
        return live + ended


def _summary(record: RowRecord, reason: str) -> InscriptionSummary:
    is_batch = record.purpose == BATCH
    return InscriptionSummary(
        kind=record.purpose,
        state=record.status,
        payload_bytes=record.payload_bytes,
        commit_txid=display_hash(record.commit) if record.commit else None,
        reveal_txid=display_hash(record.reveals[0]) if record.reveals else None,
        cost_sats=record.cost_sats or None,
        l1_height=record.height or None,
        first_block=record.first_block if is_batch else None,
        last_block=record.last_block if is_batch else None,
        reason=reason,
    )
