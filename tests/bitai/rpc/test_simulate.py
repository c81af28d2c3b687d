"""eth_simulateV1: blocks of calls upon each other, with what they replace, and the words of what cannot be."""

import hashlib

import pytest

from primitives.hashes import keccak256
from tests.bitai.rig import DIGIT_IMAGES, Rig, RpcRefusal, asking_world, digit_facts
from tests.bitai.rpc.ethereum_schema import UINT, check, check_block, check_log, check_transaction
from tests.bitai.test_dispatcher import serving
from tests.vm.world import CHAIN_ID, GWEI, ask

A, B, C, D = ("0x" + each * 20 for each in ("c0", "c1", "c2", "c3"))
RICH = {"balance": hex(10**18)}
IDENTITY, SHA256, ECRECOVER = ("0x" + "00" * 19 + each for each in ("04", "02", "01"))
COIN = "0x" + "ee" * 20
TRANSFER = "0x" + keccak256(b"Transfer(address,address,uint256)").hex()
RETURN_NUMBER = "0x4360005260206000f3"
RETURN_TIME = "0x4260005260206000f3"
FORWARD = "0x6000600060006000346000355af180601657600080fd5b00"
"""Sends the value on to the address in the input; reverts if that fails."""
REVERT = "0x60006000fd"
INVALID = "0xfe"
LOOP = "0x5b600056"
COUNT = "0x60005460010180600055" + "60005260206000f3"
"""Adds one to slot 0 and returns it."""


def hexed(value: bytes) -> str:
    """As JSON shows it."""
    return "0x" + value.hex()


def word(address: str) -> str:
    """An address as a topic or as input."""
    return "0x" + address[2:].rjust(64, "0")


@pytest.fixture
async def rig():
    """A node with a few blocks."""
    world = asking_world()
    world.run(world.alice.sign(b"\x01" * 20, value=1))
    async with Rig(world) as rig:
        yield rig


async def simulate(rig, *blocks, block="latest", **how):
    """Simulate blocks on the head."""
    return await rig.call("eth_simulateV1", {"blockStateCalls": list(blocks)} | how, block)


async def refusal(rig, *blocks, **how):
    """The error of a simulation that must fail."""
    with pytest.raises(RpcRefusal) as caught:
        await simulate(rig, *blocks, **how)
    return caught.value


def send(sender=A, to=B, **how):
    """A call object."""
    return {"from": sender, "to": to} | how


async def outputs(rig, *blocks, **how):
    """What the calls return, block by block."""
    return [[each["returnData"] for each in block["calls"]] for block in await simulate(rig, *blocks, **how)]


async def test_a_simulated_block_has_the_form_of_a_block(rig):
    """Number and time go on from the head, the calls are its transactions, each call tells what it came to."""
    head = await rig.call("eth_getBlockByNumber", "latest")
    block, second = await simulate(
        rig,
        {"stateOverrides": {A: RICH}, "calls": [send(value="0x3e8"), send(B, C, value="0x1")]},
        {},
        returnFullTransactions=True,
    )
    check_block(block)
    assert int(block["number"], 16) == int(head["number"], 16) + 1
    assert int(block["timestamp"], 16) == int(head["timestamp"], 16) + 2
    assert (block["parentHash"], second["parentHash"]) == (head["hash"], block["hash"])
    assert (block["baseFeePerGas"], block["gasUsed"]) == ("0x0", hex(42_000))
    for each in block["calls"]:
        check(each, {"gasUsed": UINT, "maxUsedGas": UINT, "status": UINT})
        assert (each["gasUsed"], each["status"], each["logs"], each["returnData"]) == (
            "0x5208",
            "0x1",
            [],
            "0x",
        )
    for index, each in enumerate(block["transactions"]):
        check_transaction(each)
        assert (each["blockHash"], each["transactionIndex"]) == (block["hash"], hex(index))
    assert [each["from"] for each in block["transactions"]] == [A, B]
    short = await simulate(
        rig, {"stateOverrides": {A: RICH}, "calls": [send(value="0x3e8"), send(B, C, value="0x1")]}
    )
    assert short[0]["transactions"] == [each["hash"] for each in block["transactions"]]
    assert short[0]["hash"] == block["hash"]


