"""Users pay for their bytes on Bitcoin by one rule, wherever it is asked; what they pay follows what posting took."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vm.reference_size import data_size, lz_length
from tests.vm.world import FEE_RECIPIENT, GWEI, World, chain_spec
from vm import _core, predeploys
from vm.data_fee import (
    LEAST_CHARGED_BYTES,
    SCALAR_CAP,
    SCALAR_FLOOR,
    SCALAR_ONE,
    DataTally,
    byte_price_wei,
    charged_bytes,
    data_fee_wei,
)
from vm.simulation import CallOptions

VECTORS = json.loads((Path(__file__).resolve().parents[1] / "vectors" / "fees.json").read_text())
SIZED = [(bytes.fromhex(row["raw"][2:]), row["lz"], row["size"]) for row in VECTORS["sizes"]] + [
    (bytes([row["byte"]]) * row["count"], row["lz"], row["size"]) for row in VECTORS["made"]
]
TO = b"\x77" * 20
ORACLE = predeploys.GAS_PRICE_ORACLE

patterned = st.builds(
    lambda seed, count, kinds, times: bytes(random.Random(seed).choices(range(kinds), k=count)) * times,
    st.integers(0, 2**32),
    st.integers(0, 400),
    st.sampled_from([1, 2, 3, 5, 17, 256]),
    st.integers(1, 4),
)


@pytest.mark.parametrize(("raw", "lz", "size"), SIZED)
def test_size_vectors(raw, lz, size):
    """Core and reference give each vector its size."""
    assert (lz_length(raw), data_size(raw)) == (lz, size)
    assert _core.data_sizes([raw]) == [size]


@given(st.lists(patterned | st.binary(max_size=300), max_size=8))
@settings(max_examples=300)
def test_core_and_reference_agree(raws):
    """Whatever the bytes, and whatever was measured before them, both sizes are one."""
    assert _core.data_sizes(raws) == [data_size(raw) for raw in raws]


def test_a_decoded_transaction_knows_its_size(world):
    """The size is that of the signed bytes."""
    raw = world.alice.sign(to=TO, value=5)
    (transaction,) = world.executor.decode([raw])
    assert transaction.data_size == data_size(raw)


@pytest.mark.parametrize("raw", [raw for raw, _, _ in SIZED if len(raw) < 4_000])
def test_the_contract_computes_the_same_size(world, raw):
    """The predeploy's Solidity gives each vector the core's size."""
    (size,) = _core.data_sizes([raw])
    assert world.read(ORACLE, "dataSize(bytes)", raw, returns=["uint256"]) == size


def test_the_contract_computes_the_same_size_of_anything(world):
    """So it does for bytes of every texture."""
    chance = random.Random(11)
    for _ in range(25):
        kinds, count = chance.choice([1, 2, 3, 5, 17, 256]), chance.randrange(600)
        raw = bytes(chance.choices(range(kinds), k=count)) * chance.choice([1, 2])
        assert world.read(ORACLE, "dataSize(bytes)", raw, returns=["uint256"]) == data_size(raw), raw.hex()


def test_the_contract_tells_a_wallet_what_the_block_takes(world):
    """Asked with the unsigned bytes, as wallets do, it says within a few bytes what is then paid."""
    world.run(epochs=1)
    raw = world.alice.sign(to=TO, value=10**18, data=bytes(range(200)))
    unsigned = raw[:-67]  # good enough: the list's head says another length
    expected = world.read(ORACLE, "getL1Fee(bytes)", unsigned, returns=["uint256"])
    (receipt,) = world.run(raw).sealed.receipts
    assert abs(expected - receipt.data_fee) <= 4 * data_fee_wei(1, 1_000, SCALAR_ONE)
    bound = world.read(ORACLE, "getL1FeeUpperBound(uint256)", len(unsigned), returns=["uint256"])
    assert bound >= receipt.data_fee
    assert world.read(ORACLE, "l1BaseFee()", returns=["uint256"]) == byte_price_wei(1_000)
    assert world.read(ORACLE, "scalar()", returns=["uint256"]) == SCALAR_ONE


@pytest.mark.parametrize("row", VECTORS["fees"])
def test_fee_vectors(row):
    """Fee = size x rate x scalar, in wei."""
    assert data_fee_wei(row["size"], row["rate"], row["scalar"]) == int(row["wei"])


def test_the_sender_pays_and_the_vault_gets(world):
    """Value, gas and data fee leave the sender; the data fee goes to the fee vault; the receipt says by what."""
    world.run(epochs=1)  # a rate of 1,000
    before = {who: world.executor.view(1).balance(who) for who in (world.alice.address, predeploys.FEE_VAULT)}
    raw = world.alice.sign(to=TO, value=7)
    block = world.run(raw)
    (receipt,) = block.sealed.receipts
    fee = data_fee_wei(data_size(raw), 1_000, SCALAR_ONE)
    assert (receipt.data_size, receipt.data_fee) == (data_size(raw), fee)
    assert (receipt.data_rate, receipt.data_scalar) == (1_000, SCALAR_ONE)
    view, base_fee = world.executor.view(2), block.header.base_fee
    assert (
        before[world.alice.address] - view.balance(world.alice.address)
        == 7 + 21_000 * (GWEI + base_fee) + fee
    )
    assert view.balance(predeploys.FEE_VAULT) - before[predeploys.FEE_VAULT] == 21_000 * base_fee + fee
    assert view.balance(FEE_RECIPIENT) == 21_000 * GWEI


def test_a_reverting_transaction_pays_for_its_bytes_too(world):
    """Bytes are posted whatever execution does."""
    world.run(epochs=1)
    block = world.run(world.alice.sign(to=predeploys.MODEL_REGISTRY, data=b"\1\2\3\4", value=1))
    (receipt,) = block.sealed.receipts
    assert receipt.status == 0
    assert receipt.data_fee > 0


def test_system_transactions_pay_nothing(world):
    """Derivation's transactions are not posted by the batcher."""
    (receipt,) = world.run(epochs=1).sealed.receipts
    assert (receipt.data_size, receipt.data_fee) == (0, 0)


