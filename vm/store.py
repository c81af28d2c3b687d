"""The key-value store that the chain lives in: a port, one atomic batch, and an implementation in memory."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile
from threading import Lock
from types import TracebackType
from typing import Protocol, Self, TypeAlias

Write: TypeAlias = "tuple[bytes, bytes | None]"
"""One key with its new value; None deletes the key."""
Place: TypeAlias = "tuple[bytes, bytes]"
"""A prefix, and where to begin among the keys with it."""


@dataclass(slots=True)
class WriteBatch:
    """Writes that reach the disk together or not at all; of two writes to one key the later wins."""

    writes: list[Write] = field(default_factory=list)

    def put(self, key: bytes, value: bytes) -> None:
        """Set a key."""
        self.writes.append((key, value))

    def delete(self, key: bytes) -> None:
        """Remove a key; removing an absent one is fine."""
        self.writes.append((key, None))

    def extend(self, more: "WriteBatch | Sequence[Write]") -> None:
        """Append other writes, keeping their order."""
        self.writes.extend(more.writes if isinstance(more, WriteBatch) else more)


class ScannedRows(Protocol):
    """What rows are read from one by one and in order: the store, or a snapshot of it."""

    def get(self, key: bytes) -> bytes | None:
        """Return a key's value, or None."""
        ...

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs whose keys begin with `prefix` and are at least `prefix + start`, in key order."""
        ...


class Snapshot(Protocol):
    """The store as it was at one instant, unaffected by later writes; safe to read from another thread."""

    def get(self, key: bytes) -> bytes | None:
        """Return a key's value, or None."""
        ...

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of many keys, in the order asked."""
        ...

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs whose keys begin with `prefix` and are at least `prefix + start`, in key order."""
        ...

    def first_at(self, places: Sequence[Place]) -> list[tuple[bytes, bytes] | None]:
        """Return for each (prefix, start) the first pair that `scan` would yield, or None."""
        ...

    def close(self) -> None:
        """Give back what the snapshot holds; reading it afterwards is a mistake."""
        ...


class KeyValueStore(Protocol):
    """An ordered map of byte strings with atomic batches; threads may write at once, to keys of their own."""

    def get(self, key: bytes) -> bytes | None:
        """Return a key's value, or None."""
        ...

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of many keys, in the order asked."""
        ...

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs whose keys begin with `prefix` and are at least `prefix + start`, in key order."""
        ...

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        """Apply a batch atomically; with `sync` it is on the disk when this returns.

        When this raises, either nothing of the batch is visible, now and after a restart, or all of it is.
        """
        ...

    def snapshot(self) -> Snapshot:
        """Return the present state of the store, held still."""
        ...


class MemoryStore:
    """A store in memory, for tests and benchmarks: the readable model of what the disk one does."""

    def __init__(self, rows: dict[bytes, bytes] | None = None) -> None:
        """Begin with a copy of some rows, or empty."""
        self._rows: dict[bytes, bytes] = dict(rows or {})
        self._shared = False
        self._sorted: list[bytes] | None = None
        self._lock = Lock()

    @property
    def rows(self) -> dict[bytes, bytes]:
        """A copy of everything stored, for comparing two stores."""
        return dict(self._rows)

    def get(self, key: bytes) -> bytes | None:
        """See `KeyValueStore.get`."""
        return self._rows.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See `KeyValueStore.get_many`."""
        get = self._rows.get
        return [get(key) for key in keys]

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """See `KeyValueStore.scan`; what is written while scanning is not seen."""
        with self._lock:
            rows, keys = self._rows, self._keys()
            first = bisect_left(keys, prefix + start)
            found = takewhile(lambda key: key.startswith(prefix), islice(keys, first, None))
            return iter([(key, rows[key]) for key in found])

    def first_at(self, places: Sequence[Place]) -> list[tuple[bytes, bytes] | None]:
        """See `Snapshot.first_at`."""
        found: list[tuple[bytes, bytes] | None] = []
        with self._lock:
            keys = self._keys()
            for prefix, start in places:
                at = bisect_left(keys, prefix + start)
                key = keys[at] if at < len(keys) else None
                hit = key is not None and key.startswith(prefix)
                found.append((key, self._rows[key]) if key is not None and hit else None)
        return found

    def _keys(self) -> list[bytes]:
        if self._sorted is None:
            self._sorted = sorted(self._rows)
        return self._sorted

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        """See `KeyValueStore.write`; memory has nothing to sync."""
        del sync
        with self._lock:
            if self._shared:  # a snapshot reads these rows: leave them to it
                self._rows, self._shared = dict(self._rows), False
            self._sorted = None
            for key, value in batch.writes:
                if value is None:
                    self._rows.pop(key, None)
                else:
                    self._rows[key] = value

    def snapshot(self) -> "MemoryStore":
        """Return a store that shares the rows until either side writes."""
        held = MemoryStore()
        with self._lock:
            held._rows, held._shared, held._sorted = self._rows, True, self._sorted
            self._shared = True
        return held

    def close(self) -> None:
        """Forget the rows."""
        self._rows, self._shared, self._sorted = {}, False, None

    def __enter__(self) -> Self:
        """Serve as a context manager, as the disk store does."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close on leaving."""
        self.close()
