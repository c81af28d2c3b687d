"""INFER in random transactions, by the core and by its page over Ethereum's executable specification."""

from collections.abc import Iterator, Sequence

import pytest
from ethereum.exceptions import EthereumException
from ethereum.forks.osaka import fork
from ethereum.forks.osaka.fork_types import Address
from ethereum.forks.osaka.transactions import LegacyTransaction, decode_transaction
from ethereum.forks.osaka.vm import interpreter
from ethereum.forks.osaka.vm.instructions import op_implementation
from ethereum.forks.osaka.vm.precompiled_contracts.mapping import PRE_COMPILED_CONTRACTS
from ethereum_rlp import rlp
from ethereum_types.numeric import Uint

from primitives.hashes import keccak256
from tests.vm.native import assembly as a
from tests.vm.native.lab import CHAIN_ID, COINBASE, FEE_VAULT, POOL, Key, Lab, keys, slot
from tests.vm.native.reference import Reference
from tests.vm.native.reference_infer import BAD_INPUT, OK, Checkpoint, Facts, Infer, Model, Opcodes, Stopped
from tests.vm.native.test_reference import CONTRACTS, Programs, Traffic, nonce_of
from vm import _core

BLOCKS = 3
TRANSACTIONS = 14
PRICES = {"infer_base_gas": 1_000, "infer_mac_gas": 3, "infer_byte_gas": 16}
LIMITS = (900_000, 2_500_000)
NEURONS = [b"\x4e" * 20, b"\x4f" * 20, COINBASE]
FACTS: dict[bytes, Facts] = {
    b"\x11" * 32: (0, 400_001, 4, 8, True),
    b"\x22" * 32: (1, 1_000_001, 4, 8, True),
    b"\x23" * 32: (1, 7, None, 8, True),
    b"\x33" * 32: (1, 1, 4, 8, False),
    b"\x44" * 32: (0, LIMITS[0] + 1, 4, 8, True),
    b"\x45" * 32: (1, LIMITS[1] + 1, 4, 8, True),
    b"\x46" * 32: (1, LIMITS[1] // 2, 4, 8, True),
}


def run_model(model: bytes, data: bytes, max_output: int) -> tuple[int, bytes]:
    """Return what an on-chain model answers: it refuses some inputs."""
    digest = keccak256(model + data)
    return (BAD_INPUT, b"") if digest[0] < 60 else (OK, digest[: min(8, max_output)])


def answer(request: bytes) -> tuple[int, bytes, bytes | None, int] | None:
    """Return what is known of a neuron call: nothing, the manifest's refusal, or a neuron's answer."""
    kind, length, who = request[0], request[1] % 40, request[2]
    if kind < 25:
        return None
    if kind < 60:
        return BAD_INPUT, b"", None, -1
    return OK, request[:length].ljust(length, b"\x07"), NEURONS[who % len(NEURONS)], who % 7


class Asking(Programs):
    """Random code that also asks models, in every kind of call, with good and bad calldata."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.steps += [self.ask, self.ask, self.ask_by_opcode] * 6
        self.targets += [_core.INFER_ADDRESS, *CONTRACTS]

    def calldata(self) -> bytes:
        model = self.random.choice([*FACTS, *list(FACTS)[:3], b"\x99" * 32])
        data = (
            self.random.randbytes(self.random.choice([4, 4, 4, 4, 3]))
            if self.random.random() < 0.5
            else b"abcd"
        )
        params = b"\1" if self.random.random() < 0.05 else b""
        most = self.random.choice([7, 8, 8, 32, 32, 400, 2**32 - 1])
        calldata = a.infer_calldata(model, data, params, most)
        if self.random.random() < 0.1:
            at = self.random.randrange(len(calldata))
            calldata = calldata[:at] + self.random.choice([b"", b"\xff" + calldata[at + 1 :]])
        return calldata

    def ask(self) -> bytes:
        kind = self.random.choice([a.CALL, a.CALL, a.STATICCALL, a.DELEGATECALL, a.CALLCODE])
        value = self.random.choice([0, 0, 0, 1])
        gas = self.random.choice([None, None, None, 0, 999, 1_000, 3_000, 30_000])
        see = a.code(
            a.RETURNDATASIZE, a.PUSH0, a.PUSH0, a.RETURNDATACOPY, a.PUSH0, a.MLOAD, a.push(96), a.MLOAD
        )
        keep = a.code(*[a.code(a.push(self.slot()), a.SSTORE) for _ in range(3)])
        return a.call(kind, _core.INFER_ADDRESS, self.calldata(), value=value, gas=gas) + see + keep

    def ask_by_opcode(self) -> bytes:
        """The instruction, its input, parameters and output anywhere in memory."""
        model = self.random.choice([*FACTS, *list(FACTS)[:3], b"\x99" * 32])
        most = self.random.choice([7, 8, 8, 32, 32, 400, 2**32 - 1, 2**32])
        lengths = self.random.choice([4, 4, 4, 3, 2**40]), self.random.choice([0, 0, 0, 0, 1])
        places = [
            self.random.choice([0, 0, 5, 100, 2**255]) if self.random.random() < 0.5 else 0 for _ in range(3)
        ]
        operands = [places[2], most, lengths[1], places[1], lengths[0], places[0]]
        ask = a.code(a.store_bytes(b"abcd"), *[a.push(value) for value in operands], a.push(model), a.INFER)
        see = a.code(a.RETURNDATASIZE, a.PUSH0, a.MLOAD)
        return ask + see + a.code(*[a.code(a.push(self.slot()), a.SSTORE) for _ in range(3)])


class AskingTraffic(Traffic):
    """Random transactions; some call the precompile themselves, and some delegate to it."""

    def next(self) -> bytes:
        if self.random.random() > 0.15:
            return super().next()
        sender = self.random.choice(self.senders)
        value, gas = self.random.choice([0, 0, 1]), self.random.choice([60_000, 2_000_000])
        data = self.programs.calldata()  # type: ignore[attr-defined]
        return sender.sign(_core.INFER_ADDRESS, value=value, gas=gas, data=data, nonce=sender.nonce)

    def authorization(self, sender: Key) -> list[object]:
        if self.random.random() > 0.2:
            return super().authorization(sender)
        signer = self.random.choice([key for key in self.senders if key is not sender])
        return signer.authorize(_core.INFER_ADDRESS, signer.nonce)


class InferReference(Reference):
    """The specification with INFER."""

    def begin(self, env: _core.BlockEnv, hashes: dict[int, bytes]) -> None:
        """Begin a block."""
        models = Model(FACTS, run_model, answer)
        self.infer = Infer(models, *PRICES.values(), limits=LIMITS)
        PRE_COMPILED_CONTRACTS[Address(_core.INFER_ADDRESS)] = self.infer
        op_implementation[a.INFER] = self.infer.run_opcode  # type: ignore[index]
        self.open(env, hashes)

    def ask(self, raw: bytes, missing: str) -> tuple[str, int | None, int | None, list[int]]:
        """Run one transaction; return (kind or code, gas used, INFER gas, records used)."""
        tx = decode_transaction(rlp.decode_to(LegacyTransaction, raw) if raw[0] >= 0xC0 else raw)
        before, checkpoint = self.output.block_gas_used, Checkpoint(self.state)
        self.infer.begin(missing)
        left = int(self.env.block_gas_limit - before) - self.infer.wasted_gas
        if int(tx.gas) > left:
            return "skipped", None, None, []
        try:
            fork.process_transaction(self.env, self.output, tx, Uint(self.index))
        except EthereumException:
            return "skipped", None, None, []
        except Stopped as stopped:
            checkpoint.restore(self.state)
            self.infer.stop(int(tx.gas))
            return stopped.code, None, None, []
        self.infer.end()
        self.index += 1
        used = int(self.output.block_gas_used - before)
        base_fee = int(self.env.base_fee_per_gas)
        price = int(tx.gas_price) if hasattr(tx, "gas_price") else min(
            int(tx.max_fee_per_gas), base_fee + int(tx.max_priority_fee_per_gas)
        )  # fmt: skip
        addresses = {"coinbase": COINBASE, "pool": POOL, "vault": FEE_VAULT}
        infer_gas = self.infer.pay(self.state, used, (price, base_fee), addresses)
        return "included", used, infer_gas, self.infer.records


def told(executor: _core.BlockExecutor, raw: bytes, missing: "_core.Missing") -> tuple[object, ...]:
    """Return the same of the core."""
    decoded = _core.decode([raw], CHAIN_ID)[0]
    if isinstance(decoded, tuple):
        return "skipped", None, None, []
    outcome = executor.run([decoded], missing=missing)[0]
    receipt = outcome.receipt
    if receipt is not None:
        return "included", receipt.gas_used, receipt.infer_gas, outcome.used_records
    code = outcome.code or outcome.kind
    return code if code == "parked" or code.startswith("infer.") else "skipped", None, None, []


def make_lab(programs: Asking, senders: Sequence[Key]) -> Lab:
    """Return a chain whose contracts ask, and whose host answers."""
    contracts = {
        address: (1, programs.random.choice([0, 10**18]), programs.program(), {slot(1): 7})
        for address in CONTRACTS
    }
    limits = {"on_chain_mac_limit": LIMITS[0], "neuron_mac_limit": LIMITS[1]}
    lab = Lab(contracts, rich=senders, infer_opcode=a.INFER, **limits, **PRICES)
    lab.host = _core.Host(
        models=FACTS.get,
        infer=lambda model, data, _, most: run_model(model, data, most),
        block_hash=lab.hashes.get,
        answer=lambda _, request: answer(request.request_hash),
    )
    return lab


@pytest.fixture(autouse=True)
def _infer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the specification one more opcode, and leave it as it was for other tests."""
    monkeypatch.setattr(interpreter, "Ops", Opcodes(a.INFER))
    yield
    PRE_COMPILED_CONTRACTS.pop(Address(_core.INFER_ADDRESS), None)
    op_implementation.pop(a.INFER, None)  # type: ignore[call-overload]


def run_chain(seed: int) -> list[tuple[object, ...]]:
    """Run random blocks on both machines and compare everything; return what became of the transactions."""
    programs = Asking(seed)
    senders = keys(4)
    lab = make_lab(programs, senders)
    reference = InferReference(lab.allocation)
    traffic = AskingTraffic(programs, senders)
    ends = []
    for _ in range(BLOCKS):
        executor = lab.open()
        reference.begin(lab.env(), lab.hashes)
        supply_before = reference.supply()
        for position in range(TRANSACTIONS):
            raw, missing = traffic.next(), programs.random.choice(["skip", "park", "unavailable"])
            end = told(executor, raw, missing)
            context = f"seed {seed} block {lab.head.number + 1} position {position} {missing}"
            assert end == reference.ask(raw, missing), context
            ends.append(end)
            for sender in senders:
                sender.nonce = nonce_of(reference, sender)
            left = [limit - reference.infer.spent[tier] for tier, limit in enumerate(LIMITS)]
            assert [executor.on_chain_macs_left, executor.neuron_macs_left] == left, context
        sealed = lab.commit(executor)
        expected = reference.close()
        got = {name: getattr(sealed.header, name) for name in expected}
        assert got == expected, f"seed {seed} block {sealed.number}"
        assert sealed.destroyed_wei == supply_before - reference.supply(), f"seed {seed}: destroyed coin"
    return ends


@pytest.mark.parametrize("seed", range(16))
def test_random_chains_that_ask(seed: int) -> None:
    """Outcomes, INFER gas, records, budgets, receipts and state are the page's, stopped transactions or not."""
    run_chain(seed)


def test_the_random_chains_ask_enough() -> None:
    """What the comparison is about happens: answers, refusals, parked and stopped transactions, full lanes."""
    ends = [end for seed in range(8) for end in run_chain(seed)]
    kinds = {end[0] for end in ends}
    assert kinds >= {"included", "parked", "infer.no_record", "infer.block_mac_limit"}
    assert sum(bool(end[3]) for end in ends) > 10, "records"
    assert sum((end[2] or 0) > 0 for end in ends) > 50, "INFER gas"  # type: ignore[operator]
