"""Read the parameters of JSON-RPC calls, refusing what does not fit with the words clients expect."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from bitai.rpc.framing import INVALID_PARAMS, RpcError
from primitives.ids import Address, Hash32

_QUANTITY: Final = re.compile(r"0x(0|[1-9a-fA-F][0-9a-fA-F]*)\Z")
_DATA: Final = re.compile(r"0x([0-9a-fA-F]{2})*\Z")
TAGS: Final = ("latest", "pending", "safe", "finalized", "earliest")


@dataclass(frozen=True, slots=True)
class BlockId:
    """Which block a call means: one of `tag`, `number` and `hash` is set."""

    tag: str | None = None
    number: int | None = None
    hash: Hash32 | None = None


LATEST: Final = BlockId(tag="latest")


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
    if not isinstance(value, str) or not _QUANTITY.match(value) or len(value) > 2 + bits // 4:
        raise invalid(f"{name} must be a hex quantity such as 0x1f, got {str(value)[:80]!r}")
    return int(value, 16)


def parse_data(value: Any, name: str = "data", *, size: int | None = None) -> bytes:
    """Return hex data as bytes, of `size` bytes where given."""
    if not isinstance(value, str) or not _DATA.match(value):
        raise invalid(f"{name} must be hex data of whole bytes, got {str(value)[:80]!r}")
    if size is not None and len(value) != 2 + 2 * size:
        raise invalid(f"{name} must be {size} bytes, got {(len(value) - 2) // 2}")
    return bytes.fromhex(value[2:])


def parse_address(value: Any, name: str = "address") -> Address:
    """Return a 20-byte address."""
    return Address(parse_data(value, name, size=20))


def parse_hash(value: Any, name: str = "hash") -> Hash32:
    """Return a 32-byte hash."""
    return Hash32(parse_data(value, name, size=32))


def parse_slot(value: Any) -> bytes:
    """Return a storage slot, given as 32 bytes of data or as a shorter quantity, as 32 bytes."""
    if isinstance(value, str) and re.fullmatch(r"0x[0-9a-fA-F]{1,64}", value):
        return int(value, 16).to_bytes(32, "big")
    raise invalid(f"storage key must be hex of at most 32 bytes, got {str(value)[:80]!r}")


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
        if "blockHash" in value:
            return BlockId(hash=parse_hash(value["blockHash"], "blockHash"))
        if "blockNumber" in value:
            return parse_block_id(value["blockNumber"])
        raise invalid("a block object names blockHash or blockNumber")
    if isinstance(value, str) and value in TAGS:
        return BlockId(tag=value)
    if isinstance(value, str) and len(value) == 66:  # noqa: PLR2004 -- 0x and 32 bytes in hex
        return BlockId(hash=parse_hash(value, "block hash"))
    return BlockId(number=parse_quantity(value, "block number", bits=64))


@dataclass(frozen=True, slots=True)
class CallObject:
    """The message of `eth_call`, `eth_estimateGas` and their kin."""

    sender: Address
    to: Address | None
    gas: int | None
    gas_price: int
    value: int
    input: bytes
    access_list: tuple[tuple[bytes, tuple[bytes, ...]], ...]


ZERO_ADDRESS: Final = Address(bytes(20))


def parse_call(value: Any) -> CallObject:
    """Return a call object; `input` wins over its old name `data`, and both together must agree."""
    if not isinstance(value, dict):
        raise invalid("a call is an object with to, data, ...")
    given = [parse_data(value[name], name) for name in ("input", "data") if value.get(name) is not None]
    if len(given) == 2 and given[0] != given[1]:  # noqa: PLR2004 -- input and data
        raise invalid('both "data" and "input" are set and not equal. Please use "input"')
    price = value.get("maxFeePerGas", value.get("gasPrice"))
    return CallObject(
        sender=parse_address(value["from"], "from") if value.get("from") is not None else ZERO_ADDRESS,
        to=parse_address(value["to"], "to") if value.get("to") is not None else None,
        gas=parse_quantity(value["gas"], "gas", bits=64) if value.get("gas") is not None else None,
        gas_price=parse_quantity(price, "gas price") if price is not None else 0,
        value=parse_quantity(value["value"], "value") if value.get("value") is not None else 0,
        input=given[0] if given else b"",
        access_list=_parse_access_list(value.get("accessList")),
    )


def _parse_access_list(value: Any) -> tuple[tuple[bytes, tuple[bytes, ...]], ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise invalid("accessList must be an array")
    entries: list[tuple[bytes, tuple[bytes, ...]]] = []
    for entry in value:
        if not isinstance(entry, dict) or not isinstance(entry.get("storageKeys", []), list):
            raise invalid("an access list entry has address and storageKeys")
        keys = tuple(parse_hash(key, "storage key") for key in entry.get("storageKeys", []))
        entries.append((parse_address(entry.get("address")), keys))
    return tuple(entries)


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which logs a filter wants: a block range or one block, addresses, and topics by position."""

    first: BlockId
    last: BlockId
    block_hash: Hash32 | None
    addresses: tuple[bytes, ...]
    topics: tuple[tuple[bytes, ...], ...]
    """Per position the alternatives; an empty tuple matches anything."""

    def wants(self, address: bytes, topics: list[bytes]) -> bool:
        """Whether a log with this address and these topics matches."""
        if self.addresses and address not in self.addresses:
            return False
        if len(self.topics) > len(topics):
            return False
        return all(not wanted or topics[place] in wanted for place, wanted in enumerate(self.topics))


MAX_TOPICS: Final = 4
MAX_FILTER_ITEMS: Final = 1_000
"""Addresses or topic alternatives in one filter, as geth bounds them."""


def parse_log_query(value: Any) -> LogQuery:
    """Return a log filter. Errors: INVALID_PARAMS for a range together with a block hash, too many topics."""
    if not isinstance(value, dict):
        raise invalid("a log filter is an object")
    block_hash = value.get("blockHash")
    if block_hash is not None and (value.get("fromBlock") is not None or value.get("toBlock") is not None):
        raise invalid("cannot specify both blockHash and fromBlock/toBlock, choose one or the other")
    addresses = value.get("address") or []
    if not isinstance(addresses, list):
        addresses = [addresses]
    topics = value.get("topics") or []
    if not isinstance(topics, list) or len(topics) > MAX_TOPICS or len(addresses) > MAX_FILTER_ITEMS:
        raise invalid("exceed max topics or addresses")
    return LogQuery(
        first=parse_block_id(value.get("fromBlock")),
        last=parse_block_id(value.get("toBlock")),
        block_hash=parse_hash(block_hash, "blockHash") if block_hash is not None else None,
        addresses=tuple(parse_address(each) for each in addresses),
        topics=tuple(_parse_topic(each) for each in topics),
    )


def _parse_topic(value: Any) -> tuple[bytes, ...]:
    if value is None:
        return ()
    if isinstance(value, list):
        if len(value) > MAX_FILTER_ITEMS:
            raise invalid("exceed max topics")
        if any(each is None for each in value):
            return ()
        return tuple(parse_hash(each, "topic") for each in value)
    return (parse_hash(value, "topic"),)