async def test_a_simulated_block_equals_the_real_one(rig):
    """With the same environment and the same transactions, gas, receipts and the state's root are the chain's.

    But for the fee for bytes on Bitcoin: what is not signed has no bytes to pay for, so here they are free.
    """
    world = rig.world
    world.fee_rate = 0
    world.run(epochs=1)
    alice, bob = world.alice, world.accounts[1]
    counter = bytes.fromhex(COUNT[2:])
    init = bytes([0x60, len(counter), 0x60, 12, 0x60, 0, 0x39, 0x60, len(counter), 0x60, 0, 0xF3]) + counter
    created = bytes(keccak256(b"\xd6\x94" + alice.address + bytes([alice.nonce]))[12:])
    asked = [
        {"from": alice, "input": hexed(init), "gas": 300_000},
        {"from": alice, "to": created, "gas": 100_000},
        {"from": bob, "to": created, "gas": 100_000, "value": 0},
        {"from": bob, "to": b"\x07" * 20, "value": 12_345, "gas": 21_000},
        {"from": bob, "to": world.reader, "gas": 60_000},  # reverts: no such method
    ]
    calls = [
        {
            "from": hexed(each["from"].address),
            "gas": hex(each["gas"]),
            "value": hex(each.get("value", 0)),
            "input": each.get("input", "0x"),
            "maxFeePerGas": hex(100 * GWEI),
            "maxPriorityFeePerGas": hex(GWEI),
        }
        | ({"to": hexed(each["to"])} if "to" in each else {})
        for each in asked
    ]
    parent = rig.executor.head.number
    signed = [
        each["from"].sign(
            each.get("to"),
            value=each.get("value", 0),
            data=bytes.fromhex(each.get("input", "0x")[2:]),
            gas=each["gas"],
        )
        for each in asked
    ]
    real = world.run(*signed).sealed
    header = real.header
    override = {
        "number": hex(header.number),
        "time": hex(header.timestamp),
        "gasLimit": hex(header.gas_limit),
        "feeRecipient": hexed(header.coinbase),
        "prevRandao": hexed(header.prev_randao),
        "baseFeePerGas": hex(header.base_fee),
        "beaconRoot": hexed(header.parent_beacon_block_root),
    }
    (block,) = await simulate(
        rig, {"blockOverrides": override, "calls": calls}, block=hex(parent), validation=True
    )
    assert [int(each["status"], 16) for each in block["calls"]] == [each.status for each in real.receipts]
    assert [int(each["gasUsed"], 16) for each in block["calls"]] == [each.gas_used for each in real.receipts]
    assert block["receiptsRoot"] == hexed(header.receipts_root)
    assert block["stateRoot"] == hexed(header.state_root)
    assert block["logsBloom"] == hexed(header.logs_bloom)


async def test_state_goes_on_from_block_to_block(rig):
    """Storage, balances and nonces that calls change are there for later calls and blocks; overrides last."""
    count = {A: RICH, B: {"code": COUNT}}
    two = [send(), send()]
    numbers = await outputs(rig, {"stateOverrides": count, "calls": two}, {"calls": two})
    assert [[int(each, 16) for each in block] for block in numbers] == [[1, 2], [3, 4]]
    again = await outputs(
        rig,
        {"stateOverrides": count, "calls": two},
        {"stateOverrides": {B: {"state": {}}}, "calls": two},
        {"stateOverrides": {B: {"stateDiff": {word("0x00"): word("0x10")}}}, "calls": two},
    )
    assert [[int(each, 16) for each in block] for block in again] == [[1, 2], [1, 2], [17, 18]]
    nonces = await simulate(
        rig,
        {"stateOverrides": {A: RICH}, "calls": [send(), send()]},
        {"calls": [send()]},
        returnFullTransactions=True,
    )
    assert [each["nonce"] for block in nonces for each in block["transactions"]] == ["0x0", "0x1", "0x2"]


