"""Read the parameters of JSON-RPC calls, refusing what does not fit with the words clients expect."""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from typing import Any, Final

from bitai.rpc.framing import INVALID_PARAMS, RpcError
from bitai.rpc.refusals import refusal
from primitives.ids import Address, Hash32
from vm._core import Authorization

_QUANTITY: Final = re.compile(r"0x(?:0|[1-9a-fA-F][0-9a-fA-F]*)\Z")
_SLOT: Final = re.compile(r"0x[0-9a-fA-F]{1,64}\Z")
PRICE_BITS: Final = 128
"""A price per gas is below 2**128 wei, as in a transaction."""
MAX_AUTHORIZATIONS: Final = 1_000
"""Each costs a signature's recovery before anything runs; a transaction's gas pays for fewer."""
TAGS: Final = ("latest", "pending", "safe", "finalized", "earliest")


@dataclass(frozen=True, slots=True)
class BlockId:
    """Which block a call means: one of `tag`, `number` and `hash` is set."""

    tag: str | None = None
    number: int | None = None
    hash: Hash32 | None = None


LATEST: Final = BlockId(tag="latest")
PENDING: Final = BlockId(tag="pending")


def invalid(what: str) -> RpcError:
    """Return the error for a parameter that does not fit."""
    return RpcError(INVALID_PARAMS, f"invalid argument: {what}")


def require_count(params: list[Any], least: int, most: int) -> None:
    """Refuse a call with too few or too many parameters."""
    if len(params) < least:
        raise RpcError(INVALID_PARAMS, f"missing value for required argument {len(params)}")
    if len(params) > most:
        raise RpcError(INVALID_PARAMS, f"too many arguments, want at most {most}")


def parse_quantity(value: Any, name: str = "quantity", *, bits: int = 256) -> int:
    """Return a hex quantity as an integer below 2**bits."""
    if not isinstance(value, str) or len(value) > 2 + bits // 4 or not _QUANTITY.match(value):
        raise invalid(f"{name} must be a hex quantity such as 0x1f, got {_shown(value)}")
    return int(value, 16)


def parse_data(value: Any, name: str = "data", *, size: int | None = None) -> bytes:
    """Return hex data as bytes, of `size` bytes where given."""
    if not isinstance(value, str) or not value.startswith("0x"):
        raise invalid(f"{name} must be hex data of whole bytes, got {_shown(value)}")
    try:
        data = binascii.unhexlify(value[2:])  # unlike bytes.fromhex it takes no blanks
    except ValueError:  # of which binascii.Error is one
        raise invalid(f"{name} must be hex data of whole bytes, got {_shown(value)}") from None
    if size is not None and len(data) != size:
        raise invalid(f"{name} must be {size} bytes, got {len(data)}")
    return data


def parse_address(value: Any, name: str = "address") -> Address:
    """Return a 20-byte address."""
    return Address(parse_data(value, name, size=20))


def parse_hash(value: Any, name: str = "hash") -> Hash32:
    """Return a 32-byte hash."""
    return Hash32(parse_data(value, name, size=32))


def parse_slot(value: Any) -> bytes:
    """Return a storage slot, given as 32 bytes of data or as a shorter quantity, as 32 bytes."""
    if isinstance(value, str) and _SLOT.match(value):
        return int(value, 16).to_bytes(32, "big")
    raise invalid(f"storage key must be hex of at most 32 bytes, got {_shown(value)}")


def parse_bool(value: Any, name: str) -> bool:
    """Return a JSON boolean."""
    if not isinstance(value, bool):
        raise invalid(f"{name} must be true or false")
    return value


def parse_block_id(value: Any) -> BlockId:
    """Return the block that a tag, number, hash or EIP-1898 object names; None means latest."""
    if value is None:
        return LATEST
    if isinstance(value, dict):
        return _parse_block_object(value)
    if isinstance(value, str) and value in TAGS:
        return BlockId(tag=value)
    if isinstance(value, str) and len(value) == 66:
        return BlockId(hash=parse_hash(value, "block hash"))
    return BlockId(number=parse_quantity(value, "block number", bits=64))


def _parse_block_object(value: dict[str, Any]) -> BlockId:
    """Read {blockHash, requireCanonical} or {blockNumber}; blocks that left the chain are not kept here."""
    if ("blockHash" in value) == ("blockNumber" in value):
        raise invalid("a block object names either blockHash or blockNumber")
    if "requireCanonical" in value:
        parse_bool(value["requireCanonical"], "requireCanonical")
    if "blockHash" in value:
        return BlockId(hash=parse_hash(value["blockHash"], "blockHash"))
    if not isinstance(value["blockNumber"], str):
        raise invalid("blockNumber must be a hex quantity or a tag")
    return parse_block_id(value["blockNumber"])


def block_param(params: list[Any], place: int) -> BlockId:
    """Return the block that an optional trailing parameter names; without it the latest."""
    return parse_block_id(params[place]) if len(params) > place else LATEST


