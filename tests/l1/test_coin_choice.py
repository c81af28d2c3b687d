"""Coin choice: what goes in comes out, fees are right, and nothing is refused that could be paid."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l1.coin_choice import (
    DUST_SATS,
    KEY_SPEND_WEIGHT,
    TAPROOT_OUTPUT_WEIGHT,
    Coin,
    Need,
    choose_coins,
    settle_choice,
)
from l1.fees import FeePolicy, choose_bumped_rate, choose_rate, fee_of_weight
from primitives.errors import ConfigError, Rejected
from primitives.ids import OutPoint, Txid


def coin(index: int, value: int) -> Coin:
    """A confirmed coin with a name of its own."""
    return Coin(OutPoint(Txid(index.to_bytes(32, "big")), 0), value, height=1)


coin_values = st.lists(st.integers(1, 3_000_000), min_size=1, max_size=30)
rates = st.integers(1_000, 200_000)


@given(coin_values, rates, st.integers(330, 2_000_000), st.integers(200, 4_000))
def test_choice_conserves_and_pays(values: list[int], rate: int, wanted: int, weight: int) -> None:
    """Coins chosen = outputs + change + fee; the fee pays the rate; change is none or above dust."""
    coins = [coin(index, value) for index, value in enumerate(values)]
    need = Need(wanted, weight, rate)
    # all coins worth their own input together: if they cannot pay, nothing can
    useful = [c for c in coins if c.value_sats * 4_000 > KEY_SPEND_WEIGHT * rate]
    if settle_choice(tuple(useful), need) is None:
        with pytest.raises(Rejected, match=r"wallet\.insufficient_funds"):
            choose_coins(coins, need)
        return
    choice = choose_coins(coins, need)
    assert choice.total_sats == wanted + choice.change_sats + choice.fee_sats
    size = weight + KEY_SPEND_WEIGHT * len(choice.coins)
    if choice.change_sats:
        assert choice.change_sats >= DUST_SATS
        assert choice.fee_sats == fee_of_weight(size + TAPROOT_OUTPUT_WEIGHT, rate)
    else:
        assert choice.fee_sats - choice.given_up_sats == fee_of_weight(size, rate)
    assert len({c.outpoint for c in choice.coins}) == len(choice.coins)


def test_exact_match_is_found() -> None:
    """Two coins that pay for the need exactly are taken, though a larger one would do."""
    rate = 50_000
    need = Need(1_000_000, 500, rate)
    fee = fee_of_weight(500 + 2 * KEY_SPEND_WEIGHT, rate)
    coins = [coin(0, 5_000_000), coin(1, 400_000), coin(2, 600_000 + fee), coin(3, 90_000)]
    choice = choose_coins(coins, need)
    assert choice.change_sats == 0
    assert sorted(c.value_sats for c in choice.coins) == [400_000, 600_000 + fee]


def test_required_coins_are_spent() -> None:
    """A replacement spends the coin it must, and adds others only when needed."""
    coins = [coin(0, 1_000_000), coin(1, 40_000)]
    choice = choose_coins(coins, Need(30_000, 500, 1_000), required=[coins[1]])
    assert choice.coins[0] == coins[1]
    more = choose_coins(coins, Need(300_000, 500, 1_000), required=[coins[1]])
    assert [c.value_sats for c in more.coins] == [40_000, 1_000_000]


def test_coins_not_worth_their_input_are_left() -> None:
    """Dust is not spent when spending it costs more than it brings."""
    rate = 100_000
    worthless = coin(0, fee_of_weight(KEY_SPEND_WEIGHT, rate) - 1)
    choice = choose_coins([worthless, coin(1, 500_000)], Need(10_000, 500, rate))
    assert worthless not in choice.coins


@given(st.integers(0, 10**6), rates)
def test_fee_is_rounded_up(weight: int, rate: int) -> None:
    """The fee is the least integer that pays the rate for the rounded-up virtual size."""
    fee = fee_of_weight(weight, rate)
    vbytes = (weight + 3) // 4
    assert fee * 1_000 >= vbytes * rate > (fee - 1) * 1_000


@given(st.none() | st.integers(0, 10**7))
def test_rate_stays_in_bounds(estimate: int | None) -> None:
    """Whatever a node estimates, the rate lies between floor and cap; a bump rises or gives up."""
    policy = FeePolicy()
    rate = choose_rate(policy, estimate)
    assert policy.floor <= rate <= policy.cap
    bumped = choose_bumped_rate(policy, rate, estimate)
    assert bumped is None or rate + 1_000 <= bumped <= policy.cap
    assert (bumped is None) == (rate + 1_000 > policy.cap), "up to the cap a bump is possible"


def test_policy_that_cannot_be_followed_is_refused() -> None:
    """Floor above cap, or a bump that does not raise, is a mistake a person must fix."""
    FeePolicy().check()
    with pytest.raises(ConfigError):
        FeePolicy(floor=10, fallback=5).check()
    with pytest.raises(ConfigError):
        FeePolicy(bump_percent=100).check()
