"""The oracle's Bitcoin for processes that die: it can be put back, and forgets in which order it was told."""

from tests.l1.fake_bitcoin import FakeBitcoin, inputs_of


class CommittedBitcoin(FakeBitcoin):
    """A fake Bitcoin which can be put back to an earlier moment.

    Its blocks order transactions by txid, parents first: who came first into the mempool leaves no trace.
    """

    def freeze(self):
        """Return everything that matters later, as `thaw` takes it."""
        return self.tip, self._salt, dict(self.mempool), dict(self.blocks)

    def thaw(self, frozen):
        """Be what `freeze` saw."""
        self.tip, self._salt, mempool, blocks = frozen
        self.mempool, self.blocks = dict(mempool), dict(blocks)

    def parentless(self):
        """Txids that wait for no other one."""
        return [
            txid
            for txid, raw in self.mempool.items()
            if all(outpoint.txid not in self.mempool for outpoint in inputs_of(raw))
        ]

    def _in_order(self, wanted):
        chosen = []
        while ready := sorted(
            txid
            for txid in wanted
            if txid not in chosen
            and all(
                each.txid not in self.mempool or each.txid in chosen for each in inputs_of(self.mempool[txid])
            )
        ):
            chosen.append(ready[0])
        return chosen
