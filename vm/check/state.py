"""Checks the head's state: tries from their roots, and the flat rows against the leaves."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import TypeAlias

from primitives import rlp
from primitives.errors import InvalidInput
from vm._core import EMPTY_CODE_HASH, EMPTY_ROOT, keccak256
from vm.check.fault import HARMLESS, REBUILD, Fault, Findings, Tick
from vm.check.tries import Leaf, Tally, nibbles_of, walk_rows
from vm.store import Snapshot

ACCOUNT, SLOT, CODE, NODE, STORAGE_NODE = b"a", b"s", b"c", b"A", b"S"
ADDRESS_BYTES = 20

Pairs: TypeAlias = "Iterator[tuple[bytes, bytes]]"


def check_state(rows: Snapshot, state_root: bytes) -> Findings:
    """Find nodes, accounts, slots and code that are not those of a state root."""
    yield from _check_code(rows)
    yield from _compare(
        NODE,
        lambda: rows.scan(NODE),
        state_root,
        lambda: ((key, nibbles_of(keccak256(key[1:])), value) for key, value in rows.scan(ACCOUNT)),
    )
    yield from _check_accounts(rows)


def _check_code(rows: Snapshot) -> Findings:
    for key, code in rows.scan(CODE):
        yield Tick("code", 1)
        if keccak256(code) != key[1:]:
            yield Fault("code.wrong_hash", key, "the code is not the one of its hash", REBUILD)


def _check_accounts(rows: Snapshot) -> Findings:
    """Go through accounts, their slots and the nodes of their storage side by side: all three sort by address."""
    slots, nodes = _Groups(rows.scan(SLOT)), _Groups(rows.scan(STORAGE_NODE))
    for key, value in rows.scan(ACCOUNT):
        yield Tick("accounts", 1)
        address = key[1:]
        yield from slots.skip(address, "orphan.slot", "no account has it")
        yield from nodes.skip(address, "orphan.node", "no account has this storage")
        try:
            storage_root, code_hash = read_account(value)
        except InvalidInput as error:
            yield Fault("account.malformed", key, error.message, REBUILD)
            slots.take(address)
            nodes.take(address)
            continue
        if code_hash != EMPTY_CODE_HASH and rows.get(CODE + code_hash) is None:
            yield Fault("code.missing", CODE + code_hash, f"account {address.hex()} names it", REBUILD)
        present = [group.take(address) for group in (slots, nodes)]
        if storage_root != EMPTY_ROOT or any(present):
            yield from _check_storage(rows, address, storage_root)
    yield from slots.skip(None, "orphan.slot", "no account has it")
    yield from nodes.skip(None, "orphan.node", "no account has this storage")


def _check_storage(rows: Snapshot, address: bytes, root: bytes) -> Findings:
    def slots() -> Iterator[tuple[bytes, bytes, bytes]]:
        for key, value in rows.scan(SLOT + address):
            yield key, nibbles_of(keccak256(key[1 + ADDRESS_BYTES :])), rlp.encode(value)

    prefix = STORAGE_NODE + address
    yield from _compare(prefix, lambda: rows.scan(prefix), root, slots)


def _compare(
    prefix: bytes,
    nodes: Callable[[], Iterable[tuple[bytes, bytes]]],
    root: bytes,
    flat: Callable[[], Iterator[tuple[bytes, bytes, bytes]]],
) -> Findings:
    """Walk a trie, and hold its leaves against flat rows (key, path, value as in a leaf)."""
    tally, broken = Tally(), False
    for found in walk_rows(prefix, nodes(), root):
        if isinstance(found, Leaf):
            tally.add(found.path, found.value)
            continue
        broken = broken or isinstance(found, Fault)
        yield found
    for _, path, value in flat():
        yield Tick("flat rows", 1)
        tally.remove(path, value)
    buckets = tally.unequal()
    if (
        not buckets or broken
    ):  # under a broken node leaves are missing: that is told, and says nothing of flat rows
        return
    leaves = {
        found.path: found.value
        for found in walk_rows(prefix, nodes(), root)
        if isinstance(found, Leaf) and found.path[: Tally.BUCKET_BYTES] in buckets
    }
    for key, path, value in flat():
        if path[: Tally.BUCKET_BYTES] not in buckets:
            continue
        leaf = leaves.pop(path, None)
        if leaf is None:
            yield Fault("flat.not_in_trie", key, "the trie has no such leaf", REBUILD)
        elif leaf != value:
            yield Fault("flat.differs", key, "the leaf of the trie holds another value", REBUILD)
    for path in leaves:
        yield Fault("flat.missing", prefix + path, "the leaf at this path has no flat row", REBUILD)


class _Groups:
    """Rows of one table, an address after the other."""

    def __init__(self, pairs: Pairs) -> None:
        self._groups = groupby(pairs, lambda pair: pair[0][1 : 1 + ADDRESS_BYTES])
        self._rows: Pairs = iter(())
        self.address: bytes | None = None
        self._advance()

    def _advance(self) -> None:
        self.address, self._rows = next(self._groups, (None, iter(())))

    def take(self, address: bytes) -> bool:
        """Pass an address's rows, which others look at; tell whether it has any."""
        if self.address != address:
            return False
        self._advance()
        return True

    def skip(self, upto: bytes | None, kind: str, meaning: str) -> Iterator[Fault]:
        """Tell of all rows of addresses before one, None: of all that are left."""
        while self.address is not None and (upto is None or self.address < upto):
            for key, _ in self._rows:
                yield Fault(kind, key, meaning, HARMLESS)
            self._advance()


def read_account(value: bytes) -> tuple[bytes, bytes]:
    """Return storage root and code hash."""
    fields = rlp.decode_list(value, 4)
    root, code_hash = fields[2], fields[3]
    if not isinstance(root, bytes) or not isinstance(code_hash, bytes) or {len(root), len(code_hash)} != {32}:
        raise InvalidInput("account.malformed", "not an account")
    return root, code_hash
