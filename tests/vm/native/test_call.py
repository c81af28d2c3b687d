"""Calls that leave nothing behind, and estimates."""

import pytest

from tests.vm.native import assembly as a
from tests.vm.native.lab import BASE_FEE, ETHER, GWEI, Key, Lab, decode, keys, slot
from vm import _core

TO = b"\x77" * 20
CONTRACT = b"\xc7" * 20
NEURON_MODEL = b"\x22" * 32
ECHO = a.code(a.CALLDATASIZE, a.PUSH0, a.PUSH0, a.CALLDATACOPY, a.CALLDATASIZE, a.PUSH0, a.RETURN)


@pytest.fixture
def senders() -> list[Key]:
    """A sender with a fresh nonce."""
    return keys(1)


@pytest.fixture
def lab(senders: list[Key]) -> Lab:
    """A chain with a contract that answers what it is told."""
    return Lab({CONTRACT: (1, 0, ECHO, {slot(1): 11, slot(2): 22})}, rich=senders)


def code_call(lab: Lab, code: bytes, data: bytes = b"", **options: object) -> _core.CallResult:
    """Call the contract as if it had this code."""
    return lab.call(CONTRACT, data, overrides=[_core.AccountOverride(CONTRACT, code=code)], **options)


def estimate(
    lab: Lab, to: bytes | None, data: bytes = b"", **options: object
) -> tuple[int | None, _core.CallResult]:
    """Estimate gas on the head."""
    names = {"sender", "value", "gas_limit", "gas_price"}
    message = _core.Message(to=to, input=data, **{k: v for k, v in options.items() if k in names})  # type: ignore[arg-type]
    rest = {k: v for k, v in options.items() if k not in names}
    return _core.estimate_gas(lab.state, lab.rules, lab.env(), lab.host, message, **rest)  # type: ignore[arg-type]


def test_results_of_every_kind(lab: Lab) -> None:
    """Success, revert and halt, each with what it has to show."""
    result = lab.call(CONTRACT, b"hello")
    assert (result.kind, result.code, result.output) == ("success", None, b"hello")
    assert result.gas_used > 21_000
    result = code_call(lab, a.code(a.store_bytes(b"why"), a.push(3), a.PUSH0, a.REVERT))
    assert (result.kind, result.output) == ("revert", b"why")
    assert code_call(lab, a.code(a.INVALID)).code == "halt.invalid_opcode"
    assert code_call(lab, a.code(a.POP)).code == "halt.stack"
    assert code_call(lab, a.code(a.push(9), a.JUMP)).code == "halt.invalid_jump"
    assert code_call(lab, a.code(a.JUMPDEST, a.PUSH0, a.JUMP), gas_limit=50_000).code == "halt.out_of_gas"
    assert (lab.call(TO, gas_limit=20_000).kind, lab.call(TO, gas_limit=20_000).code) == (
        "invalid",
        "tx.intrinsic_gas",
    )


def test_logs_and_creations_are_shown(lab: Lab) -> None:
    """A creation answers the deployed code and its address; logs are those it would leave."""
    result = lab.call(None, a.deployer(b"\0\1\2"))
    assert (result.kind, result.output) == ("success", b"\0\1\2")
    assert result.created is not None
    result = code_call(lab, a.code(a.store_bytes(b"x"), a.push(5), a.push(1), a.PUSH0, a.LOG1))
    assert [(log.address, log.topics, log.data) for log in result.logs] == [(CONTRACT, [slot(5)], b"x")]


def test_nothing_stays(lab: Lab) -> None:
    """A call that writes and pays leaves the state as it was."""
    before = lab.state.root()
    result = code_call(lab, a.code(a.push(9), a.push(1), a.SSTORE))
    assert result.kind == "success"
    assert lab.state.root() == before
    assert lab.state.storage(CONTRACT, slot(1)) == 11
    assert lab.open().seal().state_root == lab.open().seal().state_root


def test_the_sender_needs_value_but_no_fee(lab: Lab, senders: list[Key]) -> None:
    """Fees, nonces and sender code are not looked at; value must be there; the balance only if asked."""
    rich = senders[0].address
    assert lab.call(TO, sender=TO, gas_price=10**18).kind == "success"
    assert lab.call(TO, sender=CONTRACT).kind == "success"
    assert lab.call(TO, value=1).code == "tx.insufficient_funds"
    assert lab.call(TO, sender=rich, value=1_000 * ETHER).kind == "success"
    assert lab.call(TO, sender=rich, gas_price=GWEI, check_balance=True).kind == "success"
    poor = lab.call(TO, sender=TO, gas_price=1, check_balance=True)
    assert (poor.kind, poor.code) == ("invalid", "tx.insufficient_funds")


