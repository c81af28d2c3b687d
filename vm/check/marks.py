"""Checks the marks: heads that name blocks of the chain, in order, and the layout's number."""

from vm import schema
from vm.chain import Chain
from vm.check.fault import REBUILD, Fault, Findings, Tick
from vm.history import read_marks
from vm.migrations import stored_schema
from vm.schema import BlockId
from vm.store import Snapshot

HEADS = (schema.META_HEAD, schema.META_SAFE, schema.META_FINALIZED, schema.META_HISTORY)


def check_marks(rows: Snapshot) -> Findings:
    """Find heads that name no block, and heads that stand above others."""
    chain = Chain(rows)
    found: dict[bytes, BlockId] = {}
    for key in HEADS:
        mark = chain.mark(key)
        if mark is None:
            continue
        found[key] = mark
        if chain.block_hash(mark.number) != mark.hash:
            yield Fault("mark.unknown_block", key, f"it names block {mark.number} by another hash", REBUILD)
    yield Tick("marks", len(HEADS))
    head = found.get(schema.META_HEAD)
    if head is None:
        yield Fault("mark.missing", schema.META_HEAD, "the chain has no head", REBUILD)
        return
    for low, high in ((schema.META_FINALIZED, schema.META_SAFE), (schema.META_SAFE, schema.META_HEAD)):
        if low in found and high in found and found[low].number > found[high].number:
            yield Fault("mark.order", low, f"it stands above {high[1:].decode()}", REBUILD)
    yield from _floors(rows, head)
    if stored_schema(rows) != schema.SCHEMA:
        yield Fault(
            "mark.schema", schema.META_SCHEMA, "the layout is not this program's", "bitai-node db migrate"
        )


def _floors(rows: Snapshot, head: BlockId) -> Findings:
    history = read_marks(rows)
    undo = rows.get(schema.META_UNDO_FLOOR)
    if undo is None or schema.decode_number(undo) > head.number + 1:
        yield Fault(
            "mark.floor", schema.META_UNDO_FLOOR, "the undo floor is missing or above the head", REBUILD
        )
    if history.indexed.number > head.number:
        yield Fault("mark.floor", schema.META_HISTORY, "history is said to reach above the head", REBUILD)
    if history.floor > history.indexed.number:
        yield Fault("mark.floor", schema.META_HISTORY_FLOOR, "the history floor is above history", REBUILD)
