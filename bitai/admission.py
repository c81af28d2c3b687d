"""Let transactions into the sequencer's pool: decode in batches off the loop, check, journal, answer the sender.

Senders wait for their own transaction only; what arrives together is decoded together, so that signature
recovery uses every core. A transaction is journalled before its sender hears of it, without a sync: a power
cut may lose the last moments' waiting transactions, a killed process loses none.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar, cast

import structlog

from primitives.errors import BitaiError, InvalidInput, Rejected, Temporary
from primitives.ids import Address, Hash32
from rollup.sequencer.pool import AccountFacts, Pool
from vm.data_fee import data_fee_wei
from vm.store import WriteBatch
from vm.system import read_l1_info

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bitai.metrics import Metrics
    from vm._core import Transaction
    from vm.executor import Executor
    from vm.store import KeyValueStore
    from vm.system import L1Info
    from vm.views import StateView

T = TypeVar("T")

log = structlog.get_logger(__name__)

JOURNAL_PREFIX: Final = b"P"
MAX_WAITING: Final = 20_000
"""Transactions between their arrival and their admission; beyond it senders are asked to come again."""
MAX_WAITING_BYTES: Final = 32 << 20
BATCH: Final = 512
"""Transactions decoded at once: long enough to fill the cores, short enough that nobody waits noticeably."""
FLOOR_DIVISOR: Final = 4
"""A fee cap below a fourth of the base fee waits for ten empty blocks at least: no use holding it."""
HEAD_TRIES: Final = 3


@dataclass(slots=True)
class _Arrival:
    """Transactions that came together, and what their sender hears of each, in order."""

    raws: Sequence[bytes]
    size: int
    answer: asyncio.Future[list[Hash32 | BitaiError]]

    def tell(self, outcomes: list[Hash32 | BitaiError]) -> None:
        if not self.answer.done():
            self.answer.set_result(outcomes)

    def refuse(self, error: BitaiError) -> None:
        self.tell([error] * len(self.raws))


@dataclass(frozen=True, slots=True)
class _Judged:
    """What decoding and the state say of a batch: one entry each, facts by sender, the base fee (wei), L1's prices."""

    decoded: list[Transaction | tuple[str, str]]
    facts: dict[bytes, AccountFacts]
    base_fee_wei: int
    l1_info: L1Info

    def data_fee_wei(self, transaction: Transaction) -> int:
        """Return what the transaction's bytes on Bitcoin would cost now."""
        return data_fee_wei(transaction.data_size, self.l1_info.fee_rate, self.l1_info.fee_scalar)


