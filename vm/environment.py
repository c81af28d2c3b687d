"""What a block's transactions see of their block, from its parent and its data. Spec: docs/spec/block.md."""

from dataclasses import dataclass

from primitives.hashes import keccak256
from primitives.ids import Address, Hash32
from vm._core import BlockEnv, Header, next_base_fee
from vm.spec import ChainSpec
from vm.types import HeadInfo, L1Origin


@dataclass(frozen=True, slots=True)
class EnvironmentWish:
    """What the owner of a development node wants of a block in place of the rules' values; None leaves one alone."""

    coinbase: Address | None = None
    gas_limit: int | None = None
    base_fee: int | None = None
    prev_randao: Hash32 | None = None


def granted(ruled: BlockEnv, wish: EnvironmentWish | None) -> BlockEnv:
    """Return an environment with the wishes in it."""
    if wish is None:
        return ruled
    return BlockEnv(
        number=ruled.number,
        timestamp=ruled.timestamp,
        coinbase=ruled.coinbase if wish.coinbase is None else wish.coinbase,
        gas_limit=ruled.gas_limit if wish.gas_limit is None else wish.gas_limit,
        base_fee=ruled.base_fee if wish.base_fee is None else wish.base_fee,
        prev_randao=ruled.prev_randao if wish.prev_randao is None else wish.prev_randao,
        parent_hash=ruled.parent_hash,
        origin_hash=ruled.origin_hash,
        extra_data=ruled.extra_data,
    )


def genesis_environment(spec: ChainSpec) -> BlockEnv:
    """Return the environment of block 0."""
    return BlockEnv(
        number=0,
        timestamp=spec.genesis.timestamp,
        coinbase=spec.fee_recipient,
        gas_limit=spec.gas_limit,
        base_fee=spec.base_fee_wei,
        prev_randao=beacon(spec.origin, 0),
        parent_hash=bytes(32),
        origin_hash=spec.origin.hash,
        extra_data=origin_note(spec.origin),
    )


def child_environment(spec: ChainSpec, parent: HeadInfo, timestamp: int, origin: L1Origin) -> BlockEnv:
    """Return the environment of the block after `parent`; ordinary gas alone moved its base fee."""
    number = parent.number + 1
    return BlockEnv(
        number=number,
        timestamp=timestamp,
        coinbase=spec.fee_recipient,
        gas_limit=spec.gas_limit,
        base_fee=next_base_fee(parent.base_fee, parent.ordinary_gas_used, parent.gas_limit),
        prev_randao=beacon(origin, number),
        parent_hash=parent.hash,
        origin_hash=origin.hash,
        extra_data=origin_note(origin),
    )


def recorded_environment(header: Header) -> BlockEnv:
    """Return the environment of a block that exists, for calls upon its state."""
    return BlockEnv(
        number=header.number,
        timestamp=header.timestamp,
        coinbase=header.coinbase,
        gas_limit=header.gas_limit,
        base_fee=header.base_fee,
        prev_randao=header.prev_randao,
        parent_hash=header.parent_hash,
        origin_hash=header.parent_beacon_block_root,
        extra_data=header.extra_data,
    )


def beacon(origin: L1Origin, number: int) -> Hash32:
    """prevRandao: keccak256(origin hash in internal order | number, 8 bytes big-endian)."""
    return keccak256(origin.hash + number.to_bytes(8, "big"))


def origin_note(origin: L1Origin) -> bytes:
    """extraData: the origin's height, 8 bytes big-endian."""
    return origin.height.to_bytes(8, "big")
