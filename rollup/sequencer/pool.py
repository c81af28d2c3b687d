"""Hold the transactions that wait for a block, in the order in which they should enter one.

The pool is policy, not consensus: it decides what this node keeps and offers, never what a block may
contain. It is plain memory without I/O; the driver feeds it accounts and heads and journals what it
must not forget. Order is by tip, then by arrival, and always by nonce within one sender, so a sender
whose transaction waits for a model's answer holds back nobody but itself. When it is full, who pays more
pushes out who pays least.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Final, Protocol

from primitives.errors import Duplicate, Rejected
from primitives.ids import Address, Hash32
from rollup.sequencer.lane import Entry, Lane, PooledTransaction, new_entry

LEAST_GAS: Final = 21_000
"""What the cheapest transaction declares: with less room than this, nothing fits."""
EVICTION_TRIES: Final = 64
"""Transactions looked at to make room for one: a sender's own must stay, and the search must end."""

Forgotten = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of one node's pool; each protects its memory or its neighbours, none is consensus."""

    transactions: int = 50_000
    raw_bytes: int = 64 << 20
    per_sender: int = 4_096
    gapped: int = 4_096
    """Transactions in all that wait for a nonce that is missing: they cost their sender nothing."""
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


class NonceSource(Protocol):
    """The state that a block is built on, asked for a sender's next nonce."""

    def next_nonce(self, sender: Address) -> int:
        """Return the nonce that the account's next transaction must have."""
        ...


