"""Former values of state rows by key and block: what a row was before a block, found by one seek.

Each block leaves undo data, in the write that makes it the head. From there this module copies every former value to
a row of its own, keyed by state row and block number, a few blocks behind the head and off the block's path. To read
a state row as it was after block N, take the first change above N, else the present value: the cost does not grow
with the distance. Blocks whose rows are not written yet are few (`MAX_LAG`) and read from their undo data.

Old rows are swept in bounded steps once nobody may read below a floor. Spec: docs/spec/state.md.
"""

from collections.abc import Callable
from itertools import islice, takewhile
from threading import Lock
from typing import Final, NamedTuple

from primitives.codec import Reader, Writer
from primitives.errors import InvariantViolation
from vm import schema
from vm._core import decode_undo, history_rows
from vm.chain import Chain, Rows
from vm.core_errors import translated
from vm.schema import BlockId
from vm.store import KeyValueStore, Snapshot, WriteBatch

MAX_LAG: Final = 4
"""Blocks that may wait for their history rows; whoever commits beyond that writes them first. Each waiting block is
held in memory by the states below it."""
WRITE_ROWS: Final = 1_024
"""Rows of one unsynced write: a block's synced write waits behind it for some milliseconds at most."""
SWEEP_ROWS: Final = 4_096
"""Rows that one step of the sweep looks at."""
SWEEP_EVERY: Final = 256
"""Blocks by which the floor must have risen before a sweep begins, for each reads all rows there are ..."""
SWEEP_SHARE: Final = 8
"""... and the least share of the kept window: so a row is read a few times in its life, however long that is."""


class Sweep(NamedTuple):
    """How far old rows are gone: everything upto `done`; upto `target` also what sorts before `cursor`."""

    done: int
    target: int
    cursor: bytes


class HistoryMarks(NamedTuple):
    """Which history a store holds: rows of the blocks upto `indexed`, for states from `floor` on."""

    indexed: BlockId
    floor: int


