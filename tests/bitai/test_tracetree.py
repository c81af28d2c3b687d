"""Trees of calls with names: ABI data of every kind, artifacts of both tools, and a real node's transaction."""

import asyncio
import json

import pytest
from eth_abi import encode as abi_encode

from bitai.tracetree.abi import Input, Kind, arguments, decode, event_arguments, parse_entry
from bitai.tracetree.artifacts import Artifacts, load_artifacts
from bitai.tracetree.fetch import trace_transaction
from bitai.tracetree.render import Names, draw
from primitives.errors import ConfigError, Rejected
from primitives.hashes import keccak256
from tests.bitai.rig import Rig, asking_world
from tests.vm.world import NEURON_MODEL, ON_CHAIN_MODEL, ROOT, artifact, ask

ME = "0x" + "ab" * 20
IMAGE = bytes(range(16)) * 4


def named(*types):
    """Inputs without names."""
    return tuple(Input("", Kind(each)) for each in types)


POINT = {"type": "tuple[]", "name": "points", "components": [
    {"name": "x", "type": "uint8"}, {"name": "label", "type": "string"}]}  # fmt: skip


@pytest.mark.parametrize(
    ("types", "values", "shown"),
    [
        (("uint256", "int8", "bool"), (7, -1, True), ["7", "-1", "true"]),
        (("address", "bytes3"), (ME, b"\x01\x02\x03"), [ME, "0x010203"]),
        (("string", "bytes"), ('say "hi"\n', b"\xff"), ['"say "hi"\\n"', "0xff"]),
        (("uint8[]", "uint8[2]"), ([1, 2, 3], [4, 5]), ["[1, 2, 3]", "[4, 5]"]),
        (("string[2]", "uint8[][]"), (["a", "b"], [[1], []]), ['["a", "b"]', "[[1], []]"]),
    ],
)
def test_values_of_every_kind_are_read(types, values, shown):
    """What eth-abi encodes is shown; cut short or pointing outside, it is none."""
    data = abi_encode(types, values)
    assert decode(named(*types), data) == shown
    assert decode(named(*types), data[: len(data) // 2 - 1]) is None
    assert decode(named("string"), b"\xff" * 32) is None


def test_tuples_and_events():
    """Members are named, signatures are canonical, indexed values come from topics."""
    entry = parse_entry({"name": "draw", "inputs": [POINT]})
    assert entry.hash[:4] == keccak256(b"draw((uint8,string)[])")[:4]
    data = abi_encode(["(uint8,string)[]"], [[(1, "a"), (2, "b")]])
    assert arguments(entry.inputs, data) == 'points: [(x: 1, label: "a"), (x: 2, label: "b")]'
    event = parse_entry({"name": "Moved", "inputs": [
        {"name": "who", "type": "address", "indexed": True}, {"name": "note", "type": "string", "indexed": True},
        {"name": "far", "type": "int16"}]})  # fmt: skip
    topics = [bytes.fromhex(ME[2:]).rjust(32, b"\0"), b"\x11" * 32]
    told = event_arguments(event, topics, abi_encode(["int16"], [-3]))
    assert told == f"who: {ME}, note: 0x{'11' * 32}, far: -3"
    assert event_arguments(event, topics[:1], b"") is None


def test_artifacts_of_both_tools(tmp_path):
    """Foundry's and Hardhat's files are read, other JSON is passed over, immutables and libraries match anything."""
    code = bytes.fromhex(artifact("DigitReader")["deployedBytecode"][2:])
    hole = {"7": [{"start": 4, "length": 2}]}
    foundry = {"abi": [], "deployedBytecode": {"object": "0x" + code.hex(), "immutableReferences": hole}}
    hardhat = {
        "contractName": "Linked",
        "abi": [],
        "deployedBytecode": "0x6001" + "__$" + "a" * 34 + "$__" + "5050",
    }
    (tmp_path / "A.sol").mkdir()
    (tmp_path / "A.sol" / "Reader.json").write_text(json.dumps(foundry))
    (tmp_path / "Linked.json").write_text(json.dumps(hardhat))
    (tmp_path / "cache.json").write_text('{"abi": [{"type": "function"}]}')
    (tmp_path / "broken.json").write_text("{")
    found = load_artifacts([tmp_path])
    assert found.name_of(code[:4] + b"\x01\x02" + code[6:]) == "Reader"
    assert found.name_of(code[:-6] + bytes(1) + code[-5:]) == "Reader", "metadata may differ"
    assert found.name_of(bytes.fromhex("6001" + "77" * 20 + "5050")) == "Linked"
    assert found.name_of(b"") is None
    assert found.name_of(b"\x01" * len(code)) is None
    with pytest.raises(ConfigError) as caught:
        load_artifacts([tmp_path / "nowhere"])
    assert caught.value.code == "trace.no_artifacts"


def test_errors_and_undecoded_data():
    """Reverts show Solidity's errors and custom ones; what has no name is shown as hex."""
    known = Artifacts()
    known.add("Shop", {"abi": [
        {"type": "error", "name": "SoldOut", "inputs": [{"name": "left", "type": "uint256"}]}]})  # fmt: skip
    frame = {"type": "CALL", "from": ME, "to": ME, "gasUsed": "0x5208", "input": "0x", "value": "0x5"}
    failing = frame | {"error": "execution reverted"}
    custom = keccak256(b"SoldOut(uint256)")[:4] + abi_encode(["uint256"], [3])
    words = keccak256(b"Error(string)")[:4] + abi_encode(["string"], ["no"])
    ends = [
        draw(each, Names(known, {}))[-1]
        for each in (
            failing | {"output": "0x" + custom.hex()},
            failing | {"output": "0x" + words.hex()},
            failing | {"output": "0x01"},
            frame | {"error": "out of gas"},
        )
    ]
    assert ends == [
        "  └─ ← [Revert: SoldOut(left: 3)]", '  └─ ← [Revert: Error("no")]', "  └─ ← [Revert: 0x01]",
        "  └─ ← [out of gas]",
    ]  # fmt: skip
    assert draw(frame, Names(known, {})) == [f"[21000] {ME}::receive(){{value: 5}}", "  └─ ← [Stop]"]


async def test_a_real_transaction_with_names():
    """A contract that asked a neuron: names, event, INFER as its own row with its gas, and the line about gas."""
    world = asking_world()
    raws = [
        world.alice.sign(world.reader, data=ask(model, IMAGE)) for model in (ON_CHAIN_MODEL, NEURON_MODEL)
    ]
    world.run(*raws, records=[world.record(IMAGE, tx_index=1)])
    async with Rig(world) as rig:
        names = [ROOT / "contracts" / "artifacts"]
        asked = "0x" + keccak256(raws[1]).hex()
        told = await asyncio.to_thread(trace_transaction, rig.rpc_url, asked, names)
        receipt = await rig.call("eth_getTransactionReceipt", asked)
        with pytest.raises(Rejected, match="transaction not found"):
            await asyncio.to_thread(trace_transaction, rig.rpc_url, "0x" + "00" * 32, [])
        bare = await asyncio.to_thread(trace_transaction, rig.rpc_url, asked, [])
    gas, infer_gas = int(receipt["gasUsed"], 16), int(receipt["inferGasUsed"], 16)
    title, infer, event, end = told.lines
    assert title.startswith(f"[{gas}] DigitReader::read(modelId: 0x0202")
    assert infer == f"  ├─ [{infer_gas}] INFER neuron model 0x{'02' * 32}, 2000000 MACs → OK"
    assert event.startswith("  ├─ emit ")
    assert end.startswith("  └─ ← [Return] ")
    assert told.contracts == {"0x" + world.reader.hex(): "DigitReader"}
    assert told.report.startswith(f"gas {gas}, of it INFER {infer_gas} in 1 calls")
    assert bare.lines[1] == infer
    assert set(told.to_object()) == {"trace", "contracts", "lines", "gas"}
