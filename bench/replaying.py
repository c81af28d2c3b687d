"""How quickly a chain follows from Bitcoin: recorded blocks through the pure replay, and a real node's sync.

Replay does all of `full` (execution.py) and before it scans Bitcoin's blocks, checks envelopes, unpacks channels and
decodes batches. So its figure is given as a share of `full` too.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx

from bench.execution import BLOCK_TRANSACTIONS
from bench.measuring import Figure, Sample, rate, timed
from bench.sequencing import BenchSequencer
from bench.workload import token_transfers
from bench.world import TOKEN_ADDRESS, World, disk_store, history_beside, open_executor
from bitai.replay import ExecutorRunner, replay_chain
from tests.functional.harness import CallFailed, NodeProcess, full_node, wait_until

ROUNDS: Final = 3
CHANNELS: Final = 3
CHANNEL_BLOCKS: Final = 4


def measure_replay(world: World, full: float) -> Iterator[Figure]:
    """Record a chain of full blocks, and replay its Bitcoin blocks on an empty database."""
    made = BenchSequencer(world)
    made.mine()
    for _ in range(CHANNELS):
        for _ in range(CHANNEL_BLOCKS):
            made.make(token_transfers(world.signers, world.holders, TOKEN_ADDRESS, BLOCK_TRANSACTIONS))
        made.mine(made.post())
    samples = [_replay(world, made) for _ in range(ROUNDS)]
    found = rate("replay", "replay of recorded Bitcoin blocks, ERC-20 transfers", samples)
    yield found
    yield Figure(
        "replay_share",
        "replay, as a share of full",
        "%",
        tuple(100 * value / full for value in found.values),
    )


def _replay(world: World, made: BenchSequencer) -> Sample:
    with disk_store() as store:
        executor = open_executor(world, store)

        def work() -> int:
            replay_chain(world.config, made.bitcoin.blocks, ExecutorRunner(executor, store))
            return CHANNELS * CHANNEL_BLOCKS * BLOCK_TRANSACTIONS

        with history_beside(executor):
            sample = timed(work)
        assert executor.head.hash == made.executor.head.hash, "replayed another chain"
        executor.close()
    return sample


def measure_sync(folder: Path, node: NodeProcess) -> Iterator[Figure]:
    """Start a full node that knows only Bitcoin and the configuration; time it until it has the whole chain.

    The clock runs from the start of its process: a second or two of it go to starting Python.
    """
    head = _height(node) or 0

    def inscribed() -> bool:
        safe = node.rpc("eth_getBlockByNumber", "safe", False)
        return safe is not None and int(safe["number"], 16) >= head

    wait_until(inscribed, "everything made is on Bitcoin", limit_s=60)
    with full_node(folder, node, "second") as second:
        started = time.perf_counter()
        second.start(ready=False)
        wait_until(lambda: (_height(second) or 0) >= head, "the full node has the chain", limit_s=120)
        seconds = time.perf_counter() - started
        assert _hash(second, head) == _hash(node, head), "synced another chain"
        second.stop()
    transactions = _transactions(node, range(1, head + 1))
    yield Figure(
        "sync",
        f"a full node's start and sync of {head:,} blocks from Bitcoin, ERC-20 transfers",
        "tx/s",
        (transactions / seconds,),
    )


def _height(node: NodeProcess) -> int | None:
    """Return a node's head, None while it does not answer."""
    try:
        return int(node.rpc("eth_blockNumber"), 16)
    except (OSError, httpx.HTTPError, CallFailed):
        return None


def _hash(node: NodeProcess, number: int) -> str:
    return str(node.rpc("eth_getBlockByNumber", hex(number), False)["hash"])


def _transactions(node: NodeProcess, numbers: range) -> int:
    calls = [("eth_getBlockTransactionCountByNumber", [hex(number)]) for number in numbers]
    replies = [
        each for start in range(0, len(calls), 500) for each in node.rpc.batch(calls[start : start + 500])
    ]
    return sum(int(reply["result"], 16) for reply in replies)
