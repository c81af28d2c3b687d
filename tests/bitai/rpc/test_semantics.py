"""What breaks clients in practice, point by point, and the codes and words that they match."""

import asyncio

import pytest
from eth_account import Account as EthAccount

from bitai.rpc.refusals import refusal
from tests.bitai.rig import Rig, RpcRefusal, asking_world
from tests.bitai.rpc.ethereum_schema import check_log, check_receipt, check_transaction
from tests.vm.world import CHAIN_ID, GWEI, ON_CHAIN_MODEL, ask

TO = b"\x01" * 20
A = "0x" + "01" * 20
HERE = "0x" + "c0" * 20
NOWHERE = "0x" + "77" * 32
IMAGE = bytes(range(16)) * 4
REVERT_OOPS = "0x7f08c379a0" + "00" * 28 + "600052"
REVERT_OOPS += "6020600452" + "6004602452" + "7f" + b"oops".hex() + "00" * 28 + "604452" + "60646000fd"


def hexed(value: bytes) -> str:
    """As JSON shows it."""
    return "0x" + value.hex()


@pytest.fixture
async def rig():
    """A node with a contract, logs and a transaction."""
    world = asking_world()
    world.run(world.alice.sign(world.reader, data=ask(ON_CHAIN_MODEL, IMAGE)), world.alice.sign(TO, value=1))
    async with Rig(world) as rig:
        yield rig


async def refused(rig, method, *params):
    """The error of a call that must fail."""
    with pytest.raises(RpcRefusal) as caught:
        await rig.call(method, *params)
    return caught.value


async def missing_things(rig):
    """What does not exist, or not yet, is null; the first block's receipts are an empty list."""
    for method, key in (
        ("eth_getBlockByNumber", "0xffff"),
        ("eth_getBlockByHash", NOWHERE),
        ("eth_getTransactionByHash", NOWHERE),
        ("eth_getTransactionReceipt", NOWHERE),
        ("eth_getBlockReceipts", "0xffff"),
    ):
        assert await rig.call(method, key) is None
    assert await rig.call("eth_getBlockReceipts", "0x0") == []


async def quantities(rig):
    """Zero is 0x0, storage is 32 bytes, and a number without 0x or with a leading zero is refused."""
    assert await rig.call("eth_getBalance", A, "0x0") == "0x0"
    assert await rig.call("eth_getStorageAt", A, "0x0") == hexed(bytes(32))
    for wrong in ("5", "0x05", 5, "0x"):
        assert (await refused(rig, "eth_getBlockByNumber", wrong)).code == -32602


async def block_parameters(rig):
    """A trailing block may be left out, a tag, a number, a bare hash, or an object."""
    block = await rig.call("eth_getBlockByNumber", "latest")
    named = ("latest", "pending", block["number"], block["hash"], {"blockHash": block["hash"]})
    named += ({"blockHash": block["hash"], "requireCanonical": True}, {"blockNumber": block["number"]})
    answers = {await rig.call("eth_getBalance", A, each) for each in named}
    assert answers == {await rig.call("eth_getBalance", A)}
    for tag in ("earliest", "safe", "finalized"):
        assert int(await rig.call("eth_getBalance", A, tag), 16) >= 0


async def tags_before_anything_is_safe(rig):
    """Without a safe or finalized block yet, the tags name the first block, and are no error."""
    for tag in ("safe", "finalized"):
        assert (await rig.call("eth_getBlockByNumber", tag))["number"] == "0x0"
    assert (await rig.call("eth_getBlockByNumber", "latest"))["number"] == hex(rig.executor.head.number)


async def pending(rig):
    """The pending transaction count includes what waits, and calls take the tag."""
    alice = rig.world.alice
    sent = hexed(alice.sign(TO))
    asked = [
        ("eth_sendRawTransaction", [sent]),
        ("eth_getTransactionCount", [hexed(alice.address), "pending"]),
    ]
    array = [{"jsonrpc": "2.0", "id": 1, "method": name, "params": params} for name, params in asked]
    _, (_, counted) = await rig.post(array)
    assert counted["result"] == hex(alice.nonce)
    assert await rig.call("eth_call", {"to": A}, "pending") == "0x"


