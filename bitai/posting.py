"""Show the batcher its chain, derivation's progress and its rows on disk: ports over the node's own parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from rollup.batch.codec import to_batch_block
from rollup.batcher.ports import Backlog, Progress, SourceBlock
from vm.store import WriteBatch

if TYPE_CHECKING:
    from bitai.chain import ChainDriver
    from bitai.chain_thread import ChainThread
    from l1.journal import Put
    from vm.store import KeyValueStore
    from vm.types import BlockData

JOURNAL_PREFIX: Final = b"Q"
COUNTED_BLOCKS: Final = 4_096
"""Blocks whose sizes are added up at most; beyond that a channel is full several times over."""

RECORD_BYTES: Final = 150
"""A record beside its output: request hash, signature, neuron, and small numbers."""


class ChainBlocks:
    """The batcher's `BlockSource` and `DerivationView`."""

    def __init__(self, driver: ChainDriver, thread: ChainThread) -> None:
        """Read a chain from its thread, so that no rewind happens between two blocks of one answer."""
        self._driver = driver
        self._thread = thread
        self._sizes: dict[bytes, int] = {}

    async def backlog(self, first_number: int) -> Backlog:
        """See `BlockSource.backlog`."""
        return await self._thread.run(self._backlog, first_number)

    def _backlog(self, first_number: int) -> Backlog:
        chain, head = self._driver.executor.chain, self._driver.executor.head
        parent = chain.block_hash(first_number - 1) if first_number > 0 else None
        first = chain.extras(first_number)
        newest = self._driver.shared_head
        last = min(newest, first_number + COUNTED_BLOCKS - 1)
        waiting = sum(self._size(number) for number in range(first_number, last + 1))
        origin = first.origin.height if first is not None else head.origin.height
        return Backlog(newest, waiting, origin, parent)

    def _size(self, number: int) -> int:
        block_hash = self._driver.executor.chain.block_hash(number) or b""
        size = self._sizes.get(block_hash)
        if size is None:
            data = self._driver.executor.chain.block_data(number)
            size = 0 if data is None else _count_bytes(data)
            if len(self._sizes) > 4 * COUNTED_BLOCKS:
                self._sizes.clear()
            self._sizes[block_hash] = size
        return size

    async def read(self, first_number: int, max_bytes: int) -> Sequence[SourceBlock]:
        """See `BlockSource.read`."""
        return await self._thread.run(self._read, first_number, max_bytes)

    def _read(self, first_number: int, max_bytes: int) -> list[SourceBlock]:
        chain = self._driver.executor.chain
        blocks: list[SourceBlock] = []
        size = 0
        for number in range(first_number, self._driver.shared_head + 1):
            data, block_hash = chain.block_data(number), chain.block_hash(number)
            if data is None or block_hash is None:
                break
            blocks.append(SourceBlock(number, block_hash, to_batch_block(data)))
            size += _count_bytes(data)
            if size > max_bytes:
                break
        return blocks

    async def progress(self) -> Progress | None:
        """See `DerivationView.progress`."""
        return await self._thread.run(self._progress)

    def _progress(self) -> Progress:
        return Progress(self._driver.cursor, self._driver.next_channel, self._driver.derived_head)


def _count_bytes(data: BlockData) -> int:
    """Return about how long a block is in a batch: its transactions, and its records with their outputs."""
    records = sum(RECORD_BYTES + len(record.output) for record in data.records)
    return sum(map(len, data.transactions)) + records


class StoredJournal:
    """The batcher's `Journal` in the chain database."""

    def __init__(self, store: KeyValueStore) -> None:
        """Keep rows below the prefix Q."""
        self._store = store

    def load(self) -> Mapping[bytes, bytes]:
        """See `Journal.load`."""
        return {key[len(JOURNAL_PREFIX) :]: value for key, value in self._store.scan(JOURNAL_PREFIX)}

    def write(self, puts: Sequence[Put]) -> None:
        """See `Journal.write`."""
        self._store.write(WriteBatch([(JOURNAL_PREFIX + key, value) for key, value in puts]), sync=True)