class History:
    """Writes the history of one store; its steps may run on any thread, beside the one that makes blocks."""

    def __init__(self, store: KeyValueStore) -> None:
        """Go on where the store's marks stand."""
        self._store = store
        self._chain = Chain(store)
        self.lock = Lock()
        """Held by every step, and by whoever takes blocks back: rows of a block must not appear after it has gone."""
        self.on_growth: Callable[[], None] | None = None
        """Called after each commit, by the thread that made it; whoever writes history elsewhere listens."""

    def marks(self) -> HistoryMarks:
        """Return which history there is."""
        return read_marks(self._store)

    def head(self) -> BlockId | None:
        """Return the newest block."""
        return self._chain.head()

    def lag(self) -> int:
        """Return how many blocks below the head wait for their rows."""
        head = self._chain.head()
        return 0 if head is None else head.number - self.marks().indexed.number

    def follow(self) -> None:
        """Note that the chain has grown; write what is more than `MAX_LAG` behind."""
        if self.on_growth is not None:
            self.on_growth()
        while self.lag() > MAX_LAG:
            self.step()

    def write_upto(self, number: int) -> None:
        """Write the rows of all blocks up to one of the chain's."""
        while self.marks().indexed.number < number and self.step():
            pass

    def step(self) -> bool:
        """Write the rows of the next block; tell whether there was one. Safe to repeat after dying at any write."""
        with self.lock:
            number = self.marks().indexed.number + 1
            block_hash = self._chain.block_hash(number)
            if block_hash is None:
                return False
            undo = self._store.get(schema.undo_key(number))
            if undo is None:
                raise InvariantViolation(
                    "store.corrupt", "the undo data of a block is missing", number=number
                )
            with translated():
                rows, total = history_rows(undo, number)
            for start in range(0, len(rows), WRITE_ROWS):
                self._store.write(WriteBatch([*rows[start : start + WRITE_ROWS]]), sync=False)
            done = WriteBatch()
            done.put(
                schema.history_sum_key(number), schema.encode_history_sum(schema.HistorySum(len(rows), total))
            )
            done.put(schema.META_HISTORY, schema.encode_block_id(BlockId(number, block_hash)))
            self._store.write(done, sync=False)
            return True

    def forget(self, batch: WriteBatch, above: int) -> None:
        """Add to a rewind's batch what takes back the rows of blocks above a number; the caller holds `lock`."""
        indexed = self.marks().indexed
        if indexed.number + 1 <= above:
            return
        for number in range(above + 1, indexed.number + 2):  # of the one after, some rows may be there
            undo = self._store.get(schema.undo_key(number))
            if undo is not None:
                with translated():
                    rows, _ = history_rows(undo, number)
                batch.writes += [(key, None) for key, _ in rows]
                batch.delete(schema.history_sum_key(number))
        if indexed.number > above:
            block_hash = self._chain.block_hash(above)
            if block_hash is None:
                raise InvariantViolation("store.corrupt", "a block of the chain is missing", number=above)
            batch.put(schema.META_HISTORY, schema.encode_block_id(BlockId(above, block_hash)))

    def raise_floor(self, floor: int) -> int:
        """Give up the states below a block, never those above the finalized one; return the floor that now holds."""
        with self.lock:
            marks, finalized = self.marks(), self._chain.mark(schema.META_FINALIZED)
            ceiling = min(marks.indexed.number, 0 if finalized is None else finalized.number)
            floor = min(floor, ceiling)
            if floor <= marks.floor:
                return marks.floor
            batch = WriteBatch()
            batch.put(schema.META_HISTORY_FLOOR, schema.encode_number(floor))
            self._store.write(batch, sync=False)
            return floor

    def sweep(self, kept_blocks: int) -> bool:
        """Drop some rows that no state from the floor on needs; tell whether more is to do."""
        with self.lock:
            sweep = read_sweep(self._store)
            if sweep.done == sweep.target:
                floor = self.marks().floor
                if floor - sweep.done < max(SWEEP_EVERY, kept_blocks // SWEEP_SHARE):
                    return False
                sweep = Sweep(sweep.done, floor, b"")
            self._sweep_step(sweep)
            return True

    def _sweep_step(self, sweep: Sweep) -> None:
        batch, cursor = WriteBatch(), sweep.cursor
        oldest = takewhile(
            lambda key: int.from_bytes(key[1:], "big") <= sweep.target,
            (key for key, _ in self._store.scan(schema.HISTORY_SUM_PREFIX)),
        )
        batch.writes += [(key, None) for key in islice(oldest, SWEEP_ROWS)]
        for seen, (key, _) in enumerate(self._store.scan(schema.HISTORY_PREFIX, sweep.cursor)):
            cursor = key[1:]
            if seen == SWEEP_ROWS:
                break
            if int.from_bytes(key[-8:], "big") <= sweep.target:
                batch.delete(key)
        else:
            sweep, cursor = Sweep(sweep.target, sweep.target, b""), b""
        batch.put(schema.META_SWEEP, encode_sweep(sweep._replace(cursor=cursor)))
        self._store.write(batch, sync=False)


class PastRows:
    """Reads state rows as they were after a block, from a snapshot of the store."""

    def __init__(self, snapshot: Snapshot, number: int, head: int) -> None:
        """Read the state after `number`; `head` is the snapshot's newest block. Raises as `undo_overlay` does."""
        self._snapshot = snapshot
        indexed = read_marks(snapshot).indexed.number
        self._start = schema.encode_number(number + 1)
        self._has_history = number < indexed
        self.overlay = undo_overlay(snapshot, max(number, indexed), head)
        """Rows changed by blocks that have no history rows yet."""

    def read(self, keys: list[bytes]) -> list[bytes | None]:
        """Return the values of state rows, in the order asked."""
        if not self._has_history:
            return self._present(keys)
        places = [(schema.history_prefix(key), self._start) for key in keys]
        changes = self._snapshot.first_at(places)
        missing = iter(self._present([key for key, hit in zip(keys, changes, strict=True) if hit is None]))
        return [next(missing) if hit is None else (hit[1] or None) for hit in changes]

    def _present(self, keys: list[bytes]) -> list[bytes | None]:
        overlay, get = self.overlay, self._snapshot.get
        return [overlay[key] if key in overlay else get(key) for key in keys]


def undo_overlay(rows: Rows, number: int, head: int) -> dict[bytes, bytes | None]:
    """Return the rows that differ between the state after `number` and the head's; the older value wins.

    Raises InvariantViolation `store.corrupt` where undo data is missing.
    """
    overlay: dict[bytes, bytes | None] = {}
    for later in range(head, number, -1):
        undo = rows.get(schema.undo_key(later))
        if undo is None:
            raise InvariantViolation("store.corrupt", "the undo data of a block is missing", number=later)
        with translated():
            overlay.update(decode_undo(undo))
    return overlay


def read_marks(rows: Rows) -> HistoryMarks:
    """Return which history a store holds."""
    indexed, floor = rows.get(schema.META_HISTORY), rows.get(schema.META_HISTORY_FLOOR)
    if indexed is None or floor is None:
        raise InvariantViolation("store.corrupt", "the marks of the history are missing")
    return HistoryMarks(schema.decode_block_id(indexed), schema.decode_number(floor))


def read_sweep(rows: Rows) -> Sweep:
    """Return how far old rows are gone."""
    value = rows.get(schema.META_SWEEP)
    if value is None:
        return Sweep(0, 0, b"")
    schema.require_intact("sweep", len(value) >= 16)
    reader = Reader(value)
    return Sweep(reader.u64(), reader.u64(), reader.rest())


def encode_sweep(sweep: Sweep) -> bytes:
    """Return done 8 | target 8 | cursor."""
    writer = Writer()
    writer.u64(sweep.done)
    writer.u64(sweep.target)
    writer.raw(sweep.cursor)
    return writer.finish()


def begin_history(batch: WriteBatch, block: BlockId) -> None:
    """Set the marks of a store whose history begins after a block."""
    batch.put(schema.META_HISTORY, schema.encode_block_id(block))
    batch.put(schema.META_HISTORY_FLOOR, schema.encode_number(block.number))
