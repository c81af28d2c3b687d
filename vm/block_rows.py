"""The rows of one block: what committing it adds to the store, and what rewinding it takes away."""

from typing import TYPE_CHECKING

from primitives.errors import InvariantViolation
from primitives.ids import Hash32
from vm import schema
from vm._core import decode_undo
from vm.body import encode_body
from vm.chain import Chain
from vm.core_errors import translated
from vm.history import begin_history
from vm.schema import BlockExtras, BlockId, EpochStart
from vm.spec import ChainSpec
from vm.store import KeyValueStore, WriteBatch
from vm.types import BlockBody, HeadInfo

if TYPE_CHECKING:
    from vm._core import SealedBlock


def add_block(
    batch: WriteBatch, facts: HeadInfo, body: BlockBody, sealed: "SealedBlock", *, new_epoch: bool
) -> None:
    """Add all rows of a block but its state's."""
    number = facts.number
    place = schema.encode_number(number)
    batch.put(schema.header_key(number), sealed.header_rlp)
    batch.put(schema.body_key(number), encode_body(body))
    batch.put(schema.receipts_key(number), sealed.receipts_blob)
    batch.put(schema.undo_key(number), sealed.undo)
    batch.put(schema.block_hash_key(facts.hash), place)
    batch.put(
        schema.extras_key(number),
        schema.encode_extras(BlockExtras(facts.hash, facts.ordinary_gas_used, facts.origin)),
    )
    if new_epoch:
        batch.put(
            schema.origin_key(facts.origin.height),
            schema.encode_epoch_start(EpochStart(facts.origin.hash, number)),
        )
    # The one loop in Python over a block's transactions: a tuple each, no call.
    batch.writes += [
        (b"T" + receipt.transaction_hash, place + index.to_bytes(4, "big"))
        for index, receipt in enumerate(sealed.receipts)
    ]


def add_genesis(batch: WriteBatch, sealed: "SealedBlock", spec: ChainSpec) -> None:
    """Add the first block, which nothing undoes, and the identity of its chain."""
    batch.extend(sealed.writes)
    facts = HeadInfo(
        number=0,
        hash=Hash32(sealed.hash),
        state_root=Hash32(sealed.state_root),
        timestamp=spec.genesis.timestamp,
        gas_limit=spec.gas_limit,
        base_fee=spec.base_fee_wei,
        ordinary_gas_used=0,
        origin=spec.origin,
    )
    add_block(batch, facts, BlockBody((), (), ()), sealed, new_epoch=True)
    batch.delete(schema.undo_key(0))
    batch.put(schema.META_UNDO_FLOOR, schema.encode_number(1))
    batch.put(schema.META_HEAD, schema.encode_block_id(BlockId(0, facts.hash)))
    begin_history(batch, BlockId(0, facts.hash))
    batch.put(schema.META_IDENTITY, spec.identity)


def remove_block(chain: Chain, store: KeyValueStore, number: int) -> WriteBatch:
    """Return the writes that take the head block `number` back, its state's included."""
    undo = store.get(schema.undo_key(number))
    facts, receipts = chain.facts(number), chain.receipts(number)
    if undo is None or facts is None or receipts is None:
        raise InvariantViolation("store.corrupt", "a block to rewind is not whole", number=number)
    batch = WriteBatch()
    with translated():
        batch.extend(decode_undo(undo))
    for key in (schema.header_key, schema.body_key, schema.receipts_key, schema.undo_key, schema.extras_key):
        batch.delete(key(number))
    batch.delete(schema.block_hash_key(facts.hash))
    for receipt in receipts:
        batch.delete(schema.transaction_key(receipt.transaction_hash))
    epoch = chain.epoch(facts.origin.height)
    if epoch is not None and epoch.first_number == number:
        batch.delete(schema.origin_key(facts.origin.height))
    return batch
