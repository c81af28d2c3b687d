"""Ethereum's forks as test files name them, and what each one knows."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from bitai.evm.values import mapping, number
from primitives.errors import InvalidInput

_ORDER: Final = (
    *("Frontier", "Homestead", "TangerineWhistle", "SpuriousDragon", "Byzantium", "Petersburg", "Istanbul"),
    *("Berlin", "London", "Paris", "Shanghai", "Cancun", "Prague", "Osaka"),
)
_ALIASES: Final = {
    "EIP150": "TangerineWhistle",
    "EIP158": "SpuriousDragon",
    "ConstantinopleFix": "Petersburg",
    "MuirGlacier": "Istanbul",
    "ArrowGlacier": "London",
    "GrayGlacier": "London",
    "Merge": "Paris",
}
NOT_SUPPORTED: Final = {
    "Constantinople": "its EIP-1283 was withdrawn before mainnet saw it",
    "DAOFork": "its irregular state change is no rule of the EVM",
    "Amsterdam": "not final",
    "EOFv1": "not part of any fork",
    "CancunEIP7692": "not part of any fork",
    "PragueEIP7692": "not part of any fork",
    "OsakaEIP7692": "not part of any fork",
    "Verkle": "not part of any fork",
}
"""Names that official files hold and no case of which is run, with the reason."""

GAS_PER_BLOB: Final = 1 << 17
_MAX_PRICE: Final = (1 << 128) - 1


@dataclass(frozen=True, slots=True)
class BlobSchedule:
    """Blobs of one block: what is aimed at, what is allowed, and how quickly their price moves (EIP-7840)."""

    target: int
    most: int
    update_fraction: int

    def base_fee(self, excess_blob_gas: int) -> int:
        """Return the price of blob gas, at most 2**128 - 1: what nobody can pay needs no exact figure."""
        if excess_blob_gas // self.update_fraction > 200:
            return _MAX_PRICE
        return min(_exponential(excess_blob_gas, self.update_fraction), _MAX_PRICE)


_CANCUN: Final = BlobSchedule(3, 6, 3_338_477)
_PRAGUE: Final = BlobSchedule(6, 9, 5_007_716)
_BPO: Final = {
    "BPO1": BlobSchedule(10, 15, 8_346_193),
    "BPO2": BlobSchedule(14, 21, 11_684_671),
    "BPO3": BlobSchedule(21, 32, 20_609_697),
    "BPO4": BlobSchedule(14, 21, 13_739_630),
    "BPO5": BlobSchedule(14, 21, 13_739_630),
}
"""Forks that change nothing but the blobs of a block (EIP-7892), as execution-spec-tests numbers them."""
_MAX_BLOBS_OF_TRANSACTION: Final = 6
"""Since Osaka (EIP-7594)."""


@dataclass(frozen=True, slots=True)
class Fork:
    """One fork: the name that the core knows it by, and its blobs."""

    name: str
    core: str
    blobs: BlobSchedule | None

    def since(self, fork: str) -> bool:
        """Tell whether the rules of `fork` hold."""
        return _ORDER.index(self.core) >= _ORDER.index(fork)

    @property
    def max_blobs(self) -> int | None:
        """Most blobs of one transaction."""
        if self.blobs is None:
            return None
        return min(self.blobs.most, _MAX_BLOBS_OF_TRANSACTION) if self.since("Osaka") else self.blobs.most

    def with_schedule(self, schedules: Mapping[str, Any] | None) -> "Fork":
        """Return the fork with the blobs that a test's `config.blobSchedule` gives it."""
        given = (schedules or {}).get(self.name)
        if given is None or self.blobs is None:
            return self
        values = mapping(given, "a blob schedule")
        parts = [number(values.get(name, 0)) for name in ("target", "max", "baseFeeUpdateFraction")]
        if parts[2] == 0:
            raise InvalidInput("evm.bad_shape", "a blob schedule without an update fraction")
        return replace(self, blobs=BlobSchedule(*parts))


def fork_named(name: str) -> Fork | None:
    """Return the fork of this name, or None for one of `NOT_SUPPORTED`; raises InvalidInput `evm.unknown_fork`."""
    if name in NOT_SUPPORTED:
        return None
    if name in _BPO:
        return Fork(name, "Osaka", _BPO[name])
    core = _ALIASES.get(name, name)
    if core not in _ORDER:
        raise InvalidInput("evm.unknown_fork", f"no fork is named {name}", known=", ".join(_ORDER))
    fork = Fork(name, core, None)
    if fork.since("Prague"):
        return replace(fork, blobs=_PRAGUE)
    return replace(fork, blobs=_CANCUN) if fork.since("Cancun") else fork


def _exponential(numerator: int, denominator: int) -> int:
    """Return e to the power of a fraction as EIP-4844's Taylor series counts it, smallest price 1."""
    step, output, term = 1, 0, denominator
    while term > 0:
        output += term
        term = term * numerator // (denominator * step)
        step += 1
    return output // denominator
