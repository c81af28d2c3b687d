"""Merkle trees: our own, with leaves and nodes hashed apart, and Bitcoin's.

Ours is the tree of RFC 9162 over SHA-256: leaf = H(0x00 | data), node = H(0x01 | left | right), split at the
largest power of two below the count, no leaf ever doubled. The count is part of what a proof states: take it
from a source you trust.
"""

from collections.abc import Sequence
from typing import Final

from primitives.errors import InvalidInput
from primitives.hashes import sha256, sha256d
from primitives.ids import HASH_BYTES, Hash32

EMPTY_ROOT: Final = sha256(b"")
_LEAF: Final = b"\0"
_NODE: Final = b"\1"


def leaf_hash(data: bytes) -> Hash32:
    """Return the hash of one leaf."""
    return sha256(_LEAF + data)


def merkle_root(leaves: Sequence[bytes]) -> Hash32:
    """Return the root over the leaves' data; of no leaves it is the hash of nothing."""
    level = [leaf_hash(leaf) for leaf in leaves]
    if not level:
        return EMPTY_ROOT
    while len(level) > 1:
        level = _next_level(level)
    return level[0]


def merkle_proof(leaves: Sequence[bytes], index: int) -> tuple[Hash32, ...]:
    """Return the siblings on the way from a leaf up to the root.

    Raises InvalidInput `merkle.bad_index` when there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise InvalidInput("merkle.bad_index", "no such leaf", index=index, count=len(leaves))
    level = [leaf_hash(leaf) for leaf in leaves]
    siblings = []
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            siblings.append(level[sibling])
        level = _next_level(level)
        index //= 2
    return tuple(siblings)


def verify_merkle_proof(root: bytes, leaf: bytes, proof: Sequence[bytes], *, index: int, count: int) -> bool:
    """Tell whether `leaf` is at `index` of the `count` leaves under `root`; total."""
    if not 0 <= index < count or any(len(sibling) != HASH_BYTES for sibling in proof):
        return False
    node = leaf_hash(leaf)
    remaining = iter(proof)
    while count > 1:
        if index ^ 1 < count:
            sibling = next(remaining, None)
            if sibling is None:
                return False
            node = sha256(_NODE + sibling + node) if index & 1 else sha256(_NODE + node + sibling)
        index //= 2
        count = (count + 1) // 2
    return next(remaining, None) is None and node == root


def bitcoin_merkle_root(hashes: Sequence[bytes]) -> Hash32:
    """Return Bitcoin's root of hashes in internal order: double SHA-256, an odd last hash paired with itself.

    Raises InvalidInput `merkle.empty`, and `merkle.mutated` when two paired hashes are equal: such a list
    has the root of another, shorter one (CVE-2012-2459), and no valid block contains it.
    """
    if not hashes:
        raise InvalidInput("merkle.empty", "a block has at least one transaction")
    level = [bytes(entry) for entry in hashes]
    while len(level) > 1:
        if any(level[i] == level[i + 1] for i in range(0, len(level) - 1, 2)):
            raise InvalidInput("merkle.mutated", "two paired hashes are equal")
        if len(level) % 2:
            level.append(level[-1])
        level = [sha256d(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
    return Hash32(level[0])


def _next_level(level: list[Hash32]) -> list[Hash32]:
    """Hash pairs; an unpaired last node moves up as it is, which gives RFC 9162's split."""
    paired = [sha256(_NODE + level[i] + level[i + 1]) for i in range(0, len(level) - 1, 2)]
    return paired + level[len(level) - 1 :] if len(level) % 2 else paired
