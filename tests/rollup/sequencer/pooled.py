"""Transactions as the pool sees them, without signatures, and a state that is a plain mapping."""

from dataclasses import dataclass, field

from primitives.hashes import sha256
from rollup.sequencer.pool import AccountFacts

RICH = 10**24


@dataclass(frozen=True)
class Fake:
    """A pooled transaction; `salt` tells two of the same content apart."""

    sender: bytes
    nonce: int
    max_fee_per_gas: int = 100
    max_priority_fee_per_gas: int = 10
    gas_limit: int = 21_000
    value: int = 0
    size: int = 100
    salt: int = 0

    @property
    def hash(self) -> bytes:
        """Any identity will do."""
        return sha256(repr(self).encode())

    @property
    def raw(self) -> bytes:
        """Only its length counts."""
        return bytes(self.size)


def sender(number: int) -> bytes:
    """An address."""
    return number.to_bytes(20, "big")


@dataclass
class Accounts:
    """A `NonceSource`, and the facts that admission reads."""

    nonces: dict[bytes, int] = field(default_factory=dict)
    asked: int = 0

    def next_nonce(self, address: bytes) -> int:
        """Count the question."""
        self.asked += 1
        return self.nonces.get(address, 0)

    def facts(self, address: bytes, balance: int = RICH) -> AccountFacts:
        """What admission is judged by."""
        return AccountFacts(self.nonces.get(address, 0), balance)