def test_the_block_is_seen(lab: Lab) -> None:
    """Number, time, coinbase, randao, base fee, gas limit and chain are those of the environment."""
    env = lab.env()
    facts = {a.NUMBER: env.number, a.TIMESTAMP: env.timestamp, a.COINBASE: int.from_bytes(env.coinbase, "big"),
             a.PREVRANDAO: int.from_bytes(env.prev_randao, "big"), a.BASEFEE: BASE_FEE, a.GASLIMIT: env.gas_limit,
             a.CHAINID: 726_945, a.BLOBBASEFEE: 1}  # fmt: skip
    for opcode, expected in facts.items():
        result = code_call(lab, a.code(opcode, a.PUSH0, a.MSTORE, a.push(32), a.PUSH0, a.RETURN))
        assert int.from_bytes(result.output, "big") == expected, opcode
    gas_price = code_call(
        lab, a.code(a.GASPRICE, a.PUSH0, a.MSTORE, a.push(32), a.PUSH0, a.RETURN), gas_price=77
    )
    assert int.from_bytes(gas_price.output, "big") == 77


def test_overrides_replace_parts(lab: Lab) -> None:
    """Balance, nonce, code, all storage or single slots, for one call only."""
    read = a.code(a.push(1), a.SLOAD, a.PUSH0, a.MSTORE, a.push(2), a.SLOAD, a.push(32), a.MSTORE,
                  a.SELFBALANCE, a.push(64), a.MSTORE, a.push(96), a.PUSH0, a.RETURN)  # fmt: skip

    def words(**parts: object) -> list[int]:
        override = _core.AccountOverride(CONTRACT, code=read, **parts)  # type: ignore[arg-type]
        output = lab.call(CONTRACT, overrides=[override]).output
        return [int.from_bytes(output[at : at + 32], "big") for at in (0, 32, 64)]

    assert words() == [11, 22, 0]
    assert words(storage={slot(2): 5}) == [0, 5, 0]
    assert words(storage_diff={slot(2): 5}) == [11, 5, 0]
    assert words(balance=2**200) == [11, 22, 2**200]
    sender = _core.AccountOverride(TO, balance=10, nonce=5)
    created = lab.call(None, a.deployer(b"\0"), sender=TO, value=10, overrides=[sender]).created
    assert created is not None
    assert created != lab.call(None, a.deployer(b"\0"), sender=TO).created
    assert lab.call(CONTRACT, b"x").output == b"x"


def test_delegations_of_a_message_are_applied(lab: Lab, senders: list[Key]) -> None:
    """Authorizations in a message delegate for the time of the call (EIP-7702)."""
    signed = senders[0].authorize(CONTRACT, 0)
    names = ("chain_id", "address", "nonce", "y_parity", "r", "s")
    entry = _core.Authorization(**dict(zip(names, signed, strict=True)))  # type: ignore[arg-type]
    assert entry.authority == senders[0].address
    result = lab.call(senders[0].address, b"echo", sender=TO, authorizations=[entry])
    assert result.output == b"echo"
    assert lab.call(senders[0].address, b"echo", sender=TO).output == b""