class Pool:
    """The waiting transactions of a sequencer; for one thread."""

    def __init__(self, limits: PoolLimits | None = None) -> None:
        """Begin empty."""
        self.limits = limits or PoolLimits()
        self._lanes: dict[bytes, Lane] = {}
        self._by_hash: dict[bytes, Entry] = {}
        self._parked: dict[bytes, Hash32] = {}
        self._parked_for: dict[Hash32, dict[bytes, None]] = {}
        self._cheapest: list[tuple[int, int, bytes]] = []
        self._watchers: list[Forgotten] = []
        self._raw_bytes = 0
        self._gapped = 0
        self._arrivals = 0

    def __len__(self) -> int:
        """Count everything that waits."""
        return len(self._by_hash)

    def __contains__(self, transaction_hash: bytes) -> bool:
        """Tell whether a transaction waits here."""
        return transaction_hash in self._by_hash

    @property
    def raw_bytes(self) -> int:
        """The signed bytes of everything that waits."""
        return self._raw_bytes

    @property
    def gapped(self) -> int:
        """How many wait for a nonce that is missing."""
        return self._gapped

    def watch(self, forgotten: Forgotten) -> None:
        """Have `forgotten` called with the hash of every transaction that leaves, for whatever reason."""
        self._watchers.append(forgotten)

    def get(self, transaction_hash: bytes) -> PooledTransaction | None:
        """Return the waiting transaction with this hash, if there is one."""
        entry = self._by_hash.get(transaction_hash)
        return None if entry is None else entry.transaction

    def hashes(self) -> list[bytes]:
        """Return the hashes of everything that waits."""
        return list(self._by_hash)

    def raws(self) -> list[bytes]:
        """Return the signed bytes of everything that waits."""
        return [entry.transaction.raw for entry in self._by_hash.values()]

    # -- in -------------------------------------------------------------------------------------

    def add(
        self,
        transaction: PooledTransaction,
        account: AccountFacts,
        *,
        floor_fee_wei: int = 0,
        data_fee_wei: int = 0,
    ) -> bytes:
        """Admit a transaction and return its hash, or say why not; a refused one changes nothing.

        `data_fee_wei` is what its bytes on Bitcoin would cost in the next block.

        Errors: `Duplicate` "pool.already_known"; `Rejected` "pool.nonce_too_low", "pool.nonce_gap",
        "pool.insufficient_funds", "pool.underpriced", "pool.replacement_underpriced", "pool.sender_full",
        "pool.full", "pool.oversized". Messages use the words that Ethereum clients match.
        """
        entry = new_entry(transaction, self._arrivals, data_fee_wei=data_fee_wei)
        self._require_well_priced(entry, floor_fee_wei)
        lane = self._open_lane(entry, account)
        replaced = lane.by_nonce.get(entry.nonce)
        self._require_place(entry, lane, replaced)
        _require_funds(entry, lane, replaced, account.balance_wei)
        if replaced is not None:
            self._require_bump(replaced, entry)
        self._make_room(entry, replaced)
        if replaced is not None:
            self._forget(replaced)
        self._arrivals += 1
        self._put(entry, lane)
        return entry.hash

    def put_back(
        self, transaction: PooledTransaction, account: AccountFacts, *, data_fee_wei: int = 0
    ) -> None:
        """Take in again what stood in a block that left the chain, or waited here before a restart.

        No bound is asked for: it kept them when it came, one after the other as blocks made room and gas came
        back, and now all come at once. Errors: `Duplicate` "pool.already_known"; `Rejected`
        "pool.nonce_too_low", "pool.replacement_underpriced".
        """
        entry = new_entry(transaction, self._arrivals, data_fee_wei=data_fee_wei)
        if entry.hash in self._by_hash:
            raise Duplicate("pool.already_known", "already known")
        lane = self._open_lane(entry, account)
        replaced = lane.by_nonce.get(entry.nonce)
        if replaced is not None:
            self._require_bump(replaced, entry)
            self._forget(replaced)
        self._arrivals += 1
        self._put(entry, lane)

    def _open_lane(self, entry: Entry, account: AccountFacts) -> Lane:
        """Return the sender's lane at the account's nonce; raises Rejected "pool.nonce_too_low"."""
        if entry.nonce < account.nonce:
            raise Rejected(
                "pool.nonce_too_low", f"nonce too low: next nonce {account.nonce}, tx nonce {entry.nonce}"
            )
        lane = self._lanes.get(entry.sender) or Lane(account.nonce)
        if lane.by_nonce:
            self._move(entry.sender, lane, account.nonce)
        return lane

    def _put(self, entry: Entry, lane: Lane) -> None:
        self._lanes[entry.sender] = lane
        before = lane.gapped
        lane.put(entry)
        self._gapped += lane.gapped - before
        self._by_hash[entry.hash] = entry
        self._raw_bytes += entry.size
        heapq.heappush(self._cheapest, (entry.tip_cap, -entry.arrival, entry.hash))
        if len(self._cheapest) > 2 * max(self.limits.transactions, len(self._by_hash)):
            self._cheapest = [(each.tip_cap, -each.arrival, each.hash) for each in self._by_hash.values()]
            heapq.heapify(self._cheapest)

    def _require_well_priced(self, entry: Entry, floor_fee_wei: int) -> None:
        if entry.hash in self._by_hash:
            raise Duplicate("pool.already_known", "already known")
        if entry.size > self.limits.raw_transaction_bytes:
            limit = self.limits.raw_transaction_bytes
            raise Rejected("pool.oversized", f"oversized data: transaction of over {limit} bytes")
        if entry.fee_cap < floor_fee_wei:
            raise Rejected(
                "pool.underpriced", f"transaction underpriced: fee floor {floor_fee_wei} wei per gas"
            )

    def _require_place(self, entry: Entry, lane: Lane, replaced: Entry | None) -> None:
        limits = self.limits
        end = lane.next_nonce + lane.run
        if entry.nonce > end + limits.nonce_gap:
            raise Rejected("pool.nonce_gap", f"nonce too high: next nonce {end}, tx nonce {entry.nonce}")
        if replaced is None and len(lane.by_nonce) >= limits.per_sender:
            raise Rejected("pool.sender_full", "too many waiting transactions from this sender")
        if replaced is None and entry.nonce > end and self._gapped >= limits.gapped:
            raise Rejected("pool.nonce_gap", f"nonce too high: next nonce {end}, and no room to wait for it")

    def _require_bump(self, old: Entry, new: Entry) -> None:
        factor = 100 + self.limits.price_bump_percent
        if new.fee_cap * 100 < old.fee_cap * factor or new.tip_cap * 100 < old.tip_cap * factor:
            raise Rejected("pool.replacement_underpriced", "replacement transaction underpriced")

    def _make_room(self, entry: Entry, replaced: Entry | None) -> None:
        """Push out who pays less, if that makes this one fit; else raise `pool.full` and push out nobody."""
        count = len(self._by_hash) + 1 - self.limits.transactions
        size = self._raw_bytes + entry.size - self.limits.raw_bytes
        if replaced is not None:
            count, size = count - 1, size - replaced.size
        doomed: list[Entry] = []
        with closing(self._cheaper_than(entry)) as victims:
            while (count > 0 or size > 0) and (victim := next(victims, None)) is not None:
                doomed.append(victim)
                count, size = count - 1, size - victim.size
        if count > 0 or size > 0:
            raise Rejected("pool.full", "txpool is full; try again later or pay more")
        for victim in doomed:
            self._forget(victim)

    def _cheaper_than(self, entry: Entry) -> Generator[Entry, None, None]:
        """Yield the last transactions of other senders whose cheapest one pays less than `entry`."""
        looked_at: list[tuple[int, int, bytes]] = []
        nonces: dict[bytes, list[int]] = {}
        try:
            while self._cheapest and len(looked_at) < EVICTION_TRIES:
                priced = heapq.heappop(self._cheapest)
                cheap = self._by_hash.get(priced[2])
                if cheap is None:
                    continue  # left long ago
                looked_at.append(priced)
                if cheap.tip_cap >= entry.tip_cap:
                    return
                lane = self._lanes[cheap.sender]
                left = nonces.setdefault(cheap.sender, sorted(lane.by_nonce))
                if left and cheap.sender != entry.sender:
                    yield lane.by_nonce[left.pop()]
        finally:
            for priced in looked_at:
                heapq.heappush(self._cheapest, priced)

    # -- waiting for answers --------------------------------------------------------------------

    def wait_for(self, transaction_hash: bytes, request_hash: Hash32) -> None:
        """Hold a transaction back until the answer to its model request is known."""
        if transaction_hash in self._by_hash:
            self._unpark(transaction_hash)
            self._parked[transaction_hash] = request_hash
            self._parked_for.setdefault(request_hash, {})[transaction_hash] = None

    def wake(self, request_hash: Hash32) -> list[bytes]:
        """Release and name the transactions that waited for this request."""
        woken = list(self._parked_for.pop(request_hash, {}))
        for each in woken:
            del self._parked[each]
        return woken

    def waiting(self) -> dict[bytes, Hash32]:
        """Return transaction hash -> request hash of all that wait for an answer."""
        return dict(self._parked)

    @property
    def parked(self) -> int:
        """How many wait for an answer."""
        return len(self._parked)

    def _unpark(self, transaction_hash: bytes) -> None:
        request_hash = self._parked.pop(transaction_hash, None)
        if request_hash is not None:
            others = self._parked_for[request_hash]
            del others[transaction_hash]
            if not others:
                del self._parked_for[request_hash]

    # -- out ------------------------------------------------------------------------------------

    def ready(self, base_fee_wei: int, nonces: NonceSource, *, gas: int) -> list[PooledTransaction]:
        """Choose transactions for a block: best tip first, each sender in nonce order, up to `gas` in all.

        `nonces` gives a sender's next nonce in the state that the block builds on; transactions that it has
        overtaken leave the pool here. What cannot pay `base_fee_wei`, waits for an answer, or follows a nonce
        that is missing stays in the pool.
        """
        heap = self._heads(base_fee_wei, nonces)
        confirmed: set[bytes] = set()
        chosen: list[PooledTransaction] = []
        left = gas
        while heap and left >= LEAST_GAS:
            _, _, entry = heapq.heappop(heap)
            lane = self._lanes[entry.sender]
            following: Entry | None
            if entry.sender not in confirmed and self._follow(entry.sender, lane, nonces):
                following = lane.head
            elif entry.gas > left:
                continue
            else:
                left -= entry.gas
                chosen.append(entry.transaction)
                following = lane.by_nonce.get(entry.nonce + 1)
            confirmed.add(entry.sender)
            if following is not None and (offer := self._offer(following, base_fee_wei)) is not None:
                heapq.heappush(heap, offer)
        return chosen

    def _heads(self, base_fee_wei: int, nonces: NonceSource) -> list[tuple[int, int, Entry]]:
        """Return what each sender offers first, as a heap; a gap may have been filled elsewhere."""
        gapped = [(sender, lane) for sender, lane in self._lanes.items() if not lane.run]
        for sender, lane in gapped:
            self._follow(sender, lane, nonces)
        offers: list[tuple[int, int, Entry]] = []
        for lane in self._lanes.values():
            head = lane.head
            if head is not None and (offer := self._offer(head, base_fee_wei)) is not None:
                offers.append(offer)
        heapq.heapify(offers)
        return offers

    def _offer(self, entry: Entry, base_fee_wei: int) -> tuple[int, int, Entry] | None:
        above = entry.fee_cap - base_fee_wei
        if above < 0 or entry.hash in self._parked:
            return None
        return -min(entry.tip_cap, above), entry.arrival, entry

    def _follow(self, sender: bytes, lane: Lane, nonces: NonceSource) -> bool:
        """Bring a lane to the state's nonce; tell whether it had to move."""
        nonce = nonces.next_nonce(Address(sender))
        if nonce == lane.next_nonce:
            return False
        self._move(sender, lane, nonce)
        return True

    def included(self, hashes: Iterable[bytes]) -> None:
        """Drop transactions that a block of the head's chain holds now."""
        highest: dict[bytes, int] = {}
        for each in hashes:
            entry = self._by_hash.get(each)
            if entry is not None:
                highest[entry.sender] = max(highest.get(entry.sender, 0), entry.nonce)
        for sender, nonce in highest.items():
            self._move(sender, self._lanes[sender], nonce + 1)

    def remove(self, hashes: Iterable[bytes]) -> None:
        """Drop transactions that can never be included."""
        for each in hashes:
            entry = self._by_hash.get(each)
            if entry is not None:
                self._forget(entry)

    def _move(self, sender: bytes, lane: Lane, next_nonce: int) -> None:
        before = lane.gapped
        overtaken = lane.move(next_nonce)
        self._gapped += lane.gapped - before
        if not lane.by_nonce:
            self._lanes.pop(sender, None)
        for entry in overtaken:
            self._strike(entry)

    def _forget(self, entry: Entry) -> None:
        lane = self._lanes[entry.sender]
        before = lane.gapped
        lane.take(entry.nonce)
        self._gapped += lane.gapped - before
        if not lane.by_nonce:
            del self._lanes[entry.sender]
        self._strike(entry)

    def _strike(self, entry: Entry) -> None:
        del self._by_hash[entry.hash]
        self._unpark(entry.hash)
        self._raw_bytes -= entry.size
        for forgotten in self._watchers:
            forgotten(entry.hash)

    # -- looking --------------------------------------------------------------------------------

    def pending_nonce(self, sender: Address, state_nonce: int) -> int:
        """Return the nonce that follows the sender's unbroken run of waiting transactions."""
        lane = self._lanes.get(sender)
        if lane is None:
            return state_nonce
        if lane.next_nonce == state_nonce:
            return state_nonce + lane.run
        nonce = state_nonce
        while nonce in lane.by_nonce:
            nonce += 1
        return nonce

    def content(
        self, limit: int, sender: Address | None = None
    ) -> tuple[list[PooledTransaction], list[PooledTransaction]]:
        """Return transactions that could run and others that wait for a nonce, `limit` of each at most.

        With `sender` only that account's.
        """
        runnable: list[PooledTransaction] = []
        gapped: list[PooledTransaction] = []
        lanes = (
            self._lanes.values() if sender is None else [self._lanes[sender]] if sender in self._lanes else []
        )
        for lane in lanes:
            end = lane.next_nonce + lane.run
            for nonce in sorted(lane.by_nonce):
                into = runnable if nonce < end else gapped
                if len(into) < limit:
                    into.append(lane.by_nonce[nonce].transaction)
            if len(runnable) >= limit and len(gapped) >= min(limit, self._gapped):
                break
        return runnable, gapped


def _require_funds(entry: Entry, lane: Lane, replaced: Entry | None, balance_wei: int) -> None:
    """Require that the account could pay for everything it has waiting, this one included."""
    cost = lane.cost_wei + entry.cost_wei - (0 if replaced is None else replaced.cost_wei)
    if cost > balance_wei:
        raise Rejected(
            "pool.insufficient_funds",
            f"insufficient funds for gas * price + value: balance {balance_wei}, waiting txs cost {cost}, "
            "Bitcoin data fees included",
        )
