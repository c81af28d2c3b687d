"""Checks a whole chain database, from a snapshot, in an order in which each part stands on the ones before."""

from typing import Final

from primitives.errors import InvalidInput
from vm import schema
from vm.chain import Chain
from vm.check.blocks import check_blocks
from vm.check.fault import REBUILD, Fault, Findings, Tick
from vm.check.history import check_history, check_undo, read_header
from vm.check.marks import check_marks
from vm.check.state import check_state
from vm.edits import edited_root
from vm.inference.artifact import parse_announcement, parse_artifact
from vm.inference.manifest import Tier
from vm.store import Snapshot

SAMPLED: Final = 1_000
"""Of so many history rows one is followed to its state's root, unless all are; the root's own always are."""


def check_chain(rows: Snapshot, *, sample: int = SAMPLED) -> Findings:
    """Yield what is wrong, and ticks between; `sample` 1 follows every history row, in some 100 us each."""
    yield from check_marks(rows)
    head = _top(rows)
    if head is None:
        return
    yield from check_blocks(rows, head)
    header = read_header(Chain(rows), head)
    if header is not None:
        # A development node's edits of its head change the state without a block.
        yield from check_state(rows, edited_root(rows, head) or header.state_root)
    yield from check_undo(rows, head, sample)
    yield from check_history(rows, head, sample)
    yield from check_others(rows)


def _top(rows: Snapshot) -> int | None:
    """Return the head's number, or where its mark is wrong that of the highest header."""
    head = Chain(rows).head()
    if head is None or rows.get(schema.header_key(head.number)) is not None:
        return None if head is None else head.number
    numbers = [int.from_bytes(key[1:], "big") for key, _ in rows.scan(schema.header_key(0)[:1])]
    return numbers[-1] if numbers else None


def check_others(rows: Snapshot) -> Findings:
    """Hold models against their ids; read the rows of other owners, of which the disk's checksums tell damage."""
    for key, container in rows.scan(schema.ARTIFACT_PREFIX):
        yield Tick("models", 1)
        try:
            announcement = parse_announcement(container)
            if announcement.manifest.tier == Tier.ON_CHAIN:
                parse_artifact(container)
        except InvalidInput as error:
            yield Fault("model.malformed", key, error.message, REBUILD)
            continue
        if announcement.model_id != key[1:]:
            yield Fault("model.wrong_id", key, "the model is not the one of its id", REBUILD)
    for table in schema.OWNED_ELSEWHERE:
        for _ in rows.scan(table):
            yield Tick("rows of others", 1)
