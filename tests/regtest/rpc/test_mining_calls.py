"""Mining on demand, forks, blocks from outside, ruling out, and the clock."""

import pytest

from primitives.bitcoin.parser import parse_block
from primitives.ids import display_hash
from regtest.options import NodeOptions
from tests.regtest.conftest import SEED_HEIGHT
from tests.regtest.mempool.test_admission import send
from tests.regtest.mini_wallet import OPEN_SCRIPT, mature_notes, notes_of, spend
from tests.regtest.rpc.caller import Caller
from tests.regtest.rpc.test_mempool_calls import failure
from tests.regtest.test_chain import block_on

ANYWHERE = "raw(51)"


def test_generate(rpc):
    """Blocks are mined at once to an address or a descriptor."""
    address = rpc.getnewaddress()
    hashes = rpc.generatetoaddress(3, address)
    assert rpc.getblockhash(SEED_HEIGHT + 1) == hashes[0]
    assert rpc.getbestblockhash() == hashes[2]
    paid = rpc.getblock(hashes[0], 2)["tx"][0]["vout"][0]["scriptPubKey"]["address"]
    assert paid == address
    assert len(rpc.generatetodescriptor(2, ANYWHERE)) == 2
    assert rpc.generatetoaddress(0, address) == []
    assert failure(rpc.generatetoaddress, 1, "nonsense").code == -5
    assert failure(rpc.generatetoaddress, -1, address).code == -8


def test_older_addresses(rpc):
    """Key hashes and script hashes of regtest are paid too; other networks' addresses are not."""
    digest = bytes(range(20)).hex()
    for address, script in (
        ("mfWyW5fc9NUj75YAnFgoRLrjxgLDn2MMth", f"76a914{digest}88ac"),
        ("2MsFFCK16VhsCcvPXruztdzzcTZEQCbNKjJ", f"a914{digest}87"),
    ):
        assert rpc.validateaddress(address)["scriptPubKey"] == script
        (mined,) = rpc.generatetoaddress(1, address)
        paid = rpc.getblock(mined, 2)["tx"][0]["vout"][0]["scriptPubKey"]
        assert (paid["hex"], paid["address"]) == (script, address)
    assert failure(rpc.generatetoaddress, 1, "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa").code == -5


@pytest.mark.parametrize("script", ["6a" + "00" * 3_000, "ac" * 101, "ac" * 20_001])
def test_payout_that_fits_no_block(rpc, node, script):
    """A payout script that takes too much of a block is the caller's mistake; what waits goes on waiting."""
    waiting = send(node, spend(mature_notes(node)[0]))
    found = failure(rpc.generatetodescriptor, 1, f"raw({script})")
    assert (found.code, "too large" in found.message) == (-1, True)
    assert rpc.getrawmempool() == [display_hash(waiting.txid)]
    assert len(rpc.generatetodescriptor(1, f"raw({'ac' * 100})")) == 1
    assert rpc.getrawmempool() == []


def test_chosen_transactions(rpc, node):
    """A block holds exactly what was named, by id or in full, mempool or not."""
    notes = mature_notes(node)
    waiting, left = send(node, spend(notes[0])), send(node, spend(notes[1]))
    direct = spend(notes[2], fee=0)
    made = rpc.generateblock(ANYWHERE, [display_hash(waiting.txid), direct.raw.hex()])
    assert rpc.getblock(made["hash"])["tx"][1:] == [display_hash(each.txid) for each in (waiting, direct)]
    assert rpc.getrawmempool() == [display_hash(left.txid)]
    assert failure(rpc.generateblock, ANYWHERE, ["00" * 32]).code == -5
    assert failure(rpc.generateblock, ANYWHERE, ["abc"]).code == -22
    found = failure(rpc.generateblock, ANYWHERE, [spend(notes[2]).raw.hex()])
    assert found.code == -25
    assert "TestBlockValidity failed: bad-txns-inputs-missingorspent" in found.message


def test_fork(rpc):
    """With prevhash a branch grows beside the chain and overtakes it."""
    tip = rpc.getbestblockhash()
    parent = rpc.getblockhash(SEED_HEIGHT - 3)
    for length in range(1, 5):
        parent = rpc.generateblock(ANYWHERE, [], True, parent)["hash"]
        assert rpc.getbestblockhash() == (parent if length == 4 else tip)
    assert rpc.getblockcount() == SEED_HEIGHT + 1
    assert rpc.getblockheader(tip)["confirmations"] == -1
    assert failure(rpc.generateblock, ANYWHERE, [], True, "00" * 32).code == -5


