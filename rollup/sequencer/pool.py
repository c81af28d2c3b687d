"""Hold the transactions that wait for a block, in the order in which they should enter one.

The pool is policy, not consensus: it decides what this node keeps and offers, never what a block may
contain. It is plain memory without I/O; the driver feeds it accounts and heads and journals what it
must not forget. Order is by tip, then by arrival, and always by nonce within one sender, so a sender
whose transaction waits for a model's answer holds back nobody but itself.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from primitives.errors import Duplicate, Rejected
from primitives.ids import Address, Hash32


class PooledTransaction(Protocol):
    """What the pool needs to know of a decoded, signature-checked transaction."""

    @property
    def hash(self) -> bytes: ...
    @property
    def sender(self) -> bytes: ...
    @property
    def nonce(self) -> int: ...
    @property
    def gas_limit(self) -> int: ...
    @property
    def value(self) -> int: ...
    @property
    def max_fee_per_gas(self) -> int: ...
    @property
    def max_priority_fee_per_gas(self) -> int: ...
    @property
    def raw(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of one node's pool; each protects its memory or its neighbours, none is consensus."""

    transactions: int = 50_000
    raw_bytes: int = 64 << 20
    per_sender: int = 4_096
    nonce_gap: int = 64
    """How far beyond the next nonce a transaction may wait: gaps cannot be executed, only stored."""
    raw_transaction_bytes: int = 131_072
    price_bump_percent: int = 10
    """What a replacement must add to both fee fields, so that replacing costs something."""


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """A sender's next nonce and balance (wei) in the state that admission is judged by."""

    nonce: int
    balance_wei: int


@dataclass(slots=True)
class _Lane:
    """One sender's waiting transactions by nonce, and the arrival number of each."""

    by_nonce: dict[int, PooledTransaction] = field(default_factory=dict)
    arrival: dict[int, int] = field(default_factory=dict)