async def test_the_root_of_a_replaced_storage(rig):
    """Replacing a storage as a whole gives the state that writing zeros over the old slots gives."""
    registry = "0x4200000000000000000000000000000000000100"
    filled = {hexed(number.to_bytes(32, "big")): word(hex(number + 7)) for number in range(3)}
    start = {"stateOverrides": {D: {"code": COUNT, "state": filled}}}
    zeros = dict.fromkeys(filled, word("0x0")) | {word("0x9"): word("0x5")}
    roots = [
        [each["stateRoot"] for each in await simulate(rig, start, {"stateOverrides": {D: second}})][1]
        for second in ({"state": {word("0x9"): word("0x5")}}, {"stateDiff": zeros})
    ]
    assert roots[0] == roots[1]
    (plain,), (wiped,) = (
        await simulate(rig, {}),
        await simulate(rig, {"stateOverrides": {registry: {"state": {}}}}),
    )
    assert plain["stateRoot"] == (await rig.call("eth_simulateV1", {"blockStateCalls": [{}]}))[0]["stateRoot"]
    assert wiped["stateRoot"] != plain["stateRoot"]


async def test_gaps_between_numbers_are_filled(rig):
    """A block with a later number has empty blocks before it; all of them count against the limit."""
    head = rig.executor.head.number
    blocks = await simulate(rig, {"blockOverrides": {"number": hex(head + 3)}, "calls": [send(A, B)]}, {})
    assert [int(each["number"], 16) for each in blocks] == [head + 1, head + 2, head + 3, head + 4]
    assert [len(each["calls"]) for each in blocks] == [0, 0, 1, 0]
    times = [int(each["timestamp"], 16) for each in blocks]
    assert times == list(range(times[0], times[0] + 8, 2))
    far = await refusal(rig, {"blockOverrides": {"number": hex(head + 257)}})
    assert (far.code, far.message) == (-38026, "too many blocks")
    assert (await refusal(rig, *[{}] * 257)).code == -38026
    assert len(await simulate(rig, *[{}] * 256)) == 256


async def test_what_a_block_overrides_its_calls_see(rig):
    """Number, time, coinbase, randomness and base fee are those of the override; some last for later blocks."""
    code = {B: {"code": RETURN_NUMBER}, C: {"code": RETURN_TIME}, D: {"code": "0x4160005260206000f3"}}
    head, now = rig.executor.head.number, rig.executor.head.timestamp
    calls = [send(A, each) for each in (B, C, D)]
    override = {
        "number": hex(head + 1),
        "time": hex(now + 100),
        "feeRecipient": C,
        "gasLimit": hex(1_500_000),
    }
    blocks = await simulate(
        rig, {"stateOverrides": code, "blockOverrides": override, "calls": calls}, {"calls": calls}
    )
    seen = [[int(each["returnData"], 16) for each in block["calls"]] for block in blocks]
    assert seen == [[head + 1, now + 100, int(C, 16)], [head + 2, now + 102, int(C, 16)]]
    assert [each["gasLimit"] for each in blocks] == [hex(1_500_000)] * 2
    assert blocks[0]["mixHash"] == hexed(bytes(32))


async def test_hashes_of_simulated_blocks_are_readable(rig):
    """BLOCKHASH knows the chain's blocks and those that the simulation made before."""
    code = {B: {"code": "0x6000354060005260206000f3"}}
    head = rig.executor.head.number
    calls = [send(input=word(hex(number))) for number in (head, head + 1, head + 2)]
    first, second = await simulate(rig, {"stateOverrides": code}, {"calls": calls})
    real = await rig.call("eth_getBlockByNumber", hex(head))
    assert [each["returnData"] for each in second["calls"]] == [real["hash"], first["hash"], hexed(bytes(32))]


