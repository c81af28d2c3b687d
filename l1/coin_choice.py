"""Which of our coins pay for a transaction: an exact match when there is one, else the largest first.

The exact match is found by branch and bound (Erhardt, "An Evaluation of Coin Selection Strategies", 2016) and
saves the change output; the two candidates are compared by waste, what a choice costs beyond doing it later
at a long-term rate. Amounts inside the search are sats times 4,000, so that weight times rate needs no
rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from l1.fees import VBYTES_PER_KVB, WEIGHT_PER_VBYTE, fee_of_weight
from primitives.errors import Rejected
from primitives.ids import OutPoint, Txid

KEY_SPEND_WEIGHT: Final = 230
"""One taproot key-path input: 41 bytes times 4, and a witness of one 64-byte signature."""
TAPROOT_OUTPUT_WEIGHT: Final = 172
"""One taproot output: 43 bytes times 4."""
FRAME_WEIGHT: Final = 42
"""Version, locktime, two one-byte counts, and the segwit marker and flag."""
DUST_SATS: Final = 330
"""Core's dust limit of a taproot output at 3 sats per vbyte."""
MAX_INPUTS: Final = 200
"""Keeps the input count in one byte and the transaction far below the standard weight."""
LONG_TERM_RATE: Final = 10_000
"""What we expect to pay in quiet times; above it few inputs are better, below it many (Core's default)."""
_SCALE: Final = WEIGHT_PER_VBYTE * VBYTES_PER_KVB
_ROUNDING_WEIGHT: Final = WEIGHT_PER_VBYTE - 1
_MAX_TRIES: Final = 20_000


@dataclass(frozen=True, slots=True)
class Coin:
    """One output we can spend by key path. `height` is None while it is unconfirmed.

    Then it brings unconfirmed relatives along: `cluster` names them, `cluster_vbytes` and
    `cluster_transactions` count them.
    """

    outpoint: OutPoint
    value_sats: int
    height: int | None
    coinbase: bool = False
    cluster: Txid | None = None
    cluster_vbytes: int = 0
    cluster_transactions: int = 0


@dataclass(frozen=True, slots=True)
class Need:
    """What a transaction must pay for: its outputs, and the weight of itself without inputs.

    `least_fee_sats` is a floor for the whole fee, as a replacement needs one.
    """

    outputs_sats: int
    weight: int
    rate: int
    least_fee_sats: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """Coins to spend, and what remains. `change_sats` is 0 when no change output is made.

    `given_up_sats` is the part of the fee that only exists because a change output was not worth making.
    """

    coins: tuple[Coin, ...]
    fee_sats: int
    change_sats: int
    given_up_sats: int

    @property
    def total_sats(self) -> int:
        """The sum of the coins."""
        return sum(coin.value_sats for coin in self.coins)


def choose_coins(coins: Sequence[Coin], need: Need, required: Sequence[Coin] = ()) -> Choice:
    """Return coins that cover the need, `required` ones first among them.

    Raises Rejected `wallet.insufficient_funds` with the missing sats when all coins together do not.
    """
    kept = {coin.outpoint for coin in required}
    useful = [c for c in coins if c.outpoint not in kept and _effective(c, need.rate) > 0]
    useful.sort(key=lambda coin: (-coin.value_sats, coin.outpoint))
    useful = useful[: MAX_INPUTS - len(required)]
    largest = _choose_largest_first(useful, need, tuple(required))
    exact = _choose_exact(useful, need, tuple(required))
    if exact is None or _waste(largest, need.rate) < _waste(exact, need.rate):
        return largest
    return exact


def settle_choice(coins: tuple[Coin, ...], need: Need) -> Choice | None:
    """Return fee and change for a given set of coins, or None when they are too few."""
    fee = _fee(len(coins), need, TAPROOT_OUTPUT_WEIGHT)
    change = sum(coin.value_sats for coin in coins) - need.outputs_sats - fee
    if change < DUST_SATS:
        return _settle_without_change(coins, need)
    return Choice(coins, fee_sats=fee, change_sats=change, given_up_sats=0)


