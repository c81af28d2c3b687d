"""The first block: who has coin, what code stands where, and which neurons are taken as staked.

The spec is the part of the chain's configuration that the chain's identity is the hash of; regtest alone
allocates native coin. Spec: docs/spec/state.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from primitives.errors import ConfigError
from primitives.ids import ADDRESS_BYTES, HASH_BYTES, Address, ModelId
from vm import predeploys
from vm.system import l1_info_storage
from vm.types import L1Origin

CoreAccount: TypeAlias = "tuple[bytes, int, int, bytes, Mapping[bytes, int]]"
"""(address, nonce, balance, code, {slot: value})."""

MAX_CODE_BYTES: Final = 24_576
MAX_BALANCE_WEI: Final = 21_000_000 * 10**18
"""All the bitcoin there can be, in wei."""


@dataclass(frozen=True, slots=True)
class GenesisAccount:
    """An account of the first block; `storage` maps 32-byte slots to values."""

    address: Address
    balance: int = 0
    nonce: int = 0
    code: bytes = b""
    storage: tuple[tuple[bytes, int], ...] = ()


@dataclass(frozen=True, slots=True)
class GenesisNeuron:
    """A neuron that counts as staked from the start: the address it signs with, who owns it, what it serves.

    No `models` means every neuron model.
    """

    address: Address
    owner: Address
    models: tuple[ModelId, ...] = ()


@dataclass(frozen=True, slots=True)
class GenesisSpec:
    """Everything the first block's state is made of, besides what its L1 origin says."""

    timestamp: int
    accounts: tuple[GenesisAccount, ...]
    neurons: tuple[GenesisNeuron, ...] = ()

    def check(self) -> None:
        """Refuse a spec that no chain can start from; raises ConfigError `genesis.*`."""
        addresses = [account.address for account in self.accounts]
        if len(set(addresses)) != len(addresses):
            raise _refusal("repeated_account", "an account is listed twice")
        if sum(account.balance for account in self.accounts) > MAX_BALANCE_WEI:
            raise _refusal("too_much_coin", "more native coin than there is bitcoin")
        for account in self.accounts:
            _check_account(account)
        signers = [neuron.address for neuron in self.neurons]
        if len(set(signers)) != len(signers):
            raise _refusal("repeated_neuron", "a neuron is listed twice")


def predeployed_accounts() -> tuple[GenesisAccount, ...]:
    """Return the contracts every chain of ours begins with."""
    return tuple(GenesisAccount(address, nonce=1, code=code) for address, code in predeploys.CODE)


def genesis_accounts(spec: GenesisSpec, origin: L1Origin, fee_rate: int) -> list[CoreAccount]:
    """Return the accounts as the core takes them.

    The L1 information contract knows the origin already, and a fee rate in sats per 1,000 weight units.
    """
    accounts: list[CoreAccount] = []
    for account in spec.accounts:
        storage = dict(account.storage)
        if account.address == predeploys.L1_INFO:
            storage |= l1_info_storage(origin, fee_rate)
        accounts.append((account.address, account.nonce, account.balance, account.code, storage))
    return accounts


def _check_account(account: GenesisAccount) -> None:
    shown = "0x" + account.address.hex()
    if len(account.address) != ADDRESS_BYTES:
        raise _refusal("bad_address", f"{shown} is not an address")
    if account.balance < 0 or not 0 <= account.nonce < 2**64 - 1:
        raise _refusal("out_of_range", f"balance or nonce of {shown} is out of range")
    if len(account.code) > MAX_CODE_BYTES:
        raise _refusal("code_too_long", f"the code of {shown} is longer than {MAX_CODE_BYTES} bytes")
    slots = [slot for slot, _ in account.storage]
    if len(set(slots)) != len(slots) or any(len(slot) != HASH_BYTES for slot in slots):
        raise _refusal("bad_slot", f"the storage of {shown} has a repeated slot, or one not 32 bytes long")
    if any(not 0 <= value < 2**256 for _, value in account.storage):
        raise _refusal("out_of_range", f"a storage value of {shown} is out of range")
    if account.storage and not (account.code or account.nonce):
        raise _refusal("bad_slot", f"{shown} has storage, but neither code nor nonce")


def _refusal(reason: str, message: str) -> ConfigError:
    return ConfigError(
        f"genesis.{reason}", message, fix="correct the genesis part of the rollup configuration"
    )
