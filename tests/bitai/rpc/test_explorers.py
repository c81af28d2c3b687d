"""trace_* and ots_*: the forms that explorers read, held to receipts, call trees and the chain's own rows."""

import pytest
from eth_abi import encode as abi_encode

from bitai.rpc import address_search
from primitives.hashes import keccak256
from tests.bitai.rig import Rig, asking_world
from tests.bitai.rpc.test_methods import NOWHERE, hexed, refusal, typed
from tests.vm.native import assembly as a
from tests.vm.world import NEURON_MODEL, ON_CHAIN_MODEL, ask

IMAGE = bytes(range(16)) * 4
CHILD = a.code(a.push(1), a.PUSH0, a.SSTORE)
FACTORY = a.code(
    a.store_bytes(a.deployer(CHILD)), a.push(len(a.deployer(CHILD))), a.PUSH0, a.push(3), a.CREATE,
    a.PUSH0, a.PUSH0, a.PUSH0, a.PUSH0, a.push(2), a.push(b"\x01" * 20), a.GAS, a.CALL, a.STOP,
)  # fmt: skip
"""Makes a contract with 3 wei, and sends 2 to an account."""
REVERTS = a.code(a.push(7), a.PUSH0, a.MSTORE, a.push(32), a.PUSH0, a.REVERT)


@pytest.fixture
async def rig():
    """A node whose chain asked models, made a factory that made a contract, and reverted once."""
    world = asking_world()
    alice = world.alice
    world.asked = [
        alice.sign(world.reader, data=ask(model, IMAGE)) for model in (ON_CHAIN_MODEL, NEURON_MODEL)
    ]
    world.run(*world.asked, records=[world.record(IMAGE, tx_index=1)])
    world.run(*[typed(world, kind, nonce) for nonce, kind in enumerate((0, 1, 2, 4))])
    made = world.run(*[alice.sign(data=a.deployer(code), gas=1_000_000) for code in (FACTORY, REVERTS)])
    world.factory, world.reverts = [receipt.contract_address for receipt in made.sealed.receipts]
    world.called = [alice.sign(world.factory, value=10), alice.sign(world.reverts)]
    block = world.run(*world.called)
    assert [receipt.status for receipt in block.sealed.receipts] == [1, 0]
    async with Rig(world) as rig:
        yield rig


def name(raw):
    """A transaction's hash as JSON shows it."""
    return hexed(keccak256(raw))


async def test_flat_traces_of_blocks_are_those_of_their_transactions(rig):
    """trace_block joins trace_transaction of each; places, gas and outcomes are those of the receipts."""
    head = int(await rig.call("eth_blockNumber"), 16)
    for number in range(1, head + 1):
        block = await rig.call("eth_getBlockByNumber", hex(number))
        joined = []
        for index, each in enumerate(block["transactions"]):
            traces = await rig.call("trace_transaction", each)
            receipt = await rig.call("eth_getTransactionReceipt", each)
            assert all(trace["transactionHash"] == each for trace in traces)
            assert all(trace["transactionPosition"] == index for trace in traces)
            assert all(trace["blockHash"] == block["hash"] for trace in traces)
            assert traces[0]["action"]["from"] == receipt["from"]
            assert ("error" in traces[0]) == (receipt["status"] == "0x0")
            joined += traces
        assert await rig.call("trace_block", hex(number)) == joined
    assert await rig.call("trace_block", "earliest") == []
    assert await rig.call("trace_transaction", NOWHERE) is None


async def test_model_calls_stand_in_flat_traces(rig):
    """Precompiles are left out, but a model call is shown, with its facts."""
    root, asked = await rig.call("trace_transaction", name(rig.world.asked[1]))
    assert (root["subtraces"], asked["traceAddress"]) == (1, [0])
    assert (asked["infer"]["tier"], asked["infer"]["status"]) == ("neuron", "OK")