def test_estimates_are_exact(lab: Lab, senders: list[Key]) -> None:
    """With the estimate a call succeeds and with one gas less it fails, also where a callee needs gas in reserve."""
    needy = a.code(a.call(a.CALL, CONTRACT, b"1234", gas=50_000), a.push(1), a.SSTORE)
    reserve = a.code(
        a.GAS, a.push(100_000), a.GT, a.push(b"\0\x0d"), a.JUMPI, a.push(1), a.push(9), a.SSTORE, a.STOP
    )
    reserve += a.code(a.JUMPDEST, a.PUSH0, a.PUSH0, a.REVERT)
    reserve = reserve.replace(
        b"\x61\0\x0d", b"\x61" + (reserve.index(bytes([a.STOP, a.JUMPDEST])) + 1).to_bytes(2, "big")
    )
    for code in (ECHO, needy, reserve, a.code(a.PUSH0, a.push(1), a.SSTORE)):
        override = [_core.AccountOverride(CONTRACT, code=code)]
        gas, result = estimate(lab, CONTRACT, b"data", sender=senders[0].address, overrides=override)
        assert gas is not None
        assert result.kind == "success"
        message = _core.Message(to=CONTRACT, input=b"data", sender=senders[0].address, gas_limit=gas - 1)
        less = _core.call(lab.state, lab.rules, lab.env(), lab.host, message, overrides=override)
        assert less.kind != "success"
    assert estimate(lab, TO)[0] == 21_000
    loose, _ = estimate(lab, CONTRACT, b"data", tolerance_gas=1_000)
    assert loose is not None
    assert loose <= estimate(lab, CONTRACT, b"data")[0] + 1_000  # type: ignore[operator]
    assert estimate(lab, CONTRACT, b"data", gas_limit=80_000, tolerance_gas=2**64 - 1)[0] == 80_000


def test_estimates_that_fail_show_why(lab: Lab, senders: list[Key]) -> None:
    """No gas helps: the result is that of the run with the most gas."""
    revert = _core.AccountOverride(CONTRACT, code=a.code(a.PUSH0, a.PUSH0, a.REVERT))
    gas, result = estimate(lab, CONTRACT, overrides=[revert])
    assert (gas, result.kind) == (None, "revert")
    gas, result = estimate(lab, TO, sender=senders[0].address, gas_price=1_000 * ETHER // 20_000)
    assert (gas, result.code) == (None, "tx.intrinsic_gas")
    gas, _ = estimate(lab, TO, gas_limit=10**12)
    assert gas == 21_000


def test_calls_ask_models_like_transactions(lab: Lab) -> None:
    """An unanswered neuron call parks with its request; with the answer, or told that none comes, the call runs on."""
    lab.models = lambda _: (1, 5_000, 2, 8, True)
    ask = a.call(a.STATICCALL, _core.INFER_ADDRESS, a.infer_calldata(NEURON_MODEL, b"in", max_output=8))
    code = ask + a.require() + a.return_data()
    parked = code_call(lab, code)
    assert (parked.kind, parked.code) == ("parked", "infer.no_answer")
    assert parked.request is not None
    answers = {parked.request.request_hash: (0, b"out", TO, 0)}
    result = code_call(lab, code, answers=answers)
    assert result.output[96:99] == b"out"
    assert result.infer_gas == 1_000 + 6 + 5 + (128 + 3) * 16
    assert [request.request_hash for request in result.requests] == list(answers)
    assert code_call(lab, code, missing="unavailable").output[31] == 3
    assert code_call(lab, code, missing="skip").code == "infer.no_record"
    override = [_core.AccountOverride(CONTRACT, code=code)]
    assert estimate(lab, CONTRACT, overrides=override)[1].kind == "parked"
    gas, _ = estimate(lab, CONTRACT, overrides=override, answers=answers)
    assert gas is not None
    # What is given back must be there first: the estimate covers the price of the whole max output.
    assert gas > 21_000 + 1_000 + 6 + 5 + (128 + 8) * 16


def test_an_estimate_runs_an_on_chain_model_once(lab: Lab) -> None:
    """The search repeats the call, not the model."""
    runs = []
    lab.models = lambda _: (0, 5_000, 2, 8, True)
    lab.infer = lambda *request: (runs.append(request), (0, b"12345678"))[1]
    ask = a.call(a.STATICCALL, _core.INFER_ADDRESS, a.infer_calldata(NEURON_MODEL, b"in", max_output=8))
    override = [_core.AccountOverride(CONTRACT, code=ask + a.require() + a.return_data())]
    gas, result = estimate(lab, CONTRACT, overrides=override)
    assert gas is not None
    assert result.output[96:104] == b"12345678"
    assert len(runs) == 1


def test_an_estimate_suits_the_transaction(lab: Lab, senders: list[Key]) -> None:
    """The transaction that declares the estimate is included and succeeds."""
    data = a.deployer(ECHO)
    gas, _ = estimate(lab, None, data, sender=senders[0].address)
    assert gas is not None
    executor = lab.open()
    outcome = executor.run(decode(senders[0].sign(None, data=data, gas=gas)))[0]
    assert outcome.receipt is not None
    assert outcome.receipt.status == 1
