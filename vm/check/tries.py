"""Walks stored tries: every node against the hash its parent names, every leaf told to whoever asks."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from primitives import rlp
from primitives.errors import InvalidInput
from vm._core import EMPTY_ROOT, keccak256
from vm.check.fault import HARMLESS, REBUILD, Fault, Tick

Path: TypeAlias = bytes
"""Nibbles from the root, one a byte."""


class Leaf(NamedTuple):
    """A key of 64 nibbles and what the trie holds there."""

    path: Path
    value: bytes


class Child(NamedTuple):
    """A node below another that has a row of its own, and its hash."""

    path: Path
    hash: bytes


Part: TypeAlias = "Leaf | Child"


def parts_of(path: Path, encoded: bytes) -> list[Part]:
    """Return what hangs on a stored node, in order of path; raises InvalidInput for what is no node."""
    return list(_parts(path, rlp.decode(encoded)))


def _parts(path: Path, node: rlp.Item) -> Iterator[Part]:
    if isinstance(node, list) and len(node) == 17:
        for nibble, child in enumerate(node[:16]):
            yield from _below(path + bytes([nibble]), child)
        return
    if not isinstance(node, list) or len(node) != 2 or not isinstance(node[0], bytes) or not node[0]:
        raise InvalidInput("trie.malformed", "not a trie node")
    key, is_leaf = _unpack(node[0])
    if not is_leaf:
        yield from _below(path + key, node[1])
    elif isinstance(node[1], bytes):
        yield Leaf(path + key, node[1])
    else:
        raise InvalidInput("trie.malformed", "a leaf holds a list")


def _below(path: Path, child: rlp.Item) -> Iterator[Part]:
    """A child is absent, a hash, or a short node inside its parent."""
    if isinstance(child, list):
        yield from _parts(path, child)
    elif len(child) == 32:
        yield Child(path, child)
    elif child:
        raise InvalidInput("trie.malformed", "a child is no hash")


def _unpack(packed: bytes) -> tuple[Path, bool]:
    """Read a compact path: its nibbles, and whether it ends in a leaf."""
    flag = packed[0] >> 4
    if flag > 3:
        raise InvalidInput("trie.malformed", "a path with an unknown flag")
    nibbles = nibbles_of(packed)
    return nibbles[1 if flag & 1 else 2 :], bool(flag & 2)


def nibbles_of(data: bytes) -> Path:
    """Return the half-bytes of a key, high first, one a byte."""
    return bytes.fromhex("0" + "0".join(data.hex())) if data else b""


def walk_rows(
    prefix: bytes, rows: Iterable[tuple[bytes, bytes]], root: bytes
) -> Iterator[Fault | Tick | Leaf]:
    """Read all rows of one trie in key order, which is the order of a walk, parents first.

    So what is to come is a stack: a row that is not its top is either one too many or shows that the top is missing.
    """
    wanted: list[Child] = [] if root == EMPTY_ROOT else [Child(b"", root)]
    for key, encoded in rows:
        path = key[len(prefix) :]
        yield Tick("trie nodes", 1)
        while wanted and wanted[-1].path < path:
            yield _missing(prefix, wanted.pop())
        if not wanted or wanted[-1].path != path:
            yield Fault("orphan.node", key, "no node of the trie leads to it", HARMLESS)
            continue
        if keccak256(encoded) != wanted.pop().hash:
            yield Fault("trie.wrong_hash", key, "the node is not the one that its parent names", REBUILD)
            continue
        try:
            parts = parts_of(path, encoded)
        except InvalidInput as error:
            yield Fault("trie.malformed", key, error.message, REBUILD)
            continue
        yield from (part for part in parts if isinstance(part, Leaf))
        wanted += reversed([part for part in parts if isinstance(part, Child)])
    for child in reversed(wanted):
        yield _missing(prefix, child)


def _missing(prefix: bytes, child: Child) -> Fault:
    return Fault("trie.missing", prefix + child.path, "a node that its parent names is not there", REBUILD)


class Tally:
    """Whether two sets of pairs, each seen in an order of its own, are equal: sums of hashes in buckets by key.

    Equal sums of 128-bit hashes mean equal sets, damage being no adversary; an unequal bucket says where to look.
    """

    BUCKET_BYTES = 2

    def __init__(self) -> None:
        """Both sets are empty."""
        self._sums: dict[bytes, int] = defaultdict(int)

    def add(self, key: bytes, value: bytes) -> None:
        """Count a pair of the one set."""
        self._sums[key[: self.BUCKET_BYTES]] += _weight(key, value)

    def remove(self, key: bytes, value: bytes) -> None:
        """Count a pair of the other set."""
        self._sums[key[: self.BUCKET_BYTES]] -= _weight(key, value)

    def unequal(self) -> frozenset[bytes]:
        """Return the beginnings of keys under which the sets differ."""
        return frozenset(bucket for bucket, total in self._sums.items() if total)


def _weight(key: bytes, value: bytes) -> int:
    return int.from_bytes(keccak256(key + value)[:16], "big")
