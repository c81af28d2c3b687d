"""The states of derivation and of artifact uploads as bytes and back, so that a rewind goes on where it was.

Equal states give equal bytes.
"""

from collections.abc import Mapping
from typing import Final

from primitives.codec import Reader, Writer
from primitives.ids import ADDRESS_BYTES, HASH_BYTES, Address, Hash32, L1Hash, XOnlyKey
from rollup.derivation.artifacts import ArtifactState, UploadKey
from rollup.derivation.channels import ChannelBank
from rollup.derivation.events import EpochStart
from rollup.derivation.judge import DerivedHead
from rollup.derivation.pieces import Assembly
from rollup.derivation.state import DerivationState
from vm.types import L1Origin, SystemTransaction

_WEI_BYTES: Final = 32
_ANY_LENGTH: Final = 2**32


def write_derivation(writer: Writer, state: DerivationState) -> None:
    """Append a derivation state."""
    writer.u64(state.head.number)
    writer.u64(state.head.timestamp)
    write_origin(writer, state.head.origin)
    writer.uvarint(len(state.epochs))
    for epoch in state.epochs:
        write_origin(writer, epoch.origin)
        writer.uvarint(len(epoch.system_transactions))
        for transaction in epoch.system_transactions:
            _write_system(writer, transaction)
    writer.u64(state.bank.next_number)
    writer.uvarint(len(state.bank.channels))
    for number in sorted(state.bank.channels):
        writer.u64(number)
        _write_assembly(writer, state.bank.channels[number])


def read_derivation(reader: Reader) -> DerivationState:
    """Read what `write_derivation` wrote; raises InvalidInput `codec.*`."""
    head = DerivedHead(reader.u64(), reader.u64(), read_origin(reader))
    epochs = tuple(_read_epoch(reader) for _ in range(reader.uvarint()))
    next_number = reader.u64()
    channels = {}
    for _ in range(reader.uvarint()):
        number = reader.u64()
        channels[number] = _read_assembly(reader)
    return DerivationState(head, epochs, ChannelBank(next_number, channels))


def write_artifacts(writer: Writer, state: ArtifactState) -> None:
    """Append the uploads under way."""
    writer.uvarint(len(state.uploads))
    for key in sorted(state.uploads):
        signer, sequence = key
        writer.raw(signer)
        writer.u64(sequence)
        _write_assembly(writer, state.uploads[key])


def read_artifacts(reader: Reader) -> ArtifactState:
    """Read what `write_artifacts` wrote; raises InvalidInput `codec.*`."""
    uploads: dict[UploadKey, Assembly] = {}
    for _ in range(reader.uvarint()):
        key = (XOnlyKey(reader.take(HASH_BYTES)), reader.u64())
        uploads[key] = _read_assembly(reader)
    return ArtifactState(uploads)


def write_origin(writer: Writer, origin: L1Origin) -> None:
    """Append an origin: height 8, hash 32 in internal order, median time past 8."""
    writer.u64(origin.height)
    writer.raw(origin.hash)
    writer.u64(origin.mtp)


def read_origin(reader: Reader) -> L1Origin:
    """Read an origin."""
    return L1Origin(reader.u64(), L1Hash(reader.take(HASH_BYTES)), reader.u64())


def _read_epoch(reader: Reader) -> EpochStart:
    origin = read_origin(reader)
    return EpochStart(origin, tuple(_read_system(reader) for _ in range(reader.uvarint())))


def _write_system(writer: Writer, transaction: SystemTransaction) -> None:
    writer.raw(transaction.source_hash)
    writer.raw(transaction.sender)
    writer.byte_string(transaction.to or b"")
    writer.raw(transaction.mint.to_bytes(_WEI_BYTES, "big"))
    writer.raw(transaction.value.to_bytes(_WEI_BYTES, "big"))
    writer.u64(transaction.gas)
    writer.byte_string(transaction.data)


def _read_system(reader: Reader) -> SystemTransaction:
    source_hash, sender = Hash32(reader.take(HASH_BYTES)), Address(reader.take(ADDRESS_BYTES))
    to = reader.byte_string(ADDRESS_BYTES)
    return SystemTransaction(
        source_hash=source_hash,
        sender=sender,
        to=Address(to) if to else None,
        mint=int.from_bytes(reader.take(_WEI_BYTES), "big"),
        value=int.from_bytes(reader.take(_WEI_BYTES), "big"),
        gas=reader.u64(),
        data=reader.byte_string(_ANY_LENGTH),
    )


def _write_assembly(writer: Writer, assembly: Assembly) -> None:
    writer.u16(assembly.of)
    writer.raw(assembly.content_hash)
    writer.u64(assembly.first_height)
    writer.uvarint(len(assembly.pieces))
    for index in sorted(assembly.pieces):
        writer.uvarint(index)
        writer.byte_string(assembly.pieces[index])


def _read_assembly(reader: Reader) -> Assembly:
    of, content_hash = reader.u16(), Hash32(reader.take(HASH_BYTES))
    first_height = reader.u64()
    pieces: Mapping[int, bytes] = {
        reader.uvarint(): reader.byte_string(_ANY_LENGTH) for _ in range(reader.uvarint())
    }
    return Assembly(of, content_hash, first_height, pieces, sum(len(piece) for piece in pieces.values()))
