"""Name a block's data by its content, so that what was executed ahead is told from what Bitcoin says."""

from primitives.codec import Writer
from primitives.hashes import tagged_hash
from primitives.ids import Hash32
from vm.records import encode_record
from vm.types import BlockData


def content_id(data: BlockData) -> Hash32:
    """Return the tagged hash of all that a block is made from; on one parent, equal ids make equal blocks."""
    writer = Writer()
    writer.u64(data.number)
    writer.u64(data.timestamp)
    writer.u64(data.origin.height)
    writer.raw(data.origin.hash)
    writer.u64(data.origin.mtp)
    for pieces in (
        [transaction.raw for transaction in data.system_transactions],
        data.transactions,
        [encode_record(record) for record in data.records],
    ):
        writer.uvarint(len(pieces))
        for piece in pieces:
            writer.byte_string(piece)
    return tagged_hash("BitAI/block-data", writer.finish())