def test_the_first_block_of_an_epoch_pays_the_new_rate(world):
    """The rate is read after the block's system transactions, as every node does, not before."""
    block = world.run(world.alice.sign(to=TO), epochs=1)
    assert [receipt.data_rate for receipt in block.sealed.receipts] == [0, 1_000]


def test_the_first_epoch_pays_the_configured_rate():
    """Before Bitcoin has said anything the floor is in force."""
    world = World(spec=chain_spec(l1_fee_rate=25))
    (receipt,) = world.run(world.alice.sign(to=TO)).sealed.receipts
    assert (receipt.data_rate, receipt.data_scalar) == (25, SCALAR_ONE)


@pytest.mark.parametrize("missing", [0, 1])
def test_who_cannot_pay_for_the_bytes_is_left_out(world, missing):
    """A sender needs value + gas limit x fee cap + data fee, and not a wei more."""
    world.run(epochs=1)
    poor = replace(world.accounts[1], secret=b"\x42" * 32)
    raw = poor.sign(to=TO, value=3, gas=21_000, cap=20 * GWEI)
    needed = 3 + 21_000 * 20 * GWEI + data_fee_wei(data_size(raw), 1_000, SCALAR_ONE)
    world.run(world.alice.sign(to=poor.address, value=needed - missing))
    block = world.run(raw)
    (outcome,) = block.outcomes
    assert (outcome.kind, outcome.code) == (
        ("skipped", "tx.insufficient_funds") if missing else ("included", "")
    )
    if missing:  # left out without a trace
        view = world.executor.view(world.executor.head.number)
        assert (view.balance(poor.address), view.nonce(poor.address)) == (needed - 1, 0)


def test_a_nonce_is_judged_before_funds(world):
    """A poor sender with a wrong nonce hears of the nonce, as on Ethereum."""
    world.run(epochs=1)
    poor = replace(world.accounts[1], secret=b"\x43" * 32)
    assert [each.code for each in world.run(poor.sign(to=TO, nonce=4)).outcomes] == ["tx.nonce_too_high"]


def test_an_estimate_leaves_room_for_the_bytes(world):
    """What a poor sender can spend on gas is what the data fee leaves."""
    world.run(epochs=1)
    price, sender = GWEI, b"\x44" * 20
    data_fee = data_fee_wei(max(-(-(125) * 965 // 1_000) - 35, 70), 1_000, SCALAR_ONE)
    for spare, kind in ((0, "success"), (-1, "invalid")):
        override = _core.AccountOverride(sender, balance=21_000 * price + data_fee + spare)
        view = world.executor.view(world.executor.head.number)
        message = _core.Message(sender=sender, to=TO, gas_price=price)
        gas, result = world.executor.simulator.estimate_gas(view, message, CallOptions(overrides=[override]))
        assert (gas, result.kind) == ((21_000, "success") if kind == "success" else (None, kind))


@pytest.mark.parametrize("row", VECTORS["scalar"])
def test_scalar_vectors(row):
    """One step of the scalar."""
    assert DataTally(row["scalar"], row["posted"], row["charged"]).settled().scalar == row["next"]


@given(
    st.integers(SCALAR_FLOOR, SCALAR_CAP), st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**6)))
)
def test_the_scalar_keeps_its_bounds(scalar, epochs):
    """However much is posted for however little: a hundredth a step, between floor and cap, never without bytes."""
    tally = DataTally(scalar)
    for posted, charged in epochs:
        counted = tally.counting(posted=posted, charged=charged)
        after = counted.settled()
        assert SCALAR_FLOOR <= after.scalar <= SCALAR_CAP
        assert abs(after.scalar - counted.scalar) <= counted.scalar // 100
        if counted.charged < LEAST_CHARGED_BYTES:
            assert after == counted
        else:
            assert (after.posted, after.charged) == (0, 0)
        tally = after


def test_records_count_as_charged(world):
    """Their bytes are in the price of their call, so they must not drive up everybody's scalar."""
    raw = world.alice.sign(to=TO)
    data = world.data(raw)
    record = world.record(bytes(64))
    assert charged_bytes([data]) == data_size(raw)
    assert charged_bytes([replace(data, records=(record,))]) == data_size(raw) + 128 + len(record.output)


def test_the_gas_of_a_transaction_is_the_chains():
    """What a transaction may declare is a parameter; what stands in a block is read by nobody's cap."""
    world = World(spec=chain_spec(transaction_gas=50_000))
    fits, above = world.alice.sign(to=TO, gas=50_000), world.alice.sign(to=TO, gas=50_001)
    block = world.run(fits, above)
    assert [(each.kind, each.code) for each in block.outcomes] == [
        ("included", ""),
        ("skipped", "tx.gas_cap"),
    ]
    view = world.executor.view(1)
    message = _core.Message(to=predeploys.CREATE2_DEPLOYER, input=bytes(32) + b"\x5b" * 500, gas_limit=10**6)
    gas, result = world.executor.simulator.estimate_gas(view, message)
    assert (gas, result.kind) == (None, "halt")  # 53,000 and more
