"""The oracle's Bitcoin with what BIP 141 adds: coinbases that commit to witnesses, as derivation demands."""

from l1.ports import ChainPoint
from primitives.bitcoin.header import BlockHeader
from primitives.hashes import sha256d
from primitives.ids import Hash32, L1Hash
from tests.l1.fake_bitcoin import (
    BLOCK_SECONDS,
    NOBODY,
    REGTEST_BITS,
    START_TIME,
    SUBSIDY,
    FakeBitcoin,
    FakeBlock,
    compact_size,
    inputs_of,
    merkle_root,
    txid_of,
)

_COMMITMENT_MARK = bytes.fromhex("6a24aa21a9ed")


class CommittedBitcoin(FakeBitcoin):
    """A fake Bitcoin whose blocks pass `check_commitments`, and which can be put back to an earlier moment.

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

    def _make_block(self, parent, transactions, pay_to=NOBODY):
        height = parent.height + 1 if parent else 0
        previous = parent.hash if parent else L1Hash(bytes(32))
        self._salt += 1
        everything = (_coinbase(height, self._salt, transactions, pay_to), *transactions)
        root = Hash32(merkle_root([txid_of(raw) for raw in everything]))
        nonce, time = 0, START_TIME + BLOCK_SECONDS * height
        header = BlockHeader(0x20000000, previous, root, time, REGTEST_BITS, nonce)
        while not header.meets_target:
            nonce += 1
            header = BlockHeader(0x20000000, previous, root, time, REGTEST_BITS, nonce)
        raw = header.encode() + compact_size(len(everything)) + b"".join(everything)
        block = FakeBlock(ChainPoint(height, header.hash), previous, raw, everything)
        self.blocks[header.hash] = block
        return block


def _coinbase(height, salt, transactions, pay_to):
    """A coinbase with the witness commitment; `salt` tells the blocks of one height apart."""
    tag = height.to_bytes(4, "little") + salt.to_bytes(4, "little")
    witness_root = merkle_root([bytes(32), *(sha256d(raw) for raw in transactions)])
    note = _COMMITMENT_MARK + sha256d(witness_root + bytes(32))
    outputs = SUBSIDY.to_bytes(8, "little") + bytes([len(pay_to)]) + pay_to
    outputs += bytes(8) + bytes([len(note)]) + note
    inputs = b"\x01" + bytes(32) + b"\xff" * 4 + bytes([len(tag)]) + tag + b"\xff" * 4
    return bytes.fromhex("020000000001") + inputs + b"\x02" + outputs + b"\x01\x20" + bytes(32) + bytes(4)
