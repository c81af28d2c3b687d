"""Run a check of the chain database beside whoever else uses it, and tell how far it is and what it found."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import chain
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

from bitai.admission import JOURNAL_PREFIX
from bitai.chain_rows import PIECE_PREFIX, ChainRows
from primitives.errors import BitaiError
from primitives.hashes import keccak256, sha256
from vm.chain import Chain
from vm.check.fault import REBUILD, TICK_ROWS, Fault, Findings, Tick
from vm.check.whole import check_chain

if TYPE_CHECKING:
    from collections.abc import Callable

    from vm.store import KeyValueStore, Snapshot

MAX_FAULTS: Final = 1_000
"""Faults told one by one; of more only the number."""
REST: Final = 0.5
"""Share of its time that a check beside a running node sleeps: blocks and questions come first."""


@dataclass(slots=True)
class CheckReport:
    """How far a check is; `faults` are the first of `fault_count`."""

    state: str = "running"
    """running, sound, faults or failed."""
    head: int = -1
    seconds: float = 0.0
    rows: dict[str, int] = field(default_factory=dict)
    fault_count: int = 0
    faults: list[dict[str, str]] = field(default_factory=list)
    failure: str = ""
    """Why it could not go on: the disk's own words."""


class DatabaseCheck:
    """One pass over a snapshot."""

    def __init__(self, store: KeyValueStore, *, sample: int, rest: float = 0.0) -> None:
        """Check what the store holds now; see `vm.check.whole.check_chain` for `sample`."""
        self.report = CheckReport()
        self._store, self._sample, self._rest = store, sample, rest
        self._stop = Event()

    def run(self, on_progress: Callable[[CheckReport], None] = lambda _: None) -> CheckReport:
        """Check everything, on this thread."""
        report, started = self.report, time.monotonic()
        rows = self._store.snapshot()
        try:
            head = Chain(rows).head()
            report.head = -1 if head is None else head.number
            self._go_through(
                chain(check_chain(rows, sample=self._sample), check_driver_rows(rows)), on_progress
            )
            stopped = "failed" if self._stop.is_set() else "sound"
            report.state = "faults" if report.fault_count else stopped
        except BitaiError as error:  # a row that the disk does not give, or not as it was written
            report.state, report.failure = "failed", str(error)
        finally:
            rows.close()
            report.seconds = round(time.monotonic() - started, 3)
            on_progress(report)
        return report

    def stop(self) -> None:
        """Let `run` end within a few rows."""
        self._stop.set()

    def _go_through(self, findings: Findings, on_progress: Callable[[CheckReport], None]) -> None:
        done, told = 0, time.monotonic()
        for found in findings:
            if self._stop.is_set():
                self.report.failure = "stopped"
                return
            if isinstance(found, Fault):
                self._note(found)
                continue
            self.report.rows[found.part] = self.report.rows.get(found.part, 0) + found.rows
            done += found.rows
            if done >= TICK_ROWS:
                now = time.monotonic()
                if self._rest:
                    self._stop.wait((now - told) * self._rest / (1 - self._rest))
                done, told = 0, time.monotonic()
                on_progress(self.report)

    def _note(self, fault: Fault) -> None:
        self.report.fault_count += 1
        if len(self.report.faults) < MAX_FAULTS:
            shown = {"kind": fault.kind, "key": "0x" + fault.key.hex()}
            self.report.faults.append({**shown, "meaning": fault.meaning, "remedy": fault.remedy})


def check_driver_rows(rows: Snapshot) -> Findings:
    """Check what the chain's driver keeps: the state of derivation at its cursor, pieces and waiting transactions."""
    driver = ChainRows(rows)
    yield Tick("derivation", 1)
    try:
        cursor = driver.cursor()
        snapshot = b"" if cursor is None else driver.snapshot(cursor.height)
    except BitaiError as error:
        yield Fault("derivation.malformed", b"Dc", error.message, REBUILD)
    else:
        if snapshot is None:
            yield Fault("derivation.missing", b"Ds", "no derivation state at the cursor", REBUILD)
    for prefix, digest in ((PIECE_PREFIX, sha256), (JOURNAL_PREFIX, keccak256)):
        for key, value in rows.scan(prefix):
            yield Tick("derivation", 1)
            if key[len(prefix) :] != digest(value):
                yield Fault("derivation.wrong_hash", key, "the bytes are not those of the hash", REBUILD)


class DatabaseDoor:
    """What a running node lets its owner ask of its database; one check at a time."""

    def __init__(self, store: KeyValueStore, describe: Callable[[], dict[str, object]]) -> None:
        """Offer checks of this store, and what `describe` tells."""
        self._store, self.describe = store, describe
        self._check: DatabaseCheck | None = None
        self._thread: Thread | None = None

    def start_check(self, *, sample: int) -> CheckReport:
        """Begin a check, or tell of the one under way."""
        if self._thread is None or not self._thread.is_alive():
            self._check = DatabaseCheck(self._store, sample=sample, rest=REST)
            self._thread = Thread(target=self._check.run, name="check", daemon=True)
            self._thread.start()
        return self.progress()

    def progress(self) -> CheckReport:
        """Tell how far the last check is."""
        return CheckReport(state="none") if self._check is None else self._check.report

    def close(self) -> None:
        """End a check under way, before the database is closed."""
        if self._check is not None and self._thread is not None:
            self._check.stop()
            self._thread.join()
