"""debug_* and access lists: geth's shapes and words, over a chain with models; bombs end, and strangers get nothing."""

import asyncio
import time

import pytest
import rlp

from bitai.rpc import traces
from bitai.rpc.service import build_rpc
from primitives.hashes import keccak256
from tests.bitai.rig import Rig, asking_world
from tests.bitai.rpc.test_methods import NOWHERE, hexed, refusal, typed
from tests.vm.world import NEURON_MODEL, ON_CHAIN_MODEL, ask

IMAGE = bytes(range(16)) * 4
HERE = "0x" + "c0" * 20
TREE = {"tracer": "callTracer"}
ENDLESS = "0x5b5f56"
"""JUMPDEST PUSH0 JUMP."""


@pytest.fixture
async def rig():
    """A node whose chain asked both kinds of models, and holds a transaction of every type."""
    world = asking_world()
    world.asked = [
        world.alice.sign(world.reader, data=ask(model, IMAGE)) for model in (ON_CHAIN_MODEL, NEURON_MODEL)
    ]
    block = world.run(*world.asked, records=[world.record(IMAGE, tx_index=1)])
    assert [receipt.status for receipt in block.sealed.receipts] == [1, 1]
    world.run(*[typed(world, kind, nonce) for nonce, kind in enumerate((0, 1, 2, 4))])
    async with Rig(world) as rig:
        yield rig


def receipts(rig, number):
    """A block's receipts as JSON shows them."""
    return rig.call("eth_getBlockReceipts", hex(number))


async def test_every_transaction_is_traced_as_it_ran(rig):
    """In every block, system transactions included, trees and struct logs have the receipts' gas and status."""
    head = int(await rig.call("eth_blockNumber"), 16)
    kinds = set()
    for number in range(1, head + 1):
        trees = await rig.call("debug_traceBlockByNumber", hex(number), TREE)
        logs = await rig.call("debug_traceBlockByNumber", hex(number))
        for receipt, tree, steps in zip(await receipts(rig, number), trees, logs, strict=True):
            kinds.add(receipt["type"])
            assert tree["txHash"] == steps["txHash"] == receipt["transactionHash"]
            assert tree["result"]["gasUsed"] == receipt["gasUsed"]
            assert hex(steps["result"]["gas"]) == receipt["gasUsed"]
            assert steps["result"]["failed"] == ("error" in tree["result"]) == (receipt["status"] == "0x0")
            assert (
                await rig.call("debug_traceTransaction", receipt["transactionHash"], TREE) == tree["result"]
            )
        block = await rig.call("eth_getBlockByNumber", hex(number))
        assert await rig.call("debug_traceBlockByHash", block["hash"], TREE) == trees
    assert kinds == {"0x0", "0x1", "0x2", "0x4", "0x7e"}


async def test_model_calls_are_frames_with_their_facts(rig):
    """The answer of a neuron's record and that of an on-chain model stand in the tree, with gas and status."""
    for raw, model, tier in zip(
        rig.world.asked, (ON_CHAIN_MODEL, NEURON_MODEL), ("on-chain", "neuron"), strict=True
    ):
        tree = await rig.call("debug_traceTransaction", hexed(keccak256(raw)), TREE)
        receipt = await rig.call("eth_getTransactionReceipt", hexed(keccak256(raw)))
        (frame,) = tree["calls"]
        expected = {"model": hexed(model.model_id), "tier": tier, "macs": hex(model.macs), "status": "OK"}
        assert frame["infer"] == expected | {"gas": receipt["inferGasUsed"]}
        assert (frame["type"], frame["gasUsed"]) == ("STATICCALL", receipt["inferGasUsed"])


async def test_the_switches_of_the_struct_logger(rig):
    """Memory and return data only when they are asked for, stack and storage unless switched off, and a limit."""
    asked = hexed(keccak256(rig.world.asked[0]))
    whole = await rig.call("debug_traceTransaction", asked)
    assert set(whole) == {"gas", "failed", "returnValue", "structLogs"}
    steps = whole["structLogs"]
    assert {"pc", "op", "gas", "gasCost", "depth", "stack"} <= set(steps[0])
    assert not any("memory" in step or "returnData" in step for step in steps)
    assert {step["op"] for step in steps if "storage" in step} == {"SLOAD", "SSTORE"}
    bare = {"disableStack": True, "disableStorage": True, "enableMemory": True, "enableReturnData": True}
    other = (await rig.call("debug_traceTransaction", asked, bare))["structLogs"]
    assert not any("stack" in step or "storage" in step for step in other)
    assert any(step["memory"] for step in other)
    assert len({step["returnData"] for step in other}) > 1
    cut = await rig.call("debug_traceTransaction", asked, {"limit": 3})
    assert cut["structLogs"] == steps[:3]
    transfer = (await receipts(rig, 4))[0]["transactionHash"]
    assert (await rig.call("debug_traceTransaction", transfer))["structLogs"] == []


