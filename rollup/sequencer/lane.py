"""One sender's waiting transactions by nonce: which could run one after the other, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


class PooledTransaction(Protocol):
    """What the pool needs to know of a decoded, signature-checked transaction; amounts in wei."""

    @property
    def hash(self) -> bytes:
        """Its identity, 32 bytes."""
        ...

    @property
    def sender(self) -> bytes:
        """The account that signed, 20 bytes."""
        ...

    @property
    def nonce(self) -> int:
        """Its place among the sender's transactions."""
        ...

    @property
    def gas_limit(self) -> int:
        """Gas it declares."""
        ...

    @property
    def value(self) -> int:
        """Wei it sends along."""
        ...

    @property
    def max_fee_per_gas(self) -> int:
        """Fee cap."""
        ...

    @property
    def max_priority_fee_per_gas(self) -> int:
        """Tip cap, never above the fee cap."""
        ...

    @property
    def raw(self) -> bytes:
        """Its signed bytes."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A waiting transaction, with the facts that ordering asks for again and again; `arrival` counts up."""

    transaction: PooledTransaction
    hash: bytes
    sender: bytes
    nonce: int
    fee_cap: int
    tip_cap: int
    gas: int
    cost_wei: int
    size: int
    arrival: int


def new_entry(transaction: PooledTransaction, arrival: int, *, data_fee_wei: int = 0) -> Entry:
    """Return the entry of a transaction that has just arrived; `data_fee_wei` is what its bytes would cost now."""
    fee_cap, gas = transaction.max_fee_per_gas, transaction.gas_limit
    return Entry(
        transaction=transaction,
        hash=transaction.hash,
        sender=transaction.sender,
        nonce=transaction.nonce,
        fee_cap=fee_cap,
        tip_cap=transaction.max_priority_fee_per_gas,
        gas=gas,
        cost_wei=gas * fee_cap + transaction.value + data_fee_wei,
        size=len(transaction.raw),
        arrival=arrival,
    )


@dataclass(slots=True)
class Lane:
    """Waiting transactions of one sender.

    `run` of them follow `next_nonce`, the account's nonce as last heard, without a gap; the others wait for
    what is missing. `cost_wei` is what all together may cost.
    """

    next_nonce: int
    by_nonce: dict[int, Entry] = field(default_factory=dict)
    run: int = 0
    cost_wei: int = 0

    @property
    def gapped(self) -> int:
        """How many wait for a nonce that is missing."""
        return len(self.by_nonce) - self.run

    @property
    def head(self) -> Entry | None:
        """The transaction that could run now."""
        return self.by_nonce[self.next_nonce] if self.run else None

    @property
    def tail(self) -> Entry:
        """The transaction that nobody waits for: dropping it leaves no new gap."""
        return self.by_nonce[max(self.by_nonce)]

    def put(self, entry: Entry) -> None:
        """Add a transaction whose nonce is free."""
        self.by_nonce[entry.nonce] = entry
        self.cost_wei += entry.cost_wei
        self._extend()

    def take(self, nonce: int) -> Entry:
        """Remove a transaction; those after it wait."""
        entry = self.by_nonce.pop(nonce)
        self.cost_wei -= entry.cost_wei
        self.run = min(self.run, max(0, nonce - self.next_nonce))
        return entry

    def move(self, next_nonce: int) -> list[Entry]:
        """Follow the account's nonce, forward or (after a rewind) back; return what it has overtaken."""
        if next_nonce == self.next_nonce:
            return []
        steps = range(self.next_nonce, next_nonce)
        nonces = (
            steps if len(steps) <= len(self.by_nonce) else [each for each in self.by_nonce if each in steps]
        )
        overtaken = [self.by_nonce.pop(nonce) for nonce in nonces if nonce in self.by_nonce]
        self.cost_wei -= sum(entry.cost_wei for entry in overtaken)
        self.run = max(0, self.run - (next_nonce - self.next_nonce)) if next_nonce > self.next_nonce else 0
        self.next_nonce = next_nonce
        self._extend()
        return overtaken

    def _extend(self) -> None:
        while self.next_nonce + self.run in self.by_nonce:
            self.run += 1
