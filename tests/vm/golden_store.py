"""A store as an older program left it, and what its states said then (tests/vectors/vm/store_schema_1.*)."""

import json
import zlib
from pathlib import Path

from vm.store import WriteBatch

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "vm"


def golden_rows() -> dict[bytes, bytes]:
    """The rows of layout 1: each a length (2), the key, a length (4), the value."""
    blob, rows, place = zlib.decompress((VECTORS / "store_schema_1.zlib").read_bytes()), {}, 0
    while place < len(blob):
        parts = []
        for width in (2, 4):
            end = place + width + int.from_bytes(blob[place : place + width], "big")
            parts.append(blob[place + width : end])
            place = end
        rows[parts[0]] = parts[1]
    return rows


def golden_batch() -> WriteBatch:
    """The same as writes."""
    return WriteBatch(list(golden_rows().items()))


def golden_facts() -> dict:
    """What the old program said of each state that it kept."""
    return json.loads((VECTORS / "store_schema_1.json").read_text())
