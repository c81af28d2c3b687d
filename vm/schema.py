"""The layout of the chain database: every key and every fixed-size value, in one place.

Integers in keys are big-endian, so that keys sort as numbers do. The state rows (a, s, c, A, S) are written
and read by the native core; everything else by Python. Spec: docs/spec/state.md.

    a address20               account            rlp([nonce, balance, storage root, code hash])
    s address20 slot32        storage value      big-endian, no leading zeros; zero is absence
    c code_hash32             code
    A path                    account-trie node  (path: one nibble a byte)
    S address20 path          storage-trie node
    H number8                 header             rlp
    E number8                 extras             see `BlockExtras`
    B number8                 body               see vm/body.py
    R number8                 receipts           native blob
    U number8                 undo               native blob; kept from the finalized head up
    h length1 row number8     former value       of a state row (its key with its length before) ahead of a block
    # block_hash32            number8
    T transaction_hash32      number8 index4
    O height8                 L1 origin          hash32, number8 of the epoch's first block
    W model_id32              model artifact     written by the pipeline's driver, not a function of one block
    k number8                 sum of a block's former values, see `HistorySum`
    X number8 place4          edit               see vm/edits.py; a development node's alone
    M name                    heads and facts
    D, Q, P, V, L, F          derivation, batcher rows, mempool journal, evidence, statements heard, filters: their
                              owners' own
"""

from typing import Final, NamedTuple

from primitives.codec import Reader, Writer
from primitives.errors import InvariantViolation
from primitives.ids import HASH_BYTES, Address, Hash32, L1Hash, ModelId
from vm.types import L1Origin, TransactionPlace

META_IDENTITY: Final = b"Midentity"
"""Identity of the chain this store holds (32 bytes)."""
META_HEAD: Final = b"Mhead"
"""Number (8) and hash (32) of the newest block, the unsafe head."""
META_SAFE: Final = b"Msafe"
META_FINALIZED: Final = b"Mfinalized"
"""Written by the driver that decides them, in the same form as the head."""
META_UNDO_FLOOR: Final = b"Mundo_floor"
"""Lowest number (8) whose undo data is kept; nothing below it can be rewound."""

META_SCHEMA: Final = b"Mschema"
"""Number (8) of the layout of this store, and the version of the program that made it so (text); none is 1."""
META_HISTORY: Final = b"Mhistory"
"""Number (8) and hash (32) of the highest block whose former values all have rows."""
META_HISTORY_FLOOR: Final = b"Mhistory_floor"
"""Lowest block (8) whose state can be read."""
META_SWEEP: Final = b"Msweep"
"""How far rows below the floor are gone: see vm/history.py."""

SCHEMA: Final = 2
"""The layout that this program reads and writes. 1: without history."""

UNDO_PREFIX: Final = b"U"
HISTORY_PREFIX: Final = b"h"
HISTORY_SUM_PREFIX: Final = b"k"
CODE_PREFIX: Final = b"c"
OWNED_ELSEWHERE: Final = (b"D", b"Q", b"P", b"V", b"L", b"F", b"X")
ARTIFACT_PREFIX: Final = b"W"


class BlockExtras(NamedTuple):
    """What the chain needs to know of a block fast and cannot read from its header.

    `ordinary_gas_used` is gas without model calls, which moves the base fee.
    """

    hash: Hash32
    ordinary_gas_used: int
    origin: L1Origin


class EpochStart(NamedTuple):
    """An L1 origin's hash and the first block that looks back to it."""

    hash: L1Hash
    first_number: int


class BlockId(NamedTuple):
    """A block's number and hash, as the heads are stored."""

    number: int
    hash: Hash32


class HistorySum(NamedTuple):
    """How many history rows a block has, and the sum of their CRC-32: whether one was lost or damaged."""

    rows: int
    total: int


def header_key(number: int) -> bytes:
    """Key of a header."""
    return b"H" + number.to_bytes(8, "big")


def extras_key(number: int) -> bytes:
    """Key of a block's extras."""
    return b"E" + number.to_bytes(8, "big")


def body_key(number: int) -> bytes:
    """Key of a body."""
    return b"B" + number.to_bytes(8, "big")


def receipts_key(number: int) -> bytes:
    """Key of a block's receipts."""
    return b"R" + number.to_bytes(8, "big")


def undo_key(number: int) -> bytes:
    """Key of the writes that undo a block."""
    return UNDO_PREFIX + number.to_bytes(8, "big")


