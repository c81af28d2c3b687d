"""Calls and estimates: results, failures in the words clients match, overrides, and what they may ask neurons."""

import asyncio

import pytest
from eth_abi import decode as abi_decode
from eth_abi import encode as abi_encode
from eth_account import Account as EthAccount
from eth_utils import to_checksum_address

from bitai.rate_limit import Budget
from bitai.rpc import neuron_rounds
from tests.bitai.neuron_peer import connected
from tests.bitai.rig import DIGIT_IMAGES, DIGITS, Rig, RpcRefusal, asking_world, digit_facts
from tests.bitai.test_dispatcher import serving
from tests.vm.world import CHAIN_ID, NEURON_MODEL, NEURON_SECRETS, ON_CHAIN_MODEL, ask, selector
from vm.inference.engine import run
from vm.inference.messages import Answer

IMAGE = DIGIT_IMAGES[0]
HERE = "0x" + "c0" * 20
TO = b"\x01" * 20
RETURN_WORD = "5f5260205ff3"
REVERT_WITH_INPUT = "0x365f5f37365ffd"
NUMBER, TIMESTAMP, COINBASE, BASEFEE, PREVRANDAO = "43", "42", "41", "48", "44"


def hexed(value: bytes) -> str:
    """As JSON shows it."""
    return "0x" + value.hex()


@pytest.fixture
async def rig():
    """A node with models and a reader; calls may ask neurons."""
    async with Rig(asking_world()) as rig:
        yield rig


def question(rig, image=IMAGE, model=None, method="read", **members):
    """A call object that asks the reader."""
    return {
        "to": hexed(rig.world.reader),
        "data": hexed(ask(model or digit_facts(), image, method)),
    } | members


async def refusal(rig, method, *params):
    """The error of a call that must fail."""
    with pytest.raises(RpcRefusal) as caught:
        await rig.call(method, *params)
    return caught.value


async def run_code(rig, code, data="0x", **members):
    """Call bytecode put at an address for the time of the call."""
    call = {"to": HERE, "data": data} | members
    return await rig.call("eth_call", call, "latest", {HERE: {"code": code}})


async def test_a_view_method(rig):
    """A call returns the contract's data, under both names of its input and at any tag."""
    call = {"to": hexed(rig.world.reader), "data": hexed(selector("readingCount()"))}
    for block in ("latest", "pending", "safe", "0x2", None):
        shown = await rig.call("eth_call", call, block)
        assert shown in ("0x" + "00" * 32, "0x")
    renamed = {"to": call["to"], "input": call["data"]}
    assert await rig.call("eth_call", renamed) == "0x" + "00" * 32


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            selector("Error(string)") + abi_encode(["string"], ["no such digit"]),
            "execution reverted: no such digit",
        ),
        (
            selector("Panic(uint256)") + abi_encode(["uint256"], [0x11]),
            "execution reverted: panic: arithmetic",
        ),
        (selector("Custom(uint256)") + abi_encode(["uint256"], [7]), "execution reverted"),
        (b"", "execution reverted"),
        (selector("Error(string)") + bytes(31), "execution reverted"),
        (selector("Error(string)") + (2**255).to_bytes(32, "big") * 2, "execution reverted"),
        (selector("Error(string)") + abi_encode(["uint256", "uint256"], [32, 99]), "execution reverted"),
    ],
)
async def test_reverts(rig, data, message):
    """A revert is code 3 with its data as a hex string, and its reason in words where it has one."""
    for method in ("eth_call", "eth_estimateGas"):
        error = await refusal(
            rig, method, {"to": HERE, "data": hexed(data)}, "latest", {HERE: {"code": REVERT_WITH_INPUT}}
        )
        assert (error.code, error.data) == (3, hexed(data))
        assert error.message.startswith(message)


async def test_halts(rig):
    """Out of gas and invalid opcodes are -32000 without revert data, in words."""
    for code, words in (("0x5b5f56", "out of gas"), ("0xfe", "invalid"), ("0x01", "stack")):
        for method in ("eth_call", "eth_estimateGas"):
            error = await refusal(rig, method, {"to": HERE}, "latest", {HERE: {"code": code}})
            assert error.code == -32000
            assert words in error.message
            assert error.data["code"].startswith("halt.")


async def test_value_must_be_there(rig):
    """A call that sends more than its sender has says so in the known words."""
    error = await refusal(rig, "eth_call", {"from": HERE, "to": HERE, "value": "0x1"})
    assert "insufficient funds" in error.message
    assert (
        await rig.call("eth_call", {"from": hexed(rig.world.alice.address), "to": HERE, "value": "0x1"})
        == "0x"
    )


