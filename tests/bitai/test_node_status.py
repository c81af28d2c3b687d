"""When a node calls itself ready, and what it says when it does not."""

from types import SimpleNamespace

import pytest

from bitai.node_status import MAX_LAG_BLOCKS, MAX_WAIT_MS, NodeReport
from bitai.status import Phase


@pytest.mark.parametrize(
    ("tip_height", "waiting_ms", "reasons"),
    [
        (100, 0, ()),
        (100 + MAX_LAG_BLOCKS, MAX_WAIT_MS, ()),
        (None, 0, ("no answer from Bitcoin",)),
        (101, 21_000, ("Bitcoin has kept the node waiting for 21 s",)),
        (110, 0, ("10 Bitcoin blocks behind",)),
    ],
)
def test_readiness_follows_bitcoin(tip_height, waiting_ms, reasons):
    """A node is ready while Bitcoin answers it, in time, and it has worked through what Bitcoin has."""
    report = NodeReport(SimpleNamespace(l1_rpc=None))
    report.enter(Phase.READY, "serving")
    tip = None if tip_height is None else SimpleNamespace(height=tip_height)
    report.follower = SimpleNamespace(tip=tip, waiting_ms=waiting_ms)
    report.driver = SimpleNamespace(cursor=SimpleNamespace(height=100), scratch=SimpleNamespace(now=None))
    readiness = report.readiness()
    assert readiness.ready == (not reasons)
    assert readiness.reasons == reasons
