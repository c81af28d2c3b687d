"""What the native core does alone: ERC-20 transfers a second, and gas a second.

Definitions, used in bench/RESULTS.md too:

- core: execution with receipts and blooms; senders known, state in memory, no trie.
- full: decode, recover, execute, receipts, state root, one synced write to disk for each block; all cores.

Run `python -m bench.core`; figures are medians. "A core" is per second of the process's CPU time, "wall" per second of
the clock.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import plyvel

from primitives.curve import address_of, ecdsa_sign
from primitives.hashes import keccak256
from primitives.rlp import encode as rlp
from vm import _core

CHAIN_ID = 726_945
TOKEN = b"\x70" * 20
ARTIFACT = Path(__file__).parent.parent / "contracts/artifacts/Token.json"
# balanceOf is the third variable in storage: name, symbol, balanceOf (constants and immutables take no slot).
BALANCES_SLOT = 2
# Bodies of endless loops.
ARITHMETIC = bytes.fromhex("600160020150600360040250600560060350600760080450")
KECCAK = bytes.fromhex("60205f2050") * 4


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


def sign(secret: bytes, nonce: int, data: bytes) -> bytes:
    """Return a raw type 2 transaction to the token."""
    fields = [CHAIN_ID, nonce, 10**8, 3 * 10**9, 100_000, TOKEN, 0, data, []]
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


def make_secrets(count: int) -> list[bytes]:
    """Return the senders' keys."""
    return [keccak256(b"sender" + i.to_bytes(4, "big")) for i in range(count)]


def holder(number: int) -> bytes:
    """Return the address of one who holds the token and never sends."""
    return keccak256(number.to_bytes(8, "big"))[:20]


class World:
    """A chain on LevelDB with a token that every sender holds."""

    def __init__(self, secrets: list[bytes], holders: int, folder: str) -> None:
        self.disk = plyvel.DB(folder, create_if_missing=True, compression=None, write_buffer_size=64 << 20)
        self.state = _core.State(lambda keys: [self.disk.get(key) for key in keys], cache_bytes=1 << 30)
        self.rules = _core.Rules(
            chain_id=CHAIN_ID,
            fee_vault=b"\x19" * 20,
            protocol_pool=b"\x20" * 20,
            infer_base_gas=1_000,
            infer_mac_gas=1,
            infer_byte_gas=16,
        )
        self.host = _core.Host(models=lambda _: None, infer=lambda *_: (3, b""), block_hash=lambda _: None)
        senders = [address_of(secret) for secret in secrets]
        others = [holder(number) for number in range(holders)]
        balances = {balance_slot(owner): 10**30 for owner in senders} | {
            balance_slot(owner): 1 for owner in others
        }
        accounts = [(owner, 0, 10**24, b"", {}) for owner in senders] + [
            (owner, 0, 1, b"", {}) for owner in others
        ]
        code = bytes.fromhex(json.loads(ARTIFACT.read_text())["deployedBytecode"].removeprefix("0x"))
        self.write(_core.build_genesis(self.env(0), [*accounts, (TOKEN, 1, 0, code, balances)]))
        self.disk.compact_range()  # what LevelDB does with the genesis rows is not the blocks' work

    def env(self, block: int) -> _core.BlockEnv:
        """Return the environment of a block."""
        return _core.BlockEnv(
            number=block,
            timestamp=1_000 + 2 * block,
            coinbase=b"\xcc" * 20,
            gas_limit=1 << 40,
            base_fee=10**9,
            prev_randao=b"\1" * 32,
            parent_hash=b"\2" * 32,
            origin_hash=b"\3" * 32,
            extra_data=b"",
        )

    def open(self, block: int) -> _core.BlockExecutor:
        """Return an executor for a block."""
        return _core.BlockExecutor(self.state, self.rules, self.env(block), self.host)

    def add_block(self, block: int, transactions: list[_core.Transaction]) -> None:
        """Execute, seal, write, commit."""
        executor = self.open(block)
        require_success(executor.run(transactions))
        sealed = executor.seal()
        executor.commit(lambda: self.write(sealed))

    def write(self, sealed: _core.SealedBlock) -> None:
        """Write a block in one synced batch: state, undo data, receipts."""
        number = sealed.number.to_bytes(8, "big")
        with self.disk.write_batch(sync=True) as batch:
            for key, value in sealed.writes:
                if value is None:
                    batch.delete(key)
                else:
                    batch.put(key, value)
            batch.put(b"U" + number, sealed.undo)
            batch.put(b"R" + number, sealed.receipts_blob)
            batch.put(b"H" + number, sealed.header_rlp)


def rates(units: int, cpu: float, wall: float) -> tuple[float, float]:
    """Return (units a CPU second, units a wall second) since the given times."""
    return units / (time.process_time() - cpu), units / (time.perf_counter() - wall)


def median(name: str, runs: list[tuple[float, float]], unit: str, aim: float | None = None) -> Rate:
    """Return the median of runs as a figure."""
    core, wall = (statistics.median(run[i] for run in runs) for i in (0, 1))
    return Rate(name, core, wall, unit, aim)


