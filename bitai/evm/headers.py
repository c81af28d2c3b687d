"""Headers of plain Ethereum since Paris: how they are read, and the rules that need only the parent."""

from dataclasses import dataclass
from typing import Final

from bitai.evm.blocks import next_base_fee, next_excess_blob_gas
from bitai.evm.forks import Fork
from primitives import rlp
from primitives.errors import InvalidInput
from primitives.hashes import keccak256

NO_OMMERS: Final = keccak256(b"\xc0")
_FIELDS: Final = {"Paris": 16, "Shanghai": 17, "Cancun": 20, "Prague": 21}
_MOST_GAS: Final = (1 << 63) - 1
_LEAST_GAS: Final = 5_000
_GAS_STEP: Final = 1_024
_MAX_EXTRA_BYTES: Final = 32


class BadBlock(InvalidInput):
    """A block that no chain holds; its code ends in the name that official tests use, in lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A header; what its fork does not know is None."""

    hash: bytes
    parent_hash: bytes
    ommers_hash: bytes
    coinbase: bytes
    state_root: bytes
    transactions_root: bytes
    receipts_root: bytes
    logs_bloom: bytes
    difficulty: int
    number: int
    gas_limit: int
    gas_used: int
    timestamp: int
    extra_data: bytes
    prev_randao: bytes
    nonce: bytes
    base_fee: int
    withdrawals_root: bytes | None = None
    blob_gas_used: int | None = None
    excess_blob_gas: int | None = None
    beacon_root: bytes | None = None
    requests_hash: bytes | None = None


# Name and length; no length: a number of at most 8 bytes. In the order of the encoding.
_LAYOUT: Final[tuple[tuple[str, int | None], ...]] = (
    *(("parent_hash", 32), ("ommers_hash", 32), ("coinbase", 20), ("state_root", 32)),
    *(("transactions_root", 32), ("receipts_root", 32), ("logs_bloom", 256), ("difficulty", None)),
    *(("number", None), ("gas_limit", None), ("gas_used", None), ("timestamp", None), ("extra_data", -1)),
    *(("prev_randao", 32), ("nonce", 8), ("base_fee", None), ("withdrawals_root", 32)),
    *(("blob_gas_used", None), ("excess_blob_gas", None), ("beacon_root", 32), ("requests_hash", 32)),
)


def read_header(item: rlp.Item) -> Header:
    """Return a header from its list; raises `BadBlock` `block.rlp_structures_encoding`."""
    if not isinstance(item, list) or len(item) not in _FIELDS.values():
        raise BadBlock("block.rlp_structures_encoding", "a header has 16 to 21 fields")
    try:
        values = {name: _read(value, length) for (name, length), value in zip(_LAYOUT, item, strict=False)}
    except InvalidInput as error:
        raise BadBlock("block.rlp_structures_encoding", error.message) from error
    return Header(hash=keccak256(rlp.encode(item)), **values)  # type: ignore[arg-type] # by the layout


def check_header(header: Header, parent: Header, fork: Fork) -> None:
    """Refuse a header that does not follow its parent; raises `BadBlock` `block.*`."""
    if header.parent_hash != parent.hash:
        raise BadBlock("block.unknown_parent", "the parent is not the head")
    if header.number != parent.number + 1:
        raise BadBlock("block.invalid_block_number", "numbers go up by one")
    if header.timestamp <= parent.timestamp:
        raise BadBlock("block.invalid_block_timestamp_older_than_parent", "time must pass")
    if len(header.extra_data) > _MAX_EXTRA_BYTES:
        raise BadBlock("block.extra_data_too_big", "extra data has at most 32 bytes")
    if (header.difficulty, header.nonce, header.ommers_hash) != (0, bytes(8), NO_OMMERS):
        raise BadBlock("block.import_impossible_difficulty_over_paris", "proof of work ended with Paris")
    _check_gas(header, parent)
    _check_fields(header, parent, fork)


def _check_gas(header: Header, parent: Header) -> None:
    step = parent.gas_limit // _GAS_STEP
    is_near = parent.gas_limit - step < header.gas_limit < parent.gas_limit + step
    if not is_near or not _LEAST_GAS <= header.gas_limit <= _MOST_GAS:
        raise BadBlock("block.invalid_gaslimit", "the gas limit moves too far")
    if header.gas_used > header.gas_limit:
        raise BadBlock("block.gas_used_overflow", "more gas used than the limit allows")
    if header.base_fee != next_base_fee(parent.gas_limit, parent.gas_used, parent.base_fee):
        raise BadBlock("block.invalid_basefee_per_gas", "the base fee does not follow from the parent")


def _check_fields(header: Header, parent: Header, fork: Fork) -> None:
    """Check that the header has what its fork knows, and the excess blob gas that follows from the parent."""
    given = [getattr(header, name) is not None for name, _ in _LAYOUT]
    wanted = max(count for name, count in _FIELDS.items() if fork.since(name))
    if sum(given) != wanted:
        raise BadBlock("block.incorrect_block_format", f"a header of {fork.name} has {wanted} fields")
    if header.excess_blob_gas is None:
        return
    used, excess = parent.blob_gas_used or 0, parent.excess_blob_gas or 0
    if header.excess_blob_gas != next_excess_blob_gas(fork, excess, used, parent.base_fee):
        raise BadBlock("block.incorrect_excess_blob_gas", "excess blob gas does not follow from the parent")


def _read(item: rlp.Item, length: int | None) -> object:
    if length is None:
        return rlp.decode_int(item, 8)
    if isinstance(item, list) or (length >= 0 and len(item) != length):
        raise InvalidInput("rlp.bad_shape", f"{length} bytes wanted")
    return item
