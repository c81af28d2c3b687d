"""A chain whose state is as large as one likes: rows and tries written directly, in order, below a genesis block."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from bench.sorted_trie import KEY_BYTES, Leaves, build_trie
from bench.workload import BALANCES_SLOT
from bench.world import TOKEN_ADDRESS, World
from primitives import rlp
from primitives.ids import Address, Hash32
from vm import _core, schema
from vm.block_rows import add_genesis
from vm.environment import genesis_environment
from vm.genesis import genesis_accounts
from vm.migrations import put_schema
from vm.schema import BlockId
from vm.store import KeyValueStore, WriteBatch

CHUNK: Final = 100_000
_RICH: Final = rlp.encode([b"", b"\1", _core.EMPTY_ROOT, _core.EMPTY_CODE_HASH])
"""An account with one wei."""


def holder_addresses(count: int) -> Iterator[list[bytes]]:
    """Yield the addresses of holders in chunks, the same at every run."""
    for start in range(0, count, CHUNK):
        numbers = range(start, min(start + CHUNK, count))
        hashes = _core.keccak256_many([b"holder" + number.to_bytes(4, "big") for number in numbers])
        yield [each[:20] for each in hashes]


def some_holders(count: int, wanted: int) -> list[Address]:
    """Return holders from all over the state."""
    step = max(1, count // wanted)
    numbers = range(0, count, step)
    hashes = _core.keccak256_many([b"holder" + number.to_bytes(4, "big") for number in numbers])
    return [Address(each[:20]) for each in hashes]


def write_grown_chain(world: World, store: KeyValueStore, holders: int) -> None:
    """Write a genesis block in whose state, besides the world's accounts, so many more hold coin and token."""
    spec = world.config.chain_spec()
    sealed = _core.build_genesis(genesis_environment(spec), genesis_accounts(spec.genesis, spec.origin))
    small = WriteBatch()
    add_genesis(small, sealed, spec)
    rows = dict(small.writes)
    writer = _Writer(store)
    token_slots = [(key[21:], value) for key, value in rows.items() if key[:21] == b"s" + TOKEN_ADDRESS]
    storage_root = _write_storage(writer, token_slots, holders)
    accounts = {key[1:]: value for key, value in rows.items() if key[:1] == b"a"}
    fields = rlp.decode_list(accounts[TOKEN_ADDRESS], 4)
    accounts[TOKEN_ADDRESS] = rlp.encode([fields[0], fields[1], storage_root, fields[3]])
    state_root = _write_accounts(writer, accounts, holders)
    for key, value in rows.items():
        if value is not None and key[:1] not in (b"a", b"A") and key[:21] != b"S" + TOKEN_ADDRESS:
            writer.put(key, value)
    _write_head(writer, sealed, state_root)
    writer.finish()


def _write_head(writer: "_Writer", sealed: "_core.SealedBlock", state_root: bytes) -> None:
    """Give the genesis block the state root that the state now has."""
    header = rlp.decode(sealed.header_rlp)
    assert isinstance(header, list)
    header[3] = state_root
    encoded = rlp.encode(header)
    block = BlockId(0, Hash32(_core.keccak256(encoded)))
    extras = schema.decode_extras(writer.rows[schema.extras_key(0)])
    writer.put(schema.header_key(0), encoded)
    writer.put(schema.extras_key(0), schema.encode_extras(extras._replace(hash=block.hash)))
    writer.put(schema.block_hash_key(block.hash), schema.encode_number(0))
    writer.put(schema.META_HEAD, schema.encode_block_id(block))
    writer.put(schema.META_HISTORY, schema.encode_block_id(block))
    batch = WriteBatch()
    put_schema(batch)
    for key, value in batch.writes:
        writer.put(key, value or b"")


class _Writer:
    """Writes rows in batches as they come; keeps those of blocks for who changes them once more."""

    def __init__(self, store: KeyValueStore) -> None:
        self._store, self._batch = store, WriteBatch()
        self.rows: dict[bytes, bytes] = {}

    def put(self, key: bytes, value: bytes) -> None:
        self._batch.put(key, value)
        if key[:1] == b"E":
            self.rows[key] = value
        if len(self._batch.writes) >= CHUNK:
            self.finish()

    def finish(self) -> None:
        self._store.write(self._batch, sync=False)
        self._batch = WriteBatch()


def _sorted(keys: Sequence[bytes]) -> tuple[bytes, "np.ndarray[tuple[int], np.dtype[np.int64]]"]:
    """Return keys of 32 bytes in order, joined, and from which place each came."""
    table = np.frombuffer(b"".join(keys), dtype=">u8").reshape(-1, KEY_BYTES // 8)
    order = np.lexsort([table[:, column] for column in reversed(range(table.shape[1]))])
    return table[order].tobytes(), order


def _write_storage(writer: _Writer, special: list[tuple[bytes, bytes]], holders: int) -> bytes:
    """Write one token for each holder; slots in order of their keys, then the trie in order of hashes."""
    known = {slot for slot, _ in special}
    place = BALANCES_SLOT.to_bytes(32, "big")
    slots = [slot for slot, _ in special]
    for chunk in holder_addresses(holders):
        made = _core.keccak256_many([bytes(12) + address + place for address in chunk])
        slots += [slot for slot in made if slot not in known]
    values = [value for _, value in special]
    count = len(values)
    ordered, order = _sorted(slots)
    for rank, source in enumerate(order.tolist()):
        key = ordered[rank * KEY_BYTES : (rank + 1) * KEY_BYTES]
        writer.put(b"s" + TOKEN_ADDRESS + key, values[source] if source < count else b"\1")
    hashes, order = _sorted(_hashed(slots))
    sources = order.tolist()
    leaves = Leaves(hashes, lambda at: rlp.encode(values[sources[at]]) if sources[at] < count else b"\1")
    prefix = b"S" + TOKEN_ADDRESS
    return build_trie(leaves, lambda path, node: writer.put(prefix + path, node))


def _write_accounts(writer: _Writer, special: dict[bytes, bytes], holders: int) -> bytes:
    addresses = list(special)
    for chunk in holder_addresses(holders):
        addresses += [address for address in chunk if address not in special]
    values, count = list(special.values()), len(special)
    ordered, order = _sorted([address + bytes(12) for address in addresses])
    for rank, source in enumerate(order.tolist()):
        address = ordered[rank * KEY_BYTES : rank * KEY_BYTES + 20]
        writer.put(b"a" + address, values[source] if source < count else _RICH)
    hashes, order = _sorted(_hashed(addresses))
    sources = order.tolist()
    leaves = Leaves(hashes, lambda at: values[sources[at]] if sources[at] < count else _RICH)
    return build_trie(leaves, lambda path, node: writer.put(b"A" + path, node))


def _hashed(keys: list[bytes]) -> list[bytes]:
    hashes: list[bytes] = []
    for start in range(0, len(keys), CHUNK):
        hashes += _core.keccak256_many(keys[start : start + CHUNK])
    return hashes