async def test_state_overrides(rig):
    """Balance, nonce, code and storage are pretended for one call, and nothing of it stays."""
    balance = f"0x73{'c0' * 20}31{RETURN_WORD}"
    assert int(await run_code(rig, balance), 16) == 0
    shown = await rig.call("eth_call", {"to": HERE}, "latest", {HERE: {"code": balance, "balance": "0x5"}})
    assert int(shown, 16) == 5
    load = f"0x5f54{RETURN_WORD}"
    word = "0x" + "00" * 31 + "2a"
    for name in ("state", "stateDiff"):
        overrides = {HERE: {"code": load, name: {"0x" + "00" * 32: word}}}
        assert await rig.call("eth_call", {"to": HERE}, "latest", overrides) == word
    assert await rig.call("eth_getCode", HERE) == "0x"
    rich = {hexed(b"\xaa" * 20): {"balance": "0x10"}}
    call = {"from": hexed(b"\xaa" * 20), "to": HERE, "value": "0x10"}
    assert await rig.call("eth_call", call, "latest", rich) == "0x"
    assert int(await rig.call("eth_estimateGas", call, "latest", rich), 16) >= 21_000


async def test_block_overrides(rig):
    """Number, time, coinbase, base fee and randomness of the call's block can be chosen."""
    coinbase, randao = "0x" + "0b" * 20, "0x" + "77" * 32
    wanted = {
        "number": "0x1234",
        "time": "0x77777777",
        "feeRecipient": coinbase,
        "baseFeePerGas": "0x9",
        "prevRandao": randao,
        "gasLimit": "0x1000000",
        "difficulty": "0x0",
    }
    for opcode, value in (
        (NUMBER, 0x1234),
        (TIMESTAMP, 0x77777777),
        (COINBASE, int(coinbase, 16)),
        (BASEFEE, 9),
        (PREVRANDAO, int(randao, 16)),
    ):
        code = {HERE: {"code": f"0x{opcode}{RETURN_WORD}"}}
        assert int(await rig.call("eth_call", {"to": HERE}, "latest", code, wanted), 16) == value
    assert int(await run_code(rig, f"0x{NUMBER}{RETURN_WORD}"), 16) == rig.executor.head.number


@pytest.mark.parametrize(
    ("accounts", "block"),
    [
        ([], None),
        ({"0x1": {}}, None),
        ({HERE: []}, None),
        ({HERE: {"balances": "0x1"}}, None),
        ({HERE: {"balance": 1}}, None),
        ({HERE: {"state": {}, "stateDiff": {}}}, None),
        ({HERE: {"state": {"0x0": "0x" + "00" * 32}}}, None),
        ({HERE: {"state": {"0x" + "00" * 32: "0x1"}}}, None),
        ({HERE: {"code": "0x0"}}, None),
        ({"0x" + f"{n:040x}": {} for n in range(257)}, None),
        ({HERE: {"stateDiff": {f"0x{n:064x}": "0x" + "00" * 32 for n in range(4_097)}}}, None),
        (None, []),
        (None, {"number": 1}),
        (None, {"numbers": "0x1"}),
        (None, {"feeRecipient": "0x1"}),
    ],
)
async def test_wrong_overrides(rig, accounts, block):
    """Unknown members, wrong forms and endless lists are refused before anything runs."""
    assert (await refusal(rig, "eth_call", {"to": HERE}, "latest", accounts, block)).code == -32602


async def test_estimates_suffice(rig):
    """A transaction with exactly the estimated gas succeeds, with one less it does not."""
    alice = rig.world.alice
    call = question(rig, model=ON_CHAIN_MODEL) | {"from": hexed(alice.address)}
    gas = int(await rig.call("eth_estimateGas", call), 16)
    raw = alice.sign(rig.world.reader, data=ask(ON_CHAIN_MODEL, IMAGE), gas=gas)
    receipt = await rig.call("eth_sendRawTransactionSync", hexed(raw))
    assert receipt["status"] == "0x1"
    short = await refusal(rig, "eth_call", call | {"gas": hex(21_500)})
    assert short.code == -32000
    assert (
        await rig.call("eth_estimateGas", {"from": hexed(alice.address), "to": HERE, "value": "0x1"})
        == "0x5208"
    )
    creation = {"from": hexed(alice.address), "data": "0x60015f5560015f5260205ff3"}
    assert int(await rig.call("eth_estimateGas", creation), 16) > 53_000


