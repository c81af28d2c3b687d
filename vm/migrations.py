"""The number of a store's layout, and the steps that bring an older one forward.

Each migration is a run of small writes that may stop after any of them and be started again; the number changes last.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from primitives.errors import ConfigError, InvariantViolation
from vm import schema
from vm._core import __version__
from vm.chain import Chain, Rows
from vm.history import History, begin_history, read_marks
from vm.schema import BlockId
from vm.store import KeyValueStore, WriteBatch

WIPE_ROWS: Final = 4_096
UNNUMBERED: Final = 1
"""The layout of a store that says no number."""


class Progress(NamedTuple):
    """How far a migration is, in blocks."""

    done: int
    total: int


def stored_schema(rows: Rows) -> int | None:
    """Return the number of a store's layout, None for an empty store."""
    if rows.get(schema.META_IDENTITY) is None:
        return None
    value = rows.get(schema.META_SCHEMA)
    if value is None:
        return UNNUMBERED
    schema.require_intact("schema number", len(value) >= 8)
    return int.from_bytes(value[:8], "big")


def require_schema(rows: Rows) -> None:
    """Raise ConfigError `store.newer_schema` or `store.older_schema` unless this program knows the layout."""
    number = stored_schema(rows)
    if number is None or number == schema.SCHEMA:
        return
    if number > schema.SCHEMA:
        made_by = (rows.get(schema.META_SCHEMA) or b"")[8:].decode(errors="replace") or "a newer version"
        raise ConfigError(
            "store.newer_schema",
            f"the chain database has layout {number}, this program knows layouts up to {schema.SCHEMA}",
            why=f"it was written by version {made_by}",
            fix=f"run version {made_by} or newer",
        )
    raise ConfigError(
        "store.older_schema",
        f"the chain database has layout {number}, this program reads layout {schema.SCHEMA}",
        why="an older version wrote it",
        fix="bitai-node db migrate",
    )


def put_schema(batch: WriteBatch) -> None:
    """Note that a store has this program's layout, and the version to tell an older program that meets it."""
    batch.put(schema.META_SCHEMA, schema.encode_number(schema.SCHEMA) + __version__.encode())


def migrate(store: KeyValueStore, on_progress: Callable[[Progress], None] = lambda _: None) -> None:
    """Bring a store to this program's layout; one that has it, or is empty, stays as it is.

    May be stopped at any write and started again. Raises ConfigError `store.newer_schema`.
    """
    if stored_schema(store) == UNNUMBERED:
        _add_history(store, on_progress)
        batch = WriteBatch()
        put_schema(batch)
        store.write(batch, sync=True)
    require_schema(store)


def _add_history(store: KeyValueStore, on_progress: Callable[[Progress], None]) -> None:
    """1 to 2: give every former value in the undo data a row of its own."""
    chain = Chain(store)
    head, floor = chain.head(), store.get(schema.META_UNDO_FLOOR)
    if head is None or floor is None:
        raise InvariantViolation("store.corrupt", "the chain database has no head or no undo floor")
    first = schema.decode_number(floor)
    if not _is_under_way(store, chain):
        _wipe_history(store)
        block_hash = chain.block_hash(first - 1)
        if block_hash is None:
            raise InvariantViolation("store.corrupt", "a block of the chain is missing", number=first - 1)
        batch = WriteBatch()
        begin_history(batch, BlockId(first - 1, block_hash))
        store.write(batch, sync=False)
    history, total = History(store), head.number + 1 - first
    while history.step():
        on_progress(Progress(total - history.lag(), total))


def _is_under_way(store: KeyValueStore, chain: Chain) -> bool:
    """Tell whether history rows are those of this chain: a program that knew none may have moved it meanwhile."""
    if store.get(schema.META_HISTORY) is None:
        return False
    marks = read_marks(store)
    return chain.block_hash(marks.indexed.number) == marks.indexed.hash


def _wipe_history(store: KeyValueStore) -> None:
    while True:
        batch = WriteBatch()
        for key, _ in store.scan(schema.HISTORY_PREFIX):
            batch.delete(key)
            if len(batch.writes) == WIPE_ROWS:
                break
        if not batch.writes:
            return
        store.write(batch, sync=False)