def _settle_without_change(coins: tuple[Coin, ...], need: Need) -> Choice | None:
    fee = _fee(len(coins), need, 0)
    spare = sum(coin.value_sats for coin in coins) - need.outputs_sats - fee
    if spare < 0 or not coins:
        return None
    return Choice(coins, fee_sats=fee + spare, change_sats=0, given_up_sats=spare)


def _fee(inputs: int, need: Need, extra_weight: int) -> int:
    weight = need.weight + KEY_SPEND_WEIGHT * inputs + extra_weight
    return max(fee_of_weight(weight, need.rate), need.least_fee_sats)


def _choose_largest_first(useful: list[Coin], need: Need, required: tuple[Coin, ...]) -> Choice:
    chosen = required
    remaining = iter(useful)
    while (choice := settle_choice(chosen, need)) is None:
        coin = next(remaining, None)
        if coin is None:
            raise _insufficient(chosen, need)
        chosen = (*chosen, coin)
    return choice


def _choose_exact(useful: list[Coin], need: Need, required: tuple[Coin, ...]) -> Choice | None:
    """Return the choice that makes no change and gives up the least, or None when there is none."""
    values = [_effective(coin, need.rate) for coin in useful]
    width = (TAPROOT_OUTPUT_WEIGHT + KEY_SPEND_WEIGHT) * need.rate
    required_sum = sum(_effective(coin, need.rate) for coin in required)
    for rounding in (0, _ROUNDING_WEIGHT):  # virtual size is rounded up, by how much depends on the inputs
        fee = max((need.weight + rounding) * need.rate, need.least_fee_sats * _SCALE)
        target = need.outputs_sats * _SCALE + fee - required_sum
        picked = _branch_and_bound(values, target, width) if target > 0 else ()
        if picked is None:
            continue
        choice = _settle_without_change(required + tuple(useful[index] for index in picked), need)
        if choice is not None:
            return choice
    return None


def _branch_and_bound(values: list[int], target: int, width: int) -> tuple[int, ...] | None:
    """Return indices whose sum is in target..target+width with the least excess, searching depth first.

    `values` fall, so whole branches end early: too much already, or too little with everything that is left.
    """
    suffix = [0] * (len(values) + 1)
    for index in range(len(values) - 1, -1, -1):
        suffix[index] = suffix[index + 1] + values[index]
    best: tuple[int, tuple[int, ...]] | None = None
    stack: list[tuple[int, int, tuple[int, ...]]] = [(0, 0, ())]
    for _ in range(_MAX_TRIES):
        if not stack:
            break
        index, total, picked = stack.pop()
        excess = total - target
        if excess >= 0:
            if excess <= width and (best is None or excess < best[0]):
                best = (excess, picked)
            continue
        if index < len(values) and total + suffix[index] >= target:
            stack.append((index + 1, total, picked))
            stack.append((index + 1, total + values[index], (*picked, index)))
    return best[1] if best else None


def _effective(coin: Coin, rate: int) -> int:
    """Return what a coin is worth after paying for its own input, in sats times 4,000."""
    return coin.value_sats * _SCALE - KEY_SPEND_WEIGHT * rate


def _waste(choice: Choice, rate: int) -> int:
    timing = KEY_SPEND_WEIGHT * len(choice.coins) * (rate - LONG_TERM_RATE)
    if choice.change_sats:
        return timing + TAPROOT_OUTPUT_WEIGHT * rate + KEY_SPEND_WEIGHT * LONG_TERM_RATE
    return timing + choice.given_up_sats * _SCALE


def _insufficient(chosen: tuple[Coin, ...], need: Need) -> Rejected:
    total = sum(coin.value_sats for coin in chosen)
    wanted = need.outputs_sats + _fee(max(len(chosen), 1), need, 0)
    return Rejected(
        "wallet.insufficient_funds",
        f"needs {wanted:,} sats, {total:,} can be spent now",
        missing_sats=wanted - total,
        wanted_sats=wanted,
        spendable_sats=total,
    )
