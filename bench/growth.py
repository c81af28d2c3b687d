"""How cost grows: a block of token transfers on states of many sizes, and reads of states of many ages.

    python -m bench.growth                        1,000, 100,000 and 1,000,000 accounts; 10,000 blocks back
    python -m bench.growth --accounts 10000000    one more size, some 7 GB of disk and half an hour
    python -m bench.growth --blocks 100000        so many blocks back

Every holder has coin and token, so a state of N accounts has N token balances as well. Blocks pay holders from all over
the state; the block path is execution, root and one synced write, history is written beside it. Figures go to
bench/growth.json, and from there with the next `make bench` into RESULTS.md.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench.grown_world import some_holders, write_grown_chain
from bench.measuring import hardware, load_average
from bench.workload import Signer, balance_slot, token_transfers
from bench.world import (
    TOKEN_ADDRESS,
    World,
    decode_all,
    disk_store,
    history_beside,
    make_world,
    open_executor,
)
from bitai.adapters.leveldb import LevelStore
from primitives.ids import Address
from vm import _core
from vm.executor import Executor
from vm.store import WriteBatch

PAGE: Final = Path(__file__).resolve().parent / "growth.json"
SIZES: Final = (1_000, 100_000, 1_000_000)
BLOCK_TRANSACTIONS: Final = 900
BLOCKS: Final = 14
WARM_BLOCKS: Final = 2
PAID: Final = 100_000
"""Holders that blocks pay; on larger states they are spread evenly, and each block meets new ones."""
DEPTHS: Final = (1, 1_000, 10_000, 100_000)
READS: Final = 200


def measure_size(accounts: int) -> dict[str, Any]:
    """Return the cost of a transfer in microseconds of the clock, and what the state takes on the disk."""
    world = make_world(holders=100)
    with disk_store() as store:
        started = time.perf_counter()
        write_grown_chain(world, store, accounts)
        built = time.perf_counter() - started
        executor = open_executor(world, store)
        holders = some_holders(accounts, PAID)
        spent = {"execute": [], "seal": [], "commit": []}  # type: dict[str, list[float]]
        with history_beside(executor):
            for number in range(BLOCKS):
                _block(executor, world, holders[number::BLOCKS] or holders, spent)
        executor.close()
        size = sum(path.stat().st_size for path in store.path.iterdir())
    totals = [sum(stages) for stages in zip(*spent.values(), strict=True)][WARM_BLOCKS:]
    shown = {name: round(statistics.median(values[WARM_BLOCKS:]), 2) for name, values in spent.items()}
    costs = {"best": round(min(totals), 2), "median": round(statistics.median(totals), 2)}
    return {"accounts": accounts, **shown, **costs, "disk": size, "built_s": round(built)}


def _block(
    executor: Executor, world: World, holders: Sequence[Address], spent: dict[str, list[float]]
) -> None:
    raws = token_transfers(world.signers, holders, TOKEN_ADDRESS, BLOCK_TRANSACTIONS)
    decoded = decode_all(executor, raws)
    builder = executor.open(executor.head.timestamp + 2, executor.head.origin)

    def stage(name: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        done = work()
        spent[name].append(1e6 * (time.perf_counter() - started) / BLOCK_TRANSACTIONS)
        return done

    stage("execute", lambda: builder.add(decoded, missing="skip"))
    assert builder.transaction_count == BLOCK_TRANSACTIONS, "a transfer was left out"
    executed = stage("seal", builder.seal)
    stage("commit", lambda: executor.commit(executed))


class _Unsynced:
    """A store that trusts the power: so many blocks are not measured, only made."""

    def __init__(self, store: LevelStore) -> None:
        self._store = store
        self.get, self.get_many, self.scan = store.get, store.get_many, store.scan
        self.snapshot = store.snapshot

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        """Write without waiting for the disk."""
        del sync
        self._store.write(batch, sync=False)


def measure_ages(blocks: int) -> list[dict[str, Any]]:
    """Return how long a balance, a call and a proof take on a state so many blocks below the head, in ms."""
    world = make_world(holders=50_000)
    with TemporaryDirectory(prefix="bitai-bench-") as folder, LevelStore(Path(folder) / "chain") as store:
        executor = open_executor(world, _Unsynced(store))
        with history_beside(executor):
            for _ in range(blocks + 1):
                raws = token_transfers(world.signers, world.holders, TOKEN_ADDRESS, 2)
                builder = executor.open(executor.head.timestamp + 2, executor.head.origin)
                builder.add(decode_all(executor, raws), missing="skip")
                executor.commit(builder.seal())
            executor.history.write_upto(executor.head.number)
        found = [_age(executor, world, depth) for depth in DEPTHS if depth <= blocks]
        executor.close()
    return found


def _age(executor: Executor, world: World, depth: int) -> dict[str, Any]:
    """Ask what was never asked before, of states about a depth: nothing of it is cached."""
    head, signer = executor.head.number, world.signers[0]
    spent: dict[str, list[float]] = {"open": [], "balance": [], "call": [], "proof": []}
    for place in range(READS):
        number = head - depth + place % min(depth, 50)
        holder = world.holders[place * 7 % len(world.holders)]
        started = time.perf_counter()
        view = executor.view(number)
        moments = [started, time.perf_counter()]
        for ask in _questions(executor, number, holder, signer):
            ask(view)
            moments.append(time.perf_counter())
        for name, begun, done in zip(spent, moments, moments[1:], strict=False):
            spent[name].append(1_000 * (done - begun))
    return {"depth": depth, **{name: round(statistics.median(values), 3) for name, values in spent.items()}}


def _questions(
    executor: Executor, number: int, holder: Address, signer: Signer
) -> list[Callable[[Any], Any]]:
    del number
    call = _core.Message(
        sender=signer.address,
        to=TOKEN_ADDRESS,
        input=_core.keccak256(b"balanceOf(address)")[:4] + bytes(12) + holder,
    )
    return [
        lambda view: view.balance(holder),
        lambda view: executor.simulator.call(view, call),
        lambda view: view.proof(TOKEN_ADDRESS, [balance_slot(holder)]),
    ]


def main() -> None:
    """Measure what was asked for, and put it beside what is known."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--accounts", type=int, action="append", help="measure states of this size only")
    parser.add_argument("--blocks", type=int, help="measure reads so many blocks back only")
    options = parser.parse_args()
    known = json.loads(PAGE.read_text()) if PAGE.exists() else {"sizes": [], "ages": []}
    sizes = {each["accounts"]: each for each in known["sizes"]}
    nothing = options.accounts is None and options.blocks is None
    for accounts in options.accounts or (SIZES if nothing else ()):
        sizes[accounts] = {**measure_size(accounts), "load": load_average()}
        print(sizes[accounts], flush=True)
    known["sizes"] = [sizes[accounts] for accounts in sorted(sizes)]
    if options.blocks is not None or nothing:
        known["ages"] = measure_ages(options.blocks or 10_000)
        known["ages_load"] = load_average()
        print(known["ages"], flush=True)
    PAGE.write_text(json.dumps({**known, "machine": hardware()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
