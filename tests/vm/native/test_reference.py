"""The core against Ethereum's executable specification, over random programs."""

import random
from collections.abc import Callable

import pytest

from tests.vm.native import assembly as a
from tests.vm.native.lab import BASE_FEE, CHAIN_ID, ETHER, GWEI, Key, Lab, keys, slot
from tests.vm.native.reference import Reference
from vm import _core

CONTRACTS = [bytes([0xC0 + i]) * 20 for i in range(8)]
BLOCKS = 4
TRANSACTIONS = 14
GAS_CAP = 1 << 24  # Osaka's


class Programs:
    """Random code that mostly runs: every opcode group, calls into other programs, creations, ends of all kinds."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.targets = [*CONTRACTS, *[key.address for key in keys(4)], b"\xee" * 20]
        self.steps: list[Callable[[], bytes]] = [
            self.write, self.write, self.write, self.clear, self.read, self.transient, self.log, self.call,
            self.call, self.call, self.create, self.environment, self.look, self.hash, self.precompile,
            self.arithmetic, self.keep_return_data, self.copy,
        ]  # fmt: skip

    def number(self) -> int:
        """Return a number of any size, small ones and zero more often."""
        bits = self.random.choice([0, 1, 2, 3, 8, 16, 64, 160, 256])
        return self.random.getrandbits(bits) if bits else 0

    def slot(self) -> int:
        return self.random.randrange(6)

    def target(self) -> bytes:
        return self.random.choice(self.targets)

    def write(self) -> bytes:
        return a.code(a.push(self.number()), a.push(self.slot()), a.SSTORE)

    def clear(self) -> bytes:
        return a.code(a.PUSH0, a.push(self.slot()), a.SSTORE)

    def read(self) -> bytes:
        """Carry a value from one slot to another, plus one."""
        return a.code(a.push(self.slot()), a.SLOAD, a.push(1), a.ADD, a.push(self.slot()), a.SSTORE)

    def transient(self) -> bytes:
        store = a.code(a.push(self.number()), a.push(self.slot()), a.TSTORE)
        return store + a.code(a.push(self.slot()), a.TLOAD, a.push(self.slot()), a.SSTORE)

    def log(self) -> bytes:
        topics = self.random.randrange(5)
        pushes = [a.push(self.number()) for _ in range(topics)]
        return a.code(*pushes, a.push(self.random.randrange(70)), a.PUSH0, a.LOG0 + topics)

    def call(self) -> bytes:
        kind = self.random.choice([a.CALL, a.CALL, a.CALL, a.STATICCALL, a.DELEGATECALL, a.CALLCODE])
        value = self.random.choice([0, 0, 1, ETHER, 10_000 * ETHER])
        gas = self.random.choice([None, None, 0, 700, 30_000, 200_000])
        return a.call(kind, self.target(), value=value, gas=gas) + a.code(a.push(self.slot()), a.SSTORE)

    def create(self) -> bytes:
        """Create a contract whose init code writes, and then stays, goes, fails or is empty."""
        runtime = self.random.choice(
            [b"", a.code(a.CALLER, a.SELFDESTRUCT), a.code(a.push(1), a.PUSH0, a.SSTORE)]
        )
        end = self.random.choice(
            [
                a.code(a.push(self.target()), a.SELFDESTRUCT),
                a.code(a.ADDRESS, a.SELFDESTRUCT),
                a.code(a.PUSH0, a.PUSH0, a.REVERT),
                a.code(a.INVALID),
                a.code(a.push(b"\xef"), a.PUSH0, a.MSTORE8, a.push(1), a.PUSH0, a.RETURN),
                a.code(a.store_bytes(runtime), a.push(len(runtime)), a.PUSH0, a.RETURN),
                a.code(a.store_bytes(runtime), a.push(len(runtime)), a.PUSH0, a.RETURN),
            ]
        )
        init = self.write() + end
        salt = [a.push(self.random.randrange(3))] if self.random.random() < 0.6 else []
        value = self.random.choice([0, 0, 5])
        make = a.code(
            a.store_bytes(init),
            *salt,
            a.push(len(init)),
            a.PUSH0,
            a.push(value),
            a.CREATE2 if salt else a.CREATE,
        )
        touch = a.code(a.DUP1, a.PUSH0, a.PUSH0, a.PUSH0, a.PUSH0, a.PUSH0, a.DUP1 + 5, a.GAS, a.CALL, a.POP)
        poke = touch if self.random.random() < 0.5 else b""
        return make + poke + (a.code(a.POP) if poke else b"") + a.code(a.push(self.slot()), a.SSTORE)

    def environment(self) -> bytes:
        facts = [a.ADDRESS, a.ORIGIN, a.CALLER, a.CALLVALUE, a.GASPRICE, a.COINBASE, a.TIMESTAMP, a.NUMBER,
                 a.PREVRANDAO, a.GASLIMIT, a.CHAINID, a.SELFBALANCE, a.BASEFEE, a.BLOBBASEFEE, a.GAS,
                 a.MSIZE]  # fmt: skip
        return a.code(self.random.choice(facts), a.push(self.slot()), a.SSTORE)

    def look(self) -> bytes:
        ask = self.random.choice([a.BALANCE, a.EXTCODESIZE, a.EXTCODEHASH])
        hash_of = a.code(a.push(self.random.randrange(6)), a.BLOCKHASH)
        look = self.random.choice([a.code(a.push(self.target()), ask), hash_of])
        return look + a.code(a.push(self.slot()), a.SSTORE)

    def hash(self) -> bytes:
        return a.code(a.push(self.random.randrange(100)), a.PUSH0, a.KECCAK, a.push(self.slot()), a.SSTORE)

    def precompile(self) -> bytes:
        number = self.random.choice([1, 2, 3, 4, 5, 6, 7, 9, 0x0B, 0x100])
        data = self.random.randbytes(self.random.choice([0, 32, 128, 213]))
        ask = a.call(a.CALL, number.to_bytes(20, "big"), data, gas=self.random.choice([None, 3_000]))
        return ask + a.code(a.push(self.slot()), a.SSTORE)

    def arithmetic(self) -> bytes:
        operation = self.random.choice([a.ADD, a.MUL, a.SUB, a.DIV, 0x05, 0x06, 0x07, 0x0A, 0x0B, 0x12, 0x13,
                                        0x16, 0x17, 0x18, 0x1A, 0x1B, a.SHR, 0x1D])  # fmt: skip
        pair = a.code(a.push(self.number()), a.push(self.number()), operation)
        zeros = a.code(a.push(self.number()), a.CLZ)
        return self.random.choice([pair, zeros]) + a.code(a.push(self.slot()), a.SSTORE)

    def keep_return_data(self) -> bytes:
        return a.code(a.RETURNDATASIZE, a.push(self.slot()), a.SSTORE)

    def copy(self) -> bytes:
        sizes = [self.random.randrange(200) for _ in range(3)]
        return a.code(
            *[a.push(size) for size in sizes], self.random.choice([a.CALLDATACOPY, a.CODECOPY, a.MCOPY])
        )

    def end(self) -> bytes:
        """Mostly stop; sometimes revert, fail, destroy oneself or run out of gas."""
        ends = [b"", b"", b"", a.code(a.push(40), a.PUSH0, a.RETURN), a.code(a.push(8), a.PUSH0, a.REVERT),
                a.code(a.INVALID), a.code(a.push(self.target()), a.SELFDESTRUCT)]  # fmt: skip
        return self.random.choice(ends)

    def program(self) -> bytes:
        return (
            b"".join(self.random.choice(self.steps)() for _ in range(self.random.randrange(1, 9)))
            + self.end()
        )


class Traffic:
    """Random transactions, some of which cannot be included."""

    def __init__(self, programs: Programs, senders: list[Key]) -> None:
        self.programs = programs
        self.random = programs.random
        self.senders = senders

    def next(self) -> bytes:
        """Return a raw transaction; the sender's nonce moves only if it will be spent."""
        sender = self.random.choice(self.senders)
        kind = self.random.choice([0, 1, 2, 2, 4])
        options: dict[str, object] = {
            "kind": kind,
            "value": self.random.choice([0, 0, 1, ETHER]),
            "data": self.random.randbytes(self.random.choice([0, 0, 4, 100])),
            "gas": self.random.choice([60_000, 300_000, 2_000_000]),
            "max_fee": self.random.choice([BASE_FEE, 3 * BASE_FEE]),
            "tip": self.random.choice([0, GWEI]),
            "nonce": sender.nonce,
        }
        to: bytes | None = self.programs.target()
        if kind == 4:
            options["authorizations"] = [
                self.authorization(sender) for _ in range(self.random.randrange(1, 4))
            ]
        elif self.random.random() < 0.25:
            to = None
            options["data"] = (
                a.deployer(self.programs.program()) if self.random.random() < 0.5 else self.programs.program()
            )
        if kind != 0 and self.random.random() < 0.5:
            options["access"] = [(self.programs.target(), [slot(self.programs.slot())])]
        self.spoil(options)
        return sender.sign(to, **options)  # type: ignore[arg-type]

    def authorization(self, sender: Key) -> list[object]:
        signer = self.random.choice(self.senders)
        target = self.random.choice([*CONTRACTS, bytes(20), signer.address])
        nonce = signer.nonce + (1 if signer is sender else 0) + self.random.choice([0, 0, 0, 1])
        signed = signer.authorize(target, nonce, self.random.choice([0, 726_945, 726_945, 5]))
        if self.random.random() < 0.1:
            signed[4] = 1
        return signed

    def spoil(self, options: dict[str, object]) -> None:
        """Now and then make the transaction one that its turn refuses."""
        spoilt = self.random.choice(["", "", "", "", "", "", "", "nonce", "fee", "funds"])
        if spoilt == "nonce":
            options["nonce"] = int(options["nonce"]) + self.random.choice([1, 5])  # type: ignore[call-overload]
        if spoilt == "fee":
            options |= {"max_fee": BASE_FEE - 1, "tip": 0}
        if spoilt == "funds":
            options["value"] = 10_000 * ETHER


