"""Changes of the head's state that no block makes, and the way back from each.

They are a development node's own: nobody who follows the chain ever sees them. The k-th edit made upon block n is one
row. Undo data of the block also learns what an edit changes, so that whoever goes back below the block, or looks at an
older state, needs to know nothing of edits.

    X number8 place4     root32 | undo of this edit alone
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from primitives.ids import HASH_BYTES, Hash32
from vm import _core, schema
from vm.store import KeyValueStore, Snapshot, WriteBatch

if TYPE_CHECKING:
    from vm._core import StateEdit

EDIT_PREFIX: Final = b"X"


class Edit(NamedTuple):
    """One edit: its row's key, the state root after it, and the writes that take it back."""

    key: bytes
    root: Hash32
    undo: bytes


def edits_of(store: KeyValueStore | Snapshot, number: int) -> Iterator[Edit]:
    """Yield the edits upon a block, in the order in which they were made."""
    for key, value in store.scan(EDIT_PREFIX + schema.encode_number(number)):
        schema.require_intact("edit", len(value) > HASH_BYTES)
        yield Edit(key, Hash32(value[:HASH_BYTES]), value[HASH_BYTES:])


def edited_root(store: KeyValueStore | Snapshot, number: int) -> Hash32 | None:
    """Return the state root after the last edit upon a block, None if there is none."""
    root = None
    for edit in edits_of(store, number):
        root = edit.root
    return root


def add_edit(batch: WriteBatch, store: KeyValueStore, number: int, edit: "StateEdit") -> None:
    """Add an edit's rows: what it writes, its way back, and what undoing the block now takes with it."""
    place = sum(1 for _ in edits_of(store, number))
    batch.extend(edit.writes)
    key = EDIT_PREFIX + schema.encode_number(number) + place.to_bytes(4, "big")
    batch.put(key, edit.root + edit.undo)
    undo = store.get(schema.undo_key(number))
    if undo is not None:
        batch.put(schema.undo_key(number), _core.merge_undo(undo, edit.undo))


def take_edits_back(batch: WriteBatch, store: KeyValueStore, number: int, keep: int) -> None:
    """Add the way back to when a block had its first `keep` edits; its undo data may know more than it needs."""
    for edit in reversed(list(edits_of(store, number))[keep:]):
        batch.extend(_core.decode_undo(edit.undo))
        batch.delete(edit.key)


def forget_edits(batch: WriteBatch, store: KeyValueStore, number: int) -> None:
    """Drop the rows of the edits upon a block that goes, whose undo data takes them back."""
    for edit in edits_of(store, number):
        batch.delete(edit.key)
