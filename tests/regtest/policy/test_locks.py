"""Lock times and relative lock times hold to the block, and to the second of the median clock."""

import pytest

from primitives.bitcoin.parser import parse_whole_transaction
from primitives.bitcoin.transaction import SEQUENCE_FINAL
from primitives.ids import OutPoint, Txid
from regtest.coins import Coin
from regtest.policy.locks import NextBlock, first_immature_coinbase, has_matured, is_final
from tests.regtest.mini_wallet import Note, spend

NOTE = Note(OutPoint(Txid(bytes(32)), 0), 10_000)
HEIGHT = 200
CLOCK = 1_700_000_000
TIME_FLAG = 1 << 22
OFF_FLAG = 1 << 31


def block(height=HEIGHT, median_time=CLOCK):
    """The next block of a chain with ten minutes a block."""
    return NextBlock(height, median_time, lambda at: median_time - (height - 1 - at) * 600)


def made(**choices):
    """A parsed spend of the note."""
    return parse_whole_transaction(spend(NOTE, **choices).raw)


def coin(height, *, is_coinbase=False):
    """A coin made at a height."""
    return Coin(10_000, b"", height, is_coinbase)


@pytest.mark.parametrize(
    ("locktime", "sequence", "final"),
    [
        (0, 0, True),
        (HEIGHT - 1, 0, True),
        (HEIGHT, 0, False),
        (HEIGHT, SEQUENCE_FINAL, True),
        (CLOCK - 1, 0, True),
        (CLOCK, 0, False),
        (499_999_999, 0, False),
        (500_000_000, 0, True),
    ],
)
def test_lock_time(locktime, sequence, final):
    """Below 500,000,000 a height, above it the parent's median time; final sequences switch it off."""
    assert is_final(made(locktime=locktime, sequence=sequence), block()) is final


@pytest.mark.parametrize(
    ("sequence", "height", "version", "ripe"),
    [
        (10, HEIGHT - 10, 2, True),
        (10, HEIGHT - 9, 2, False),
        (0, HEIGHT, 2, True),
        (1, HEIGHT, 2, False),
        (10, HEIGHT - 9, 1, True),
        (OFF_FLAG | 10, HEIGHT, 2, True),
        (TIME_FLAG | 0, HEIGHT, 2, True),
        (TIME_FLAG | 1, HEIGHT, 2, False),
        # The coin's clock is its parent block's: made at HEIGHT - 9, ten blocks of 600 s ago by the parent.
        (TIME_FLAG | (9 * 600 // 512), HEIGHT - 9, 2, True),
        (TIME_FLAG | (9 * 600 // 512 + 1), HEIGHT - 9, 2, False),
        (0xFFFF0000 & ~OFF_FLAG & ~TIME_FLAG, HEIGHT, 2, True),
    ],
)
def test_relative_lock_time(sequence, height, version, ripe):
    """Heights count from the coin's block, times in 512 s from the median time before it."""
    assert has_matured(made(sequence=sequence, version=version), [coin(height)], block()) is ripe


def test_coinbase_maturity():
    """A coinbase of height h is spendable in block h + 100, not before."""
    young, old = coin(101, is_coinbase=True), coin(100, is_coinbase=True)
    assert first_immature_coinbase([old, coin(199)], 200) is None
    assert first_immature_coinbase([old, young], 200) == young
