"""The OpenRPC document says what is served, and real replies are what it says."""

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from bitai.rpc.openrpc.document import GROUPS, SPECS, openrpc_document
from bitai.rpc.openrpc.method import ERRORS
from bitai.rpc.openrpc.schemas import SCHEMAS
from bitai.rpc.subscriptions import METHODS
from tests.bitai.rig import DIGIT_IMAGES, Rig, asking_world, digit_facts
from tests.bitai.test_dispatcher import serving
from tests.vm.world import ON_CHAIN_MODEL, ask

A = "0x" + "01" * 20
TO = b"\x01" * 20


def hexed(value: bytes) -> str:
    """As JSON shows it."""
    return "0x" + value.hex()


def check(schema, value):
    """Hold a value to a schema of the document."""
    document = {"components": {"schemas": SCHEMAS}, "check": schema}
    resource = Resource(contents=document, specification=DRAFT202012)
    registry = Registry().with_resource("urn:openrpc", resource)
    validator = Draft202012Validator({"$ref": "urn:openrpc#/check"}, registry=registry)
    errors = [f"{list(each.absolute_path)}: {each.message[:300]}" for each in validator.iter_errors(value)]
    assert not errors, errors


@pytest.fixture(scope="module")
def answered():
    """Methods for which some call here had a reply that is not null."""
    return set()


async def rig_with_everything():
    """A node with system, user and model transactions, logs, and something that waits."""
    world = asking_world()
    alice = world.alice
    world.run(alice.sign(world.reader, data=ask(ON_CHAIN_MODEL, bytes(64))), alice.sign(TO, value=1))
    return world


def calls(rig, seen):
    """Real calls of every method, with parameters that find something where there is something."""
    block, whole, sender = seen["block"], seen["block"]["transactions"], hexed(rig.world.alice.address)
    number, block_hash, first = block["number"], block["hash"], whole[0]
    call = {"to": A, "input": "0x"}
    by_place = [
        (f"eth_get{name}ByBlock{by}AndIndex", key, "0x0")
        for name in ("Transaction", "RawTransaction", "Uncle")
        for by, key in (("Number", number), ("Hash", block_hash))
    ]
    return [
        *[(name,) for name, spec in SPECS.items() if not spec.params and name not in seen["skip"]],
        *by_place,
        ("web3_sha3", "0x1234"),
        ("eth_feeHistory", "0x2", "latest", [5, 50.5]),
        ("eth_feeHistory", 2, "pending"),
        *[
            ("eth_getBlockByNumber", each, full)
            for each in (number, "pending", "0x0")
            for full in (True, False)
        ],
        ("eth_getBlockByHash", block_hash, True),
        ("eth_getBlockTransactionCountByNumber", number),
        ("eth_getBlockTransactionCountByHash", block_hash),
        ("eth_getUncleCountByBlockNumber", number),
        ("eth_getUncleCountByBlockHash", block_hash),
        *[("eth_getBlockReceipts", each) for each in ("0x0", "0x1", number, {"blockHash": block_hash})],
        ("eth_getTransactionByHash", first),
        ("eth_getTransactionByHash", seen["waiting"]),
        ("eth_getTransactionBySenderAndNonce", sender, "0x0"),
        ("eth_getRawTransactionByHash", first),
        ("eth_getTransactionReceipt", first),
        ("eth_getBalance", sender),
        ("eth_getCode", hexed(rig.world.reader), "latest"),
        ("eth_getStorageAt", sender, "0x0", "latest"),
        ("eth_getStorageValues", {sender: ["0x0"]}),
        ("eth_getTransactionCount", sender, "pending"),
        ("eth_getProof", sender, ["0x0"], "latest"),
        ("eth_call", call),
        ("eth_estimateGas", call),
        ("eth_createAccessList", call),
        *trace_calls(seen, block, call, sender),
        *[
            ("eth_fillTransaction", call | {"from": sender} | price)
            for price in ({}, {"gasPrice": "0x77359400"})
        ],
        ("eth_simulateV1", seen["simulation"]),
        ("eth_simulateV1", seen["simulation"] | {"returnFullTransactions": True}),
        ("txpool_contentFrom", sender),
        ("eth_getLogs", {"fromBlock": "0x0"}),
        ("eth_newFilter", {"address": A, "topics": [None, [hexed(bytes(32))]]}),
        ("eth_getFilterChanges", seen["filter"]),
        ("eth_getFilterLogs", seen["filter"]),
        ("eth_uninstallFilter", "0x00"),
        *[(f"bitai_{name}", number) for name in ("getL1Anchor", "getBatch")],
        ("bitai_getInference", seen["asked"]),
        ("bitai_getOutcomes", "0x64"),
    ]


