"""Keep filters on disk, so that their ids mean the same after a restart.

Below the prefix F, in the chain's database:

    F d id16    definition    JSON: kind, and of a log filter its query as it was asked
    F c id16    cursor        number 8 | hash 32 of the last block told | milliseconds 8 that it had been idle

A definition is written when it is made; cursors are small and written together now and then, unsynced: losing the last
seconds of them means that a client is told twice, which a restart may do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from vm.store import WriteBatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vm.store import KeyValueStore

DEFINITION_PREFIX: Final = b"Fd"
CURSOR_PREFIX: Final = b"Fc"
ID_BYTES: Final = 16
_CURSOR_BYTES: Final = 48


@dataclass(frozen=True, slots=True)
class FilterCursor:
    """How far a filter has been told, and how long nobody had asked when this was noted."""

    number: int
    hash: bytes
    idle_ms: int


@dataclass(frozen=True, slots=True)
class StoredFilter:
    """A filter as it was kept; `query` is what its maker asked, None for blocks and waiting transactions."""

    id: bytes
    kind: str
    query: Any
    cursor: FilterCursor


class FilterRows:
    """The rows of one node's filters."""

    def __init__(self, store: KeyValueStore) -> None:
        """Keep them in this store."""
        self._store = store

    def put(self, kept: StoredFilter) -> None:
        """Keep a new filter."""
        batch = WriteBatch()
        batch.put(DEFINITION_PREFIX + kept.id, orjson.dumps({"kind": kept.kind, "query": kept.query}))
        _put_cursor(batch, kept.id, kept.cursor)
        self._store.write(batch, sync=False)

    def move(self, cursors: Iterable[tuple[bytes, FilterCursor]], gone: Iterable[bytes]) -> None:
        """Note where filters stand, and forget those that are gone."""
        batch = WriteBatch()
        for filter_id, cursor in cursors:
            _put_cursor(batch, filter_id, cursor)
        for filter_id in gone:
            batch.delete(DEFINITION_PREFIX + filter_id)
            batch.delete(CURSOR_PREFIX + filter_id)
        if batch.writes:
            self._store.write(batch, sync=False)

    def read(self) -> Iterator[StoredFilter | bytes]:
        """Yield what is kept; of a row that does not read, the id alone."""
        for key, value in self._store.scan(DEFINITION_PREFIX):
            filter_id = key[len(DEFINITION_PREFIX) :]
            cursor = _read_cursor(self._store.get(CURSOR_PREFIX + filter_id))
            definition = _read_definition(value)
            if cursor is None or definition is None:
                yield filter_id
            else:
                yield StoredFilter(filter_id, *definition, cursor)


def _put_cursor(batch: WriteBatch, filter_id: bytes, cursor: FilterCursor) -> None:
    value = cursor.number.to_bytes(8, "big") + cursor.hash + cursor.idle_ms.to_bytes(8, "big")
    batch.put(CURSOR_PREFIX + filter_id, value)


def _read_cursor(value: bytes | None) -> FilterCursor | None:
    if value is None or len(value) != _CURSOR_BYTES:
        return None
    return FilterCursor(int.from_bytes(value[:8], "big"), value[8:40], int.from_bytes(value[40:], "big"))


def _read_definition(value: bytes) -> tuple[str, Any] | None:
    try:
        shown = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(shown, dict) or not isinstance(shown.get("kind"), str):
        return None
    return shown["kind"], shown.get("query")
