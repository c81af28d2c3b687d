"""System transactions and the calls that open a block."""

import pytest

from primitives.hashes import keccak256
from primitives.rlp import decode as decode_rlp
from tests.vm.native import assembly as a
from tests.vm.native.lab import BASE_FEE, COINBASE, FEE_VAULT, Lab, decode, keys, slot
from vm import _core

KEY = keys(1)[0]
SENDER = b"\xde" * 20
CONTRACT = b"\xc7" * 20
NEURON_MODEL = b"\x22" * 32
COUNTER = a.code(a.PUSH0, a.SLOAD, a.push(1), a.ADD, a.PUSH0, a.SSTORE, a.CALLER, a.push(1), a.SSTORE,
                 a.PUSH0, a.PUSH0, a.LOG0)  # fmt: skip


def system(**fields: object) -> _core.SystemTransaction:
    """Return a system transaction; its source hash is that of its fields."""
    defaults: dict[str, object] = {"sender": SENDER, "to": CONTRACT, "gas_limit": 200_000}
    source = keccak256(repr(sorted(fields.items())).encode())
    return _core.SystemTransaction(**(defaults | {"source_hash": source} | fields))  # type: ignore[arg-type]


def make_lab(code: bytes = COUNTER) -> Lab:
    """Return a chain with a contract that has this code."""
    KEY.nonce = 0
    return Lab({CONTRACT: (1, 0, code, {})}, rich=[KEY])


def nonce(lab: Lab, address: bytes) -> int:
    """Return the nonce at the head."""
    account = lab.state.account(address)
    return account.nonce if account else 0


def run(lab: Lab, *transactions: _core.SystemTransaction) -> list[_core.Receipt]:
    """Make a block of system transactions."""
    executor = lab.open()
    receipts = executor.system(list(transactions))
    lab.commit(executor)
    return receipts


def test_a_deposit_mints_and_transfers() -> None:
    """Minted coin goes to the sender, value from there to the receiver; nobody pays a fee."""
    lab = make_lab()
    receiver = b"\x99" * 20
    executor = lab.open()
    receipt = executor.system([system(to=receiver, mint=700, value=500)])[0]
    sealed = lab.commit(executor)
    assert (receipt.status, receipt.gas_used, receipt.effective_gas_price) == (1, 21_000, 0)
    assert (lab.balance(SENDER), lab.balance(receiver)) == (200, 500)
    assert (lab.balance(FEE_VAULT), lab.balance(COINBASE)) == (0, 0)
    assert (sealed.minted_wei, sealed.destroyed_wei) == (700, 0)
    assert nonce(lab, SENDER) == 1


def test_any_sender_may_send_also_a_contract() -> None:
    """A system transaction has no signature: its sender may hold code."""
    lab = make_lab()
    receipt = run(lab, system(sender=CONTRACT))[0]
    assert receipt.status == 1
    assert lab.state.storage(CONTRACT, slot(1)) == int.from_bytes(CONTRACT, "big")


@pytest.mark.parametrize(
    ("fields", "gas_used"),
    [
        ({"gas_limit": 20_999}, 20_999),
        ({"gas_limit": 0}, 0),
        ({"value": 10**30}, 200_000),
        ({"to": None, "input": bytes(50_000), "gas_limit": 3_000_000}, 3_000_000),
        ({"to": None, "value": 10**30}, 200_000),
        ({"to": None, "input": a.code(a.INVALID)}, 200_000),
    ],
)
def test_a_failing_one_mints_all_the_same(fields: dict[str, object], gas_used: int) -> None:
    """Too little gas or coin, too much init code, a failing creation: status 0, mint and nonce stay."""
    lab = make_lab()
    receipt = run(lab, system(mint=700, **fields))[0]
    assert (receipt.status, receipt.gas_used, receipt.logs) == (0, gas_used, [])
    assert (lab.balance(SENDER), nonce(lab, SENDER)) == (700, 1)
    assert receipt.contract_address is None


def test_a_reverting_one_keeps_its_mint() -> None:
    """Only what the call did is undone."""
    lab = make_lab(a.code(a.push(1), a.PUSH0, a.SSTORE, a.PUSH0, a.PUSH0, a.REVERT))
    receipt = run(lab, system(mint=700, value=100))[0]
    assert receipt.status == 0
    assert receipt.gas_used < 200_000
    assert (lab.balance(SENDER), lab.balance(CONTRACT)) == (700, 0)
    assert lab.state.storage(CONTRACT, slot(0)) == 0


def test_a_creation_uses_the_senders_nonce() -> None:
    """A system transaction may deploy; each creation has an address of its own."""
    lab = make_lab()
    make = {"to": None, "input": a.deployer(COUNTER)}
    first, second = run(lab, system(**make), system(**make, mint=1))
    assert first.contract_address is not None
    assert second.contract_address is not None
    assert first.contract_address != second.contract_address
    assert lab.state.code(first.contract_address) == COUNTER
    assert (first.deposit_nonce, second.deposit_nonce, nonce(lab, SENDER)) == (0, 1, 2)


def test_receipts_have_ops_shape() -> None:
    """Type 0x7e, then status, gas, bloom, logs, deposit nonce, version 1."""
    lab = make_lab()
    receipts = run(lab, system(), system(mint=5))
    fields = decode_rlp(receipts[1].encode()[1:])
    assert receipts[1].encode()[0] == _core.SYSTEM_TRANSACTION_TYPE == receipts[1].type
    assert isinstance(fields, list)
    assert [fields[0], fields[1]] == [b"\1", receipts[1].cumulative_gas_used.to_bytes(3, "big")]
    assert fields[2] == receipts[1].logs_bloom
    assert fields[4:] == [b"\1", b"\1"]
    assert (receipts[1].sender, receipts[1].to) == (SENDER, CONTRACT)
    assert decode_rlp(receipts[0].encode()[1:])[4:] == [b"", b"\1"]


