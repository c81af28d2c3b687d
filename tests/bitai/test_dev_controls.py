"""What a dev node's owner does to Bitcoin, as far as a node can follow."""

from types import SimpleNamespace

import pytest

from bitai.dev_controls import RegtestControls
from primitives.errors import Rejected


class _Bitcoin:
    """A transport that notes calls and has 112 blocks."""

    def __init__(self) -> None:
        self.called: list[str] = []

    async def call(self, method, *params, idempotent=True, within_s=None):
        self.called.append(method)
        return {"getblockcount": 112, "generatetoaddress": ["aa"]}.get(method, "x")


def _controls(bitcoin: _Bitcoin, *, start: int) -> RegtestControls:
    rollup = SimpleNamespace(
        l1_start=SimpleNamespace(height=start), parameters=SimpleNamespace(finality_depth=8)
    )
    return RegtestControls(bitcoin, None, None, None, rollup=rollup)


@pytest.mark.parametrize(("depth", "start"), [(8, 0), (100, 0), (3, 110), (1, 112)])
async def test_a_reorg_that_would_stop_the_node_is_refused(depth, start):
    """Neither finality nor the block that the chain starts from is touched: no node would ever start again."""
    bitcoin = _Bitcoin()
    with pytest.raises(Rejected, match=r"reorg\.too_deep"):
        await _controls(bitcoin, start=start).reorg(depth)
    assert "invalidateblock" not in bitcoin.called


@pytest.mark.parametrize(("depth", "start"), [(7, 0), (2, 110)])
async def test_the_deepest_survivable_reorg_is_made(depth, start):
    """One block less than finality, and every block after the chain's first."""
    bitcoin = _Bitcoin()
    await _controls(bitcoin, start=start).reorg(depth)
    assert "invalidateblock" in bitcoin.called
