"""A state as JSON, as anvil dumps and loads it: the accounts, gzipped. Bounded both ways."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import orjson

from primitives import rlp
from primitives.errors import InvalidInput, Rejected
from primitives.ids import ADDRESS_BYTES, Address
from vm._core import EMPTY_CODE_HASH, AccountOverride

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vm.store import KeyValueStore

MAX_ACCOUNTS: Final = 100_000
MAX_SLOTS: Final = 500_000
MAX_JSON_BYTES: Final = 64 << 20
"""A bomb of a few kilobytes unpacks to gigabytes: reading stops here."""
_SLOT_BYTES: Final = 32
_SLOT_KEY: Final = 1 + ADDRESS_BYTES + _SLOT_BYTES


@dataclass(slots=True)
class DumpedAccount:
    """One account with all that it holds."""

    nonce: int
    balance: int
    code: bytes
    storage: dict[bytes, int] = field(default_factory=dict)


def dump_accounts(store: KeyValueStore) -> dict[Address, DumpedAccount]:
    """Read every account from the rows of the state. Errors: `Rejected` "dev.state_too_large"."""
    accounts: dict[Address, DumpedAccount] = {}
    for key, value in store.scan(b"a"):
        nonce, balance, _, code_hash = cast("list[bytes]", rlp.decode(value))
        code = b"" if code_hash == EMPTY_CODE_HASH else store.get(b"c" + code_hash) or b""
        accounts[Address(key[1:])] = DumpedAccount(_number(nonce), _number(balance), code)
        _require_room(len(accounts), MAX_ACCOUNTS, "accounts")
    for count, (key, value) in enumerate(store.scan(b"s")):
        _require_room(count, MAX_SLOTS, "slots")
        account = accounts.get(Address(key[1 : 1 + ADDRESS_BYTES]))
        if account is not None and len(key) == _SLOT_KEY:
            account.storage[key[1 + ADDRESS_BYTES :]] = int.from_bytes(value, "big")
    return accounts


def _number(item: bytes) -> int:
    return int.from_bytes(item, "big")


def _require_room(count: int, most: int, what: str) -> None:
    if count > most:
        raise Rejected("dev.state_too_large", f"the state has more than {most:,} {what}")


def encode_dump(accounts: Mapping[Address, DumpedAccount]) -> bytes:
    """Return the dump as gzipped JSON; anvil reads no dump without the two members that say nothing here."""
    shown = {
        "0x" + address.hex(): {
            "nonce": each.nonce,
            "balance": hex(each.balance),
            "code": "0x" + each.code.hex(),
            "storage": {"0x" + slot.hex(): f"0x{value:064x}" for slot, value in each.storage.items()},
        }
        for address, each in accounts.items()
    }
    return gzip.compress(orjson.dumps({"block": None, "accounts": shown, "best_block_number": None}))


def decode_dump(packed: bytes) -> list[AccountOverride]:
    """Read a dump, gzipped or plain; accounts that it does not name stay. Errors: `InvalidInput` "dev.bad_dump"."""
    try:
        return _read(orjson.loads(_unpack(packed)))
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
        raise InvalidInput("dev.bad_dump", f"not a dump of a state: {error}") from error


def _unpack(packed: bytes) -> bytes:
    if not packed.startswith(b"\x1f\x8b"):
        return packed
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
    text = reader.decompress(packed, MAX_JSON_BYTES)
    if reader.unconsumed_tail:
        raise InvalidInput("dev.bad_dump", f"the dump is larger than {MAX_JSON_BYTES >> 20} MiB")
    return text


def _read(dump: dict[str, Any]) -> list[AccountOverride]:
    accounts = dump["accounts"]
    _require_room(len(accounts), MAX_ACCOUNTS, "accounts")
    slots, overrides = 0, []
    for address, each in accounts.items():
        storage = {_word(slot): _quantity(value) for slot, value in (each.get("storage") or {}).items()}
        slots += len(storage)
        _require_room(slots, MAX_SLOTS, "slots")
        overrides.append(
            AccountOverride(
                bytes.fromhex(address.removeprefix("0x")),
                nonce=_quantity(each.get("nonce", 0)),
                balance=_quantity(each["balance"]),
                code=bytes.fromhex((each.get("code") or "0x").removeprefix("0x")),
                storage_diff=storage,
            )
        )
    return overrides


def _quantity(value: Any) -> int:
    return value if isinstance(value, int) else int(value, 16)


def _word(slot: str) -> bytes:
    return int(slot, 16).to_bytes(_SLOT_BYTES, "big")