def test_they_come_before_and_with_user_transactions() -> None:
    """Gas accumulates over both kinds, what they used is gone for the others, and the list keeps the order."""
    lab = make_lab()
    executor = lab.open()
    derived = system()
    used = executor.system([derived])[0].gas_used
    assert executor.gas_left == 60_000_000 - used
    raw = KEY.sign(CONTRACT)
    outcome = executor.run(decode(raw))[0]
    with pytest.raises(_core.CoreError) as error:
        executor.system([system(mint=1)])
    assert error.value.code == "core.order"
    sealed = lab.commit(executor)
    assert outcome.index == 1
    assert outcome.receipt is not None
    assert sealed.gas_used == used + outcome.receipt.gas_used == outcome.receipt.cumulative_gas_used
    assert sealed.transactions == [derived.raw, raw]
    assert sealed.header.transactions_root == _core.ordered_root([derived.raw, raw])
    assert lab.state.storage(CONTRACT, slot(0)) == 2


def test_they_are_never_refused_for_block_gas() -> None:
    """A block is always made: derived transactions may declare more than the block or a user may."""
    lab = make_lab()
    executor = lab.open(gas_limit=100_000)
    burn = a.code(a.JUMPDEST, a.PUSH0, a.JUMP)
    target = executor.system([system(to=None, input=a.deployer(burn))])[0].contract_address
    receipt = executor.system([system(to=target, gas_limit=30_000_000)])[0]
    assert (receipt.status, receipt.gas_used) == (0, 30_000_000)
    assert executor.gas_left == 0
    assert executor.run(decode(KEY.sign(CONTRACT)))[0].code == "tx.block_gas"


def test_a_neuron_call_in_one_is_unavailable() -> None:
    """Nobody can answer a derived transaction, so it is not parked and the block goes on."""
    ask = a.call(a.CALL, _core.INFER_ADDRESS, a.infer_calldata(NEURON_MODEL, b"in"))
    lab = make_lab(ask + a.code(a.POP, a.push(32), a.PUSH0, a.PUSH0, a.RETURNDATACOPY, a.PUSH0, a.MLOAD,
                                a.push(1), a.ADD, a.PUSH0, a.SSTORE))  # fmt: skip
    lab.models = lambda _: (1, 1_000, 2, 8, True)
    assert run(lab, system())[0].status == 1
    assert lab.state.storage(CONTRACT, slot(0)) == 3 + 1


def test_what_the_manifest_refuses_in_one_is_bad_input() -> None:
    """The host is asked without a position, so the manifest speaks before nobody can answer."""
    ask = a.call(a.CALL, _core.INFER_ADDRESS, a.infer_calldata(NEURON_MODEL, b"in"))
    lab = make_lab(ask + a.code(a.POP, a.push(32), a.PUSH0, a.PUSH0, a.RETURNDATACOPY, a.PUSH0, a.MLOAD,
                                a.push(1), a.ADD, a.PUSH0, a.SSTORE))  # fmt: skip
    asked: list[int | None] = []

    def check(position: int | None, _: _core.InferenceRequest) -> "_core.Answer":
        asked.append(position)
        return 1, b"", None, -1

    lab.host = _core.Host(
        models=lambda _: (1, 1_000, 2, 8, True),
        infer=lab.ask_infer,  # type: ignore[arg-type]
        block_hash=lab.hashes.get,
        answer=check,
    )
    assert run(lab, system())[0].status == 1
    assert asked == [None]
    assert lab.state.storage(CONTRACT, slot(0)) == 1 + 1


def test_opening_calls_publish_origin_and_parent() -> None:
    """The origin hash is readable by timestamp, the parent's hash by number."""
    lab = make_lab()
    for _ in range(3):
        lab.block()
    env = lab.env()
    timestamp = env.timestamp - 2
    origin = lab.call(_core.BEACON_ROOTS_ADDRESS, timestamp.to_bytes(32, "big"))
    assert origin.output == keccak256(b"origin" + (3).to_bytes(8, "big"))
    parent = lab.call(_core.HISTORY_ADDRESS, (2).to_bytes(32, "big"))
    assert parent.output == lab.hashes[2]


def test_without_those_contracts_a_block_is_made_all_the_same() -> None:
    """Their absence changes nothing but that nothing can be read."""
    lab = Lab({_core.BEACON_ROOTS_ADDRESS: (1, 0, b"", {}), _core.HISTORY_ADDRESS: (1, 0, b"", {})})
    root = lab.head.state_root
    lab.block()
    assert lab.head.state_root == root


def test_a_minted_overflow_fails_alone() -> None:
    """A mint that no balance can hold is refused by the EVM and the supply check, not wrapped."""
    lab = make_lab()
    executor = lab.open()
    executor.system([system(mint=2**256 - 1), system(mint=2**255)])
    with pytest.raises(_core.CoreError) as error:
        executor.seal()
    assert error.value.code == "core.supply"


def test_base_fee_does_not_matter_to_them() -> None:
    """They run in a block of any base fee."""
    lab = make_lab()
    executor = lab.open(base_fee=1_000 * BASE_FEE)
    assert executor.system([system(mint=1)])[0].status == 1