def run_chain(seed: int) -> None:
    """Run random blocks on both machines and compare everything."""
    programs = Programs(seed)
    senders = keys(4)
    contracts = {
        address: (1, programs.random.choice([0, ETHER]), programs.program(), {slot(1): 7, slot(2): 1})
        for address in CONTRACTS
    }
    # With the smallest cache everything is read, forgotten and pruned all the time.
    lab = Lab(contracts, rich=senders, cache_bytes=programs.random.choice([0, 64 << 20]))
    reference = Reference(lab.allocation)
    assert reference.state_root() == lab.head.state_root
    traffic = Traffic(programs, senders)
    for _ in range(BLOCKS):
        run_block(lab, reference, traffic, f"seed {seed}")


def run_block(lab: Lab, reference: Reference, traffic: Traffic, told: str, **changes: object) -> None:
    """Make a random block on both machines, in an environment with some changes, and compare everything."""
    executor = lab.open(**changes)
    reference.open(lab.env(**changes), lab.hashes)
    supply_before = reference.supply()
    raws = []
    for position in range(TRANSACTIONS):
        raw = traffic.next()
        raws.append(raw)
        verdict, gas_used = run_one(executor, raw)
        context = f"{told} block {lab.head.number + 1} position {position}: {verdict!r}"
        assert reference.run(raw) == gas_used, context
        for sender in traffic.senders:
            sender.nonce = nonce_of(reference, sender)
    before = dict(lab.store)
    at_once = lab.open(**changes)
    at_once.run([tx for tx in _core.decode(raws, CHAIN_ID, GAS_CAP) if isinstance(tx, _core.Transaction)])
    same = at_once.seal()
    sealed = lab.commit(executor)
    assert same.hash == sealed.hash, f"{told}: one call or many, the block is the same"
    assert same.writes == sealed.writes
    expected = reference.close()
    assert sealed.destroyed_wei == supply_before - reference.supply(), f"{told}: destroyed coin"
    header = sealed.header
    got = {name: getattr(header, name) for name in expected}
    assert got == expected, f"{told} block {sealed.number}"
    after = dict(lab.store)
    lab.write(_core.decode_undo(sealed.undo))
    assert lab.store == before, f"{told}: undo leads back"
    lab.store = after


def run_one(executor: _core.BlockExecutor, raw: bytes) -> tuple[object, int | None]:
    """Return what the core says of a transaction, and the gas it used if it was included."""
    decoded = _core.decode([raw], CHAIN_ID, GAS_CAP)[0]
    if isinstance(decoded, tuple):
        return decoded, None
    outcome = executor.run([decoded])[0]
    return outcome, outcome.receipt.gas_used if outcome.receipt else None


def nonce_of(reference: Reference, sender: Key) -> int:
    """Return a sender's nonce; authorizations move nonces too."""
    from ethereum.forks.osaka.fork_types import Address
    from ethereum.forks.osaka.state import get_account

    return int(get_account(reference.state, Address(sender.address)).nonce)


@pytest.mark.parametrize("seed", range(24))
def test_random_chains(seed: int) -> None:
    """Gas, receipts, blooms and state roots are the specification's, and undo data restores the store's bytes."""
    run_chain(seed)
