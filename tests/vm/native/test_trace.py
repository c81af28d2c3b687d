"""Traces of the core: step by step what the specification does, and what a block did although it is run again."""

import json

import pytest
from ethereum import trace as reference_trace

from tests.vm.native import assembly as a
from tests.vm.native.lab import ETHER, Lab, decode, keys, slot
from tests.vm.native.reference import Reference
from tests.vm.native.test_infer import (
    ASKER,
    CHAIN_MODEL,
    CHAIN_PRICE,
    FACTS,
    INPUT,
    KEY,
    NEURON,
    NEURON_MODEL,
    NEURON_PRICE,
    UNKNOWN_MODEL,
    asker,
    make_lab,
    opcode_program,
)
from tests.vm.native.test_reference import CONTRACTS, TRANSACTIONS, Programs, Traffic, nonce_of, run_one
from vm import _core

LIMITS = {"limit_bytes": 64 << 20, "limit_ms": 60_000}
HERE = b"\xaa" * 20
CALLS = {"tracer": "callTracer"}
FLAT = {"tracer": "flatCallTracer"}


class Steps:
    """What the specification does, step by step, in the form of struct logs."""

    def __init__(self) -> None:
        self.steps: list[tuple[object, ...]] = []

    def __call__(self, evm: object, event: object) -> None:
        """Note each instruction before it runs, and the STOP that code without an end has."""
        left = len(evm.code) and int(evm.pc) >= len(evm.code)  # type: ignore[attr-defined]
        off_the_end = isinstance(event, reference_trace.EvmStop) and left
        if isinstance(event, reference_trace.OpStart) or off_the_end:
            refund, frame = 0, evm
            while frame is not None:
                refund += frame.refund_counter  # type: ignore[attr-defined]
                frame = frame.message.parent_evm  # type: ignore[attr-defined]
            stack = [hex(int(word)) for word in evm.stack]  # type: ignore[attr-defined]
            depth = int(evm.message.depth) + 1  # type: ignore[attr-defined]
            self.steps.append((depth, int(evm.pc), int(evm.gas_left), stack, refund))  # type: ignore[attr-defined]


def rewound(lab: Lab, block: _core.SealedBlock) -> _core.State:
    """Return the state before the head."""
    store = dict(lab.store)
    for key, value in _core.decode_undo(block.undo):
        if value is None:
            store.pop(key, None)
        else:
            store[key] = value
    return _core.State(lambda wanted: [store.get(key) for key in wanted], cache_bytes=0)


def traced(
    lab: Lab, block: _core.SealedBlock, env: _core.BlockEnv, request: object, **options: object
) -> object:
    """Trace the head, a block of user transactions."""
    json_bytes = _core.trace_block(
        rewound(lab, block),
        lab.rules,
        env,
        lab.host,
        decode(*block.transactions),
        json.dumps(request).encode(),
        block_hash=block.hash,
        gas_used=[receipt.gas_used for receipt in block.receipts],
        **(LIMITS | options),  # type: ignore[arg-type]
    )
    return json.loads(json_bytes)


