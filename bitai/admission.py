"""Let transactions into the sequencer's pool: decode in batches off the loop, check, journal, answer the sender.

Senders wait for their own transaction only; what arrives together is decoded together, so that signature
recovery uses every core. A transaction is journalled before its sender hears of it, without a sync: a power
cut may lose the last moments' waiting transactions, a killed process loses none.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primitives.errors import BitaiError, InvalidInput, Rejected
from primitives.ids import Address, Hash32
from rollup.sequencer.pool import AccountFacts, Pool
from vm.store import WriteBatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from vm._core import Transaction
    from vm.executor import Executor
    from vm.store import KeyValueStore

JOURNAL_PREFIX: Final = b"P"
MAX_WAITING: Final = 20_000
"""Transactions between their arrival and their admission; beyond it senders are asked to come again."""
BATCH: Final = 512
"""Transactions decoded at once: long enough to fill the cores, short enough that nobody waits noticeably."""


@dataclass(slots=True)
class _Arrival:
    raw: bytes
    answer: asyncio.Future[Hash32]


class Admission:
    """The way into one pool. Its methods belong to the event loop, `run` is its task."""

    def __init__(
        self, executor: Executor, store: KeyValueStore, pool: Pool, *, on_admitted: Callable[[], None]
    ) -> None:
        """Admit into `pool` by the state of `executor`; `on_admitted` is called after each batch that added any."""
        self._executor = executor
        self._store = store
        self._pool = pool
        self._on_admitted = on_admitted
        self._arrivals: asyncio.Queue[_Arrival] = asyncio.Queue(MAX_WAITING)

    async def submit(self, raw: bytes) -> Hash32:
        """Admit one signed transaction and return its hash.

        Errors: `InvalidInput` "tx.*" for one that no state could take, `Rejected` "pool.*" for one that the pool
        does not take now.
        """
        arrival = _Arrival(raw, asyncio.get_running_loop().create_future())
        try:
            self._arrivals.put_nowait(arrival)
        except asyncio.QueueFull:
            raise Rejected("pool.full", "too many transactions at once; try again later") from None
        return await arrival.answer

    async def run(self) -> None:
        """Admit what arrives, for as long as the node runs."""
        while True:
            arrivals = [await self._arrivals.get()]
            while len(arrivals) < BATCH and not self._arrivals.empty():
                arrivals.append(self._arrivals.get_nowait())
            decoded = await asyncio.to_thread(self._executor.decode, [each.raw for each in arrivals])
            self._admit(arrivals, decoded)

    def _admit(self, arrivals: list[_Arrival], decoded: list[Transaction | tuple[str, str]]) -> None:
        journal = WriteBatch()
        view = self._executor.view(self._executor.head.number)
        facts: dict[bytes, AccountFacts] = {}
        admitted: list[tuple[_Arrival, Transaction]] = []
        for arrival, transaction in zip(arrivals, decoded, strict=True):
            try:
                if isinstance(transaction, tuple):
                    raise InvalidInput(*transaction)
                if transaction.sender not in facts:
                    address = Address(transaction.sender)
                    facts[transaction.sender] = AccountFacts(view.nonce(address), view.balance(address))
                self._pool.add(transaction, facts[transaction.sender])
            except BitaiError as error:
                if not arrival.answer.done():
                    arrival.answer.set_exception(error)
                continue
            journal.put(JOURNAL_PREFIX + transaction.hash, transaction.raw)
            admitted.append((arrival, transaction))
        if not admitted:
            return
        self._store.write(journal, sync=False)
        for arrival, transaction in admitted:
            if not arrival.answer.done():
                arrival.answer.set_result(Hash32(transaction.hash))
        self._on_admitted()

    def restore(self) -> int:
        """Take the journalled transactions back into the pool at start; return how many still fit."""
        raws = [raw for _, raw in self._store.scan(JOURNAL_PREFIX)]
        return self.readmit(raws)

    def readmit(self, raws: list[bytes]) -> int:
        """Take transactions back, as after a rewind; those that no longer fit are dropped from the journal."""
        view = self._executor.view(self._executor.head.number)
        kept, batch = 0, WriteBatch()
        for transaction in self._executor.decode(raws):
            if isinstance(transaction, tuple):
                continue
            address = Address(transaction.sender)
            try:
                self._pool.add(transaction, AccountFacts(view.nonce(address), view.balance(address)))
            except Rejected:
                if transaction.hash not in self._pool:
                    batch.delete(JOURNAL_PREFIX + transaction.hash)
                continue
            batch.put(JOURNAL_PREFIX + transaction.hash, transaction.raw)
            kept += 1
        self._store.write(batch, sync=False)
        return kept

    def waiting(self, transaction_hash: Hash32) -> Transaction | None:
        """Return a transaction that waits in the pool."""
        found = self._pool.get(transaction_hash)
        return found  # type: ignore[return-value]  # the pool holds what this class put into it

    def pending_nonce(self, address: Address, state_nonce: int) -> int:
        """Return the nonce after the account's waiting transactions."""
        return self._pool.pending_nonce(address, state_nonce)

    def counts(self) -> tuple[int, int]:
        """Return how many transactions could run, and how many wait for a model's answer."""
        waiting = len(self._pool.waiting())
        return len(self._pool) - waiting, waiting
