"""Encode an unsafe block with the sequencer's signature, as full nodes receive it before Bitcoin has it.

What is signed is a short statement: chain, parent, block, origin, and a hash of the content. Two statements with one
parent and one origin for different blocks are evidence against the sequencer. Layout: docs/spec/unsafe-blocks.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from primitives.codec import Reader, Writer
from primitives.curve import ECDSA_BYTES, schnorr_sign, schnorr_verify
from primitives.errors import InvalidInput
from primitives.hashes import sha256, tagged_hash
from primitives.ids import ADDRESS_BYTES, HASH_BYTES, Address, Hash32, L1Hash, XOnlyKey
from vm.types import BlockData, InferenceRecord, L1Origin, SystemTransaction

VERSION: Final = 0
MAX_SIGNED_BLOCK_BYTES: Final = 32 << 20
"""One encoded block: the gas limit keeps honest ones far below this."""
MAX_TRANSACTIONS: Final = 100_000
MAX_TRANSACTION_BYTES: Final = 1 << 20
MAX_OUTPUT_BYTES: Final = 1 << 20
MAX_SYSTEM_TRANSACTIONS: Final = 10_000
_SIGNATURE_BYTES: Final = 64
_WEI_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Statement:
    """What the sequencer says of a block; `content_hash` is sha256 of the block's encoded data."""

    parent_hash: Hash32
    block_hash: Hash32
    origin_hash: L1Hash
    content_hash: Hash32
    signature: bytes

    def require_signature(self, identity: Hash32, sequencer: XOnlyKey) -> None:
        """Require the sequencer's signature. Errors: `InvalidInput` "unsafe_block.bad_signature"."""
        if not schnorr_verify(sequencer, _digest(identity, self), self.signature):
            raise InvalidInput("unsafe_block.bad_signature", "the block is not signed by the sequencer")

    def contradicts(self, other: Statement) -> bool:
        """Tell whether both cannot be an honest sequencer's: one place, two blocks."""
        return (self.parent_hash, self.origin_hash) == (other.parent_hash, other.origin_hash) and (
            self.block_hash != other.block_hash
        )

    def encode(self) -> bytes:
        """Return parent 32 | block 32 | origin 32 | content 32 | signature 64."""
        return self.parent_hash + self.block_hash + self.origin_hash + self.content_hash + self.signature

    @classmethod
    def decode(cls, raw: bytes) -> Statement:
        """Read what `encode` wrote. Errors: `InvalidInput` "codec.*"."""
        reader = Reader(raw)
        parent_hash, block_hash = Hash32(reader.take(HASH_BYTES)), Hash32(reader.take(HASH_BYTES))
        origin_hash, content_hash = L1Hash(reader.take(HASH_BYTES)), Hash32(reader.take(HASH_BYTES))
        signature = reader.take(_SIGNATURE_BYTES)
        reader.done()
        return cls(parent_hash, block_hash, origin_hash, content_hash, signature)


@dataclass(frozen=True, slots=True)
class SignedBlock:
    """A block as its sequencer vouches for it; `hash` is the claimed L2 block hash."""

    data: BlockData
    parent_hash: Hash32
    hash: Hash32
    signature: bytes
    content: bytes
    """The data's one encoding, which the signature covers by its hash."""

    @property
    def statement(self) -> Statement:
        """What is signed."""
        return Statement(
            parent_hash=self.parent_hash,
            block_hash=self.hash,
            origin_hash=self.data.origin.hash,
            content_hash=sha256(self.content),
            signature=self.signature,
        )


def sign_block(
    secret: bytes, identity: Hash32, data: BlockData, *, parent_hash: Hash32, block_hash: Hash32
) -> SignedBlock:
    """Sign a block for the chain with this config identity."""
    content = encode_block_data(data)
    unsigned = SignedBlock(data, parent_hash, block_hash, b"", content)
    return replace(unsigned, signature=schnorr_sign(secret, _digest(identity, unsigned.statement)))


def require_signature(block: SignedBlock, identity: Hash32, sequencer: XOnlyKey) -> None:
    """Require the sequencer's signature. Errors: `InvalidInput` "unsafe_block.bad_signature"."""
    block.statement.require_signature(identity, sequencer)


def _digest(identity: Hash32, said: Statement) -> Hash32:
    parts = (identity, said.parent_hash, said.block_hash, said.origin_hash, said.content_hash)
    return tagged_hash("BitAI/unsafe-block", b"".join(parts))


def encode_signed_block(block: SignedBlock) -> bytes:
    """Return version | parent hash | block hash | signature | block data."""
    return bytes([VERSION]) + block.parent_hash + block.hash + block.signature + block.content


