"""Open the database of a stopped node, for the commands that look after it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bitai.adapters.leveldb import LevelStore
from bitai.bootstrap import read_rollup_config, rollup_file
from bitai.chain import ChainDriver
from bitai.config import load_config
from bitai.database_check import DatabaseCheck
from bitai.database_info import describe_store
from bitai.datadir import DataDirLock
from bitai.node_keys import open_node_keys
from bitai.store_opening import migration_bytes, open_store, require_room
from vm import schema
from vm.executor import Executor
from vm.migrations import migrate, require_schema, stored_schema
from vm.stored_models import StoredModels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bitai.datadir import DataDir


@contextmanager
def stopped_store(files: DataDir) -> Iterator[LevelStore]:
    """Open the database as it is; raises ConfigError `store.missing`, and `store.locked` while a node has it."""
    with LevelStore(files.chain, create=False) as store:
        yield store


def check_stopped(
    files: DataDir, sample: int, on_progress: Callable[[dict[str, int]], None]
) -> dict[str, Any]:
    """Check a stopped node's database; return the report as JSON values."""
    with stopped_store(files) as store:
        require_schema(store)
        return asdict(DatabaseCheck(store, sample=sample).run(lambda report: on_progress(report.rows)))


def describe_stopped(files: DataDir) -> dict[str, Any]:
    """Describe a stopped node's database."""
    with stopped_store(files) as store:
        return describe_store(store)


def migrate_stopped(files: DataDir, *, dry_run: bool) -> dict[str, Any]:
    """Bring a stopped node's database forward; return from which layout to which, and the most bytes it takes."""
    with stopped_store(files) as store:
        found = stored_schema(store) or schema.SCHEMA
        size = migration_bytes(store) if found < schema.SCHEMA else 0
        if found > schema.SCHEMA:
            require_schema(store)
        if size:
            require_room(store, files.chain)
        if not dry_run:
            migrate(store)
        return {"from": found, "to": schema.SCHEMA, "bytes": size, "dry_run": dry_run}


@contextmanager
def opened_driver(*, network: str | None, datadir: str | None) -> Iterator[ChainDriver]:
    """Open a stopped node's chain with its settings and keys, and its folder locked."""
    named = {"network": network, "datadir": datadir}
    config = load_config({name: value for name, value in named.items() if value is not None}).config
    files = config.files
    path = config.rollup_config.expanduser() if config.rollup_config is not None else rollup_file(files)
    rollup = read_rollup_config(path)
    lock = DataDirLock(files)
    lock.acquire()
    try:
        with open_store(files.chain, create=False) as store:
            keys = open_node_keys(files, config.network) if config.role != "full" else None
            executor = Executor(rollup.chain_spec(), store, StoredModels(store))
            secret = None if keys is None else keys.sequencer
            try:
                yield ChainDriver(rollup, store, executor, sequencer_secret=secret)
            finally:
                executor.close()
    finally:
        lock.release()