def bench_core(world: World, batch: list[_core.Transaction], rounds: int) -> Rate:
    """Measure execution with receipts: senders known, state in memory, no trie."""
    runs = []
    for _ in range(rounds):
        # The first pass brings the state into memory; the block is then dropped.
        warm = world.open(1)
        warm.run(batch)
        warm.abandon()
        executor = world.open(1)
        wall, cpu = time.perf_counter(), time.process_time()
        outcomes = executor.run(batch)
        runs.append(rates(len(batch), cpu, wall))
        require_success(outcomes)
        executor.abandon()
    return median("core, ERC-20", runs, "tx/s", 100_000)


def bench_full(world: World, raws: list[list[bytes]]) -> Rate:
    """Measure decode, recover, execute, receipts, state root and write, block after block.

    One thread decodes the next block while another executes this one, as ingress and sequencer do.
    """
    with ThreadPoolExecutor(1) as ingress:
        coming = ingress.submit(_core.decode, raws[0], CHAIN_ID)
        wall, cpu = time.perf_counter(), time.process_time()
        for block in range(1, len(raws) + 1):
            decoded = coming.result()
            if block < len(raws):
                coming = ingress.submit(_core.decode, raws[block], CHAIN_ID)
            world.add_block(block, [tx for tx in decoded if isinstance(tx, _core.Transaction)])
    return median("full, ERC-20", [rates(sum(map(len, raws)), cpu, wall)], "tx/s", 12_000)


def bench_stages(world: World, block: int, raw: list[bytes]) -> list[Rate]:
    """Measure the stages of `full` apart, on one more block."""
    figures = []

    def stage(name: str, work: Callable[[], object]) -> object:
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        figures.append(median(f"  {name}", [rates(len(raw), cpu, wall)], "tx/s"))
        return result

    decoded = stage("decode, recover", lambda: _core.decode(raw, CHAIN_ID))
    executor = world.open(block)
    stage("execute", lambda: executor.run(decoded))  # type: ignore[arg-type]
    sealed = stage("seal", executor.seal)
    assert isinstance(sealed, _core.SealedBlock)
    stage("commit, write", lambda: executor.commit(lambda: world.write(sealed)))
    size = sum(len(key) + len(value or b"") for key, value in sealed.writes)
    print(
        f"a transfer writes {len(sealed.writes) / len(raw):.1f} keys, {size / len(raw):,.0f} bytes of state,"
    )
    print(
        f"{len(sealed.undo) / len(raw):,.0f} of undo data, {len(sealed.receipts_blob) / len(raw):,.0f} of receipts"
    )
    return figures


def require_success(outcomes: list[_core.Outcome]) -> None:
    """Raise unless every transaction was included and succeeded."""
    for outcome in outcomes:
        if not (outcome.receipt and outcome.receipt.status):
            raise SystemExit(f"a transfer failed: {outcome!r}")


def bench_gas(world: World, name: str, body: bytes, aim: float) -> Rate:
    """Measure millions of gas a second of an endless loop."""
    code = b"\x5b" + body + b"\x5f\x56"
    message = _core.Message(to=TOKEN, gas_limit=30_000_000)
    override = _core.AccountOverride(TOKEN, code=code)
    runs = []
    for _ in range(5):
        wall, cpu = time.perf_counter(), time.process_time()
        _core.call(world.state, world.rules, world.env(1), world.host, message, overrides=[override])
        runs.append(rates(30, cpu, wall))
    return median(name, runs, "Mgas/s", aim)


def make_blocks(senders: int, holders: int, transfers: int, blocks: int) -> list[list[bytes]]:
    """Return signed transfers, block by block; receivers are spread over all holders."""
    secrets = make_secrets(senders)
    nonces = [0] * senders
    raws = []
    for block in range(blocks):
        raw = []
        for i in range(transfers):
            at = i % senders
            to = holder((i * 7_919 + block * 104_729) % holders)
            raw.append(sign(secrets[at], nonces[at], transfer_input(to, 1)))
            nonces[at] += 1
        raws.append(raw)
    return raws


def show(rate: Rate) -> str:
    """Return one line of the table."""
    line = f"{rate.name:20} {rate.per_core_second:10,.0f} {rate.unit:6} a core {rate.per_wall_second:10,.0f} wall"
    return (
        f"{line}   {rate.per_wall_second / rate.aim:.2f} x the aim of {rate.aim:,.0f}" if rate.aim else line
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--transfers", type=int, default=2_000, help="in a block")
    parser.add_argument("--senders", type=int, default=500)
    parser.add_argument("--holders", type=int, default=100_000, help="accounts and balances in the state")
    parser.add_argument("--blocks", type=int, default=8)
    options = parser.parse_args()
    raws = make_blocks(options.senders, options.holders, options.transfers, options.blocks + 1)
    with TemporaryDirectory() as folder:
        world = World(make_secrets(options.senders), options.holders, folder)
        first = [tx for tx in _core.decode(raws[0], CHAIN_ID) if isinstance(tx, _core.Transaction)]
        figures = [bench_core(world, first, rounds=7), bench_full(world, raws[:-1])]
        figures += bench_stages(world, options.blocks + 1, raws[-1])
        figures.append(bench_gas(world, "arithmetic", ARITHMETIC, 400))
        figures.append(bench_gas(world, "keccak of 32 bytes", KECCAK, 120))
    for figure in figures:
        print(show(figure))


if __name__ == "__main__":
    main()