async def test_failures_inside_are_results(rig):
    """A revert, an invalid opcode and gas that runs out are told in the call; the other calls go on."""
    reason = "0x08c379a0" + "20".rjust(64, "0") + "04".rjust(64, "0") + b"oops".hex().ljust(64, "0")
    with_reason = "0x" + "7f" + reason[2:66] + "600052" + "7f" + reason[66:130] + "602052"
    with_reason += (
        "7f" + reason[130:194] + "604052" + "7f" + reason[194:].ljust(64, "0") + "606052" + "60646000fd"
    )
    code = {A: {"code": REVERT}, B: {"code": INVALID}, C: {"code": LOOP}, D: {"code": with_reason}}
    calls = [send(A, each, gas="0x186a0") for each in (A, B, C, D)]
    (block,) = await simulate(
        rig, {"stateOverrides": code, "calls": [*calls, send(A, IDENTITY, input="0x12")]}
    )
    errors = [each.get("error") for each in block["calls"]]
    assert errors[0] == {"code": 3, "message": "execution reverted", "data": "0x"}
    assert errors[1] == {"code": -32015, "message": "invalid opcode"}
    assert errors[2] == {"code": -32015, "message": "out of gas"}
    assert errors[3] == {"code": 3, "message": "execution reverted: oops", "data": reason}
    assert errors[4] is None
    assert [each["status"] for each in block["calls"]] == ["0x0"] * 4 + ["0x1"]
    assert block["calls"][4]["returnData"] == "0x12"


async def test_transfers_as_logs(rig):
    """With traceTransfers each movement of coin is a log; those of frames that fail are not; blooms know nothing."""
    code = {A: RICH, B: {"code": FORWARD}, C: {"code": REVERT}}
    calls = [send(value="0x3e8", input=word(D)), send(value="0x3e8", input=word(C)), send(A, D)]
    (block,) = await simulate(rig, {"stateOverrides": code, "calls": calls}, traceTransfers=True)
    first, failed, empty = (each["logs"] for each in block["calls"])
    for log in first:
        check_log(log)
        assert (log["address"], log["data"], log["blockHash"]) == (COIN, word("0x3e8"), block["hash"])
        assert log["transactionHash"] == block["transactions"][0]
    assert [log["topics"] for log in first] == [[TRANSFER, word(A), word(B)], [TRANSFER, word(B), word(D)]]
    assert [log["logIndex"] for log in first] == ["0x0", "0x1"]
    assert (failed, empty) == ([], [])
    assert int(block["logsBloom"], 16) == 0
    (plain,) = await simulate(rig, {"stateOverrides": code, "calls": calls})
    assert [each["logs"] for each in plain["calls"]] == [[], [], []]
    assert plain["hash"] == block["hash"]


async def test_coin_given_to_what_is_made_and_left_by_what_ends(rig):
    """A creation with value and a SELFDESTRUCT move coin too."""
    creation = {"from": A, "value": "0x5", "input": "0x" + "73" + D[2:] + "ff"}  # the constructor ends itself
    (block,) = await simulate(rig, {"stateOverrides": {A: RICH}, "calls": [creation]}, traceTransfers=True)
    topics = [log["topics"] for log in block["calls"][0]["logs"]]
    made = topics[0][2]
    assert topics == [[TRANSFER, word(A), made], [TRANSFER, made, word(D)]]


async def test_logs_are_numbered_through_the_block(rig):
    """Logs of contracts are there with and without traced transfers, in the order in which they were made."""
    log_then_send = "0x60006000a0" + FORWARD[2:].replace("601657", "601b57")
    code = {A: RICH, B: {"code": log_then_send}}
    calls = [send(value="0x1", input=word(D))] * 2
    (traced,) = await simulate(rig, {"stateOverrides": code, "calls": calls}, traceTransfers=True)
    assert [log["address"] for log in traced["calls"][0]["logs"]] == [COIN, B, COIN]
    assert [log["logIndex"] for each in traced["calls"] for log in each["logs"]] == [hex(n) for n in range(6)]
    (plain,) = await simulate(rig, {"stateOverrides": code, "calls": calls})
    assert [log["address"] for each in plain["calls"] for log in each["logs"]] == [B, B]
    assert plain["logsBloom"] == traced["logsBloom"]
    assert int(plain["logsBloom"], 16) != 0


async def test_precompiles_move_for_one_block(rig):
    """A moved precompile answers at its new address and no longer at the old; the next block has it back."""
    move = {SHA256: {"movePrecompileToAddress": D}}
    calls = [send(A, D, input="0x1234"), send(A, SHA256, input="0x1234")]
    blocks = await outputs(rig, {"stateOverrides": move, "calls": calls}, {"calls": calls})
    digest = hexed(hashlib.sha256(b"\x12\x34").digest())
    assert blocks == [[digest, "0x"], ["0x", digest]]
    wrapped = {SHA256: {"movePrecompileToAddress": D, "code": RETURN_NUMBER}}
    ((moved, replaced),) = await outputs(rig, {"stateOverrides": wrapped, "calls": calls})
    assert (moved, int(replaced, 16)) == (digest, rig.executor.head.number + 1)
    ((over,),) = await outputs(
        rig, {"stateOverrides": {IDENTITY: {"code": RETURN_NUMBER}}, "calls": [send(A, IDENTITY)]}
    )
    assert int(over, 16) == rig.executor.head.number + 1