async def test_replays_and_calls(rig):
    """Types that are asked for are there, for transactions, blocks and messages; state changes add up."""
    every = ["trace", "vmTrace", "stateDiff"]
    called = name(rig.world.called[0])
    shown = await rig.call("trace_replayTransaction", called, every)
    assert [each["type"] for each in shown["trace"]] == ["call", "create", "call"]
    assert shown["vmTrace"]["ops"]
    difference = shown["stateDiff"][hexed(rig.world.factory)]["balance"]["*"]
    assert int(difference["to"], 16) - int(difference["from"], 16) == 10 - 3 - 2
    whole = await rig.call("trace_replayBlockTransactions", "0x6", ["trace"])
    assert [each["transactionHash"] for each in whole] == [name(raw) for raw in rig.world.called]
    assert whole[0]["trace"] == shown["trace"]
    assert whole[0]["vmTrace"] is whole[0]["stateDiff"] is None
    message = {"to": hexed(rig.world.reverts)}
    failed = await rig.call("trace_call", message, ["trace"], "latest")
    assert (failed["output"], failed["trace"][0]["error"]) == ("0x" + "07".rjust(64, "0"), "Reverted")
    assert (await refusal(rig, "trace_call", message, ["everything"])).code == -32602
    assert (await refusal(rig, "trace_replayTransaction", NOWHERE, every)).message == "transaction not found"


async def test_filters_of_traces(rig):
    """A filter finds by sender and receiver, pages, and names a range where it may not look."""
    child = (await rig.call("trace_transaction", name(rig.world.called[0])))[1]["result"]["address"]
    (made,) = await rig.call("trace_filter", {"fromBlock": "0x1", "toAddress": [child]})
    assert (made["type"], made["action"]["from"]) == ("create", hexed(rig.world.factory))
    alice = hexed(rig.world.alice.address)
    every = await rig.call("trace_filter", {"fromAddress": [alice]})
    assert len(every) == 7
    page = await rig.call("trace_filter", {"fromAddress": [alice], "after": 2, "count": 3})
    assert page == every[2:5]
    for wrong in ({"fromBlock": "0x5", "toBlock": "0x2"}, {"after": "0x1"}, {"nothing": 1}, []):
        assert (await refusal(rig, "trace_filter", wrong)).code == -32602, wrong


async def test_internal_operations_errors_and_calls_of_a_transaction(rig):
    """Otterscan's views of a transaction: transfers and creations, what it reverted with, calls in order."""
    called, reverted = (name(raw) for raw in rig.world.called)
    operations = await rig.call("ots_getInternalOperations", called)
    assert [(each["type"], each["value"]) for each in operations] == [(2, "0x3"), (0, "0x2")]
    assert await rig.call("ots_getTransactionError", called) == "0x"
    assert await rig.call("ots_getTransactionError", reverted) == "0x" + "07".rjust(64, "0")
    entries = await rig.call("ots_traceTransaction", called)
    assert [(each["type"], each["depth"]) for each in entries] == [("CALL", 0), ("CREATE", 1), ("CALL", 1)]
    assert (await refusal(rig, "ots_traceTransaction", NOWHERE)).message == "transaction not found"