class Pool:
    """The waiting transactions of a sequencer or a full node."""

    def __init__(self, limits: PoolLimits | None = None) -> None:
        self.limits = limits or PoolLimits()
        self._lanes: dict[bytes, _Lane] = {}
        self._by_hash: dict[bytes, PooledTransaction] = {}
        self._waiting: dict[bytes, Hash32] = {}
        self._raw_bytes = 0
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._by_hash)

    def __contains__(self, transaction_hash: bytes) -> bool:
        return transaction_hash in self._by_hash

    def get(self, transaction_hash: bytes) -> PooledTransaction | None:
        """Return the waiting transaction with this hash, if there is one."""
        return self._by_hash.get(transaction_hash)

    def add(self, transaction: PooledTransaction, account: AccountFacts, *, floor_fee_wei: int = 0) -> None:
        """Admit a transaction or say why not.

        Errors: `Duplicate` "pool.already_known"; `Rejected` "pool.nonce_too_low", "pool.nonce_gap",
        "pool.insufficient_funds", "pool.underpriced", "pool.replacement_underpriced", "pool.sender_full",
        "pool.full", "pool.oversized". Messages use the words that Ethereum clients match.
        """
        self._require_admissible(transaction, account, floor_fee_wei)
        lane = self._lanes.get(transaction.sender)
        if lane is None:
            lane = self._lanes[transaction.sender] = _Lane()
        replaced = lane.by_nonce.get(transaction.nonce)
        if replaced is not None:
            self._require_bump(replaced, transaction)
            self._forget(replaced)
            lane = self._lanes.setdefault(transaction.sender, lane)
        elif len(lane.by_nonce) >= self.limits.per_sender:
            raise Rejected("pool.sender_full", "too many waiting transactions from this sender")
        lane.by_nonce[transaction.nonce] = transaction
        lane.arrival[transaction.nonce] = self._arrivals
        self._arrivals += 1
        self._by_hash[transaction.hash] = transaction
        self._raw_bytes += len(transaction.raw)

    def _require_admissible(self, transaction: PooledTransaction, account: AccountFacts, floor: int) -> None:
        limits = self.limits
        if transaction.hash in self._by_hash:
            raise Duplicate("pool.already_known", "already known")
        if len(transaction.raw) > limits.raw_transaction_bytes:
            raise Rejected("pool.oversized", f"oversized data: limit {limits.raw_transaction_bytes} bytes")
        if transaction.nonce < account.nonce:
            raise Rejected(
                "pool.nonce_too_low", f"nonce too low: next nonce {account.nonce}, tx nonce {transaction.nonce}"
            )
        lane = self._lanes.get(transaction.sender)
        held = len(lane.by_nonce) if lane else 0
        if transaction.nonce > account.nonce + held + limits.nonce_gap:
            raise Rejected(
                "pool.nonce_gap", f"nonce too high: next nonce {account.nonce}, tx nonce {transaction.nonce}"
            )
        if transaction.max_fee_per_gas < floor:
            raise Rejected("pool.underpriced", f"transaction underpriced: fee floor {floor} wei per gas")
        cost = transaction.gas_limit * transaction.max_fee_per_gas + transaction.value
        if cost > account.balance_wei:
            raise Rejected(
                "pool.insufficient_funds",
                f"insufficient funds for gas * price + value: balance {account.balance_wei}, tx cost {cost}",
            )
        if len(self._by_hash) >= limits.transactions or self._raw_bytes >= limits.raw_bytes:
            raise Rejected("pool.full", "txpool is full; try again later")

    def _require_bump(self, old: PooledTransaction, new: PooledTransaction) -> None:
        factor = 100 + self.limits.price_bump_percent
        bumped = (
            new.max_fee_per_gas * 100 >= old.max_fee_per_gas * factor
            and new.max_priority_fee_per_gas * 100 >= old.max_priority_fee_per_gas * factor
        )
        if not bumped:
            raise Rejected("pool.replacement_underpriced", "replacement transaction underpriced")

    def wait_for(self, transaction_hash: bytes, request_hash: Hash32) -> None:
        """Hold a transaction back until the answer to its model request is known."""
        if transaction_hash in self._by_hash:
            self._waiting[transaction_hash] = request_hash

    def wake(self, request_hash: Hash32) -> list[bytes]:
        """Release and name the transactions that waited for this request."""
        woken = [each for each, wanted in self._waiting.items() if wanted == request_hash]
        for each in woken:
            del self._waiting[each]
        return woken

    def waiting(self) -> dict[bytes, Hash32]:
        """Return transaction hash -> request hash of all that wait for an answer."""
        return dict(self._waiting)

    def ready(self, base_fee_wei: int, nonces: NonceSource, *, gas: int) -> list[PooledTransaction]:
        """Choose transactions for a block: best tip first, each sender in nonce order, up to `gas` in all.

        `nonces` gives a sender's next nonce in the state that the block builds on. What cannot pay
        `base_fee_wei`, waits for an answer, or follows a nonce that is missing stays in the pool.
        """
        heap: list[tuple[int, int, bytes, int]] = []
        for sender in self._lanes:
            self._push(heap, sender, nonces.next_nonce(Address(sender)), base_fee_wei)
        heapq.heapify(heap)
        chosen: list[PooledTransaction] = []
        left = gas
        while heap and left >= 21_000:
            _, _, sender, nonce = heapq.heappop(heap)
            transaction = self._lanes[sender].by_nonce[nonce]
            if transaction.gas_limit > left:
                continue
            left -= transaction.gas_limit
            chosen.append(transaction)
            entries: list[tuple[int, int, bytes, int]] = []
            self._push(entries, sender, nonce + 1, base_fee_wei)
            if entries:
                heapq.heappush(heap, entries[0])
        return chosen

    def _push(self, heap: list[tuple[int, int, bytes, int]], sender: bytes, nonce: int, base_fee: int) -> None:
        lane = self._lanes[sender]
        transaction = lane.by_nonce.get(nonce)
        if transaction is None or transaction.max_fee_per_gas < base_fee or transaction.hash in self._waiting:
            return
        tip = min(transaction.max_priority_fee_per_gas, transaction.max_fee_per_gas - base_fee)
        heap.append((-tip, lane.arrival[nonce], sender, nonce))

    def remove(self, hashes: Iterable[bytes]) -> None:
        """Drop transactions that a block included or that can never be included."""
        for each in hashes:
            transaction = self._by_hash.get(each)
            if transaction is not None:
                self._forget(transaction)

    def drop_stale(self, sender: Address, next_nonce: int) -> list[bytes]:
        """Drop and name a sender's transactions below its next nonce: another took their place."""
        lane = self._lanes.get(sender)
        if lane is None:
            return []
        stale = [tx for nonce, tx in lane.by_nonce.items() if nonce < next_nonce]
        for transaction in stale:
            self._forget(transaction)
        return [transaction.hash for transaction in stale]

    def pending_nonce(self, sender: Address, state_nonce: int) -> int:
        """Return the nonce that follows the sender's unbroken run of waiting transactions."""
        lane = self._lanes.get(sender)
        nonce = state_nonce
        while lane is not None and nonce in lane.by_nonce:
            nonce += 1
        return nonce

    def iterate(self) -> Iterator[PooledTransaction]:
        """Iterate over all waiting transactions, oldest admission first."""
        return iter(list(self._by_hash.values()))

    def _forget(self, transaction: PooledTransaction) -> None:
        lane = self._lanes[transaction.sender]
        del lane.by_nonce[transaction.nonce]
        del lane.arrival[transaction.nonce]
        if not lane.by_nonce:
            del self._lanes[transaction.sender]
        del self._by_hash[transaction.hash]
        self._waiting.pop(transaction.hash, None)
        self._raw_bytes -= len(transaction.raw)


class NonceSource(Protocol):
    """The state that a block is built on, asked for a sender's next nonce."""

    def next_nonce(self, sender: Address) -> int: ...
