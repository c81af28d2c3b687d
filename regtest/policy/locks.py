"""When a transaction may be mined: lock time, relative lock time (BIP 68) and coinbase maturity."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from primitives.bitcoin.parser import ParsedTx
from primitives.bitcoin.transaction import SEQUENCE_FINAL
from regtest.coins import Coin
from regtest.limits import COINBASE_MATURITY, LOCKTIME_THRESHOLD

_RELATIVE_LOCK_OFF: Final = 1 << 31
_IN_TIME_UNITS: Final = 1 << 22
_LOCK_MASK: Final = 0xFFFF
_TIME_UNIT_BITS: Final = 9
"""Relative times count in units of 512 seconds."""
_FIRST_RELATIVE_VERSION: Final = 2


@dataclass(frozen=True, slots=True)
class NextBlock:
    """What the next block is measured by.

    `height` is its height, `median_time` the median time past of its parent, and `median_time_at` gives that
    of the active chain's block at any height.
    """

    height: int
    median_time: int
    median_time_at: Callable[[int], int]


def is_final(transaction: ParsedTx, block: NextBlock) -> bool:
    """Tell whether the lock time lets the transaction into the block (BIP 113 clock)."""
    locktime = transaction.locktime
    limit = block.height if locktime < LOCKTIME_THRESHOLD else block.median_time
    if locktime < limit:
        return True
    return all(entry.sequence == SEQUENCE_FINAL for entry in transaction.inputs)


def has_matured(transaction: ParsedTx, coins: Sequence[Coin], block: NextBlock) -> bool:
    """Tell whether every relative lock has run out; an unconfirmed coin has the block's own height."""
    if transaction.version < _FIRST_RELATIVE_VERSION:
        return True
    return all(
        _relative_lock_passed(entry.sequence, coin.height, block)
        for entry, coin in zip(transaction.inputs, coins, strict=True)
    )


def first_immature_coinbase(coins: Sequence[Coin], height: int) -> Coin | None:
    """Return a coinbase that may not be spent at a height yet."""
    for coin in coins:
        if coin.is_coinbase and height - coin.height < COINBASE_MATURITY:
            return coin
    return None


def _relative_lock_passed(sequence: int, coin_height: int, block: NextBlock) -> bool:
    if sequence & _RELATIVE_LOCK_OFF:
        return True
    amount = sequence & _LOCK_MASK
    if not sequence & _IN_TIME_UNITS:
        return block.height >= coin_height + amount
    since = block.median_time_at(max(coin_height - 1, 0))
    return block.median_time >= since + (amount << _TIME_UNIT_BITS)