def history_prefix(row_key: bytes) -> bytes:
    """What the keys of a state row's former values begin with; the block number (8) follows.

    The length keeps the rows of one trie node apart from those of the nodes below it, whose paths begin the same.
    """
    return HISTORY_PREFIX + len(row_key).to_bytes(1, "big") + row_key


def history_sum_key(number: int) -> bytes:
    """Key of the sum over a block's former values."""
    return HISTORY_SUM_PREFIX + number.to_bytes(8, "big")


def block_hash_key(block_hash: Hash32) -> bytes:
    """Key of the number of the block with this hash."""
    return b"#" + block_hash


def transaction_key(transaction_hash: bytes) -> bytes:
    """Key of a transaction's place."""
    return b"T" + transaction_hash


def origin_key(height: int) -> bytes:
    """Key of an epoch's start."""
    return b"O" + height.to_bytes(8, "big")


def artifact_key(model_id: ModelId) -> bytes:
    """Key of a model's artifact: the complete container on-chain, the announcement for a neuron model."""
    return ARTIFACT_PREFIX + model_id


def account_key(address: Address) -> bytes:
    """Key of an account."""
    return b"a" + address


def storage_key(address: Address, slot: bytes) -> bytes:
    """Key of a storage slot (32 bytes)."""
    return b"s" + address + slot


def encode_number(number: int) -> bytes:
    """Return a block number as stored."""
    return number.to_bytes(8, "big")


def decode_number(value: bytes) -> int:
    """Read a block number; raises InvariantViolation `store.corrupt`, as all decoders here."""
    require_intact("number", len(value) == 8)
    return int.from_bytes(value, "big")


def encode_block_id(block: BlockId) -> bytes:
    """Return number 8 | hash 32."""
    return encode_number(block.number) + block.hash


def decode_block_id(value: bytes) -> BlockId:
    """Read a head."""
    require_intact("block id", len(value) == 40)
    return BlockId(int.from_bytes(value[:8], "big"), Hash32(value[8:]))


def encode_place(place: TransactionPlace) -> bytes:
    """Return number 8 | index 4."""
    return place.number.to_bytes(8, "big") + place.index.to_bytes(4, "big")


def decode_place(value: bytes) -> TransactionPlace:
    """Read where a transaction is."""
    require_intact("place", len(value) == 12)
    return TransactionPlace(int.from_bytes(value[:8], "big"), int.from_bytes(value[8:], "big"))


def encode_epoch_start(epoch: EpochStart) -> bytes:
    """Return hash 32 | number 8."""
    return epoch.hash + encode_number(epoch.first_number)


def decode_epoch_start(value: bytes) -> EpochStart:
    """Read an epoch's start."""
    require_intact("epoch start", len(value) == 40)
    return EpochStart(L1Hash(value[:32]), int.from_bytes(value[32:], "big"))


def encode_history_sum(history: HistorySum) -> bytes:
    """Return rows 4 | total 8."""
    return history.rows.to_bytes(4, "big") + history.total.to_bytes(8, "big")


def decode_history_sum(value: bytes) -> HistorySum:
    """Read the sum over a block's former values."""
    require_intact("history sum", len(value) == 12)
    return HistorySum(int.from_bytes(value[:4], "big"), int.from_bytes(value[4:], "big"))


def encode_extras(extras: BlockExtras) -> bytes:
    """Return hash 32 | ordinary gas 8 | origin height 8 | origin hash 32 | origin mtp 8."""
    writer = Writer()
    writer.raw(extras.hash)
    writer.u64(extras.ordinary_gas_used)
    writer.u64(extras.origin.height)
    writer.raw(extras.origin.hash)
    writer.u64(extras.origin.mtp)
    return writer.finish()


def decode_extras(value: bytes) -> BlockExtras:
    """Read a block's extras."""
    require_intact("extras", len(value) == 88)
    reader = Reader(value)
    block_hash, gas = Hash32(reader.take(HASH_BYTES)), reader.u64()
    origin = L1Origin(reader.u64(), L1Hash(reader.take(HASH_BYTES)), reader.u64())
    return BlockExtras(block_hash, gas, origin)


def require_intact(what: str, intact: bool) -> None:  # noqa: FBT001 -- reads as `require_intact("head", head is ...)`
    """Stop when the store holds what this program never wrote; raises InvariantViolation `store.corrupt`."""
    if not intact:
        raise InvariantViolation("store.corrupt", f"the chain database holds a malformed {what}")