async def test_blocks_for_otterscan(rig):
    """Details without transactions but with fees; pages of transactions from the end, cut short."""
    assert await rig.call("ots_getApiLevel") == 8
    details = await rig.call("ots_getBlockDetails", 4)
    block = await rig.call("eth_getBlockByNumber", "0x4", True)
    receipts = await rig.call("eth_getBlockReceipts", "0x4")
    paid = sum(int(each["gasUsed"], 16) * int(each["effectiveGasPrice"], 16) for each in receipts)
    assert int(details["totalFees"], 16) == paid
    assert details["block"]["transactionCount"] == len(block["transactions"])
    assert details["block"]["hash"] == block["hash"]
    assert await rig.call("ots_getBlockDetailsByHash", block["hash"]) == details
    assert await rig.call("ots_getBlockDetails", 4_000) is None
    pages = [await rig.call("ots_getBlockTransactions", 4, page, 3) for page in range(3)]
    hashes = [[each["hash"] for each in page["fullblock"]["transactions"]] for page in pages]
    every = [each["hash"] for each in block["transactions"]]
    assert hashes == [every[1:4], every[:1], []]
    assert [each["transactionHash"] for each in pages[0]["receipts"]] == every[1:4]
    assert pages[0]["receipts"][0]["logs"] is None
    asked = await rig.call("ots_getBlockTransactions", 3, 0, 10)
    assert {len(each["input"]) for each in asked["fullblock"]["transactions"]} == {10}
    header = await rig.call("erigon_getHeaderByNumber", "0x4")
    assert header["hash"] == block["hash"]
    assert await rig.call("erigon_getHeaderByNumber", "0xffff") is None


async def test_searches_of_an_address(rig, monkeypatch):
    """Pages back and forth join to all of an address's transactions; logs' topics count; a long search says where."""
    alice = hexed(rig.world.alice.address)
    found, at, first = [], 0, None
    while True:
        page = await rig.call("ots_searchTransactionsBefore", alice, at, 2)
        first = page["firstPage"] if first is None else first
        found += [each["hash"] for each in page["txs"]]
        assert [each["transactionHash"] for each in page["receipts"]] == [
            each["hash"] for each in page["txs"]
        ]
        if page["lastPage"]:
            break
        at = int(page["txs"][-1]["blockNumber"], 16)
    expected = [*rig.world.asked, *rig.world.called]
    assert first is True
    assert found[:2] == [name(raw) for raw in reversed(rig.world.called)]
    assert {name(raw) for raw in expected} <= set(found)
    assert len(found) == len(set(found)) == 7
    later = await rig.call("ots_searchTransactionsAfter", alice, 3, 100)
    assert [each["hash"] for each in later["txs"]] == found[:4]
    assert (later["firstPage"], later["lastPage"]) == (True, False)
    reader = await rig.call("ots_searchTransactionsBefore", hexed(rig.world.reader), 0, 10)
    assert [each["hash"] for each in reader["txs"]][:2] == [name(raw) for raw in reversed(rig.world.asked)]
    monkeypatch.setattr(address_search, "MAX_BLOCKS", 2)
    limited = await refusal(rig, "ots_searchTransactionsBefore", "0x" + "99" * 20, 0, 10)
    assert limited.code == -32005
    assert limited.message.endswith("go on at block 4")


async def test_contracts_and_nonces(rig):
    """Creators of contracts made by transactions and by contracts; none of genesis' and of accounts."""
    factory = await rig.call("ots_getContractCreator", hexed(rig.world.factory))
    alice = hexed(rig.world.alice.address)
    made = await rig.call("eth_getTransactionByHash", factory["hash"])
    assert (factory["creator"], made["from"], made["to"]) == (alice, alice, None)
    child = (await rig.call("trace_transaction", name(rig.world.called[0])))[1]["result"]["address"]
    assert await rig.call("ots_getContractCreator", child) == {
        "hash": name(rig.world.called[0]),
        "creator": hexed(rig.world.factory),
    }
    for none in (alice, "0x4200000000000000000000000000000000000015"):
        assert await rig.call("ots_getContractCreator", none) is None
    assert await rig.call("ots_hasCode", child, "latest") is True
    assert await rig.call("ots_hasCode", child, "0x5") is False
    nonce = int((await rig.call("eth_getTransactionByHash", name(rig.world.called[0])))["nonce"], 16)
    assert await rig.call("ots_getTransactionBySenderAndNonce", alice, nonce) == name(rig.world.called[0])
    assert await rig.call("ots_getTransactionBySenderAndNonce", alice, 99) is None
    assert abi_encode(["uint256"], [7]).hex() == "07".rjust(64, "0")