def trace_calls(seen, block, call, sender):
    """The same for what runs the chain again."""
    number, block_hash, asked = block["number"], block["hash"], seen["asked"]
    tracers = ("callTracer", "prestateTracer", "flatCallTracer", "4byteTracer", "noopTracer")
    types = ["trace", "vmTrace", "stateDiff"]
    return [
        *[("debug_traceTransaction", asked, {"tracer": tracer}) for tracer in tracers],
        ("debug_traceTransaction", asked, {"enableMemory": True, "limit": 50}),
        ("debug_traceBlockByNumber", number),
        ("debug_traceBlockByHash", block_hash, {"tracer": "callTracer", "timeout": "5s"}),
        ("debug_traceCall", call, "latest", {"stateOverrides": {A: {"code": "0x00"}}, "txIndex": "0x0"}),
        *[(f"debug_getRaw{name}", number) for name in ("Header", "Block", "Receipts")],
        ("debug_getRawTransaction", asked),
        ("trace_transaction", asked),
        ("trace_block", number),
        ("trace_replayTransaction", asked, types),
        ("trace_replayBlockTransactions", number, types),
        ("trace_call", call, types),
        ("trace_filter", {"fromBlock": number, "fromAddress": [sender], "count": 5}),
        ("ots_hasCode", sender),
        ("ots_getInternalOperations", asked),
        ("ots_getTransactionError", asked),
        ("ots_traceTransaction", asked),
        ("ots_getBlockDetails", int(number, 16)),
        ("ots_getBlockDetailsByHash", block_hash),
        ("ots_getBlockTransactions", number, 0, 10),
        ("ots_searchTransactionsBefore", sender, 0, 2),
        ("ots_searchTransactionsAfter", sender, 0, 2),
        ("ots_getTransactionBySenderAndNonce", sender, 0),
        ("ots_getContractCreator", seen["reader"]),
        ("erigon_getHeaderByNumber", number),
    ]


async def test_real_replies_are_what_the_document_says():
    """Every method of the document is called, and what it takes and gives has the form that is promised."""
    async with Rig(await rig_with_everything()) as rig, serving(rig):
        alice = rig.world.alice
        seen = {"filter": await rig.call("eth_newFilter", {"fromBlock": "0x0"})}
        question = alice.sign(rig.world.reader, data=ask(digit_facts(), DIGIT_IMAGES[0]))
        sent = await rig.call("eth_sendRawTransactionSync", hexed(question))
        seen["asked"] = sent["transactionHash"]
        check(SPECS["eth_sendRawTransactionSync"].result, sent)
        seen["block"] = await rig.call("eth_getBlockByNumber", sent["blockNumber"], False)
        alice.nonce += 1
        seen["waiting"] = await rig.call("eth_sendRawTransaction", hexed(alice.sign(TO)))
        check(SPECS["eth_sendRawTransaction"].result, seen["waiting"])
        failing = {"stateOverrides": {A: {"code": "0x60006000fd"}}, "calls": [{"to": A}]}
        seen["simulation"] = {"blockStateCalls": [failing, {}]}
        seen["skip"] = {"eth_getFilterChanges"}
        seen["reader"] = hexed(rig.world.reader)
        asked = calls(rig, seen)
        for method, *params in asked:
            spec = SPECS[method]
            for param, value in zip(spec.params, params, strict=False):
                check(param.schema, value)
            check(spec.result, await rig.call(method, *params))
        sending = {"eth_sendRawTransaction", "eth_sendRawTransactionSync"}
        assert {method for method, *_ in asked} | sending | METHODS == set(SPECS) - seen["skip"] | {
            "eth_getFilterChanges"
        }


async def test_the_document_lists_what_is_served():
    """Each method of the table, and the two of WebSockets, is described, and nothing else; the document is served."""
    async with Rig() as rig:
        served = {*rig.rpc.server._methods, *METHODS}
        document = await rig.call("rpc_discover")
        assert document == openrpc_document(served)
        assert [each["name"] for each in document["methods"]] == sorted(served)
    described = [spec.name for group in GROUPS.values() for spec in group]
    assert sorted(described) == sorted(served), "describe a new method in bitai/rpc/openrpc/"
    assert len(described) == len(set(described))


@pytest.mark.parametrize("name", sorted(SPECS))
def test_examples_follow_their_schemas(name):
    """The example of a method has the form that the method promises, and its errors are known ones."""
    spec = SPECS[name]
    asked, given = spec.example
    assert sum(each.required for each in spec.params) <= len(asked) <= len(spec.params)
    for param, value in zip(spec.params, asked, strict=False):
        check(param.schema, value)
    check(spec.result, given)
    shown = spec.to_object()
    assert {each["code"] for each in shown["errors"]} <= {code for code, _ in ERRORS.values()}
    names = [each["required"] for each in shown["params"]]
    assert names == sorted(names, reverse=True), "optional parameters come last"


def test_schemas_are_schemas():
    """Each component is valid JSON Schema, and every pointer leads somewhere."""
    for name, schema in SCHEMAS.items():
        Draft202012Validator.check_schema(schema)
        for pointer in _pointers(schema):
            assert pointer.removeprefix("#/components/schemas/") in SCHEMAS, f"{name}: {pointer}"


def _pointers(schema):
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"]
        for each in schema.values():
            yield from _pointers(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from _pointers(each)
