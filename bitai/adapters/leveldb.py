"""Keep the chain in one LevelDB: atomic batches, synced when asked, one process at a time.

LevelDB's write-ahead log makes a batch all or nothing across a power cut; checksums, verified whenever a part
of a file is read from the disk, turn silent corruption into an error at the read that meets it. A write that
failed may have left half a record at the log's end, and nothing may follow that: the store takes no more writes
until it is opened anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import plyvel

from primitives.errors import ConfigError, InvariantViolation, Temporary
from vm.store import Place, WriteBatch

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
        self._failure: str | None = None
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
        """See `vm.store.KeyValueStore.get`. Errors: `InvariantViolation` "store.corrupt", "store.unreadable"."""
        try:
            return cast("bytes | None", self._db.get(key, verify_checksums=True))
        except plyvel.Error as error:
            raise _unreadable(error) from error

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See `vm.store.KeyValueStore.get_many`."""
        get = self._db.get
        try:
            return [get(key, verify_checksums=True) for key in keys]
        except plyvel.Error as error:
            raise _unreadable(error) from error

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """See `vm.store.KeyValueStore.scan`."""
        yield from _scan(self._db, prefix, start)

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        """Apply a batch atomically.

        Errors: `ConfigError` "store.write_failed" (a full disk, say); nothing is applied then, and nothing more
        is until the database is opened anew.
        """
        if self._failure is not None:
            raise self._write_failed(self._failure)
        try:
            with self._db.write_batch(transaction=True, sync=sync) as out:
                put, delete = out.put, out.delete
                for key, value in batch.writes:
                    if value is None:
                        delete(key)
                    else:
                        put(key, value)
        except plyvel.Error as error:
            self._failure = str(error)
            raise self._write_failed(self._failure) from error

    def _write_failed(self, why: str) -> ConfigError:
        return ConfigError(
            "store.write_failed",
            f"the chain database in {self.path} cannot be written: {why}",
            fix=f"df -h {self.path}",
        )

    def snapshot(self) -> LevelSnapshot:
        """Return the present state, held still; safe to read from another thread."""
        return LevelSnapshot(self._db.snapshot())

    def approximate_bytes(self, prefix: bytes) -> int:
        """Return about how many bytes of files the rows with a prefix of one byte take."""
        return cast("int", self._db.approximate_size(prefix, bytes([prefix[0] + 1])))

    def close(self) -> None:
        """Close the database, when nobody reads or writes it any more; using it afterwards is a mistake."""
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
        try:
            return cast("bytes | None", self._snapshot.get(key, verify_checksums=True))
        except plyvel.Error as error:
            raise _unreadable(error) from error

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See `vm.store.Snapshot.get_many`."""
        get = self._snapshot.get
        try:
            return [get(key, verify_checksums=True) for key in keys]
        except plyvel.Error as error:
            raise _unreadable(error) from error

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """See `vm.store.Snapshot.scan`."""
        yield from _scan(self._snapshot, prefix, start)

    def first_at(self, places: Sequence[Place]) -> list[tuple[bytes, bytes] | None]:
        """See `vm.store.Snapshot.first_at`."""
        return _first_at(self._snapshot, places)

    def close(self) -> None:
        """Release the snapshot so that LevelDB may drop what only it still needed."""
        self._snapshot.close()


def _scan(source: Any, prefix: bytes, start: bytes) -> Iterator[tuple[bytes, bytes]]:
    try:
        with source.iterator(start=prefix + start, verify_checksums=True) as rows:
            for key, value in rows:
                if not key.startswith(prefix):
                    return
                yield key, value
    except plyvel.Error as error:
        raise _unreadable(error) from error


def _first_at(source: Any, places: Sequence[Place]) -> list[tuple[bytes, bytes] | None]:
    """Seek with one iterator for all places: opening one costs more than a seek."""
    found: list[tuple[bytes, bytes] | None] = []
    try:
        with source.raw_iterator(verify_checksums=True) as rows:
            for prefix, start in places:
                rows.seek(prefix + start)
                hit = rows.valid() and rows.key().startswith(prefix)
                found.append((rows.key(), rows.value()) if hit else None)
    except plyvel.Error as error:
        raise _unreadable(error) from error
    return found


def _unreadable(error: Exception) -> InvariantViolation:
    """Name what reading met: damaged rows, or a failing disk."""
    if isinstance(error, plyvel.CorruptionError):
        return InvariantViolation("store.corrupt", f"the chain database is damaged: {error}")
    return InvariantViolation("store.unreadable", f"the chain database cannot be read: {error}")