async def test_moves_that_cannot_be(rig):
    """Only precompiles move, and not to an account that is overridden itself."""
    error = await refusal(rig, {"stateOverrides": {A: {"movePrecompileToAddress": B}}})
    assert (error.code, error.message) == (-32000, f"account {A} is not a precompile")
    error = await refusal(
        rig, {"stateOverrides": {ECRECOVER: {"movePrecompileToAddress": B}, B: {"nonce": "0x1"}}}
    )
    assert (error.code, error.message) == (-32000, f"account {B} is already overridden")


@pytest.mark.parametrize(
    ("call", "code", "words"),
    [
        (send(maxFeePerGas="0x1"), -38012, "max fee per gas less than block base fee"),
        (send(maxFeePerGas=hex(10**10), nonce="0x5"), -38011, "nonce too high"),
        (send(B, C, maxFeePerGas=hex(10**10), nonce="0x0"), -38010, "nonce too low"),
        (send(maxFeePerGas=hex(10**10), gas="0x5207"), -38013, "intrinsic gas too low"),
        (
            send(maxFeePerGas=hex(10**10), value=hex(10**19)),
            -38014,
            "insufficient funds for gas * price + value",
        ),
        (send(D, C, maxFeePerGas=hex(10**10)), -38024, "sender not an eoa"),
        (send(maxFeePerGas="0x1", maxPriorityFeePerGas="0x2"), -32602, "max priority fee per gas higher"),
        (send(C, B, maxFeePerGas=hex(10**10)), -32603, "nonce has max value"),
        (
            {"from": A, "input": "0x" + "00" * 49_153, "gas": hex(10**7), "maxFeePerGas": hex(10**10)},
            -38025,
            "max initcode size exceeded",
        ),
    ],
)
async def test_validation_refuses_what_no_block_could_hold(rig, call, code, words):
    """With validation a transaction that could not be included ends the simulation, with its code and words."""
    accounts = {
        A: {"balance": hex(10**18)},
        B: {"balance": hex(10**18), "nonce": "0x3"},
        C: {"balance": hex(10**18), "nonce": "0xffffffffffffffff"},
        D: {"balance": hex(10**18), "code": "0x00"},
    }
    block = {"stateOverrides": accounts, "calls": [call], "blockOverrides": {"baseFeePerGas": hex(GWEI)}}
    error = await refusal(rig, block, validation=True)
    assert error.code == code, error.message
    assert words in error.message
    assert error.message.startswith("err: ")


async def test_without_validation_only_money_must_be_there(rig):
    """Nonces, the base fee and a sender's code are not looked at; a value that the sender lacks is refused."""
    accounts = {A: RICH, D: {"balance": hex(10**18), "code": "0x00"}}
    calls = [send(nonce="0x9", maxFeePerGas="0x1"), send(D, B, value="0x1")]
    override = {"baseFeePerGas": "0xa"}
    (block,) = await simulate(rig, {"stateOverrides": accounts, "calls": calls, "blockOverrides": override})
    assert [each["status"] for each in block["calls"]] == ["0x1", "0x1"]
    assert block["baseFeePerGas"] == "0xa"
    error = await refusal(rig, {"calls": [send(value="0x3e8")]})
    assert error.code == -38014
    assert "insufficient funds for gas * price + value" in error.message


async def test_base_fees_with_validation_follow_the_rule(rig):
    """With validation the base fee is what the chain would ask, block by block; an empty block lowers it."""
    blocks = await simulate(rig, {}, {}, validation=True)
    fees = [int(each["baseFeePerGas"], 16) for each in blocks]
    assert fees[0] == int(await rig.call("eth_baseFee"), 16)
    assert fees[1] == fees[0] - fees[0] // 8