def test_block_is_returned_unsent(rpc):
    """With submit false the block is only built; submitblock takes it."""
    made = rpc.generateblock(ANYWHERE, [], False)
    assert rpc.getblockcount() == SEED_HEIGHT
    assert rpc.submitblock(made["hex"]) is None
    assert rpc.getbestblockhash() == made["hash"]


def test_submitted_blocks(rpc, node):
    """Null for the new tip, else the reason alone, without details."""
    raw = block_on(node.chain, node.tip)
    assert rpc.submitblock(raw.hex()) is None
    assert rpc.submitblock(raw.hex()) == "duplicate"
    assert rpc.submitblock(block_on(node.chain, node.tip, fees=1).hex()) == "bad-cb-amount"
    parent = node.chain.tree.row(parse_block(raw).header.previous)
    assert rpc.submitblock(block_on(node.chain, parent).hex()) == "inconclusive"
    for junk in ("", "zz", "00", raw.hex() + "00", raw.hex()[:-2]):
        found = failure(rpc.submitblock, junk)
        assert (found.code, "Block decode failed" in found.message) == (-22, True)


def test_ruling_out(rpc, node):
    """Invalidateblock steps back and frees transactions; reconsiderblock returns."""
    transaction = send(node, spend(mature_notes(node)[0]))
    tip = display_hash(node.mine(OPEN_SCRIPT))
    assert rpc.invalidateblock(tip) is None
    assert (rpc.getblockcount(), rpc.getrawmempool()) == (SEED_HEIGHT, [display_hash(transaction.txid)])
    assert rpc.reconsiderblock(tip) is None
    assert (rpc.getbestblockhash(), rpc.getrawmempool()) == (tip, [])
    assert failure(rpc.invalidateblock, rpc.getblockhash(0)).code == -8


def test_clock(rpc, node):
    """The clock moves back and forth but not beyond what the kernel takes; it goes on from there."""
    start = node.clock.now()
    rpc.setmocktime(start + 86_400)
    (made,) = rpc.generatetodescriptor(1, ANYWHERE)
    assert 86_400 <= rpc.getblockheader(made)["time"] - start < 86_500
    rpc.setmocktime(0)
    assert node.clock.now() > start + 20 * 86_400
    assert failure(rpc.setmocktime, -1).code == -8
    found = failure(rpc.setmocktime, node.clock.now() + 9_000)
    assert (found.code, "--clock-offset" in found.message) == (-8, True)
    rpc.setmocktime(node.clock.now() + 7_000)
    assert len(rpc.generatetodescriptor(20, ANYWHERE)) == 20


def test_blocks_too_quick_for_the_clock(rpc, node):
    """When the median time runs past what the kernel takes, mining says so instead of failing."""
    rpc.setmocktime(node.clock.latest_block_time())
    rpc.generatetodescriptor(6, ANYWHERE)
    node.clock.latest_block_time = lambda: node.tip.header.time - 1
    found = failure(rpc.generatetodescriptor, 1, ANYWHERE)
    assert (found.code, "two hours ahead" in found.message) == (-1, True)


def test_mining_on_transactions(open_node):
    """With mine-on-tx an accepted transaction is mined before the call returns."""
    node = open_node(options=NodeOptions(mine_on_transaction=True, payout_script=OPEN_SCRIPT))
    rpc = Caller(node)
    txid = rpc.sendrawtransaction(spend(mature_notes(node)[0]).raw.hex())
    assert rpc.getrawtransaction(txid, 1)["confirmations"] == 1
    parent = spend(mature_notes(node)[1], fee=0)
    rpc.submitpackage([parent.raw.hex(), spend(parent_note(parent), fee=900).raw.hex()])
    assert rpc.getblockcount() == SEED_HEIGHT + 2
    assert rpc.getrawmempool() == []


def parent_note(transaction):
    """The first open output."""
    return notes_of(transaction)[0]


def test_long_mining_can_be_interrupted(rpc, node):
    """A process that stops does not wait for a thousand blocks."""
    answers = iter([False, False, True])
    node.interrupted = lambda: next(answers)
    assert len(rpc.generatetodescriptor(1_000, ANYWHERE)) == 2


def test_control(rpc, node):
    """What clients ask a node when they meet it."""
    network = rpc.getnetworkinfo()
    assert (network["connections"], network["relayfee"]) == (0, 0.000001)
    assert rpc.getpeerinfo() == rpc.getzmqnotifications() == []
    assert rpc.getconnectioncount() == 0
    assert rpc.getindexinfo()["txindex"]["synced"] is True
    assert rpc.getmininginfo()["blocks"] == node.tip.height
    assert rpc.validateaddress("nonsense")["isvalid"] is False
    address = rpc.getnewaddress()
    shown = rpc.validateaddress(address)
    assert (shown["isvalid"], shown["witness_version"], shown["iswitness"]) == (True, 1, True)
