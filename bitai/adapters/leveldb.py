"""Keep the chain in one LevelDB: atomic batches, synced when asked, one process at a time.

LevelDB's write-ahead log makes a batch all or nothing across a power cut; `paranoid_checks` turns silent
corruption into an error at the read that meets it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import plyvel

from primitives.errors import ConfigError, InvariantViolation, Temporary
from vm.store import WriteBatch

CACHE_BYTES = 128 << 20
"""Block cache: the upper trie levels and hot accounts of a chain with millions of accounts fit."""
WRITE_BUFFER_BYTES = 64 << 20
"""Memory before a sorted file is written: large enough that a full block never stalls on compaction."""


class LevelStore:
    """A `KeyValueStore` on disk."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        """Open or create the database.

        Errors: `ConfigError` "store.locked" when another process has it, "store.missing" when there is
        none and `create` is false; `InvariantViolation` "store.corrupt".
        """
        self.path = path
        if not create and not (path / "CURRENT").exists():
            raise ConfigError("store.missing", f"no chain database in {path}", fix="bitai-node run")
        path.mkdir(parents=True, exist_ok=True)
        try:
            self._db: Any = plyvel.DB(
                str(path),
                create_if_missing=create,
                paranoid_checks=True,
                lru_cache_size=CACHE_BYTES,
                write_buffer_size=WRITE_BUFFER_BYTES,
                bloom_filter_bits=10,
                compression=None,  # rows are hashes, signatures and trie nodes: snappy took a fifth of the time
                # that a block takes, and saved nothing
            )
        except plyvel.CorruptionError as error:
            raise InvariantViolation(
                "store.corrupt", f"the chain database in {path} is damaged: {error}"
            ) from error
        except plyvel.IOError as error:
            if "lock" in str(error).lower():
                raise ConfigError(
                    "store.locked",
                    f"another process has the chain database in {path} open",
                    fix="bitai-node status",
                ) from error
            raise Temporary("store.io", f"cannot open the chain database in {path}: {error}") from error

    def get(self, key: bytes) -> bytes | None:
        """See `vm.store.KeyValueStore.get`."""
        return cast("bytes | None", self._db.get(key))

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See `vm.store.KeyValueStore.get_many`."""
        get = self._db.get
        return [get(key) for key in keys]

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """See `vm.store.KeyValueStore.scan`."""
        yield from _scan(self._db, prefix, start)

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        """Apply a batch atomically. Errors: `Temporary` "store.io" (a full disk, say); nothing is applied then."""
        try:
            with self._db.write_batch(transaction=True, sync=sync) as out:
                put, delete = out.put, out.delete
                for key, value in batch.writes:
                    if value is None:
                        delete(key)
                    else:
                        put(key, value)
        except plyvel.IOError as error:
            raise Temporary("store.io", f"cannot write the chain database in {self.path}: {error}") from error

    def snapshot(self) -> LevelSnapshot:
        """Return the present state, held still; safe to read from another thread."""
        return LevelSnapshot(self._db.snapshot())

    def close(self) -> None:
        """Close the database; using it afterwards is a mistake."""
        self._db.close()

    def __enter__(self) -> Self:
        """Serve as a context manager."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close on leaving."""
        self.close()


class LevelSnapshot:
    """A `vm.store.Snapshot` of a `LevelStore`."""

    def __init__(self, snapshot: Any) -> None:
        self._snapshot = snapshot

    def get(self, key: bytes) -> bytes | None:
        """See `vm.store.Snapshot.get`."""
        return cast("bytes | None", self._snapshot.get(key))

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See `vm.store.Snapshot.get_many`."""
        get = self._snapshot.get
        return [get(key) for key in keys]

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """See `vm.store.Snapshot.scan`."""
        yield from _scan(self._snapshot, prefix, start)

    def close(self) -> None:
        """Release the snapshot so that LevelDB may drop what only it still needed."""
        self._snapshot.close()


def _scan(source: Any, prefix: bytes, start: bytes) -> Iterator[tuple[bytes, bytes]]:
    with source.iterator(start=prefix + start) as rows:
        for key, value in rows:
            if not key.startswith(prefix):
                return
            yield key, value
