"""System transactions have the one shape that derivation, core and explorers agree on."""

from dataclasses import replace

from primitives import rlp
from primitives.hashes import keccak256
from tests.vm.world import origin_at
from vm import _core, predeploys
from vm.system import (
    SystemSource,
    build_l1_info_transaction,
    build_model_activity,
    build_registration,
    source_hash,
)
from vm.types import SystemTransaction


def test_raw_bytes_are_the_cores(info):
    """Python's bytes decode in the core to the same fields, and encode back."""
    ours = replace(build_l1_info_transaction(info), mint=5, value=3)
    core = _core.SystemTransaction.decode(ours.raw)
    assert (core.raw, core.hash) == (ours.raw, ours.hash)
    assert (core.source_hash, core.sender, core.to) == (ours.source_hash, ours.sender, ours.to)
    assert (core.mint, core.value, core.gas_limit, core.input) == (5, 3, ours.gas, ours.data)


def test_raw_bytes_of_a_creation(info):
    """Without a recipient the field is empty."""
    ours = replace(build_l1_info_transaction(info), to=None)
    assert rlp.decode(ours.raw[1:])[2] == b""
    assert _core.SystemTransaction.decode(ours.raw).to is None


def test_l1_info_calldata(info):
    """Selector and six words, in the order of the contract's parameters."""
    transaction = build_l1_info_transaction(info)
    words = [int.from_bytes(transaction.data[4 + 32 * index :][:32], "big") for index in range(6)]
    origin = info.origin
    assert words == [origin.height, int.from_bytes(origin.hash, "big"), origin.mtp, 4_321, 12, 1_000_000]
    assert len(transaction.data) == 4 + 6 * 32
    assert (transaction.sender, transaction.to) == (predeploys.SYSTEM_SENDER, predeploys.L1_INFO)


def test_no_two_system_transactions_are_equal(info, facts):
    """Source, L1 block and index each make another hash: no two system transactions share one."""
    made = {
        build_l1_info_transaction(info).hash,
        build_l1_info_transaction(replace(info, origin=origin_at(108))).hash,
        *(build_registration(facts, origin_at(107).hash, index).hash for index in range(3)),
        build_registration(facts, origin_at(108).hash, 0).hash,
        *(
            build_model_activity(facts.model_id, active=on, l1_hash=origin_at(107).hash, index=on).hash
            for on in (0, 1)
        ),
    }
    assert len(made) == 8


def test_source_hash_is_pinned():
    """The source hash is keccak256 of source, L1 hash and index as words."""
    l1_hash = origin_at(100).hash
    assert source_hash(SystemSource.L1_INFO, l1_hash, 2) == keccak256(
        (1).to_bytes(32, "big") + l1_hash + (2).to_bytes(32, "big")
    )
    assert [int(each) for each in SystemSource] == [0, 1, 2, 3]


def test_a_deposit_mints_even_when_it_fails(world):
    """A failing system transaction keeps its mint, bumps the nonce and leaves a receipt of status 0."""
    to = predeploys.MODEL_REGISTRY  # takes no coin
    deposit = SystemTransaction(
        source_hash=source_hash(SystemSource.DEPOSIT, origin_at(101).hash, 0),
        sender=b"\x55" * 20,
        to=to,
        mint=7,
        value=7,
        gas=100_000,
        data=b"",
    )
    block = world.run(epochs=1, system=[deposit])
    view = world.executor.view(1)
    assert [receipt.status for receipt in block.sealed.receipts] == [1, 0]
    assert (view.balance(deposit.sender), view.nonce(deposit.sender)) == (7, 1)
    assert block.sealed.minted_wei == 7


def test_l1_hashes_are_remembered_by_height(world):
    """The contract answers for the last 8,192 origins and says zero for all others."""
    for _ in range(3):
        world.run(epochs=1)
    heights = {
        height: world.read(predeploys.L1_INFO, "hashOf(uint64)", height, returns=["bytes32"])
        for height in range(99, 106)
    }
    known = {height: origin_at(height).hash for height in range(100, 104)}
    assert heights == {height: known.get(height, bytes(32)) for height in range(99, 106)}
    for signature, value in (
        ("height()", 103),
        ("medianTimePast()", origin_at(103).mtp),
        ("feeRate()", 1_000),
    ):
        assert world.read(predeploys.L1_INFO, signature, returns=["uint64"]) == value
