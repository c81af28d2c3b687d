"""Read what a call wants changed for its time: accounts, and the block it runs in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from bitai.rpc.params import invalid, optional_quantity, parse_address, parse_data, parse_hash
from primitives.ids import Address
from vm._core import AccountOverride

MAX_ACCOUNTS: Final = 256
MAX_SLOTS: Final = 4_096
"""Slots replaced in all: they are written before the call runs, whatever gas that has."""
_ACCOUNT_MEMBERS: Final = frozenset({"balance", "nonce", "code", "state", "stateDiff"})
_IGNORED_BLOCK_MEMBERS: Final = frozenset({"difficulty", "blobBaseFee"})


@dataclass(frozen=True, slots=True)
class BlockOverride:
    """The block a call runs in, where it differs from the real one; None leaves a part as it is.

    `time` in seconds, `base_fee` in wei.
    """

    number: int | None = None
    time: int | None = None
    gas_limit: int | None = None
    coinbase: Address | None = None
    prev_randao: bytes | None = None
    base_fee: int | None = None
    beacon_root: bytes | None = None


def parse_state_overrides(value: Any) -> tuple[AccountOverride, ...]:
    """Return the accounts that differ, as geth's third parameter of `eth_call` names them."""
    if value is None:
        return ()
    if not isinstance(value, dict) or len(value) > MAX_ACCOUNTS:
        raise invalid(f"state overrides are an object of at most {MAX_ACCOUNTS} accounts")
    slots = 0
    overrides: list[AccountOverride] = []
    for address, wanted in value.items():
        if not isinstance(wanted, dict) or not _ACCOUNT_MEMBERS.issuperset(wanted):
            raise invalid(f"an account override has {', '.join(sorted(_ACCOUNT_MEMBERS))}")
        if wanted.get("state") is not None and wanted.get("stateDiff") is not None:
            raise invalid("an account override has either state or stateDiff")
        override, count = _parse_account(address, wanted)
        slots += count
        if slots > MAX_SLOTS:
            raise invalid(f"state overrides replace at most {MAX_SLOTS} slots")
        overrides.append(override)
    return tuple(overrides)


def _parse_account(address: str, wanted: dict[str, Any]) -> tuple[AccountOverride, int]:
    storage, difference = _parse_slots(wanted.get("state")), _parse_slots(wanted.get("stateDiff"))
    override = AccountOverride(
        parse_address(address),
        balance=optional_quantity(wanted, "balance", 256),
        nonce=optional_quantity(wanted, "nonce", 64),
        code=parse_data(wanted["code"], "code") if wanted.get("code") is not None else None,
        storage=storage,
        storage_diff=difference,
    )
    return override, len(storage or ()) + len(difference or ())


def _parse_slots(value: Any) -> dict[bytes, int] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise invalid("storage overrides are an object of slots")
    return {
        bytes(parse_hash(slot, "slot")): int.from_bytes(parse_hash(word, "storage value"), "big")
        for slot, word in value.items()
    }


def parse_block_override(value: Any) -> BlockOverride | None:
    """Return the block that a call runs in, as geth's fourth parameter of `eth_call` names it."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise invalid("block overrides are an object")
    coinbase, prev_randao = value.get("feeRecipient"), value.get("prevRandao")
    beacon_root = value.get("beaconRoot")
    known = {"number", "time", "gasLimit", "baseFeePerGas", "feeRecipient", "prevRandao", "beaconRoot"}
    unknown = set(value) - known - _IGNORED_BLOCK_MEMBERS
    if unknown:
        raise invalid(f"a block override has no member {min(unknown)[:40]!r}")
    return BlockOverride(
        number=optional_quantity(value, "number", 64),
        time=optional_quantity(value, "time", 64),
        gas_limit=optional_quantity(value, "gasLimit", 64),
        coinbase=parse_address(coinbase, "feeRecipient") if coinbase is not None else None,
        prev_randao=parse_hash(prev_randao, "prevRandao") if prev_randao is not None else None,
        base_fee=optional_quantity(value, "baseFeePerGas", 64),
        beacon_root=parse_hash(beacon_root, "beaconRoot") if beacon_root is not None else None,
    )
