"""A chain of one's own on a regtest Bitcoin: made once, and with coins that its wallet will see."""

import asyncio

from bitai.bootstrap import FUNDING_LANES, make_regtest_chain
from bitai.datadir import DataDir
from bitai.node_keys import NodeKeys
from tests.l1.fake_bitcoin import FakeBitcoin

KEYS = NodeKeys(*(bytes([number]) * 32 for number in range(1, 6)))


class HastyBitcoin(FakeBitcoin):
    """A Bitcoin behind both ports that finds a block by itself whenever it is asked something."""

    def __init__(self):
        super().__init__()
        self.paid_at = []

    async def best_tip(self):
        """See `L1Source`."""
        self.mine()
        return await super().best_tip()

    async def call(self, method, *params, idempotent=True, within_s=None):
        """See `RpcTransport.call`."""
        self.mine()
        if method == "getblockcount":
            return self.tip.height
        if method == "generatetoaddress":
            self.mine(params[0])
        if method == "sendtoaddress":
            self.paid_at.append(self.tip.height + 1)
        return "bcrt1"


def test_the_wallet_sees_its_lanes_whenever_blocks_are_found(tmp_path):
    """The block that the chain and its wallet start from comes before every payment, and has its eleven times."""
    bitcoin = HastyBitcoin()
    files = DataDir(tmp_path)
    config = asyncio.run(make_regtest_chain(files, KEYS, bitcoin, bitcoin))
    assert len(bitcoin.paid_at) == FUNDING_LANES
    assert config.l1_start.height < min(bitcoin.paid_at)
    assert bitcoin.chain()[config.l1_start.height].point.hash == config.l1_start.hash
    assert len(config.l1_start.times) == 11
    assert asyncio.run(make_regtest_chain(files, KEYS, bitcoin, bitcoin)) == config
    assert len(bitcoin.paid_at) == FUNDING_LANES, "a second start finds the chain that is there"
