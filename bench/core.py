"""What the native core does alone: ERC-20 transfers a second, and gas a second.

Definitions, used in bench/RESULTS.md too:

- core: execution with receipts and blooms; senders known, state in memory, no trie.
- full: decode, recover, execute, receipts, state root, and the change set in a store.

Run `python bench/core.py [--transfers N] [--senders N] [--json]`; figures are the median of the rounds. Cores are
counted by process CPU time: "a core" means per second of CPU time, "wall" per second of the clock.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from primitives.curve import address_of, ecdsa_sign
from primitives.hashes import keccak256
from primitives.rlp import encode as rlp
from vm import _core

CHAIN_ID = 726_945
TOKEN = b"\x70" * 20
GAS_LIMIT = 1 << 40
ARTIFACT = Path(__file__).parent.parent / "contracts/artifacts/Token.json"
# balanceOf is the third variable in storage: name, symbol, balanceOf (constants and immutables take no slot).
BALANCES_SLOT = 2


@dataclass(frozen=True)
class Rate:
    """One measured figure."""

    name: str
    per_core_second: float
    per_wall_second: float
    unit: str
    aim: float | None


def transfer_input(to: bytes, amount: int) -> bytes:
    """Return calldata of `transfer(address,uint256)`."""
    return bytes.fromhex("a9059cbb") + to.rjust(32, b"\0") + amount.to_bytes(32, "big")


def sign(secret: bytes, nonce: int, to: bytes, data: bytes) -> bytes:
    """Return a raw type 2 transaction."""
    fields = [CHAIN_ID, nonce, 10**8, 3 * 10**9, 100_000, to, 0, data, []]
    digest = keccak256(b"\x02" + rlp([number(field) for field in fields]))
    signature = ecdsa_sign(secret, digest)
    r, s = (int.from_bytes(signature[at : at + 32], "big") for at in (0, 32))
    return b"\x02" + rlp([number(field) for field in [*fields, signature[64], r, s]])


def number(value: int | bytes | list[bytes]) -> bytes | list[bytes]:
    """Return an integer as RLP wants it; bytes and lists stay."""
    if isinstance(value, int):
        return value.to_bytes((value.bit_length() + 7) // 8, "big")
    return value


def balance_slot(owner: bytes) -> bytes:
    """Return the storage slot of a token balance."""
    return keccak256(owner.rjust(32, b"\0") + BALANCES_SLOT.to_bytes(32, "big"))


class World:
    """A chain in a dict with a token that every sender holds."""

    def __init__(self, secrets: list[bytes], holders: int, code: bytes) -> None:
        self.store: dict[bytes, bytes] = {}
        self.state = _core.State(lambda keys: [self.store.get(key) for key in keys], cache_bytes=1 << 30)
        self.rules = _core.Rules(
            chain_id=CHAIN_ID,
            fee_vault=b"\x19" * 20,
            protocol_pool=b"\x20" * 20,
            infer_base_gas=1_000,
            infer_mac_gas=1,
            infer_byte_gas=16,
        )
        self.host = _core.Host(
            models=lambda _: None, infer=lambda *_: (3, b""), block_hash=lambda _: b"\0" * 32
        )
        balances = {balance_slot(address_of(secret)): 10**30 for secret in secrets}
        balances |= {balance_slot(keccak256(i.to_bytes(8, "big"))[:20]): 1 for i in range(holders)}
        accounts = [(address_of(secret), 0, 10**24, b"", {}) for secret in secrets]
        accounts += [(keccak256(i.to_bytes(8, "big"))[:20], 0, 1, b"", {}) for i in range(holders)]
        accounts.append((TOKEN, 1, 0, code, balances))
        self.genesis = _core.build_genesis(self.env(0), accounts)
        self.write(self.genesis)

    def env(self, block: int) -> _core.BlockEnv:
        """Return the environment of a block."""
        return _core.BlockEnv(
            number=block,
            timestamp=1_000 + 2 * block,
            coinbase=b"\xcc" * 20,
            gas_limit=GAS_LIMIT,
            base_fee=10**9,
            prev_randao=b"\1" * 32,
            parent_hash=b"\2" * 32,
            origin_hash=b"\3" * 32,
            extra_data=b"",
        )

    def open(self, block: int) -> _core.BlockExecutor:
        """Return an executor for the next block."""
        return _core.BlockExecutor(self.state, self.rules, self.env(block), self.host)

    def write(self, sealed: _core.SealedBlock) -> None:
        """Apply a change set to the dict."""
        for key, value in sealed.writes:
            if value is None:
                self.store.pop(key, None)
            else:
                self.store[key] = value


def measure(work: Callable[[], int]) -> tuple[float, float]:
    """Return (units a CPU second, units a wall second) of one run."""
    wall, cpu = time.perf_counter(), time.process_time()
    units = work()
    return units / (time.process_time() - cpu), units / (time.perf_counter() - wall)


def median(name: str, runs: list[tuple[float, float]], unit: str, aim: float | None = None) -> Rate:
    """Return the median of runs as a figure."""
    core, wall = (statistics.median(run[i] for run in runs) for i in (0, 1))
    return Rate(name, core, wall, unit, aim)


def bench_core(world: World, batches: list[list[_core.Transaction]]) -> Rate:
    """Measure execution with receipts: senders known, state in memory, no trie."""
    runs = []
    for batch in batches:
        executor = world.open(1)
        # The first pass brings the state into memory; the block is then dropped.
        executor.run(batch)
        executor.abandon()
        executor = world.open(1)
        outcomes: list[_core.Outcome] = []

        def work(executor: _core.BlockExecutor = executor, batch: list[_core.Transaction] = batch) -> int:
            outcomes.extend(executor.run(batch))
            return len(batch)

        runs.append(measure(work))
        assert all(outcome.kind == "included" for outcome in outcomes), outcomes[0]
        assert all(outcome.receipt.status for outcome in outcomes), "a transfer failed"
        executor.abandon()
    return median("core ERC-20", runs, "tx/s", 100_000)


def bench_full(world: World, raws: list[list[bytes]]) -> Rate:
    """Measure decode, recover, execute, receipts, state root and change set, block after block."""
    runs = []
    for block, raw in enumerate(raws, start=1):

        def work(block: int = block, raw: list[bytes] = raw) -> int:
            executor = world.open(block)
            executor.run(_core.decode(raw, CHAIN_ID))
            sealed = executor.seal()
            assert sealed.receipts_blob
            assert sealed.undo
            executor.commit(lambda: world.write(sealed))
            return len(raw)

        runs.append(measure(work))
    return median("full ERC-20", runs, "tx/s", 12_000)


def bench_stages(world: World, raw: list[bytes]) -> list[Rate]:
    """Measure the stages of `full` apart, on one more block."""
    figures = []
    decoded: list[_core.Transaction] = []
    figures.append(median("decode + recover", [measure(lambda: decoded.extend(_core.decode(raw, CHAIN_ID)) or len(raw))], "tx/s"))
    executor = world.open(1_000)
    figures.append(median("execute", [measure(lambda: len(executor.run(decoded)))], "tx/s"))
    sealed: list[_core.SealedBlock] = []
    figures.append(median("seal", [measure(lambda: sealed.append(executor.seal()) or len(raw))], "tx/s"))
    figures.append(median("writes, undo, receipts", [measure(lambda: len(sealed[0].writes) and len(sealed[0].undo) and len(sealed[0].receipts_blob) and len(raw))], "tx/s"))
    return figures


def bench_gas(world: World, name: str, body: bytes, aim: float) -> Rate:
    """Measure millions of gas a second of an endless loop."""
    code = b"\x5b" + body + b"\x5f\x56"
    message = _core.Message(to=TOKEN, gas_limit=30_000_000)
    override = _core.AccountOverride(TOKEN, code=code)

    def work() -> int:
        result = _core.call(world.state, world.rules, world.env(1), world.host, message, overrides=[override])
        assert result.code == "halt.out_of_gas", result
        return 30

    return median(name, [measure(work) for _ in range(5)], "Mgas/s", aim)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transfers", type=int, default=5_000, help="in a block")
    parser.add_argument("--senders", type=int, default=500)
    parser.add_argument("--holders", type=int, default=100_000, help="accounts and balances in the state")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    code = bytes.fromhex(json.loads(ARTIFACT.read_text())["deployedBytecode"].removeprefix("0x"))
    secrets = [keccak256(b"sender" + i.to_bytes(4, "big")) for i in range(options.senders)]
    nonces = [0] * options.senders
    raws = []
    for block in range(options.blocks + 1):
        raw = []
        for i in range(options.transfers):
            sender = i % options.senders
            to = keccak256(((i * 7919 + block * 104_729) % options.holders).to_bytes(8, "big"))[:20]
            raw.append(sign(secrets[sender], nonces[sender], TOKEN, transfer_input(to, 1)))
            nonces[sender] += 1
        raws.append(raw)
    world = World(secrets, options.holders, code)
    first = _core.decode(raws[0], CHAIN_ID)
    rates = [bench_core(world, [first] * options.blocks)]
    rates.append(bench_full(world, raws[:-1]))
    rates += bench_stages(world, raws[-1])
    rates.append(bench_gas(world, "arithmetic", bytes.fromhex("6001600201506003600402506005600603506007600804") + b"\x50", 400))
    rates.append(bench_gas(world, "keccak of 32 bytes", bytes.fromhex("60205f2050") * 4, 120))
    if options.json:
        print(json.dumps([rate.__dict__ for rate in rates], indent=2))
        return
    for rate in rates:
        ratio = f"{rate.per_wall_second / rate.aim:6.2f} x the aim of {rate.aim:,.0f}" if rate.aim else ""
        print(f"{rate.name:24} {rate.per_core_second:12,.0f} {rate.unit} a core {rate.per_wall_second:12,.0f} wall {ratio}")


if __name__ == "__main__":
    main()