@dataclass(frozen=True, slots=True)
class CallObject:
    """The message of `eth_call`, `eth_estimateGas` and their kin.

    `gas_price` is the most it pays per gas, 0 if it names no price; `fee_cap` and `tip` are as it named them (wei).
    """

    sender: Address
    to: Address | None
    gas: int | None
    gas_price: int
    value: int
    input: bytes
    access_list: tuple[tuple[bytes, tuple[bytes, ...]], ...]
    authorizations: tuple[Authorization, ...] = ()
    chain_id: int | None = None
    nonce: int | None = None
    fee_cap: int | None = None
    tip: int | None = None

    def price_at(self, base_fee: int) -> int:
        """Return what it pays per gas in a block with this base fee: what GASPRICE shows (EIP-1559)."""
        if self.fee_cap is None:
            return self.gas_price
        return min(self.fee_cap, base_fee + (self.tip or 0))


ZERO_ADDRESS: Final = Address(bytes(20))


def parse_call(value: Any) -> CallObject:
    """Return a call object; `input` wins over its old name `data`, and both together must agree.

    Errors: INVALID_PARAMS for wrong forms; SERVER_ERROR for a tip above the fee cap, which is 0 if it is not named.
    """
    call = parse_draft(value)
    if (call.tip or 0) > (call.fee_cap or 0):
        words = f"maxPriorityFeePerGas: {call.tip}, maxFeePerGas: {call.fee_cap or 0}"
        raise refusal("tx.priority_above_fee_cap", words)
    return call


def parse_draft(value: Any) -> CallObject:
    """Return a call object whose prices somebody may still fill in."""
    if not isinstance(value, dict):
        raise invalid("a call is an object with to, data, ...")
    given = [parse_data(value[name], name) for name in ("input", "data") if value.get(name) is not None]
    if len(given) == 2 and given[0] != given[1]:
        raise invalid('both "data" and "input" are set and not equal. Please use "input"')
    if value.get("authorizationList") and value.get("to") is None:
        raise invalid("a call with authorizationList names a to: it cannot create a contract (EIP-7702)")
    if value.get("blobVersionedHashes") or value.get("maxFeePerBlobGas") not in (None, "0x0"):
        raise refusal("tx.type_not_supported", "")
    price = optional_quantity(value, "gasPrice", PRICE_BITS)
    cap = optional_quantity(value, "maxFeePerGas", PRICE_BITS)
    tip = optional_quantity(value, "maxPriorityFeePerGas", PRICE_BITS)
    if price is not None and (cap is not None or tip is not None):
        raise invalid("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified")
    return CallObject(
        sender=parse_address(value["from"], "from") if value.get("from") is not None else ZERO_ADDRESS,
        to=parse_address(value["to"], "to") if value.get("to") is not None else None,
        gas=optional_quantity(value, "gas", 64),
        gas_price=price if price is not None else cap or 0,
        value=optional_quantity(value, "value") or 0,
        input=given[0] if given else b"",
        access_list=_parse_access_list(value.get("accessList")),
        authorizations=_parse_authorizations(value.get("authorizationList")),
        chain_id=optional_quantity(value, "chainId"),
        nonce=optional_quantity(value, "nonce", 64),
        fee_cap=cap,
        tip=tip,
    )


def optional_quantity(value: dict[str, Any], name: str, bits: int = 256) -> int | None:
    """Return a member that is a quantity, None where it is absent or null."""
    return parse_quantity(value[name], name, bits=bits) if value.get(name) is not None else None


def _parse_access_list(value: Any) -> tuple[tuple[bytes, tuple[bytes, ...]], ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise invalid("accessList must be an array")
    entries: list[tuple[bytes, tuple[bytes, ...]]] = []
    for entry in value:
        keys = entry.get("storageKeys") if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or not isinstance(keys, list | None):
            raise invalid("an access list entry has address and storageKeys")
        hashes = tuple(parse_hash(key, "storage key") for key in keys or ())
        entries.append((parse_address(entry.get("address")), hashes))
    return tuple(entries)


def _parse_authorizations(value: Any) -> tuple[Authorization, ...]:
    """Read the list of an EIP-7702 transaction; r and s come padded from some clients."""
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_AUTHORIZATIONS:
        raise invalid(f"authorizationList must be an array of at most {MAX_AUTHORIZATIONS}")
    if not all(isinstance(entry, dict) for entry in value):
        raise invalid("an authorization has chainId, address, nonce, yParity, r and s")
    return tuple(
        Authorization(
            chain_id=parse_quantity(entry.get("chainId"), "chainId", bits=64),
            address=parse_address(entry.get("address")),
            nonce=parse_quantity(entry.get("nonce"), "nonce", bits=64),
            y_parity=parse_quantity(entry.get("yParity"), "yParity", bits=8),
            r=int.from_bytes(parse_slot(entry.get("r")), "big"),
            s=int.from_bytes(parse_slot(entry.get("s")), "big"),
        )
        for entry in value
    )


def _shown(value: Any) -> str:
    """Show a wrong value, cut short; a container is named only, for it may be large."""
    if isinstance(value, list | dict):
        return "an array" if isinstance(value, list) else "an object"
    return repr(value if not isinstance(value, str) else value[:80])
