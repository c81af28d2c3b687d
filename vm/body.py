"""What is stored of a block's content: transactions, the records used, and what the data held besides.

Three sections, one after the other: raw transactions, records, skipped transactions. A section is count u32 |
a length u32 for each | the byte strings joined; lengths stand together so that a whole block is packed by a
few C calls.
"""

import struct
from collections.abc import Sequence
from itertools import accumulate, pairwise

from primitives.ids import HASH_BYTES, Hash32
from vm.records import decode_record, encode_record
from vm.schema import require_intact
from vm.types import BlockBody, Skipped


def encode_body(body: BlockBody) -> bytes:
    """Return a body as stored."""
    return b"".join(
        _section(strings)
        for strings in (
            body.transactions,
            [encode_record(record) for record in body.records],
            [entry.position.to_bytes(4, "big") + entry.hash + entry.code.encode() for entry in body.skipped],
        )
    )


def decode_body(value: bytes) -> BlockBody:
    """Read a body; raises InvariantViolation `store.corrupt`."""
    transactions, offset = _read_section(value, 0)
    records, offset = _read_section(value, offset)
    skipped, offset = _read_section(value, offset)
    require_intact("body", offset == len(value))
    return BlockBody(
        transactions=tuple(transactions),
        records=tuple(decode_record(record) for record in records),
        skipped=tuple(_skipped(entry) for entry in skipped),
    )


def _skipped(entry: bytes) -> Skipped:
    position, code = 4, 4 + HASH_BYTES
    require_intact("body", len(entry) >= code)
    return Skipped(
        int.from_bytes(entry[:position], "big"), Hash32(entry[position:code]), entry[code:].decode()
    )


def _section(strings: Sequence[bytes]) -> bytes:
    lengths = struct.pack(f">I{len(strings)}I", len(strings), *map(len, strings))
    return lengths + b"".join(strings)


def _read_section(value: bytes, offset: int) -> tuple[list[bytes], int]:
    """Return a section's strings and where it ends."""
    require_intact("body", offset + 4 <= len(value))
    count = int.from_bytes(value[offset : offset + 4], "big")
    start = offset + 4 + 4 * count
    require_intact("body", start <= len(value))
    bounds = list(accumulate(struct.unpack_from(f">{count}I", value, offset + 4), initial=start))
    require_intact("body", bounds[-1] <= len(value))
    return [value[begin:end] for begin, end in pairwise(bounds)], bounds[-1]
