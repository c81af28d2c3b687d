"""Find the transaction that used an account's nonce, without an index: the account's history is searched by halves.

An account's nonce only grows with the blocks, so the block in which it passed a value is found by looking at about
log2(blocks) states. Of a contract it also grows by its creations: then no transaction of the block fits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitai.rpc.context import Place
from vm import _core
from vm.types import SYSTEM_TRANSACTION_TYPE

if TYPE_CHECKING:
    from bitai.rpc.context import Context
    from primitives.ids import Address


def find_by_sender(context: Context, sender: Address, nonce: int, head: int) -> Place | None:
    """Return where the transaction of a sender with a nonce stands, None if no block has it yet; blocking.

    Errors: `Rejected` "state.pruned" where the search leads below the states that are kept.
    """

    def reached(number: int) -> bool:
        return context.states.state(number).nonce(sender) > nonce

    if not reached(head):
        return None
    before, after = context.states.oldest(), head  # the nonce was not passed before, and is after
    if reached(before):
        before -= 1
        if before >= 0:  # it was passed where no state tells it any more: say so as any such read does
            context.states.state(before)
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (before, middle) if reached(middle) else (middle, after)
    return _in_block(context, after, sender, nonce)


def _in_block(context: Context, number: int, sender: Address, nonce: int) -> Place | None:
    raws = context.blocks.transactions(number)
    users = [(index, raw) for index, raw in enumerate(raws) if raw[0] != SYSTEM_TRANSACTION_TYPE]
    decoded = _core.decode([raw for _, raw in users], context.facts.chain_id, impersonated=True)
    for (index, _), each in zip(users, decoded, strict=True):
        if not isinstance(each, tuple) and each.sender == sender and each.nonce == nonce:
            return Place(number, index)
    return None