@pytest.mark.parametrize("seed", range(12))
def test_struct_logs_are_the_specifications_steps(seed: int) -> None:
    """Every step of random programs has the specification's place, gas, stack, depth and refunds."""
    programs = Programs(seed)
    senders = keys(4)
    contracts = {address: (1, ETHER, programs.program(), {slot(1): 7, slot(2): 1}) for address in CONTRACTS}
    lab = Lab(contracts, rich=senders)
    reference = Reference(lab.allocation)
    traffic = Traffic(programs, senders)
    executor, env = lab.open(), lab.env()
    reference.open(env, lab.hashes)
    expected: list[list[tuple[object, ...]]] = []
    for _ in range(TRANSACTIONS):
        raw = traffic.next()
        _, gas_used = run_one(executor, raw)
        steps = Steps()
        previous = reference_trace.set_evm_trace(steps)
        try:
            assert reference.run(raw) == gas_used
        finally:
            reference_trace.set_evm_trace(previous)
        if gas_used is not None:
            expected.append(steps.steps)
        for sender in traffic.senders:
            sender.nonce = nonce_of(reference, sender)
    block = lab.commit(executor)
    shown = traced(lab, block, env, {"debug": {}})
    assert isinstance(shown, list)
    assert [each["txHash"] for each in shown] == [
        "0x" + receipt.transaction_hash.hex() for receipt in block.receipts
    ]
    assert any(expected)
    for each, steps, receipt in zip(shown, expected, block.receipts, strict=True):
        result = each["result"]
        assert (result["gas"], result["failed"]) == (receipt.gas_used, not receipt.status)
        got = [
            (step["depth"], step["pc"], step["gas"], step["stack"], step["refund"])
            for step in result["structLogs"]
            if step.get("error") != "invalid opcode"  # which the specification does not begin
        ]
        assert got == steps


def test_one_transaction_is_traced_as_among_all() -> None:
    """A transaction alone shows what it shows in its block, on what those before it left."""
    program = a.code(a.push(1), a.SLOAD, a.push(1), a.ADD, a.DUP1, a.push(1), a.SSTORE, a.PUSH0, a.MSTORE,
                     a.push(32), a.PUSH0, a.RETURN)  # fmt: skip
    (key,) = keys(1)
    lab = Lab({HERE: (1, 0, program, {})}, rich=[key])
    env = lab.env()
    lab.block(*[key.sign(HERE) for _ in range(3)])
    everything = traced(lab, lab.head, env, {"debug": CALLS})
    assert isinstance(everything, list)
    assert [int(each["result"]["output"], 16) for each in everything] == [1, 2, 3]
    for index, each in enumerate(everything):
        assert traced(lab, lab.head, env, {"debug": CALLS}, only=index) == each["result"]


def test_a_block_that_runs_otherwise_is_no_trace() -> None:
    """Where the gas is not that of the receipts the core says so, and shows nothing."""
    (key,) = keys(1)
    lab = Lab(rich=[key])
    env = lab.env()
    lab.block(key.sign(HERE, value=1))
    with pytest.raises(_core.CoreError, match=r"trace\.diverged"):
        _core.trace_block(
            rewound(lab, lab.head), lab.rules, env, lab.host, decode(*lab.head.transactions), b'{"debug":{}}',
            block_hash=lab.head.hash, gas_used=[21_001], **LIMITS,
        )  # fmt: skip


def asked(lab: Lab, raw: bytes, options: object, **answers: object) -> object:
    """Run a transaction that asks as a block of its own, and trace it."""
    env, executor = lab.env(), lab.open()
    (outcome,) = executor.run(decode(raw), **answers)  # type: ignore[arg-type]
    assert outcome.receipt is not None
    block = lab.commit(executor)
    return traced(lab, block, env, options, only=0)


def told(model: bytes, tier: str | None, status: str, gas: int) -> dict[str, object]:
    """Return what a frame says of its model call."""
    macs = {} if tier is None else {"macs": hex(FACTS[model][1])}
    return {"model": "0x" + model.hex(), "tier": tier, "gas": hex(gas), "status": status} | macs


