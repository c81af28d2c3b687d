"""The tree of block headers and the chain through it that counts; pure, in memory, rebuilt at every start."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from primitives.bitcoin.header import HEADER_BYTES, MEDIAN_SPAN, BlockHeader, median_time_past, parse_header
from primitives.errors import InvariantViolation
from primitives.ids import L1Hash

_LAYOUT: Final = struct.Struct(">IQIIB32s")
_FAILED: Final = 1
_CONNECTED: Final = 2


@dataclass(frozen=True, slots=True)
class BlockRow:
    """What is kept about one block: its header, its place in the log and in the tree.

    `work` is the sum of expected hashes up to this block. `failed`: the kernel found it invalid.
    `was_connected`: it was once part of the best chain, so it is known to be valid.
    """

    header: BlockHeader
    height: int
    work: int
    offset: int
    length: int
    transactions: int
    failed: bool = False
    was_connected: bool = False

    @property
    def hash(self) -> L1Hash:
        """Return the block hash, internal order."""
        return self.header.hash

    @property
    def previous(self) -> L1Hash:
        """Return the parent's hash, internal order."""
        return self.header.previous


class BlockTree:
    """Every block ever stored, in the order of the log, so that parents come before children."""

    def __init__(self) -> None:
        self._rows: dict[L1Hash, BlockRow] = {}
        self._active: list[L1Hash] = []

    def __contains__(self, block_hash: L1Hash) -> bool:
        return block_hash in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> Iterator[BlockRow]:
        """Yield every row, parents first."""
        return iter(self._rows.values())

    def find(self, block_hash: L1Hash) -> BlockRow | None:
        """Return a block's row, None when it is unknown."""
        return self._rows.get(block_hash)

    def row(self, block_hash: L1Hash) -> BlockRow:
        """Return the row of a block that must be here; raises InvariantViolation `tree.unknown_block`."""
        row = self._rows.get(block_hash)
        if row is None:
            raise InvariantViolation(
                "tree.unknown_block", "a block is not in the tree", hash=block_hash.hex()
            )
        return row

    def put(self, row: BlockRow) -> None:
        """Add a block or change what is kept about it."""
        self._rows[row.hash] = row

    def child_row(self, header: BlockHeader, offset: int, length: int, transactions: int) -> BlockRow:
        """Return the row that a block would get under its parent, which must be here."""
        parent = self.row(header.previous)
        work = parent.work + header.work
        return BlockRow(header, parent.height + 1, work, offset, length, transactions)

    @property
    def tip(self) -> BlockRow:
        """Return the last block of the active chain."""
        return self._rows[self._active[-1]]

    @property
    def height(self) -> int:
        """Return the height of the active chain's last block."""
        return len(self._active) - 1

    def active_hash(self, height: int) -> L1Hash | None:
        """Return the active chain's block at a height, None beyond its ends."""
        return self._active[height] if 0 <= height < len(self._active) else None

    def is_active(self, row: BlockRow) -> bool:
        """Tell whether a block is on the active chain."""
        return self.active_hash(row.height) == row.hash

    def activate(self, tip: L1Hash) -> None:
        """Make the chain that ends here the active one."""
        row = self.row(tip)
        branch: list[L1Hash] = []
        while row.height >= len(self._active) or self._active[row.height] != row.hash:
            branch.append(row.hash)
            if row.height == 0:
                break
            row = self.row(row.previous)
        del self._active[self.row(tip).height + 1 - len(branch) :]
        self._active.extend(reversed(branch))

    def switch(self, old: L1Hash, new: L1Hash) -> tuple[list[BlockRow], list[BlockRow]]:
        """Return the blocks to leave (tip first) and to enter (lowest first) from one tip to another."""
        leave, enter = [], []
        left, right = self.row(old), self.row(new)
        while left.hash != right.hash:
            if left.height >= right.height:
                leave.append(left)
                left = self.row(left.previous)
            else:
                enter.append(right)
                right = self.row(right.previous)
        return leave, enter[::-1]

    def median_time(self, row: BlockRow) -> int:
        """Return the median time past of a block: of its own time and its ten ancestors'."""
        times = [row.header.time]
        while row.height > 0 and len(times) < MEDIAN_SPAN:
            row = self.row(row.previous)
            times.append(row.header.time)
        return median_time_past(times)

    def is_ancestor(self, older: BlockRow, younger: BlockRow) -> bool:
        """Tell whether the younger block stands on the older one, or is it."""
        while younger.height > older.height:
            younger = self.row(younger.previous)
        return younger.hash == older.hash

    def excluded(self, invalidated: frozenset[L1Hash]) -> frozenset[L1Hash]:
        """Return the blocks that an operator ruled out, with all that stand on them."""
        ruled_out: set[L1Hash] = set()
        for row in self._rows.values():
            if row.hash in invalidated or row.previous in ruled_out:
                ruled_out.add(row.hash)
        return frozenset(ruled_out)

    def failed(self) -> frozenset[L1Hash]:
        """Return the blocks that are invalid, with all that stand on them."""
        bad: set[L1Hash] = set()
        for row in self._rows.values():
            if row.failed or row.previous in bad:
                bad.add(row.hash)
        return frozenset(bad)

    def leaves(self) -> list[BlockRow]:
        """Return the blocks that no block stands on, highest first."""
        parents = {row.previous for row in self._rows.values()}
        ends = [row for row in self._rows.values() if row.hash not in parents]
        return sorted(ends, key=lambda row: (-row.height, row.hash))


def with_verdict(row: BlockRow, *, failed: bool | None = None, was_connected: bool | None = None) -> BlockRow:
    """Return the row with a new verdict; what is not named stays."""
    return replace(
        row,
        failed=row.failed if failed is None else failed,
        was_connected=row.was_connected if was_connected is None else was_connected,
    )


def encode_row(row: BlockRow) -> bytes:
    """Return height, offset, length, transaction count, flags and work, big-endian, then the header."""
    flags = _FAILED * row.failed | _CONNECTED * row.was_connected
    work = row.work.to_bytes(32, "big")
    fixed = _LAYOUT.pack(row.height, row.offset, row.length, row.transactions, flags, work)
    return fixed + row.header.encode()


def decode_row(data: bytes) -> BlockRow:
    """Return the row that `encode_row` wrote."""
    height, offset, length, transactions, flags, work = _LAYOUT.unpack_from(data)
    header = parse_header(data[_LAYOUT.size : _LAYOUT.size + HEADER_BYTES])
    return BlockRow(
        header,
        height,
        int.from_bytes(work, "big"),
        offset,
        length,
        transactions,
        failed=bool(flags & _FAILED),
        was_connected=bool(flags & _CONNECTED),
    )
