"""Take a stopped node's chain back to an earlier block, as a Bitcoin reorg would, so that it goes on from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from primitives.errors import Rejected

if TYPE_CHECKING:
    from bitai.chain import ChainDriver


@dataclass(frozen=True, slots=True)
class Unwinding:
    """What goes: blocks above `to_block`, and with safe ones the work on Bitcoin blocks above `l1_to`."""

    head: int
    to_block: int
    transactions: int
    l1_from: int
    l1_to: int


def plan_unwind(driver: ChainDriver, to_block: int) -> Unwinding:
    """Tell what an unwinding takes back.

    Raises Rejected `unwind.finalized` below the finalized block, `unwind.unknown_block` above the head.
    """
    head, finalized = driver.executor.head.number, driver.finalized
    if not 0 <= to_block <= head:
        raise Rejected("unwind.unknown_block", f"the chain ends at block {head}", number=to_block)
    if to_block < finalized:
        raise Rejected(
            "unwind.finalized",
            f"block {finalized} is finalized: no node takes it back",
            why="users were told that it stands, its undo data is gone, and Bitcoin would give the same block again",
            fix="to build the chain anew, move the folder `chain` of the data folder away and start the node",
        )
    bodies = (driver.executor.chain.body(number) for number in range(to_block + 1, head + 1))
    transactions = sum(len(body.transactions) for body in bodies if body is not None)
    l1_from = driver.cursor.height
    made_safe_at = driver.rows.safe_at(to_block + 1) if to_block < driver.safe else None
    return Unwinding(
        head, to_block, transactions, l1_from, l1_from if made_safe_at is None else made_safe_at - 1
    )


def unwind(driver: ChainDriver, to_block: int) -> Unwinding:
    """Take the blocks above one back; dying at any write leaves a chain that a second try brings to the same end.

    Bitcoin blocks that made one of them safe are taken back first, each in one write: the node works through them
    again at its next start. Raises as `plan_unwind` does.
    """
    plan = plan_unwind(driver, to_block)
    while driver.safe > to_block:
        driver.disconnect(driver.cursor)
    driver.take_back(to_block)
    return plan
