"""How quickly a chain follows from Bitcoin: recorded blocks through the pure replay, and a real node's sync.

Replay does all of `full` (execution.py) and before it scans Bitcoin's blocks, checks envelopes, unpacks channels and
decodes batches. So its figure is given as a share of `full` too.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.execution import BLOCK_TRANSACTIONS
from bench.measuring import Figure, Sample, rate, timed
from bench.sequencing import BenchSequencer
from bench.workload import token_transfers
from bench.world import TOKEN_ADDRESS, World, disk_store, open_executor
from bitai.replay import ExecutorRunner, replay_chain
from tests.functional.harness import NodeProcess, assert_same_chain, full_node, wait_until

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

        sample = timed(work)
        assert executor.head.hash == made.executor.head.hash, "replayed another chain"
        executor.close()
    return sample


def measure_sync(folder: Path, node: NodeProcess) -> Figure:
    """Start a full node that knows only Bitcoin and the configuration; time it until it has the safe chain.

    What counts is from its first look at Bitcoin to its last block on disk; starting the process is not in it.
    """
    head = int(node.rpc("eth_blockNumber"), 16)

    def safe() -> bool:
        return int(node.rpc("eth_getBlockByNumber", "safe", False)["number"], 16) >= head

    wait_until(safe, "everything made is inscribed", limit_s=60)
    transactions = _transactions(node, head)
    with full_node(folder, node, "second") as second:
        second.start(ready=False)
        wait_until(lambda: "following Bitcoin" in second.tail(400) or _height(second) is not None, "a full node")
        begin, started = _height(second) or 0, time.perf_counter()
        wait_until(lambda: (_height(second) or 0) >= head, "the full node is there", limit_s=120)
        seconds = time.perf_counter() - started
        assert_same_chain(node, second, min(head, 200))
        second.stop()
    del begin
    return Figure("sync", "a full node's sync from Bitcoin, ERC-20 transfers", "tx/s", (transactions / seconds,))


def _height(node: NodeProcess) -> int | None:
    try:
        return int(node.rpc("eth_blockNumber"), 16)
    except (OSError, ValueError, KeyError):
        return None


def _transactions(node: NodeProcess, head: int) -> int:
    counts = node.rpc.batch([("eth_getBlockTransactionCountByNumber", [hex(n)]) for n in range(1, head + 1)])
    return sum(int(reply["result"], 16) for reply in counts)
