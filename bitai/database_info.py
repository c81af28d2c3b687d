"""Tell what a chain database holds: its layout, its heads, and the size of each table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vm import schema
from vm.chain import Chain
from vm.history import read_marks
from vm.migrations import stored_schema

if TYPE_CHECKING:
    from bitai.adapters.leveldb import LevelStore

TABLES: Final = {
    b"a": "accounts",
    b"s": "storage slots",
    b"c": "code",
    b"A": "account trie",
    b"S": "storage tries",
    b"H": "headers",
    b"E": "extras",
    b"B": "bodies",
    b"R": "receipts",
    b"U": "undo data",
    b"h": "history",
    b"k": "history sums",
    b"#": "blocks by hash",
    b"T": "transactions by hash",
    b"O": "epochs",
    b"W": "models",
    b"M": "marks",
    b"D": "derivation",
    b"Q": "batcher",
    b"P": "waiting transactions",
    b"V": "evidence",
    b"L": "statements heard",
    b"F": "filters",
    b"X": "edits",
}


def describe_store(store: LevelStore) -> dict[str, object]:
    """Return layout, heads and sizes; sizes are LevelDB's estimate for its files, without its log."""
    chain = Chain(store)
    heads = {}
    for name, key in (
        ("unsafe", schema.META_HEAD),
        ("safe", schema.META_SAFE),
        ("finalized", schema.META_FINALIZED),
    ):
        mark = chain.mark(key)
        heads[name] = None if mark is None else {"number": mark.number, "hash": "0x" + mark.hash.hex()}
    layout = stored_schema(store)
    has_history = store.get(schema.META_HISTORY) is not None
    undo = store.get(schema.META_UNDO_FLOOR)
    return {
        "layout": layout,
        "layout_of_this_program": schema.SCHEMA,
        "heads": heads,
        "oldest_state": read_marks(store).floor if has_history else None,
        "history_upto": read_marks(store).indexed.number if has_history else None,
        "undo_from": None if undo is None else schema.decode_number(undo),
        "tables": {name: store.approximate_bytes(prefix) for prefix, name in TABLES.items()},
    }