async def test_a_trace_takes_the_fee_for_bytes(rig):
    """The sender's balance after a traced transaction is what the block left it, data fee included."""
    world = rig.world
    world.run(epochs=1)
    raw = world.alice.sign(b"\x07" * 20, value=5)
    (receipt,) = world.run(raw).sealed.receipts
    assert receipt.data_fee > 0
    change = await rig.call(
        "debug_traceTransaction",
        hexed(keccak256(raw)),
        {"tracer": "prestateTracer", "tracerConfig": {"diffMode": True}},
    )
    left = rig.executor.view(rig.executor.head.number).balance(world.alice.address)
    assert int(change["post"][hexed(world.alice.address)]["balance"], 16) == left


async def test_other_tracers(rig):
    """State before and changes, selectors, nothing at all, and several at once."""
    asked = hexed(keccak256(rig.world.asked[0]))
    alice = hexed(rig.world.alice.address)
    before = await rig.call("debug_traceTransaction", asked, {"tracer": "prestateTracer"})
    assert before[hexed(rig.world.reader)]["code"].startswith("0x60")
    change = await rig.call(
        "debug_traceTransaction", asked, {"tracer": "prestateTracer", "tracerConfig": {"diffMode": True}}
    )
    assert change["pre"][alice]["balance"] == before[alice]["balance"]
    assert change["post"][alice]["nonce"] == before[alice].get("nonce", 0) + 1
    selectors = await rig.call("debug_traceTransaction", asked, {"tracer": "4byteTracer"})
    assert selectors == {"0xcdf0039a-160": 1}
    assert await rig.call("debug_traceTransaction", asked, {"tracer": "noopTracer"}) == {}
    both = {"tracer": "muxTracer", "tracerConfig": {"callTracer": {}, "4byteTracer": None}}
    shown = await rig.call("debug_traceTransaction", asked, both)
    assert set(shown) == {"callTracer", "4byteTracer"}
    flat = await rig.call("debug_traceTransaction", asked, {"tracer": "flatCallTracer"})
    assert [each["traceAddress"] for each in flat] == [[], [0]]


async def test_what_cannot_be_traced(rig):
    """Genesis, unknown transactions and blocks, and wrong options have geth's codes and words."""
    found = await refusal(rig, "debug_traceBlockByNumber", "0x0")
    assert (found.code, found.message) == (-32000, "genesis is not traceable")
    found = await refusal(rig, "debug_traceTransaction", NOWHERE)
    assert (found.code, found.message) == (-32000, "transaction not found")
    assert (await refusal(rig, "debug_traceBlockByHash", NOWHERE)).code == -32000
    found = await refusal(rig, "debug_traceBlockByNumber", "0x3", {"tracer": "{fault: function() {}}"})
    assert (found.code, found.data["code"]) == (-32000, "trace.no_such_tracer")
    for wrong in ({"timeout": "soon"}, {"tracer": 5}, "callTracer", {"tracer": "callTracer", "limit": "x"}):
        assert (await refusal(rig, "debug_traceBlockByNumber", "0x3", wrong)).code == -32602, wrong


async def test_calls_are_traced_with_overrides_and_amidst_blocks(rig):
    """A call sees changed accounts and blocks, and with txIndex the state before a transaction of the block."""
    call = {"to": HERE, "data": "0x"}
    code = {HERE: {"code": "0x435f5260205ff3"}}  # returns NUMBER
    options = {"stateOverrides": code, "blockOverrides": {"number": "0x77"}} | TREE
    tree = await rig.call("debug_traceCall", call, "latest", options)
    assert int(tree["output"], 16) == 0x77
    count = {"to": hexed(rig.world.reader), "data": hexed(keccak256(b"readingCount()")[:4])}
    outputs = [
        int((await rig.call("debug_traceCall", count, "0x3", TREE | {"txIndex": hex(index)}))["output"], 16)
        for index in range(3)
    ]
    assert outputs == [0, 1, 2]
    found = await refusal(rig, "debug_traceCall", count, "0x3", {"txIndex": "0x9"})
    assert found.data == {"code": "trace.no_such_index"}
    found = await refusal(rig, "debug_traceCall", call | {"value": "0x1"}, "latest", TREE)
    assert found.message.startswith("insufficient funds")
    failed = await rig.call(
        "debug_traceCall", call, "latest", TREE | {"stateOverrides": {HERE: {"code": "0xfe"}}}
    )
    assert failed["error"] == "invalid opcode: INVALID"