async def log_ranges(rig):
    """Ranges that are none are wrong parameters; null and empty alternatives match anything; logs are whole."""
    head = rig.executor.head.number
    for wrong in (
        {"fromBlock": "0x2", "toBlock": "0x1"},
        {"toBlock": hex(head + 1)},
        {"blockHash": NOWHERE, "fromBlock": "0x0"},
    ):
        assert (await refused(rig, "eth_getLogs", wrong)).code == -32602
    everything = await rig.call("eth_getLogs", {"fromBlock": "0x0"})
    assert everything
    for log in everything:
        check_log(log)
        assert log["removed"] is False
    for topics in ([], [None], [[]], [None, None][:1]):
        assert await rig.call("eth_getLogs", {"fromBlock": "0x0", "topics": topics}) == everything


async def unknown_filters(rig):
    """The code and the exact words that make viem install a new filter."""
    error = await refused(rig, "eth_getFilterChanges", "0x" + "11" * 16)
    assert (error.code, error.message) == (-32000, "filter not found")


async def subscriptions_after_state(rig):
    """When a head is told, its receipts and its state can be read: see test_sockets; here the limit and the id."""
    assert (
        await refused(rig, "eth_subscribe", "newHeads")
    ).code == -32601  # over HTTP there is nobody to tell


async def fee_history(rig):
    """One more base fee than blocks; rewards only where asked; blob members; "pending" and too many blocks taken."""
    plain = await rig.call("eth_feeHistory", "0x2", "pending")
    assert len(plain["baseFeePerGas"]) == len(plain["gasUsedRatio"]) + 1 == 3
    assert "reward" not in plain
    assert len(plain["baseFeePerBlobGas"]) == 3
    assert len(plain["blobGasUsedRatio"]) == 2
    rewarded = await rig.call("eth_feeHistory", "0xfffff", "latest", [5.0])
    assert len(rewarded["reward"]) == len(rewarded["gasUsedRatio"]) == rig.executor.head.number + 1


async def idle_base_fee(rig):
    """The base fee falls when blocks are empty, so that a tool that waits for that ends."""
    before = int(await rig.call("eth_baseFee"), 16)
    rig.world.run()
    assert int(await rig.call("eth_baseFee"), 16) < before


async def reverts(rig):
    """Code 3, "execution reverted" with the reason, data as a string; out of gas without data."""
    code = {HERE: {"code": REVERT_OOPS}}
    for method in ("eth_call", "eth_estimateGas"):
        error = await refused(rig, method, {"to": HERE}, "latest", code)
        assert (error.code, error.message) == (3, "execution reverted: oops")
        assert isinstance(error.data, str)
        assert error.data.startswith("0x08c379a0")
        for endless in ("0x5b600056", "0xfe"):
            error = await refused(
                rig, method, {"to": HERE, "gas": "0xc350"}, "latest", {HERE: {"code": endless}}
            )
            assert error.code in {-32000, -32015}
            assert not isinstance(error.data, str)
    bare = await refused(rig, "eth_call", {"to": HERE}, "latest", {HERE: {"code": "0x60006000fd"}})
    assert (bare.code, bare.message, bare.data) == (3, "execution reverted", "0x")


async def receipts(rig):
    """Everything that wallets read stands in a receipt; contractAddress is null where nothing was made."""
    for receipt in await rig.call("eth_getBlockReceipts", "latest"):
        check_receipt(receipt)
        assert receipt["contractAddress"] is None
        assert int(receipt["effectiveGasPrice"], 16) > 0


