"""Open a node's chain database, brought to the layout that this program reads."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

import structlog

from bitai.adapters.leveldb import LevelStore
from primitives.errors import ConfigError
from vm import schema
from vm.migrations import Progress, migrate, stored_schema

if TYPE_CHECKING:
    from pathlib import Path

    from vm.store import KeyValueStore

log = structlog.get_logger(__name__)

SPARE_BYTES: Final = 64 << 20
"""Left free beside what a migration writes: LevelDB's log and the files it makes anew."""
TELL_EVERY: Final = 10_000


def open_store(folder: Path, *, create: bool = True) -> LevelStore:
    """Open the database and migrate an older one forward.

    Raises ConfigError `store.locked`, `store.missing`, `store.newer_schema`, `store.no_room`.
    """
    store = LevelStore(folder, create=create)
    try:
        found = stored_schema(store)
        if found is not None and found < schema.SCHEMA:
            require_room(store, folder)
            log.info("bringing the chain database to a new layout", layout=found, to=schema.SCHEMA)
        migrate(store, _tell)
    except BaseException:
        store.close()
        raise
    return store


def require_room(store: KeyValueStore, folder: Path) -> None:
    """Raise ConfigError `store.no_room` unless the disk holds what a migration adds."""
    wanted, free = migration_bytes(store) + SPARE_BYTES, shutil.disk_usage(folder).free
    if free < wanted:
        raise ConfigError(
            "store.no_room",
            f"the chain database needs {wanted >> 20} MiB more for its new layout",
            why=f"{free >> 20} MiB are free",
            fix=f"df -h {folder}",
        )


def migration_bytes(store: KeyValueStore) -> int:
    """Return what bringing a store forward writes: its undo data once more, row by row, and LevelDB's copy of that."""
    return 2 * sum(len(undo) for _, undo in store.scan(schema.UNDO_PREFIX))


def _tell(progress: Progress) -> None:
    if progress.done % TELL_EVERY == 0:
        log.info("bringing the chain database to a new layout", blocks=progress.done, of=progress.total)