class Admission:
    """The way into one pool. Its methods belong to the event loop, `run` is its task."""

    def __init__(
        self,
        executor: Executor,
        store: KeyValueStore,
        pool: Pool,
        *,
        on_admitted: Callable[[], None],
        metrics: Metrics | None = None,
    ) -> None:
        """Admit into `pool` by the state of `executor`; `on_admitted` is called after each batch that added any."""
        self._executor = executor
        self._store = store
        self._pool = pool
        self._on_admitted = on_admitted
        self._metrics = metrics
        self._arrivals: deque[_Arrival] = deque()
        self._arrived = asyncio.Event()
        self._waiting = 0
        self._waiting_bytes = 0
        self._forgotten: list[bytes] = []
        self._rewinds = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="admission")
        pool.watch(self._forgotten.append)

    async def submit(self, raw: bytes) -> Hash32:
        """Admit one signed transaction and return its hash; raises what `submit_many` would say of it."""
        (outcome,) = await self.submit_many([raw])
        if isinstance(outcome, BitaiError):
            raise outcome
        return outcome

    def submit_many(self, raws: Sequence[bytes]) -> asyncio.Future[list[Hash32 | BitaiError]]:
        """Admit signed transactions; the hash of each or why not, once all are judged and journalled.

        Errors: `InvalidInput` "tx.*" for one that no state could take, `Rejected` "pool.*" for one that the pool
        does not take now, `Temporary` for all when the node stops or its state moves too fast.
        """
        answer: asyncio.Future[list[Hash32 | BitaiError]] = asyncio.get_running_loop().create_future()
        size, limit = sum(map(len, raws)), self._pool.limits.raw_transaction_bytes
        if size > limit and any(len(raw) > limit for raw in raws):
            return self._without_the_large(raws, answer)
        arrival = _Arrival(raws, size, answer)
        full = self._waiting + len(raws) > MAX_WAITING or self._waiting_bytes + size > MAX_WAITING_BYTES
        if full or not raws:
            arrival.refuse(Rejected("pool.full", "too many transactions at once; try again later"))
            return answer
        self._arrivals.append(arrival)
        self._waiting += len(raws)
        self._waiting_bytes += size
        self._arrived.set()
        return answer

    def _without_the_large(
        self, raws: Sequence[bytes], answer: asyncio.Future[list[Hash32 | BitaiError]]
    ) -> asyncio.Future[list[Hash32 | BitaiError]]:
        """Refuse those that are too large before anything else is done with them, and submit the others."""
        limit = self._pool.limits.raw_transaction_bytes
        oversized = Rejected("pool.oversized", f"oversized data: transaction of over {limit} bytes")

        def answered(done: asyncio.Future[list[Hash32 | BitaiError]]) -> None:
            if answer.done():
                return
            outcomes = iter(done.result())
            answer.set_result([oversized if len(raw) > limit else next(outcomes) for raw in raws])

        self.submit_many([raw for raw in raws if len(raw) <= limit]).add_done_callback(answered)
        return answer

    async def run(self) -> None:
        """Admit what arrives, for as long as the node runs."""
        arrivals: list[_Arrival] = []
        try:
            while True:
                await self._arrived.wait()
                arrivals = self._gather()
                await self._admit_batch(arrivals)
        finally:
            for each in (*arrivals, *self._arrivals):
                each.refuse(Temporary("admission.stopping", "the node stops; send it again later"))
            self._arrivals.clear()
            # What is under way there reads and writes the store, which is closed soon.
            self._thread.shutdown(wait=True, cancel_futures=True)

    def _gather(self) -> list[_Arrival]:
        """Take what has arrived, a batch at most: an array of its own may be longer, and is not cut."""
        arrivals: list[_Arrival] = []
        count = 0
        while self._arrivals and (not arrivals or count + len(self._arrivals[0].raws) <= BATCH):
            arrival = self._arrivals.popleft()
            arrivals.append(arrival)
            count += len(arrival.raws)
            self._waiting_bytes -= arrival.size
        self._waiting -= count
        if not self._arrivals:
            self._arrived.clear()
        return arrivals

    async def _admit_batch(self, arrivals: list[_Arrival]) -> None:
        loop = asyncio.get_running_loop()
        raws = [raw for each in arrivals for raw in each.raws]
        try:
            judged = await self._judge_beside(raws)
        except Temporary as error:
            for arrival in arrivals:
                arrival.refuse(error)
            return
        outcomes, admitted = self._admit(judged)
        journal = self._forget()
        journal.extend([(JOURNAL_PREFIX + each.hash, each.raw) for each in admitted])
        if journal.writes:
            try:
                await loop.run_in_executor(self._thread, lambda: self._store.write(journal, sync=False))
            except Temporary as error:
                log.warning("transactions not journalled", code=error.code, reason=error.message)
                self._pool.remove([each.hash for each in admitted])
                outcomes = [error if isinstance(each, bytes) else each for each in outcomes]
                admitted = []
        answers = iter(outcomes)
        for arrival in arrivals:
            arrival.tell(list(islice(answers, len(arrival.raws))))
        if admitted:
            self._on_admitted()

    async def _judge_beside(self, raws: Sequence[bytes]) -> _Judged:
        """Judge on the admission thread, and by the state once more if the pool has moved on meanwhile.

        By the nonces of a state that is gone, the pool would take what a rewind returned for included, and open
        the emptied lane of a sender whose transactions a block took at a nonce that lies behind.
        """
        loop = asyncio.get_running_loop()
        decoded = None
        while True:
            before = (self._rewinds, len(self._forgotten))
            judged = await loop.run_in_executor(self._thread, self._judge, raws, decoded)
            if before == (self._rewinds, len(self._forgotten)):
                return judged
            decoded = judged.decoded

    def _judge(
        self, raws: Sequence[bytes], decoded: list[Transaction | tuple[str, str]] | None = None
    ) -> _Judged:
        """Decode, recover and look up the senders; for the admission thread, or at start."""
        decoded = self._executor.decode(raws) if decoded is None else decoded
        senders = {each.sender for each in decoded if not isinstance(each, tuple)}
        facts, l1_info = self._at_head(
            lambda view: ({each: _facts(view, Address(each)) for each in senders}, read_l1_info(view.storage))
        )
        return _Judged(decoded, facts, self._executor.head.base_fee, l1_info)

    def _at_head(self, read: Callable[[StateView], T]) -> T:
        """Read the state at the head, which may move and even leave the chain meanwhile."""
        for _ in range(HEAD_TRIES):
            try:
                return read(self._executor.view(self._executor.head.number))
            except Rejected:
                continue
        raise Temporary("admission.head_moves", "the head moves too fast to read it")

    def _admit(self, judged: _Judged) -> tuple[list[Hash32 | BitaiError], list[Transaction]]:
        outcomes: list[Hash32 | BitaiError] = []
        admitted: list[Transaction] = []
        floor = judged.base_fee_wei // FLOOR_DIVISOR
        for transaction in judged.decoded:
            try:
                if isinstance(transaction, tuple):
                    raise InvalidInput(*transaction)
                added = self._pool.add(
                    transaction,
                    judged.facts[transaction.sender],
                    floor_fee_wei=floor,
                    data_fee_wei=judged.data_fee_wei(transaction),
                )
                outcomes.append(Hash32(added))
                admitted.append(transaction)
            except (InvalidInput, Rejected) as error:
                outcomes.append(error)
                if self._metrics is not None:
                    self._metrics.count("mempool_refused_total", code=error.code)
        self._measure()
        return outcomes, admitted

    def _forget(self) -> WriteBatch:
        """Return a batch that takes what has left the pool, and did not come back, out of the journal."""
        batch = WriteBatch()
        for each in self._forgotten:
            if each not in self._pool:
                batch.delete(JOURNAL_PREFIX + each)
        self._forgotten.clear()
        return batch

    def _measure(self) -> None:
        if self._metrics is not None:
            runnable, parked = self.counts()
            self._metrics.set("mempool_transactions", runnable, queue="pending")
            self._metrics.set("mempool_transactions", self._pool.gapped, queue="queued")
            self._metrics.set("mempool_transactions", parked, queue="parked")

    def restore(self) -> int:
        """Take the journalled transactions back into the pool at start; return how many still fit."""
        return self.readmit([raw for _, raw in self._store.scan(JOURNAL_PREFIX)])

    def readmit(self, raws: list[bytes]) -> int:
        """Take transactions back, as after a rewind; those whose place is taken are dropped from the journal.

        The pool's bounds are for newcomers: what stood in a block is not lost because many come back at once.
        Before `run` begins, or between its steps: blocking, some 40 microseconds a transaction.
        """
        self._rewinds += 1
        judged = self._judge(raws)
        batch = WriteBatch()
        for raw, each in zip(raws, judged.decoded, strict=True):
            if isinstance(each, tuple):
                log.error("journalled transaction does not decode", code=each[0], size=len(raw))
        decoded = [each for each in judged.decoded if not isinstance(each, tuple)]
        kept = 0
        for transaction in sorted(decoded, key=lambda each: (each.sender, each.nonce)):
            try:
                self._pool.put_back(
                    transaction,
                    judged.facts[transaction.sender],
                    data_fee_wei=judged.data_fee_wei(transaction),
                )
            except Rejected:
                if transaction.hash not in self._pool:
                    batch.delete(JOURNAL_PREFIX + transaction.hash)
                continue
            batch.put(JOURNAL_PREFIX + transaction.hash, transaction.raw)
            kept += 1
        self._store.write(batch, sync=False)
        self._measure()
        return kept

    # -- the RPC's Sender ----------------------------------------------------------------------

    def waiting(self, transaction_hash: Hash32) -> Transaction | None:
        """Return a transaction that waits in the pool."""
        return cast("Transaction | None", self._pool.get(transaction_hash))  # it holds what we put into it

    def pending_nonce(self, address: Address, state_nonce: int) -> int:
        """Return the nonce after the account's waiting transactions."""
        return self._pool.pending_nonce(address, state_nonce)

    def counts(self) -> tuple[int, int]:
        """Return how many transactions could run, and how many wait for a model's answer."""
        return len(self._pool) - self._pool.parked, self._pool.parked

    def content(
        self, limit: int, sender: Address | None = None
    ) -> tuple[list[Transaction], list[Transaction]]:
        """Return transactions that could run and others that wait for a nonce, `limit` of each at most."""
        return cast("tuple[list[Transaction], list[Transaction]]", self._pool.content(limit, sender))


def _facts(view: StateView, sender: Address) -> AccountFacts:
    account = view.account(sender)
    return AccountFacts(0, 0) if account is None else AccountFacts(account.nonce, account.balance)