async def types_of_transactions(rig):
    """Blob transactions and unprotected legacy ones are refused in both clients' words."""
    error = await refused(rig, "eth_sendRawTransaction", "0x03c0")
    assert error.code == -32000
    assert "transaction type not supported" in error.message
    assert "transaction type not valid" in error.message
    account = rig.world.alice
    fields = {"nonce": account.nonce, "to": A, "value": 0, "gas": 21_000, "gasPrice": 10 * GWEI}
    raw = EthAccount.sign_transaction(fields, account.secret).raw_transaction
    error = await refused(rig, "eth_sendRawTransaction", hexed(bytes(raw)))
    assert error.message.startswith("only replay-protected")


async def transaction_objects(rig):
    """Members by type, and null block fields while one waits."""
    for shown in (await rig.call("eth_getBlockByNumber", "latest", True))["transactions"]:
        check_transaction(shown)
    rig.world.alice.nonce += 1
    sent = await rig.call("eth_sendRawTransaction", hexed(rig.world.alice.sign(TO)))
    check_transaction(await rig.call("eth_getTransactionByHash", sent), waiting=True)


async def read_your_write(rig):
    """A transaction is found the moment it was taken, and receipt and latest state agree."""
    alice = rig.world.alice
    sent = await rig.call("eth_sendRawTransaction", hexed(alice.sign(TO, value=5)))
    assert (await rig.call("eth_getTransactionByHash", sent))["hash"] == sent
    while (receipt := await rig.call("eth_getTransactionReceipt", sent)) is None:
        assert (await rig.call("eth_getTransactionByHash", sent))["hash"] == sent
        await asyncio.sleep(0.005)
    assert receipt["status"] == "0x1"
    assert await rig.call("eth_getTransactionCount", hexed(alice.address), "latest") == hex(alice.nonce)


async def proofs(rig):
    """Keys come back as they were asked; an account that is not there has a proof of that."""
    asked = ["0x0", hexed(bytes(31) + b"\x01")]
    proof = await rig.call("eth_getProof", "0x" + "99" * 20, asked, "latest")
    assert [each["key"] for each in proof["storageProof"]] == asked
    assert proof["accountProof"]
    assert (proof["balance"], proof["nonce"]) == ("0x0", "0x0")


async def arrays(rig):
    """Notifications have no reply, an empty array is no request, ids come back as they were, errors are HTTP 200."""
    call = {"jsonrpc": "2.0", "method": "eth_chainId"}
    status, replies = await rig.post([call | {"id": "x"}, call, call | {"id": None}, call | {"id": 0}])
    assert (status, [each["id"] for each in replies]) == (200, ["x", None, 0])
    status, reply = await rig.post([])
    assert (status, reply["error"]["code"]) == (200, -32600)
    status, reply = await rig.post({"jsonrpc": "2.0", "id": 1, "method": "no_such"})
    assert (status, reply["error"]["code"]) == (200, -32601)


async def calls(rig):
    """Overrides, a sender without money, both names of the input, which must agree."""
    assert await rig.call("eth_call", {"from": HERE, "to": A, "gas": "0xffffff"}) == "0x"
    number = {HERE: {"code": "0x4360005260206000f3"}}
    seen = await rig.call("eth_call", {"to": HERE}, "latest", number, {"number": "0x1234"})
    assert int(seen, 16) == 0x1234
    assert await rig.call("eth_call", {"to": A, "input": "0x01", "data": "0x01"}) == "0x"
    assert (await refused(rig, "eth_call", {"to": A, "input": "0x01", "data": "0x02"})).code == -32602


async def unserved_methods(rig):
    """Methods that this node has not are refused in the words that ethers matches."""
    for name in ("eth_mining", "engine_newPayloadV4", "personal_unlockAccount", "admin_peers"):
        error = await refused(rig, name)
        assert (error.code, error.message) == (-32601, f"the method {name} does not exist/is not available")


async def chain_ids(rig):
    """The chain has an id of its own, none that wallets treat as a local test chain."""
    assert await rig.call("eth_chainId") == hex(CHAIN_ID)
    assert await rig.call("net_version") == str(CHAIN_ID)
    assert CHAIN_ID not in {1, 1_337, 31_337}