def decode_signed_block(raw: bytes) -> SignedBlock:
    """Read what `encode_signed_block` wrote. Errors: `InvalidInput` "unsafe_block.*", "codec.*"."""
    if len(raw) > MAX_SIGNED_BLOCK_BYTES:
        raise InvalidInput(
            "unsafe_block.oversized", f"a signed block is at most {MAX_SIGNED_BLOCK_BYTES} bytes"
        )
    reader = Reader(raw)
    version = reader.u8()
    if version != VERSION:
        raise InvalidInput("unsafe_block.version", f"unknown signed block version {version}")
    parent_hash = Hash32(reader.take(HASH_BYTES))
    block_hash = Hash32(reader.take(HASH_BYTES))
    signature = reader.take(_SIGNATURE_BYTES)
    content = reader.rest()
    # Every encoding here is canonical, so these bytes are what encoding the data again would give.
    return SignedBlock(decode_block_data(content), parent_hash, block_hash, signature, content)


def encode_block_data(data: BlockData) -> bytes:
    """Return the one encoding of a block's data."""
    writer = Writer()
    writer.u64(data.number)
    writer.u64(data.timestamp)
    writer.u64(data.origin.height)
    writer.raw(data.origin.hash)
    writer.u64(data.origin.mtp)
    writer.uvarint(len(data.system_transactions))
    for system in data.system_transactions:
        _write_system(writer, system)
    writer.uvarint(len(data.transactions))
    for raw in data.transactions:
        writer.byte_string(raw)
    writer.uvarint(len(data.records))
    for record in data.records:
        _write_record(writer, record)
    return writer.finish()


def decode_block_data(raw: bytes) -> BlockData:
    """Read what `encode_block_data` wrote. Errors: `InvalidInput` "unsafe_block.*", "codec.*"."""
    reader = Reader(raw)
    data = _read_block_data(reader)
    reader.done()
    return data


def _read_block_data(reader: Reader) -> BlockData:
    number, timestamp = reader.u64(), reader.u64()
    origin = L1Origin(reader.u64(), L1Hash(reader.take(HASH_BYTES)), reader.u64())
    system = tuple(_read_system(reader) for _ in range(_count(reader, MAX_SYSTEM_TRANSACTIONS)))
    users = tuple(reader.byte_string(MAX_TRANSACTION_BYTES) for _ in range(_count(reader, MAX_TRANSACTIONS)))
    records = tuple(_read_record(reader, len(users)) for _ in range(_count(reader, MAX_TRANSACTIONS)))
    return BlockData(number, timestamp, origin, system, users, records)


def _count(reader: Reader, limit: int) -> int:
    count = reader.uvarint()
    if count > limit or count > reader.remaining:
        raise InvalidInput("unsafe_block.count", f"{count} items claimed, at most {limit} allowed")
    return count


def _write_system(writer: Writer, system: SystemTransaction) -> None:
    writer.raw(system.source_hash)
    writer.raw(system.sender)
    writer.byte_string(system.to or b"")
    writer.raw(system.mint.to_bytes(_WEI_BYTES, "big"))
    writer.raw(system.value.to_bytes(_WEI_BYTES, "big"))
    writer.u64(system.gas)
    writer.byte_string(system.data)


def _read_system(reader: Reader) -> SystemTransaction:
    source_hash = Hash32(reader.take(HASH_BYTES))
    sender = Address(reader.take(ADDRESS_BYTES))
    to = reader.byte_string(ADDRESS_BYTES)
    if len(to) not in (0, ADDRESS_BYTES):
        raise InvalidInput("unsafe_block.address", "an address is 20 bytes or none")
    return SystemTransaction(
        source_hash=source_hash,
        sender=sender,
        to=Address(to) if to else None,
        mint=int.from_bytes(reader.take(_WEI_BYTES), "big"),
        value=int.from_bytes(reader.take(_WEI_BYTES), "big"),
        gas=reader.u64(),
        data=reader.byte_string(MAX_TRANSACTION_BYTES),
    )


def _write_record(writer: Writer, record: InferenceRecord) -> None:
    writer.uvarint(record.tx_index)
    writer.raw(record.request_hash)
    writer.u8(record.status)
    writer.byte_string(record.output)
    writer.raw(record.neuron)
    writer.raw(record.signature)
    writer.u64(record.ask_height)


def _read_record(reader: Reader, transactions: int) -> InferenceRecord:
    tx_index = reader.uvarint()
    if tx_index >= transactions:
        raise InvalidInput("unsafe_block.record", "a record belongs to no transaction of the block")
    return InferenceRecord(
        tx_index=tx_index,
        request_hash=Hash32(reader.take(HASH_BYTES)),
        status=reader.u8(),
        output=reader.byte_string(MAX_OUTPUT_BYTES),
        neuron=Address(reader.take(ADDRESS_BYTES)),
        signature=reader.take(ECDSA_BYTES),
        ask_height=reader.u64(),
    )