async def test_access_lists(rig):
    """The list names what is touched; with a failing call comes its error, with the list a call costs what is said."""
    call = {"to": hexed(rig.world.reader), "data": hexed(ask(ON_CHAIN_MODEL, IMAGE))}
    found = await rig.call("eth_createAccessList", call)
    assert [entry["address"] for entry in found["accessList"]] == [call["to"]]
    assert len(found["accessList"][0]["storageKeys"]) == 3
    tree = await rig.call(
        "debug_traceCall", call | {"accessList": found["accessList"]}, "latest", {"tracer": "callTracer"}
    )
    assert tree["gasUsed"] == found["gasUsed"]
    failing = await rig.call("eth_createAccessList", {"to": HERE}, "latest", {HERE: {"code": "0x5f545f5ffd"}})
    assert failing["error"] == "execution reverted"
    assert failing["accessList"] == [{"address": HERE, "storageKeys": ["0x" + "00" * 32]}]


async def test_raw_blocks_headers_receipts_and_transactions(rig):
    """The bytes hash to what the chain names them by."""
    for number in range(5):
        block = await rig.call("eth_getBlockByNumber", hex(number))
        header = bytes.fromhex((await rig.call("debug_getRawHeader", hex(number)))[2:])
        assert hexed(keccak256(header)) == block["hash"]
        whole = bytes.fromhex((await rig.call("debug_getRawBlock", block["hash"]))[2:])
        parts = rlp.decode(whole)
        assert (rlp.encode(parts[0]), parts[2:]) == (header, [[], []])
        raws = [rlp.encode(each) if isinstance(each, list) else each for each in parts[1]]
        assert [hexed(keccak256(raw)) for raw in raws] == block["transactions"]
        for raw, name in zip(raws, block["transactions"], strict=True):
            assert await rig.call("debug_getRawTransaction", name) == hexed(raw)
        shown = await rig.call("debug_getRawReceipts", hex(number))
        assert len(shown) == len(raws)
    assert await rig.call("debug_getRawTransaction", NOWHERE) == "0x"
    assert (await refusal(rig, "debug_getRawBlock", "0xffff")).code == -32000


async def test_trace_bombs_end_and_disturb_nobody(rig, monkeypatch):
    """Endless traces meet their limits of bytes and time, while other calls are answered at once."""
    monkeypatch.setattr(traces, "MAX_TRACE_BYTES", 2 << 20)
    bomb = {"stateOverrides": {HERE: {"code": ENDLESS}}}
    memory = {"stateOverrides": {HERE: {"code": "0x62010000515b600556"}}, "enableMemory": True}
    slow = bomb | TREE | {"timeout": "2ms"}
    asked = [
        asyncio.create_task(refusal(rig, "debug_traceCall", {"to": HERE}, "latest", options))
        for options in (bomb, memory, slow, slow, slow)
    ]
    longest = 0.0
    while not all(task.done() for task in asked):
        started = time.perf_counter()
        await rig.call("eth_blockNumber")
        longest = max(longest, time.perf_counter() - started)
        await asyncio.sleep(0.01)
    found = [await task for task in asked]
    assert [each.code for each in found] == [-32005] * 5
    assert [each.data["code"] for each in found[1:]] == ["trace.too_large", *["trace.timeout"] * 3]
    assert longest < 5


async def test_strangers_cannot_trace(rig):
    """A node without traces has no debug_* at all, and says so as for any method that is none."""
    context = rig.context
    closed = type(context)(
        blocks=context.blocks, states=context.states, simulator=context.simulator, sender=context.sender,
        facts=context.facts, bitcoin=context.bitcoin,
    )  # fmt: skip
    names = set(build_rpc(context).server._methods) - set(build_rpc(closed).server._methods)
    assert {"debug_traceTransaction", "debug_traceCall", "debug_getRawBlock"} <= names
    assert "eth_createAccessList" not in names