POINTS = {
    1: missing_things,
    2: quantities,
    3: block_parameters,
    4: tags_before_anything_is_safe,
    5: pending,
    6: log_ranges,
    7: unknown_filters,
    8: subscriptions_after_state,
    9: fee_history,
    10: idle_base_fee,
    11: reverts,
    12: receipts,
    13: types_of_transactions,
    14: transaction_objects,
    15: read_your_write,
    16: proofs,
    17: arrays,
    18: calls,
    20: chain_ids,
    21: unserved_methods,
}


@pytest.mark.parametrize("point", POINTS, ids=lambda point: f"{point}-{POINTS[point].__name__}")
async def test_semantics(rig, point):
    """Each point holds; its sentence stands with it. What traces do (19) is told where traces are tested."""
    await POINTS[point](rig)


@pytest.mark.parametrize(
    ("code", "number", "words"),
    [
        ("tx.nonce_too_low", -32000, "nonce too low"),
        ("tx.nonce_too_high", -32000, "nonce too high"),
        ("tx.insufficient_funds", -32000, "insufficient funds for gas * price + value"),
        ("tx.fee_cap_below_base_fee", -32000, "max fee per gas less than block base fee"),
        ("tx.priority_above_fee_cap", -32000, "max priority fee per gas higher than max fee per gas"),
        ("tx.intrinsic_gas", -32000, "intrinsic gas too low"),
        ("tx.type_not_supported", -32000, "transaction type not supported"),
        ("tx.unprotected", -32000, "only replay-protected"),
        ("pool.full", -32005, ""),
        ("pool.sender_full", -32005, ""),
        ("params.invalid", -32602, ""),
        ("state.pruned", 4444, ""),
    ],
)
def test_codes_and_words(code, number, words):
    """A refusal has the number and the words that clients match, and none of those that mislead web3.py."""
    error = refusal(code, "")
    assert error.code == number
    assert words in error.message
    assert error.data == {"code": code}
    assert "index" not in error.message or "progress" not in error.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nonce": 0}, "nonce too low"),
        ({"value": 10**30}, "insufficient funds for gas * price + value"),
        ({"cap": 1, "tip": 1}, "transaction underpriced"),
        ({"cap": GWEI, "tip": 2 * GWEI}, "max priority fee per gas higher than max fee per gas"),
        ({"gas": 20_000}, "intrinsic gas too low"),
        ({"gas": 2**25}, "transaction gas limit too high"),
    ],
)
async def test_refused_transactions(rig, change, words):
    """A transaction that cannot be included is refused at the door with the words that wallets show."""
    raw = rig.world.alice.sign(TO, **({"nonce": rig.world.alice.nonce} | change))
    error = await refused(rig, "eth_sendRawTransaction", hexed(raw))
    assert error.code == -32000
    assert words in error.message


async def test_the_same_nonce_again(rig):
    """The same transaction again is known already; another at its place must pay clearly more."""
    alice = rig.world.alice
    alice.nonce += 1
    raw = alice.sign(TO)
    await rig.call("eth_sendRawTransaction", hexed(raw))
    error = await refused(rig, "eth_sendRawTransaction", hexed(raw))
    assert (error.code, "already known" in error.message) == (-32000, True)
    error = await refused(
        rig, "eth_sendRawTransaction", hexed(alice.sign(TO, value=1, nonce=alice.nonce - 1))
    )
    assert (error.code, "replacement transaction underpriced" in error.message) == (-32000, True)


async def test_gas_that_no_sender_can_pay(rig):
    """An estimate whose allowance does not suffice says so in geth's words."""
    error = await refused(rig, "eth_estimateGas", {"to": A, "gas": "0x5207"})
    assert error.code == -32000
    assert "gas required exceeds allowance" in error.message or "intrinsic gas too low" in error.message
