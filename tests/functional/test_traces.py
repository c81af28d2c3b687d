"""Traces held to anvil's: the same contracts and transactions on both, and the same frames, steps and access lists."""

import pytest

from primitives.curve import address_of
from primitives.hashes import keccak256
from tests.bitai.rig import Rig
from tests.functional.clients import anvil
from tests.functional.harness import JsonRpc, wait_until
from tests.vm.native import assembly as a
from tests.vm.world import World, artifact

CHILD = a.code(a.push(1), a.PUSH0, a.SSTORE)
LOGGER = a.code(a.push(7), a.PUSH0, a.MSTORE, a.push(9), a.push(32), a.PUSH0, a.LOG1, a.push(5), a.SLOAD,
                a.push(1), a.ADD, a.push(5), a.SSTORE, a.push(32), a.PUSH0, a.RETURN)  # fmt: skip
REVERTS = a.code(a.push(7), a.PUSH0, a.MSTORE, a.push(32), a.PUSH0, a.REVERT)
INVALID = a.code(a.push(1), a.PUSH0, a.SSTORE, a.INVALID)
GAS = 1_000_000


def caller(*targets):
    """A contract that makes a child, sends a wei, and calls each target by every kind of call."""
    make = a.code(
        a.store_bytes(a.deployer(CHILD)), a.push(len(a.deployer(CHILD))), a.PUSH0, a.push(3), a.CREATE
    )
    calls = [
        a.call(kind, target, b"\x01\x02\x03\x04") + a.code(a.POP)
        for target in targets
        for kind in (a.CALL, a.STATICCALL, a.DELEGATECALL, a.CALLCODE)
    ]
    pays = a.call(a.CALL, b"\x11" * 20, value=1) + a.code(a.POP)
    return make + a.code(a.POP) + pays + b"".join(calls)


class Pair:
    """One account that sends the same to both chains."""

    def __init__(self, world, rpc):
        self.world, self.rpc = world, rpc
        self.account = world.accounts[1]
        self.sender = "0x" + address_of(self.account.secret).hex()

    def send(self, to=None, data=b"", value=0):
        """Send on both; return the two hashes, and the contract that was made."""
        message = {"from": self.sender, "data": "0x" + data.hex(), "value": hex(value), "gas": hex(GAS)}
        there = self.rpc("eth_sendTransaction", message | ({"to": "0x" + to.hex()} if to else {}))
        raw = self.account.sign(to, data=data, value=value, gas=GAS)
        block = self.world.run(raw)
        wait_until(lambda: self.rpc("eth_getTransactionReceipt", there), "anvil's receipt", limit_s=20)
        receipt = self.rpc("eth_getTransactionReceipt", there)
        mine = block.sealed.receipts[0]
        assert int(receipt["gasUsed"], 16) == mine.gas_used
        made = mine.contract_address
        if made:
            assert receipt["contractAddress"].lower() == "0x" + made.hex()
        return there, "0x" + keccak256(raw).hex(), made


def normal(frame):
    """A frame without what may differ: words of errors, and places of logs in their block."""
    kept = {
        name: value for name, value in frame.items() if name not in {"calls", "logs", "error", "revertReason"}
    }
    kept["failed"] = "error" in frame
    kept["logs"] = [
        {each: log[each] for each in ("address", "topics", "data")} for log in frame.get("logs", [])
    ]
    kept["calls"] = [normal(each) for each in frame.get("calls", [])]
    return kept


@pytest.fixture
async def told():
    """Both chains after a story of deployments, calls of every kind, and failures: pairs of hashes."""
    with anvil("--steps-tracing") as url:
        rpc = JsonRpc(url)
        pair = Pair(World(), rpc)
        made = [pair.send(data=a.deployer(code))[2] for code in (LOGGER, REVERTS, INVALID)]
        everything = pair.send(data=a.deployer(caller(*made)))[2]
        token = bytes.fromhex(artifact("Token")["bytecode"][2:])
        hashes = [
            pair.send(everything, value=100),
            pair.send(made[0]),
            pair.send(made[1], b"\x01"),
            pair.send(made[2]),
            pair.send(b"\x22" * 20, value=7),
            pair.send(data=token),
        ]
        async with Rig(pair.world) as rig:
            yield rig, rpc, [each[:2] for each in hashes], pair, made[0]


async def test_call_trees_and_steps_are_anvils(told):
    """Frames with their logs, and every step with place, gas, cost, depth, stack and storage."""
    rig, rpc, hashes, _, _ = told
    options = {"tracer": "callTracer", "tracerConfig": {"withLog": True}}
    for there, here in hashes:
        theirs = rpc("debug_traceTransaction", there, options)
        mine = await rig.call("debug_traceTransaction", here, options)
        # Of the root, geth and we say what the transaction declared, anvil what its first frame had.
        assert normal(mine) | {"gas": None} == normal(theirs) | {"gas": None}
        theirs = rpc("debug_traceTransaction", there, {"enableMemory": True})
        mine = await rig.call("debug_traceTransaction", here, {"enableMemory": True})
        assert (mine["gas"], mine["failed"]) == (theirs["gas"], theirs["failed"])
        assert len(mine["structLogs"]) == len(theirs["structLogs"])
        for step, other in zip(mine["structLogs"], theirs["structLogs"], strict=True):
            for member in ("pc", "op", "gas", "gasCost", "depth", "stack", "memory", "storage"):
                assert step.get(member) == other.get(member), member


async def test_flat_traces_and_access_lists_are_anvils(told):
    """trace_transaction's actions, results and addresses; and what an access list names."""
    rig, rpc, hashes, pair, logger = told
    for there, here in hashes:
        theirs, mine = rpc("trace_transaction", there), await rig.call("trace_transaction", here)
        for entry, other in zip(mine, theirs, strict=True):
            for member in ("action", "type", "traceAddress", "subtraces"):
                assert entry[member] == other[member], member
            if "error" not in entry:
                # Of the root, reth and we say what the transaction used, anvil what its first frame did.
                whole = {"gasUsed": None} if not entry["traceAddress"] else {}
                assert entry["result"] | whole == other["result"] | whole
    call = {"from": pair.sender, "to": "0x" + logger.hex(), "gas": hex(GAS)}
    theirs, mine = rpc("eth_createAccessList", call), await rig.call("eth_createAccessList", call)
    as_sets = [
        {entry["address"]: set(entry["storageKeys"]) for entry in each["accessList"]}
        for each in (mine, theirs)
    ]
    assert as_sets[0] == as_sets[1]