async def test_estimates_of_delegations_suffice(rig):
    """An estimate with an authorization list covers what each entry costs (EIP-7702)."""
    alice, signer = rig.world.alice, rig.world.accounts[5]
    fields = {"chainId": CHAIN_ID, "address": to_checksum_address(HERE), "nonce": 0}
    signed = EthAccount.sign_authorization(fields, signer.secret)
    entry = {
        "chainId": hex(CHAIN_ID),
        "address": HERE,
        "nonce": "0x0",
        "yParity": hex(signed.y_parity),
        "r": hex(signed.r),
        "s": hex(signed.s),
    }
    call = {"from": hexed(alice.address), "to": hexed(signer.address), "authorizationList": [entry]}
    gas = int(await rig.call("eth_estimateGas", call), 16)
    assert gas >= 21_000 + 25_000
    transaction = {
        "chainId": CHAIN_ID,
        "type": 4,
        "nonce": alice.nonce,
        "to": to_checksum_address(signer.address),
        "value": 0,
        "gas": gas,
        "maxFeePerGas": 10**11,
        "maxPriorityFeePerGas": 0,
        "authorizationList": [signed],
    }
    raw = EthAccount.sign_transaction(transaction, alice.secret).raw_transaction
    assert (await rig.call("eth_sendRawTransactionSync", hexed(raw)))["status"] == "0x1"
    assert await rig.call("eth_getCode", hexed(signer.address)) == "0xef0100" + HERE[2:]


async def test_an_estimate_for_who_cannot_pay_says_so(rig):
    """Clients know want of funds by its words; too little gas is said only where more would not be paid for."""
    here, price = {HERE: {"code": "0x5b5f56"}}, {"gasPrice": hex(10**10)}
    poor = {"from": hexed(b"\xaa" * 20), "to": hexed(TO)}
    assert (await rig.call("eth_estimateGas", poor)) == "0x5208"
    for balance in (0, 20_999 * 10**10):
        accounts = {poor["from"]: {"balance": hex(balance)}}
        error = await refusal(rig, "eth_estimateGas", poor | price, "latest", accounts)
        assert (error.code, error.data) == (-32000, {"code": "tx.insufficient_funds"})
        assert "insufficient funds" in error.message
    some = {poor["from"]: {"balance": hex(30_000 * 10**10)}}
    busy = poor | price | {"to": hexed(rig.world.reader), "data": hexed(ask(ON_CHAIN_MODEL, IMAGE))}
    assert "insufficient funds" in (await refusal(rig, "eth_estimateGas", busy, "latest", some)).message
    endless = poor | price | {"to": HERE}
    assert "out of gas" in (await refusal(rig, "eth_estimateGas", endless, "latest", here | some)).message
    assert "intrinsic" in (await refusal(rig, "eth_estimateGas", poor | {"gas": "0x1"})).message


@pytest.mark.parametrize("method", ["eth_call", "eth_estimateGas"])
async def test_a_call_that_no_transaction_could_be_is_refused(rig, method):
    """Another chain's id, a price below the base fee, and a creation that delegates are refused, as geth does."""
    call = {"from": hexed(rig.world.alice.address), "to": HERE}
    error = await refusal(rig, method, call | {"chainId": "0x1"})
    assert (error.code, error.message) == (
        -32000,
        f"chainId does not match node's (have=1, want={CHAIN_ID})",
    )
    assert await rig.call(method, call | {"chainId": hex(CHAIN_ID)})
    base_fee = rig.executor.chain.header(rig.executor.head.number).base_fee
    for low in ({"gasPrice": "0x1"}, {"maxFeePerGas": hex(base_fee - 1)}):
        error = await refusal(rig, method, call | low)
        assert (error.code, error.data) == (-32000, {"code": "tx.fee_cap_below_base_fee"})
        assert "max fee per gas less than block base fee" in error.message
        assert f"baseFee: {base_fee}" in error.message
    for fair in ({"gasPrice": hex(base_fee)}, {"maxFeePerGas": hex(base_fee)}, {"maxFeePerGas": "0x0"}):
        assert await rig.call(method, call | fair)
    overrides = ({}, {"baseFeePerGas": "0x1"})
    assert await rig.call(method, call | {"gasPrice": "0x1"}, "latest", *overrides)
    error = await refusal(rig, method, call | {"gasPrice": "0x1"}, "latest", {}, {"baseFeePerGas": "0x2"})
    assert "baseFee: 2" in error.message
    entry = {"chainId": "0x0", "address": HERE, "nonce": "0x0", "yParity": "0x0", "r": "0x1", "s": "0x1"}
    error = await refusal(rig, method, {"data": "0x00", "authorizationList": [entry]})
    assert error.code == -32602
    assert "authorizationList" in error.message
    assert (await refusal(rig, method, call | {"gasPrice": "0x1" + "0" * 32})).code == -32602


async def test_free_work_of_neurons_has_a_budget(monkeypatch):
    """What calls have answered for nothing is counted over time, answers that are there already are not."""
    monkeypatch.setattr(neuron_rounds, "FREE_WORK", Budget(burst=2, refill_s=3_600.0))
    async with Rig(asking_world()) as rig, serving(rig):
        first = await rig.call("eth_call", question(rig))
        error = await refusal(rig, "eth_call", question(rig, DIGIT_IMAGES[1]))
        assert (error.code, error.data) == (-32002, {"code": "infer.busy"})
        for _ in range(3):
            assert await rig.call("eth_call", question(rig)) == first
        raw = rig.world.alice.sign(rig.world.reader, data=ask(digit_facts(), DIGIT_IMAGES[1]))
        assert (await rig.call("eth_sendRawTransactionSync", hexed(raw)))["status"] == "0x1"


