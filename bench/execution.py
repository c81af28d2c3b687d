"""How quick the chain is without a network: execution alone (core), and all that a block takes (full).

core: execution with receipts and blooms, senders known, state in memory, no trie; one thread, by its processor time.
full: decode, recover, execute, receipts, state root, and one synced write to the disk for each block; all cores.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import zip_longest
from typing import Final, TypeVar

from bench import bare
from bench.measuring import Figure, Sample, core_rate, rate, timed
from bench.workload import coin_transfers, token_transfers
from bench.world import (
    TOKEN_ADDRESS,
    World,
    decode_all,
    disk_store,
    history_beside,
    make_world,
    open_executor,
)
from bitai.decode_ahead import DecodeAhead
from vm import _core
from vm.builder import BlockBuilder
from vm.executor import Executor
from vm.store import MemoryStore
from vm.types import BlockData

Result = TypeVar("Result")

BLOCK_TRANSACTIONS: Final = 900
"""Token transfers of a full block: 60 million gas at the 60,000 that each declares."""
CORE_TRANSACTIONS: Final = 4_500
CORE_ROUNDS: Final = 7
FULL_ROUNDS: Final = 5
FULL_BLOCKS: Final = 5
_CORE_GAS: Final = 1 << 40

# Bodies of endless loops.
_ARITHMETIC_BODY: Final = bytes.fromhex("6001600201506003600402506005600603506007600804") + b"\x50"
_KECCAK_BODY: Final = bytes.fromhex("60205f2050") * 4


def measure_core() -> Iterator[Figure]:
    """Measure execution alone, and what it is made of: gas of transfers, of arithmetic, of hashing."""
    world = make_world(gas_limit=_CORE_GAS)
    executor = open_executor(world, MemoryStore())
    tokens = decode_all(
        executor, token_transfers(world.signers, world.holders, TOKEN_ADDRESS, CORE_TRANSACTIONS)
    )
    samples, gas = _run_rounds(executor, tokens)
    yield core_rate("core_erc20", "core, ERC-20 transfers", samples, aim=100_000)
    yield from _beside_bare_revm(world, tokens, samples)
    yield Figure(
        "core_erc20_gas",
        "core, ERC-20 transfers",
        "Mgas/s",
        tuple(gas / 1e6 / sample.cpu_s for sample in samples),
    )
    for signer in world.signers:
        signer.nonce = 0
    samples, _ = _run_rounds(
        executor, decode_all(executor, coin_transfers(world.signers, world.holders, CORE_TRANSACTIONS))
    )
    yield core_rate("core_plain", "core, plain transfers", samples)
    yield _gas_rate(executor, "core_arithmetic", "core, arithmetic loop", _ARITHMETIC_BODY, aim=400)
    yield _gas_rate(executor, "core_keccak", "core, keccak of 32 bytes", _KECCAK_BODY, aim=120)


def _beside_bare_revm(
    world: World, transactions: Sequence["_core.Transaction"], samples: Sequence[Sample]
) -> Iterator[Figure]:
    """Measure the same block by revm alone, and the core as a share of it; nothing where there is no cargo."""
    program = bare.build()
    if program is None:
        return
    names = {
        "kept": "revm alone, changes kept in its journal",
        "committed": "revm alone, changes committed",
        "receipted": "revm alone, changes kept, with receipts and blooms",
    }
    best = {}
    for name, spent_s in bare.seconds(program, world, transactions).items():
        figure = Figure(
            f"bare_{name}",
            f"{names[name]}, ERC-20 transfers",
            "tx/s",
            tuple(len(transactions) / each for each in spent_s),
        )
        best[name] = figure.best
        yield figure
    for key, name, aim in (("core_share", "receipted", 90), ("core_share_kept", "kept", None)):
        share = tuple(100 * sample.per_core_second / best[name] for sample in samples)
        yield Figure(key, f"core, ERC-20 transfers, as a share of {names[name]}", "%", share, aim=aim)


def _run_rounds(executor: Executor, transactions: Sequence["_core.Transaction"]) -> tuple[list[Sample], int]:
    """Run the same block several times, dropping it each time; the first round only warms the cache."""
    samples, gas = [], 0
    for _ in range(CORE_ROUNDS + 1):
        builder = executor.open(executor.head.timestamp + 2, executor.head.origin)
        samples.append(timed(partial(_add, builder, transactions)))
        assert builder.transaction_count == CORE_TRANSACTIONS, "a transfer was left out"
        builder.abandon()
    builder = executor.open(executor.head.timestamp + 2, executor.head.origin)
    builder.add(transactions, missing="skip")
    sealed = builder.seal().sealed
    assert all(receipt.status for receipt in sealed.receipts), "a transfer failed"
    gas = sealed.gas_used
    builder.abandon()
    return samples[1:], gas


def _add(builder: BlockBuilder, transactions: Sequence["_core.Transaction"]) -> int:
    return len(builder.add(transactions, missing="skip"))


def _gas_rate(executor: Executor, key: str, name: str, body: bytes, *, aim: float) -> Figure:
    """Measure gas a second of an endless loop that runs out of it."""
    million = 30
    state = _core.State(MemoryStore().get_many)
    env = _core.BlockEnv(
        number=1,
        timestamp=1,
        coinbase=bytes(20),
        gas_limit=_CORE_GAS,
        base_fee=0,
        prev_randao=bytes(32),
        parent_hash=bytes(32),
        origin_hash=bytes(32),
        extra_data=b"",
    )
    host = _core.Host(models=lambda _: None, infer=lambda *_: (3, b""), block_hash=lambda _: None)
    message = _core.Message(to=TOKEN_ADDRESS, gas_limit=million * 10**6)
    loop = _core.AccountOverride(TOKEN_ADDRESS, code=b"\x5b" + body + b"\x5f\x56")

    def work() -> float:
        result = _core.call(state, executor.spec.rules(), env, host, message, overrides=[loop])
        assert result.code == "halt.out_of_gas", result.code
        return million

    return core_rate(key, name, [timed(work) for _ in range(5)], unit="Mgas/s", aim=aim)


def measure_full(world: World) -> Iterator[Figure]:
    """Measure whole blocks, from raw transactions to the disk; then each stage of one block after the other."""
    with disk_store() as store:
        executor = open_executor(world, store)

        def blocks() -> list[list[bytes]]:
            return [
                token_transfers(world.signers, world.holders, TOKEN_ADDRESS, BLOCK_TRANSACTIONS)
                for _ in range(FULL_BLOCKS)
            ]

        with history_beside(executor):
            samples = [timed(partial(_run_blocks, executor, blocks())) for _ in range(FULL_ROUNDS + 1)][1:]
        yield rate("full_erc20", "full, ERC-20 transfers, the next block decoded ahead", samples, aim=12_000)
        yield Figure(
            "full_erc20_core",
            "full, ERC-20 transfers, for each core in use",
            "tx/s",
            tuple(sample.per_core_second for sample in samples),
        )
        # Here history is written between the stages, so that each is told for itself.
        yield from _stages(executor, [raws for _ in range(2) for raws in blocks()])
        executor.close()


def _run_blocks(executor: Executor, blocks: Sequence[Sequence[bytes]]) -> int:
    """Execute blocks as replay and sync do."""
    ahead, head = DecodeAhead(executor.decode), executor.head
    data = [
        BlockData(head.number + place, head.timestamp + 2 * place, head.origin, (), tuple(raws))
        for place, raws in enumerate(blocks, start=1)
    ]
    for each, following in zip_longest(data, data[1:]):
        executed = executor.execute(each, ahead.take(each, following))
        executor.commit(executed)
        assert len(executed.data.transactions) == len(each.transactions), "a transfer was left out"
    return sum(map(len, blocks))


def _stages(executor: Executor, blocks: Sequence[Sequence[bytes]]) -> Iterator[Figure]:
    """Measure the stages of a block apart: what the whole is made of, in microseconds of all cores."""
    spent: dict[str, list[float]] = {}

    def stage(name: str, work: Callable[[], Result]) -> Result:
        cpu = time.process_time()
        result = work()
        spent.setdefault(name, []).append(1e6 * (time.process_time() - cpu) / BLOCK_TRANSACTIONS)
        return result

    for raws in blocks:
        decoded = stage("decode, recover the sender", partial(decode_all, executor, raws))
        builder = executor.open(executor.head.timestamp + 2, executor.head.origin)
        stage("execute", partial(_add, builder, decoded))
        executed = stage("seal: state root, receipts, undo data", builder.seal)
        stage("commit: rows, one synced write", partial(executor.commit, executed))
        stage("history: former values by key, beside the chain", executor.history.step)
    for name, values in spent.items():
        key = "stage_" + name.split(":")[0].split(",")[0]
        yield Figure(key, f"full, of which {name}", "us a tx", tuple(values), low_is_good=True)
