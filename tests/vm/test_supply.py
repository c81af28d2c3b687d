"""Coin is neither made nor lost: over random blocks every wei is where docs/spec/block.md and fees.md say."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from primitives import rlp
from tests.vm.world import FEE_RECIPIENT, GWEI, NEURON_MODEL, NEURONS, ON_CHAIN_MODEL, World, ask, origin_at
from vm import predeploys
from vm.data_fee import SCALAR_ONE, data_fee_wei
from vm.system import SystemSource, source_hash
from vm.types import SystemTransaction

TO = b"\x77" * 20
INIT = {
    "destroy": bytes.fromhex("30ff"),  # SELFDESTRUCT to itself: what it was sent is gone
    "revert": bytes.fromhex("5f5ffd"),
    "burn": bytes.fromhex("fe"),  # all its gas
    "refund": bytes.fromhex("60015f555f5f55"),  # a slot set and cleared
}
IMAGE = bytes(64)

acts = st.lists(
    st.tuples(
        st.sampled_from(["pay", "neuron", "on-chain", *INIT]),
        st.integers(0, 10**18),
        st.integers(0, 3 * GWEI),
    ),
    max_size=6,
)
blocks = st.lists(
    st.tuples(acts, st.sampled_from([None, 0, 25, 250_000]), st.integers(0, 10**15)), max_size=4
)


def sign(world, act, amount, tip):
    """The transaction of one act."""
    signer = world.accounts[amount % 3]
    if act == "pay":
        return signer.sign(TO, value=amount, tip=tip)
    if act in INIT:
        value = amount if act == "destroy" else 0
        return signer.sign(data=INIT[act], value=value, gas=200_000, tip=tip)
    model = NEURON_MODEL if act == "neuron" else ON_CHAIN_MODEL
    return signer.sign(world.reader, data=ask(model, IMAGE), tip=tip)


def deposit(world, wei):
    """A system transaction that mints, and sends half of it on."""
    cause = source_hash(SystemSource.DEPOSIT, origin_at(world.executor.head.origin.height + 1).hash, 0)
    return SystemTransaction(cause, b"\x55" * 20, TO, wei, wei // 2, 30_000, b"")


def supply(world):
    """All coin there is, by adding up the rows of all accounts."""
    return sum(
        int.from_bytes(rlp.decode(row)[1], "big") for key, row in world.store.rows.items() if key[:1] == b"a"
    )


def shares(receipts, base_fee, acts_of):
    """What a block's receipts pay to vault, coinbase, pool and neuron."""
    vault = coinbase = pool = neuron = 0
    for receipt, act in zip(receipts, acts_of, strict=True):
        price, ordinary = receipt.effective_gas_price, receipt.gas_used - receipt.infer_gas
        asked = receipt.infer_gas * price
        pooled, answered = asked * 30 // 100, asked * 70 // 100 if act == "neuron" else 0
        assert receipt.data_fee == data_fee_wei(receipt.data_size, receipt.data_rate, SCALAR_ONE)
        vault += ordinary * base_fee + receipt.data_fee + asked - pooled - answered
        coinbase += ordinary * (price - base_fee)
        pool += pooled
        neuron += answered
    return [vault, coinbase, pool, neuron]


def expected_base_fee(header, ordinary_gas):
    """EIP-1559 on ordinary gas alone."""
    target, fee = header.gas_limit // 2, header.base_fee
    if ordinary_gas == target:
        return fee
    step = fee * abs(ordinary_gas - target) // target // 8
    return fee + max(step, 1) if ordinary_gas > target else fee - step


@given(blocks)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_wei_is_accounted_for(story):
    """Balances change by what is minted less what is destroyed; each share of each fee arrives, to the wei.

    Nothing but ordinary gas moves the base fee, and no block uses more than its limit.
    """
    world = World()
    world.reader = world.deploy("DigitReader")
    world.register(NEURON_MODEL, ON_CHAIN_MODEL)
    paid = (predeploys.FEE_VAULT, FEE_RECIPIENT, predeploys.PROTOCOL_POOL)
    for chosen, rate, minted in story:
        world.fee_rate = rate or 0
        view, before = world.executor.view(world.executor.head.number), supply(world)
        balances = [view.balance(each) for each in paid]
        earned = sum(view.balance(each) for each in NEURONS)
        raws = [sign(world, *each) for each in chosen]
        asking = [place for place, each in enumerate(chosen) if each[0] == "neuron"]
        records = [
            world.record(IMAGE, tx_index=place, ask_height=world.executor.head.origin.height)
            for place in asking
        ]
        system = [deposit(world, minted)] if rate is not None else []
        block = world.run(*raws, records=records, system=system, epochs=int(rate is not None))
        assert all(outcome.kind == "included" for outcome in block.outcomes)
        assert supply(world) == before + block.sealed.minted_wei - block.sealed.destroyed_wei
        assert block.sealed.minted_wei == (minted if system else 0)
        destroyed = sum(amount for act, amount, _ in chosen if act == "destroy")
        assert block.sealed.destroyed_wei == destroyed
        receipts = block.sealed.receipts[len(block.data.system_transactions) :]
        view = world.executor.view(block.data.number)
        gained = [view.balance(each) - old for each, old in zip(paid, balances, strict=True)]
        gained.append(sum(view.balance(each) for each in NEURONS) - earned)
        assert gained == shares(receipts, block.header.base_fee, [act for act, _, _ in chosen])
        ordinary = sum(each.gas_used - each.infer_gas for each in block.sealed.receipts)
        assert block.sealed.ordinary_gas_used == ordinary
        assert (
            sum(each.gas_used for each in block.sealed.receipts)
            == block.header.gas_used
            <= block.header.gas_limit
        )
        following = world.executor.execute(world.data())
        assert following.header.base_fee == expected_base_fee(block.header, ordinary)
        following.execution.abandon()
