"""Data makes blocks, blocks move the head, rewinding takes them back to the last byte."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.errors import InvariantViolation, Rejected
from primitives.hashes import keccak256
from tests.vm.world import (
    CHAIN_ID,
    FEE_RECIPIENT,
    GWEI,
    ON_CHAIN_MODEL,
    World,
    chain_spec,
    origin_at,
    selector,
)
from vm import predeploys, schema
from vm.registry import read_models
from vm.store import MemoryStore, WriteBatch
from vm.system import build_registration, read_l1_info
from vm.types import Outcome


def test_a_transfer_moves_coin_and_pays_fees(world):
    """Value arrives, the tip goes to the coinbase, the base fee to the fee vault, nothing is lost."""
    to = b"\x77" * 20
    before = world.executor.view(0).balance(world.alice.address)
    block = world.run(world.alice.sign(to, value=5))
    view = world.executor.view(1)
    assert view.balance(to) == 5
    assert view.balance(FEE_RECIPIENT) == 21_000 * GWEI
    assert view.balance(predeploys.FEE_VAULT) == 21_000 * block.header.base_fee
    assert before - view.balance(world.alice.address) == 5 + 21_000 * (GWEI + block.header.base_fee)
    assert [outcome.kind for outcome in block.outcomes] == ["included"]


def test_header_follows_the_rules(world):
    """Parent, beacon, extra data and prevRandao are those of the specification."""
    parent = world.executor.head
    block = world.run(epochs=1)
    origin = origin_at(101)
    header = block.header
    assert header.parent_hash == parent.hash
    assert header.parent_beacon_block_root == origin.hash
    assert header.extra_data == (101).to_bytes(8, "big")
    assert header.prev_randao == keccak256(origin.hash + (1).to_bytes(8, "big"))
    assert header.coinbase == FEE_RECIPIENT


def test_invalid_transactions_are_left_out_with_codes(world):
    """Whatever the data holds, a block comes out, with a code for each transaction left out."""
    alice, bob = world.accounts[:2]
    bad_signature = bytearray(alice.sign(b"\1" * 20, nonce=0))
    bad_signature[-1] ^= 1
    block = world.run(
        b"",
        b"\x03" + b"\xc0",
        alice.sign(b"\1" * 20, nonce=7),
        alice.sign(b"\1" * 20, value=10**30, nonce=0),
        alice.sign(b"\1" * 20),
        alice.sign(b"\1" * 20, nonce=0),
        bob.sign(b"\1" * 20, cap=1, tip=1, nonce=0),
        bob.sign(b"\1" * 20, gas=100, nonce=0),
        bob.sign(b"\1" * 20),
    )
    assert [outcome.code for outcome in block.outcomes] == [
        "tx.malformed",
        "tx.type_not_supported",
        "tx.nonce_too_high",
        "tx.insufficient_funds",
        "",
        "tx.nonce_too_low",
        "tx.fee_cap_below_base_fee",
        "tx.intrinsic_gas",
        "",
    ]
    assert len(block.data.transactions) == 2
    body = world.executor.chain.body(1)
    assert [(entry.position, entry.code) for entry in body.skipped] == [
        (position, outcome.code)
        for position, outcome in enumerate(block.outcomes)
        if outcome.kind == "skipped"
    ]


def test_the_block_depends_on_what_is_in_it_alone(world):
    """The data of a sealed block, which leaves out the invalid, makes the same block on another node."""
    alice = world.alice
    block = world.run(
        alice.sign(b"\1" * 20), b"junk", alice.sign(b"\1" * 20, nonce=9), alice.sign(b"\2" * 20, value=1)
    )
    other = World()
    again = other.executor.execute(block.data)
    assert again.hash == block.hash
    assert all(outcome.kind == "included" for outcome in again.outcomes)
    assert world.executor.chain.block_data(1) == block.data


def test_a_built_block_is_the_derived_block(world):
    """What a sequencer adds piece by piece is what others make of the sealed data at once."""
    executor = world.executor
    head = executor.head
    builder = executor.open(head.timestamp + 2, head.origin)
    first = executor.decode([world.alice.sign(b"\1" * 20, value=1), world.alice.sign(b"\1" * 20, nonce=5)])
    assert builder.add(first) == [Outcome("included"), Outcome("skipped", "tx.nonce_too_high")]
    builder.add(executor.decode([world.accounts[1].sign(b"\2" * 20, value=2)]))
    assert builder.transaction_count == 2
    built = builder.seal()
    executor.commit(built)
    assert World().executor.execute(built.data).hash == built.hash


def test_an_abandoned_block_leaves_no_trace(world):
    """Opening and abandoning a block changes neither store nor the next block."""
    before = world.store.rows
    head = world.executor.head
    builder = world.executor.open(head.timestamp + 2, head.origin)
    transactions = world.executor.decode([world.alice.sign(b"\1" * 20, value=1)])
    builder.add(transactions)
    builder.abandon()
    assert world.store.rows == before
    assert world.executor.head == head
    world.alice.nonce = 0
    assert world.run(world.alice.sign(b"\1" * 20, value=1)).hash == World().run(transactions[0].raw).hash


@pytest.mark.parametrize(
    "change",
    [
        {"number": 2},
        {"timestamp": chain_spec().genesis.timestamp},
        {"origin": origin_at(102)},
        {"origin": origin_at(100, branch=1)},
        {"origin": origin_at(99)},
    ],
)
def test_data_out_of_order_is_our_own_mistake(world, change):
    """Derivation and sequencer see to number, time and origin; the executor refuses to break them."""
    with pytest.raises(InvariantViolation, match=r"executor\.out_of_order"):
        world.executor.execute(replace(world.data(), **change))


def test_places_and_marks(world):
    """Blocks are found by number and hash, transactions by hash, epochs by L1 height."""
    raw = world.alice.sign(b"\1" * 20)
    block = world.run(raw, epochs=1)
    chain = world.executor.chain
    assert chain.number_of(block.hash) == 1
    place = chain.place(keccak256(raw))
    assert (place.number, place.index) == (1, 1)
    assert chain.epoch(101) == schema.EpochStart(origin_at(101).hash, 1)
    assert [receipt.transaction_hash for receipt in chain.receipts(1)][1] == keccak256(raw)
    assert chain.facts(1) == world.executor.head
    assert chain.header(2) is None
    assert chain.place(bytes(32)) is None


def test_the_data_of_a_stored_block_is_known(world):
    """The data a block was made from is recognised, with all it left out; any other is not."""
    alice = world.alice
    data = world.data(
        b"junk", alice.sign(b"\1" * 20), alice.sign(b"\1" * 20, nonce=9), alice.sign(b"\2" * 20)
    )
    world.executor.commit(world.executor.execute(data))
    holds = world.executor.holds
    assert holds(data)
    junk, first, future, second = data.transactions
    assert holds(replace(data, transactions=(first, second)))
    for transactions in (
        (),
        (b"jun", first, future, second),
        (junk, first, future),
        (junk, second, future, first),
        (junk, first, second, future),
        (junk, first, future, second, b""),
    ):
        assert not holds(replace(data, transactions=transactions))
    assert not holds(replace(data, timestamp=data.timestamp + 2))
    assert not holds(replace(data, number=2))
    assert not holds(replace(data, origin=origin_at(101)))


def test_extra_rows_come_and_go_with_the_block(world):
    """What a driver persists beside a block is in the same write, and its rows win over ours."""
    extra = WriteBatch()
    extra.put(b"Dstate", b"derived")
    executed = world.executor.execute(world.data())
    world.executor.commit(executed, extra)
    assert world.store.get(b"Dstate") == b"derived"
    back = WriteBatch()
    back.delete(b"Dstate")
    world.executor.rewind(0, back)
    assert world.store.get(b"Dstate") is None


actions = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6), st.integers(0, 2)), max_size=4),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
)


def play(world: World, steps) -> list[dict[bytes, bytes]]:
    """Run one block for each step; return the rows after each, from the first on."""
    token = world.deploy("Token", "T", "T", 10**6)
    states = [settled(world)]
    for transfers, epoch in steps:
        transactions = []
        for sender, to, kind in transfers:
            account, target = world.accounts[sender], bytes([to]) * 20
            if kind == 0:
                transactions.append(account.sign(target, value=to))
            else:
                data = (
                    selector("transfer(address,uint256)")
                    + target.rjust(32, b"\0")
                    + (sender * kind).to_bytes(32, "big")
                )
                transactions.append(account.sign(token, data=data))
        world.run(*transactions, epochs=int(epoch))
        states.append(settled(world))
    return states


def settled(world: World) -> dict[bytes, bytes]:
    """The rows, once those of history are written that may come later."""
    world.executor.history.write_upto(world.executor.head.number)
    return world.store.rows


@given(actions, st.data())
def test_rewinding_gives_back_every_byte(steps, data):
    """Rewinding to any block leaves exactly the rows that were there, and the chain goes on."""
    world = World()
    states = play(world, steps)
    target = data.draw(st.integers(0, len(steps)))
    world.executor.rewind(target + 1)
    assert world.store.rows == states[target]
    world.executor.rewind(0)
    assert world.store.rows == World().store.rows
    again = World(store=world.store)
    assert play(again, steps)[-1] == states[-1]


def test_rewind_stops_at_what_was_pruned(world):
    """Undo data below the finalized head is gone: such a rewind is refused and changes nothing."""
    for _ in range(4):
        world.run()
    assert world.executor.prune_undo(3) == 3
    assert world.executor.prune_undo(2) == 3
    before = world.store.rows
    with pytest.raises(Rejected, match=r"executor\.undo_pruned"):
        world.executor.rewind(1)
    with pytest.raises(Rejected, match=r"executor\.unknown_block"):
        world.executor.rewind(9)
    assert world.store.rows == before
    world.executor.rewind(2)
    assert world.executor.head.number == 2
    assert world.executor.prune_undo(100) == 3


def test_a_reopened_node_goes_on(world):
    """A second executor on the same rows has the head and makes the same next block."""
    world.run(world.alice.sign(b"\1" * 20, value=3), epochs=1)
    again = World(store=MemoryStore(world.store.rows))
    assert again.executor.head == world.executor.head
    data = world.data(world.alice.sign(b"\2" * 20))
    assert again.executor.execute(data).hash == world.executor.execute(data).hash


@pytest.mark.parametrize("kind", [b"H", b"E", b"A", b"Mhead"])
def test_a_damaged_store_is_named(world, kind):
    """Where head, header and state do not belong together, the node stops instead of guessing."""
    world.run(world.alice.sign(b"\1" * 20, value=3))
    rows = world.store.rows
    key = {b"H": schema.header_key(1), b"E": schema.extras_key(1), b"A": b"A", b"Mhead": schema.META_HEAD}[
        kind
    ]
    earlier = {b"H": schema.header_key(0), b"E": schema.extras_key(0), b"A": None, b"Mhead": None}[kind]
    rows[key] = rows[earlier] if earlier else b"\xff" * len(rows[key])
    with pytest.raises(InvariantViolation):
        World(store=MemoryStore(rows))


def test_registrations_are_read(world, facts):
    """A registered model's facts are read from the contract's storage, in order of registration."""
    world.register(facts, ON_CHAIN_MODEL)
    view = world.executor.view(1)
    assert list(read_models(view.storage)) == [facts, ON_CHAIN_MODEL]
    assert world.read(predeploys.MODEL_REGISTRY, "modelCount()", returns=["uint256"]) == 2
    assert read_l1_info(view.storage).origin == origin_at(101)


def test_a_second_registration_changes_nothing(world, facts):
    """A failing system transaction leaves a receipt of status 0 and the chain goes on."""
    world.register(facts)
    block = world.register(replace(facts, macs=1))
    assert [receipt.status for receipt in block.sealed.receipts] == [1, 0]
    assert list(read_models(world.executor.view(2).storage)) == [facts]


def test_only_the_system_may_write(world, facts):
    """A user's call of a system method reverts."""
    call = build_registration(facts, origin_at(100).hash, 0)
    block = world.run(world.alice.sign(call.to, data=call.data))
    assert block.sealed.receipts[0].status == 0


def test_base_fee_follows_ordinary_gas(world):
    """An empty block lowers the base fee by an eighth."""
    assert world.run().header.base_fee == GWEI * 7 // 8
    assert world.executor.spec.chain_id == CHAIN_ID
