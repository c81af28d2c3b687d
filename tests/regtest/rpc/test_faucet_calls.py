"""The faucet gives addresses, counts its coins and pays, and never gives an address twice."""

import shutil

from primitives.ids import display_hash
from tests.regtest.rpc.caller import Caller
from tests.regtest.rpc.test_mempool_calls import failure


def funded(rpc, node, blocks=105):
    """Mine so that a few coinbases of the faucet are mature."""
    node.mine_many(blocks, node.wallet.faucet_script)


def test_balance_and_payment(rpc, node):
    """A payment arrives, its change comes back, its fee is the only loss."""
    assert rpc.getbalance() == 0
    funded(rpc, node)
    balance = rpc.getbalance()
    assert balance > 0
    address = rpc.getnewaddress()
    txid = rpc.sendtoaddress(address, 1.25)
    fee = rpc.getmempoolentry(txid)["fees"]["base"]
    assert abs(balance - fee - rpc.getbalance()) < 1e-9
    assert rpc.listunspent(0, 0, [address])[0]["amount"] == 1.25
    assert 0 < rpc.getbalance("*", 1) < rpc.getbalance("*", 0) == rpc.getbalance()
    assert rpc.getbalance("*", 10**6) == 0
    assert failure(rpc.listunspent, 1, 9, None, True, {"minimumAmount": 1}).code == -8
    node.mine(b"\x51")
    (coin,) = rpc.listunspent(1, 9_999_999, [address])
    assert (coin["txid"], coin["confirmations"], coin["safe"]) == (txid, 1, True)
    verbose = rpc.sendtoaddress(address=address, amount="0.5", fee_rate=2, verbose=True)
    entry = rpc.getmempoolentry(verbose["txid"])
    assert round(entry["fees"]["base"] * 1e8) == 2 * entry["vsize"]


def test_refused_payments(rpc, node):
    """No coins, dust, zero, bad addresses and impossible amounts have their codes."""
    address = rpc.getnewaddress()
    assert failure(rpc.sendtoaddress, address, 1).code == -6
    funded(rpc, node)
    assert failure(rpc.sendtoaddress, address, 10**6).code == -6
    assert failure(rpc.sendtoaddress, address, 0.00000001).code == -4
    assert failure(rpc.sendtoaddress, address, 0).code == -3
    assert failure(rpc.sendtoaddress, address, -1).code == -3
    assert failure(rpc.sendtoaddress, "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh", 1).code == -5
    assert failure(rpc.getnewaddress, "", "legacy").code == -5


def test_many_payments_from_one_coin(rpc, node):
    """When no confirmed coin is left, the faucet pays from its own change, up to a full cluster."""
    node.mine(node.wallet.faucet_script)
    node.mine_many(99, b"\x51")
    address = rpc.validateaddress(rpc.getnewaddress())["address"]
    for _ in range(30):
        rpc.sendtoaddress(address, 0.1)
    assert len(rpc.getrawmempool()) == 30
    node.mine(b"\x51")
    assert rpc.getrawmempool() == []
    assert len(rpc.listunspent()) >= 30


def test_reorganisation_moves_the_balance(rpc, node):
    """Coins of blocks that left are gone, and are there again when the blocks return."""
    funded(rpc, node)
    coins = {(coin["txid"], coin["vout"]) for coin in rpc.listunspent()}
    block_hash = rpc.getblockhash(node.tip.height - 3)
    tip = rpc.getbestblockhash()
    rpc.invalidateblock(block_hash)
    assert len(rpc.listunspent()) < len(coins)
    rpc.reconsiderblock(block_hash)
    assert rpc.getbestblockhash() == tip
    assert {(coin["txid"], coin["vout"]) for coin in rpc.listunspent()} == coins


def test_addresses_survive(rpc, node, open_node, tmp_path):
    """After a restart new addresses go on; after losing the index old payments are still seen."""
    first = rpc.getnewaddress()
    node.mine(node.wallet.faucet_script)
    node.mine_many(100, b"\x51")
    txid = rpc.sendtoaddress(first, 2)
    node.mine(b"\x51")
    node.close()
    again = open_node()
    assert Caller(again).getnewaddress() != first
    again.close()
    shutil.rmtree(tmp_path / "node" / "index")
    third = open_node()
    assert [coin["txid"] for coin in Caller(third).listunspent(1, 9_999, [first])] == [txid]


def test_mempool_file_round_trip(node, tmp_path):
    """What waited at a clean stop waits again."""
    from regtest.server.mempool_file import load_mempool, save_mempool
    from tests.regtest.mempool.test_admission import send
    from tests.regtest.mini_wallet import mature_notes, notes_of, spend

    parent = send(node, spend(mature_notes(node)[0]))
    child = send(node, spend(notes_of(parent)[0]))
    save_mempool(tmp_path, node.saved_mempool())
    node.pool.remove([child.txid, parent.txid])
    assert node.restore_mempool([*load_mempool(tmp_path), b"junk"]) == 2
    assert [display_hash(entry.txid) for entry in node.pool] == [
        display_hash(each.txid) for each in (parent, child)
    ]
