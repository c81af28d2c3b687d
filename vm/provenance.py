"""Whether the stored block of a number is the one that some data makes, without executing anything."""

from dataclasses import replace

from primitives.hashes import keccak256
from vm.chain import Chain
from vm.types import BlockData


def is_made_from(chain: Chain, data: BlockData) -> bool:
    """Tell whether executing `data` on the stored parent gives the stored block.

    What the block left out is compared by hash. Records must be exactly those used, in call order, as in
    any sealed block; other data may answer False and yet make the same block, which executing it then shows.
    """
    made, body = chain.block_data(data.number), chain.body(data.number)
    if made is None or body is None:
        return False
    if made == data:  # whatever else it was once made from
        return True
    skipped = {entry.position: entry.hash for entry in body.skipped}
    kept, left_out = [], {}
    for position, raw in enumerate(data.transactions):
        if position in skipped:
            left_out[position] = keccak256(raw)
        else:
            kept.append(position)
    if left_out != skipped or made.transactions != tuple(data.transactions[position] for position in kept):
        return False
    records = tuple(replace(record, tx_index=kept[record.tx_index]) for record in made.records)
    return replace(made, transactions=data.transactions, records=records) == data
