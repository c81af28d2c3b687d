"""An oracle for the index: the coins of a chain, worked out from its raw blocks in the plainest way."""

from primitives.bitcoin.parser import parse_block
from primitives.ids import OutPoint
from regtest.chain import Chain
from regtest.coins import Coin


def coins_by_replay(chain: Chain) -> dict[OutPoint, Coin]:
    """Every unspent output of the active chain, by walking its blocks from the second."""
    coins: dict[OutPoint, Coin] = {}
    for height in range(1, chain.tree.height + 1):
        row = chain.tree.row(chain.tree.active_hash(height))
        for number, transaction in enumerate(parse_block(chain.raw_block(row)).transactions):
            for entry in transaction.inputs if number else ():
                del coins[entry.prevout]
            for vout, output in enumerate(transaction.outputs):
                if output.script[:1] != b"\x6a":
                    coin = Coin(output.value, bytes(output.script), height, number == 0)
                    coins[OutPoint(transaction.txid, vout)] = coin
    return coins


def assert_consistent(chain: Chain) -> None:
    """Index, tree and kernel describe the same chain."""
    assert dict(chain.coins()) == coins_by_replay(chain)
    assert chain.kernel.tip() == (chain.tree.tip.hash, chain.tree.height)
    assert chain._index.best == chain.tree.tip.hash
