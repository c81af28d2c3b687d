"""A caller on the seed chain."""

import pytest

from tests.regtest.rpc.caller import Caller


@pytest.fixture
def rpc(node) -> Caller:
    """RPC of the seed chain's node."""
    return Caller(node)