def test_infer_is_a_frame_that_says_what_it_was() -> None:
    """The precompile's frame names model, tier, work, gas and status, in call trees and in flat traces."""
    raw = a.infer_calldata(CHAIN_MODEL, INPUT)
    expected = told(CHAIN_MODEL, "on-chain", "OK", CHAIN_PRICE)
    tree = asked(make_lab(), KEY.sign(ASKER, data=raw), {"debug": CALLS})
    assert isinstance(tree, dict)
    (frame,) = tree["calls"]
    assert (frame["to"], frame["infer"]) == ("0x" + _core.INFER_ADDRESS.hex(), expected)
    assert int(frame["gasUsed"], 16) == CHAIN_PRICE
    assert "infer" not in tree
    for request in ({"debug": FLAT}, "localized"):
        flat = asked(make_lab(), KEY.sign(ASKER, data=raw), request)
        assert isinstance(flat, list)
        assert [each.get("infer") for each in flat] == [None, expected]
        assert (flat[0]["subtraces"], flat[1]["traceAddress"]) == (1, [0])
    unknown = asked(make_lab(), KEY.sign(ASKER, data=a.infer_calldata(b"\x99" * 32, INPUT)), {"debug": CALLS})
    assert isinstance(unknown, dict)
    assert unknown["calls"][0]["infer"] == told(b"\x99" * 32, None, "UNKNOWN_MODEL", 1_006)
    assert UNKNOWN_MODEL == 4


def test_infer_as_an_opcode_is_the_same_frame() -> None:
    """The opcode shows as the call that it could have been; struct logs name it, with its price as its cost."""
    frames = []
    for program in (opcode_program(CHAIN_MODEL, 32), asker()):
        lab = make_lab(program, infer_opcode=a.INFER)
        tree = asked(lab, KEY.sign(ASKER, data=a.infer_calldata(CHAIN_MODEL, INPUT)), {"debug": CALLS})
        assert isinstance(tree, dict)
        frames.append(tree["calls"][0])
    by_opcode, by_call = frames
    for member in ("from", "to", "input", "output", "gasUsed", "infer"):
        assert by_opcode[member] == by_call[member], member
    logs = asked(
        make_lab(opcode_program(CHAIN_MODEL, 32), infer_opcode=a.INFER), KEY.sign(ASKER), {"debug": {}}
    )
    assert isinstance(logs, dict)
    (step,) = [step for step in logs["structLogs"] if step["op"] == "INFER"]
    assert step["gasCost"] >= CHAIN_PRICE


def test_a_neuron_call_is_traced_with_its_recorded_answer() -> None:
    """The host's answer by position stands in the trace as it stood in the block; without it there is none."""
    lab = make_lab()

    def answer(position: int | None, request: _core.InferenceRequest) -> tuple[int, bytes, bytes, int]:
        assert (position, request.model_id) == (0, NEURON_MODEL)
        return 0, b"recorded", NEURON, 0

    lab.host = _core.Host(models=FACTS.get, infer=lab.infer, block_hash=lambda _: None, answer=answer)  # type: ignore[arg-type]
    raw = KEY.sign(ASKER, data=a.infer_calldata(NEURON_MODEL, INPUT))
    tree = asked(lab, raw, {"debug": CALLS})
    assert isinstance(tree, dict)
    (frame,) = tree["calls"]
    assert bytes.fromhex(frame["output"][2:])[96:104] == b"recorded"
    assert frame["infer"] == told(NEURON_MODEL, "neuron", "OK", NEURON_PRICE - 24 * 16)