@pytest.mark.parametrize(
    ("blocks", "code", "words"),
    [
        (
            lambda head, _: [{"number": hex(head + 5)}, {"number": hex(head + 5)}],
            -38020,
            "block numbers must be in order",
        ),
        (lambda head, _: [{"number": hex(head)}], -38020, "block numbers must be in order"),
        (
            lambda _, now: [{"time": hex(now + 5)}, {"time": hex(now + 5)}],
            -38021,
            "block timestamps must be in order",
        ),
        (lambda _, now: [{"time": hex(now)}], -38021, "block timestamps must be in order"),
        (
            lambda head, now: [{"number": hex(head + 9), "time": hex(now + 3)}],
            -38021,
            "block timestamps must be in order",
        ),
    ],
)
async def test_blocks_must_be_in_order(rig, blocks, code, words):
    """Numbers and times rise, from the block that the simulation begins from on."""
    head = rig.executor.head
    error = await refusal(rig, *({"blockOverrides": each} for each in blocks(head.number, head.timestamp)))
    assert error.code == code
    assert words in error.message


async def test_gas_of_blocks_and_of_all_calls_is_bounded(rig):
    """A call cannot ask for more than its block has left; all calls together have a budget, which ends endless work."""
    limit = {"gasLimit": hex(1_000_000)}
    error = await refusal(rig, {"blockOverrides": limit, "calls": [send(gas=hex(1_000_001))]})
    assert (error.code, error.message) == (-38015, "block gas limit reached: 0 >= 1000000")
    (block,) = await simulate(
        rig,
        {
            "blockOverrides": limit,
            "stateOverrides": {B: {"code": LOOP}},
            "calls": [send(gas=hex(979_000)), send(A, C)],
        },
    )
    assert [each["status"] for each in block["calls"]] == ["0x0", "0x1"]
    loops = [{"stateOverrides": {B: {"code": LOOP}}, "calls": [send(), send(), send()]}, {"calls": [send()]}]
    error = await refusal(rig, *loops)
    assert error.code == -32005
    assert "rpc_simulate_gas" in error.message


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        [1],
        [{"calls": {}}],
        [{"calls": [1]}],
        [{"stateOverrides": {A: 1}}],
        [{"stateOverrides": {A: {"wrong": "0x1"}}}],
        [{"blockOverrides": {"number": 5}}],
        [{"blockOverrides": {"wrong": "0x5"}}],
        [{"stateOverrides": {ECRECOVER: {"movePrecompileToAddress": "0x1"}}}],
    ],
)
async def test_wrong_simulations(rig, wrong):
    """What is no simulation is refused as wrong parameters."""
    assert (await refusal(rig, *wrong)).code == -32602


async def test_another_chains_call_is_refused(rig):
    """A call that names another chain's id does not run; this chain's does."""
    assert (await refusal(rig, {"calls": [send(chainId="0x1")]})).code == -32602
    assert len(await simulate(rig, {"calls": [send(chainId=hex(CHAIN_ID))]})) == 1


async def test_models_answer_in_simulations(rig):
    """A neuron model called in a simulated block is answered by a neuron, as in eth_call."""
    call = {
        "from": A,
        "to": hexed(rig.world.reader),
        "input": hexed(ask(digit_facts(), DIGIT_IMAGES[0])),
    }
    async with serving(rig):
        (block,) = await simulate(rig, {"calls": [call, call]})
    assert [each["status"] for each in block["calls"]] == ["0x1", "0x1"]
    assert int(block["calls"][0]["inferGasUsed"], 16) > 0
    assert len(block["calls"][0]["logs"]) == 1


async def test_simulations_on_older_blocks(rig):
    """A simulation begins from the block that is named, on its state."""
    (block,) = await simulate(rig, {"calls": [send(A, B)]}, block="0x1")
    assert (block["number"], block["parentHash"]) == (
        "0x2",
        (await rig.call("eth_getBlockByNumber", "0x1"))["hash"],
    )
    with pytest.raises(RpcRefusal) as caught:
        await simulate(rig, {}, block="0xffff")
    assert (caught.value.code, caught.value.message) == (-32000, "header not found")
