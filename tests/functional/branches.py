"""Make the embedded Bitcoin change its mind: branches that bring the same data back later, and empty ones."""

from __future__ import annotations

import time
from collections.abc import Iterable

from tests.functional.harness import JsonRpc, NodeProcess, wait_until


class Bitcoin:
    """The embedded Bitcoin of a dev node, mined and reorganised on demand."""

    def __init__(self, node: NodeProcess) -> None:
        """Talk to the Bitcoin that belongs to `node`."""
        self.rpc: JsonRpc = node.bitcoin
        self.address: str = self.rpc("getnewaddress")

    @property
    def height(self) -> int:
        """The best branch's height."""
        height: int = self.rpc("getblockcount")
        return height

    def mine(self, blocks: int = 1, *, pause_s: float = 0.0) -> None:
        """Mine what waits; with a pause after each block, so that batches can follow it."""
        for _ in range(blocks):
            self.rpc("generatetoaddress", 1, self.address)
            time.sleep(pause_s)

    def replay(self, depth: int) -> None:
        """Replace the last `depth` blocks: their transactions wait again and come later, all in the first block."""
        lowest = self.rpc("getblockhash", self.height - depth + 1)
        self.rpc("invalidateblock", lowest)
        self.rpc("generatetoaddress", depth + 1, self.address)

    def vanish(self, depth: int) -> None:
        """Replace the last `depth` blocks by empty ones: what they held is on no chain until somebody mines on."""
        parent = self.rpc("getblockhash", self.height - depth)
        for _ in range(depth + 1):
            parent = self.rpc("generateblock", self.address, [], True, parent)["hash"]
        assert self.rpc("getbestblockhash") == parent


def stands_on(node: NodeProcess, tip: str) -> dict[str, object] | None:
    """The node's status if it has worked through this Bitcoin block."""
    status = node.status()
    return status if status["l1"]["processed_hash"] == tip else None


def wait_converged(
    bitcoin: Bitcoin, nodes: Iterable[NodeProcess], *, limit_s: float = 30.0
) -> dict[str, object]:
    """Wait until every node stands on Bitcoin's tip, and see that all derive the same safe head from it.

    Returns that head. Nobody may mine meanwhile.
    """
    tip = bitcoin.rpc("getbestblockhash")
    heads = {}
    for node in nodes:
        status = wait_until(
            lambda node=node: stands_on(node, tip), f"{node.datadir.name} at {tip}", limit_s=limit_s
        )
        heads[node.datadir.name] = status["heads"]["safe"]
    assert len({head["hash"] for head in heads.values()}) == 1, heads
    return next(iter(heads.values()))