BOMBS = {
    "memory": ({"enableMemory": True, "disableStack": True}, a.code(
        a.push(100_000), a.MLOAD, a.POP, a.JUMPDEST, a.push(6), a.JUMP).replace(b"\x60\x06", b"\x60\x06")),
    "steps": ({}, a.code(a.JUMPDEST, a.PUSH0, a.JUMP)),
    "calls": (CALLS, a.code(a.JUMPDEST, a.PUSH0, a.PUSH0, a.push(50_000), a.PUSH0, a.PUSH0, a.push(HERE[:19] + b"\1"),
                            a.GAS, a.CALL, a.POP, a.PUSH0, a.JUMP)),
    "logs": ({"tracer": "callTracer", "tracerConfig": {"withLog": True}}, a.code(
        a.JUMPDEST, a.push(1_000), a.PUSH0, a.LOG0, a.PUSH0, a.JUMP)),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_trace_bombs_meet_the_byte_limit(bomb: str) -> None:
    """Memory, steps, calls and logs without end are stopped where the answer would be too large."""
    options, program = BOMBS[bomb]
    (key,) = keys(1)
    lab = Lab({HERE: (1, 0, program, {})}, rich=[key])
    env = lab.env()
    lab.block(key.sign(HERE, gas=16_000_000))
    with pytest.raises(_core.CoreError, match=r"trace\.too_large") as caught:
        traced(lab, lab.head, env, {"debug": options}, limit_bytes=1 << 20)
    assert caught.value.code == "trace.too_large"


def test_a_trace_ends_at_its_time() -> None:
    """An endless loop that nothing is recorded of ends when its time is over."""
    (key,) = keys(1)
    lab = Lab({HERE: (1, 0, a.code(a.JUMPDEST, a.PUSH0, a.JUMP), {})}, rich=[key])
    env = lab.env()
    lab.block(key.sign(HERE, gas=16_000_000))
    with pytest.raises(_core.CoreError, match=r"trace\.timeout"):
        traced(lab, lab.head, env, {"debug": CALLS}, limit_ms=5)


def test_a_message_amidst_a_block() -> None:
    """A message sees the state between two transactions of a block."""
    program = a.code(a.push(1), a.SLOAD, a.push(1), a.ADD, a.DUP1, a.push(1), a.SSTORE, a.PUSH0, a.MSTORE,
                     a.push(32), a.PUSH0, a.RETURN)  # fmt: skip
    (key,) = keys(1)
    lab = Lab({HERE: (1, 0, program, {})}, rich=[key])
    env = lab.env()
    lab.block(*[key.sign(HERE) for _ in range(3)])
    before = rewound(lab, lab.head)
    for index in range(4):
        shown, result = _core.trace_call(
            before, lab.rules, env, lab.host, _core.Message(to=HERE), json.dumps({"debug": CALLS}).encode(),
            amidst=(env, decode(*lab.head.transactions[:index])), **LIMITS,
        )  # fmt: skip
        assert shown is not None
        assert int(json.loads(shown)["output"], 16) == int.from_bytes(result.output, "big") == index + 1


def test_what_an_access_list_names() -> None:
    """Slots and accounts that a call touches, not its sender, target and precompiles; gas is that with the list."""
    other = b"\xbb" * 20
    program = a.code(a.push(7), a.SLOAD, a.POP, a.push(other), a.BALANCE, a.POP, a.push(4), a.BALANCE, a.POP)
    (key,) = keys(1)
    lab = Lab({HERE: (1, 0, program, {slot(7): 1})}, rich=[key])
    found, result = _core.create_access_list(
        lab.state, lab.rules, lab.env(), lab.host, _core.Message(sender=key.address, to=HERE)
    )
    assert found == [(HERE, [slot(7)]), (other, [])]
    listed = lab.call(HERE, sender=key.address, access_list=found)
    assert (result.kind, result.gas_used) == ("success", listed.gas_used)


def test_wrong_tracers_and_options_are_refused_in_words() -> None:
    """A tracer that is none, JavaScript, and options of a wrong shape are the caller's faults, with codes."""
    (key,) = keys(1)
    lab = Lab(rich=[key])
    env = lab.env()
    lab.block(key.sign(HERE, value=1))
    for options, code in (
        ({"tracer": "{step: function() {}}"}, "trace.no_such_tracer"),
        ({"tracer": "erc7562Tracer"}, "trace.no_such_tracer"),
        ({"tracer": "callTracer", "tracerConfig": {"withLog": 7}}, "trace.options"),
        ({"tracer": "muxTracer", "tracerConfig": {"callTracer": 5}}, "trace.options"),
        ({"limit": "many"}, "trace.options"),
    ):
        with pytest.raises(_core.CoreError) as caught:
            traced(lab, lab.head, env, {"debug": options})
        assert caught.value.code == code, options