async def test_on_chain_models_answer_in_calls(rig):
    """An on-chain model is run by the node itself, in a view call too."""
    shown = await rig.call("eth_call", question(rig, model=ON_CHAIN_MODEL, method="tryRead"))
    assert len(bytes.fromhex(shown[2:])) > 0


async def test_neuron_models_answer_in_calls_and_estimates(rig):
    """A call of a neuron model asks a neuron once, and gives what the transaction then gives; so does the estimate."""
    alice = rig.world.alice
    expected = run(DIGITS, IMAGE, b"", 21).output[0]
    async with serving(rig):
        shown = await rig.call("eth_call", question(rig, method="tryRead"))
        assert expected in abi_decode(["uint256"] * (len(shown[2:]) // 64), bytes.fromhex(shown[2:]))
        gas = int(await rig.call("eth_estimateGas", question(rig, **{"from": hexed(alice.address)})), 16)
        raw = alice.sign(rig.world.reader, data=ask(digit_facts(), IMAGE), gas=gas)
        receipt = await rig.call("eth_sendRawTransactionSync", hexed(raw))
        assert receipt["status"] == "0x1"
        assert int(receipt["logs"][0]["data"][2:66], 16) == expected
    assert rig.metrics.read("infer_requests_total", tier="neuron", status="OK") == 1


async def test_without_neurons_to_ask_the_call_says_so():
    """A node that does not let calls ask neurons answers with a clear error, never with a made-up answer."""
    async with Rig(asking_world(), neurons=False) as rig:
        for method in ("eth_call", "eth_estimateGas"):
            error = await refusal(rig, method, question(rig))
            assert error.code == -32002
            assert "neuron" in error.message


async def test_a_call_does_not_wait_for_ever(rig, monkeypatch):
    """With no neuron there the call ends in time, saying that it may be tried again, and leaves nothing behind."""
    monkeypatch.setattr(neuron_rounds, "ANSWER_LIMIT_S", 0.05)
    error = await refusal(rig, "eth_estimateGas", question(rig))
    assert (error.code, error.data) == (-32002, {"code": "infer.no_answer_yet"})
    assert rig.dispatcher.counts()["questions"] == 0


async def test_what_calls_may_ask_is_bounded(rig, monkeypatch):
    """Work, rounds and calls at once each have a limit, beyond which the call is refused."""
    monkeypatch.setattr(neuron_rounds, "MAX_MACS", 1)
    assert (await refusal(rig, "eth_call", question(rig))).data == {"code": "infer.call_budget"}
    monkeypatch.undo()
    monkeypatch.setattr(neuron_rounds, "MAX_ROUNDS", 0)
    assert (await refusal(rig, "eth_call", question(rig))).data == {"code": "infer.call_budget"}
    monkeypatch.undo()
    monkeypatch.setattr(neuron_rounds, "MAX_ASKING", 2)
    asking = [asyncio.create_task(rig.call("eth_call", question(rig, image))) for image in DIGIT_IMAGES[:2]]
    await rig.until(lambda: rig.dispatcher.counts()["questions"] == 2)
    assert (await refusal(rig, "eth_call", question(rig, DIGIT_IMAGES[2]))).data == {"code": "infer.busy"}
    assert await rig.call("eth_blockNumber") == hex(rig.executor.head.number)
    async with serving(rig):
        assert all(await asyncio.gather(*asking))


async def test_a_lying_neuron_does_not_reach_a_call(rig, monkeypatch):
    """An answer that the node finds wrong is not shown to anybody."""
    monkeypatch.setattr(neuron_rounds, "ANSWER_LIMIT_S", 0.5)
    async with connected(rig.neuron_url) as liar:
        await liar.join(NEURON_SECRETS[1], [DIGITS.model_id])
        call = asyncio.create_task(refusal(rig, "eth_call", question(rig)))
        job = await liar.receive()
        await liar.send(Answer(liar.answer(NEURON_SECRETS[1], job, b"\x63" * 21)))
        assert (await call).data == {"code": "infer.no_answer_yet"}


async def test_bad_input_needs_no_neuron(rig):
    """What every node finds by itself is answered in a call at once: no neuron is asked."""
    dark = question(rig, b"\xff" * 64, model=NEURON_MODEL, method="tryRead")
    assert (await rig.call("eth_call", dark)) != "0x"
    assert rig.dispatcher.counts()["questions"] == 0
