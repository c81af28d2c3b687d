"""Which logs a filter, a subscription or `eth_getLogs` wants, and whether a block can hold any of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from bitai.rpc.params import BlockId, invalid, parse_address, parse_block_id, parse_hash
from primitives.hashes import keccak256
from primitives.ids import Hash32

MAX_TOPICS: Final = 4
MAX_ALTERNATIVES: Final = 1_000
"""Addresses, or alternatives of one topic, in one filter, as geth bounds them."""
_BLOOM_BITS: Final = 2_048


@dataclass(frozen=True, slots=True)
class LogQuery:
    """A block range or one block, addresses, and topics by position."""

    first: BlockId
    last: BlockId
    block_hash: Hash32 | None
    addresses: frozenset[bytes]
    topics: tuple[frozenset[bytes], ...]
    """Per position the alternatives; an empty set matches anything."""
    masks: tuple[tuple[int, ...], ...]
    """Per condition the bloom masks of its alternatives: a block's bloom covers one of each, or it has no match."""

    @property
    def weight(self) -> int:
        """How many values it compares with; what it costs to keep."""
        return 1 + len(self.addresses) + sum(map(len, self.topics))

    def between(self, first: BlockId, last: BlockId) -> LogQuery:
        """Return the same query over another range."""
        return replace(self, first=first, last=last)

    def wants(self, address: bytes, topics: list[bytes]) -> bool:
        """Whether a log with this address and these topics matches."""
        if self.addresses and address not in self.addresses:
            return False
        if len(self.topics) > len(topics):
            return False
        return all(not wanted or topics[place] in wanted for place, wanted in enumerate(self.topics))

    def may_match(self, logs_bloom: bytes) -> bool:
        """Whether a block with this bloom may hold a match; a false alarm is possible, a miss is not."""
        bits = int.from_bytes(logs_bloom, "big")
        return bits != 0 and all(any(mask & bits == mask for mask in masks) for masks in self.masks)


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
    if not isinstance(topics, list) or len(topics) > MAX_TOPICS or len(addresses) > MAX_ALTERNATIVES:
        raise invalid("exceed max topics or addresses")
    wanted_addresses = frozenset(bytes(parse_address(each)) for each in addresses)
    wanted_topics = tuple(_parse_topic(each) for each in topics)
    conditions = [each for each in (wanted_addresses, *wanted_topics) if each]
    return LogQuery(
        first=parse_block_id(value.get("fromBlock")),
        last=parse_block_id(value.get("toBlock")),
        block_hash=parse_hash(block_hash, "blockHash") if block_hash is not None else None,
        addresses=wanted_addresses,
        topics=wanted_topics,
        masks=tuple(tuple(_bloom_mask(each) for each in sorted(condition)) for condition in conditions),
    )


def _parse_topic(value: Any) -> frozenset[bytes]:
    if value is None:
        return frozenset()
    if not isinstance(value, list):
        return frozenset({bytes(parse_hash(value, "topic"))})
    if len(value) > MAX_ALTERNATIVES:
        raise invalid("exceed max topics")
    if any(each is None for each in value):
        return frozenset()
    return frozenset(bytes(parse_hash(each, "topic")) for each in value)


def _bloom_mask(value: bytes) -> int:
    """Return the three bits that a logged value sets (yellow paper 4.3.1)."""
    digest = keccak256(value)
    mask = 0
    for start in (0, 2, 4):
        mask |= 1 << int.from_bytes(digest[start : start + 2], "big") % _BLOOM_BITS
    return mask
