"""The mempool follows the chain: mined and conflicting entries go, what a reorganisation frees comes back."""

import pytest

from regtest.mempool import upkeep
from tests.regtest.mempool.test_admission import send
from tests.regtest.mini_wallet import OPEN_SCRIPT, mature_notes, notes_of, parsed, spend
from tests.regtest.test_chain import ancestor, block_on


@pytest.fixture
def notes(node):
    """Coins that may be spent."""
    return mature_notes(node)


def waiting(node):
    """Ids of what is in the mempool."""
    return {entry.txid for entry in node.pool}


def test_block_from_outside_takes_its_transactions(node, notes):
    """Mined entries leave, their children stay; who lost its coin to the block goes with its children."""
    kept = send(node, spend(notes[0]))
    child = send(node, spend(notes_of(kept)[0]))
    loser = send(node, spend(notes[1]))
    send(node, spend(notes_of(loser)[0]))
    rival = spend(notes[1], fee=0)
    raw = block_on(node.chain, node.tip, transactions=[parsed(kept), parsed(rival)])
    assert node.submit_block(raw).reason == ""
    assert waiting(node) == {child.txid}
    node.mine(OPEN_SCRIPT)
    assert waiting(node) == set()


def test_ruled_out_block_gives_its_transactions_back(node, notes):
    """After invalidateblock the transactions wait again, in an order that can be mined."""
    parent = send(node, spend(notes[0]))
    child = send(node, spend(notes_of(parent)[0]))
    block_hash = node.mine(OPEN_SCRIPT)
    grandchild = send(node, spend(notes_of(child)[0]))
    node.invalidate(block_hash)
    assert waiting(node) == {parent.txid, child.txid, grandchild.txid}
    node.mine(OPEN_SCRIPT)
    assert waiting(node) == set()


def test_other_branch_decides(node, notes):
    """After a reorganisation the new branch's spends stand; what only the old branch had comes back."""
    lost, returned = spend(notes[0]), spend(notes[1])
    send(node, lost)
    send(node, returned)
    node.mine(OPEN_SCRIPT)
    rival = spend(notes[0], fee=0)
    parent = ancestor(node.chain, 1)
    answer = node.submit_block(block_on(node.chain, parent, transactions=[parsed(rival)]))
    parent = node.chain.tree.row(answer.block_hash)
    assert answer.reason == "inconclusive"
    assert node.submit_block(block_on(node.chain, parent)).reason == ""
    assert waiting(node) == {returned.txid}


def test_spender_of_a_vanished_coinbase_goes(node):
    """A coinbase that was mature before the reorganisation may be immature, or gone, after it."""
    youngest = mature_notes(node)[-1]
    transaction = send(node, spend(youngest))
    node.invalidate(ancestor(node.chain, 0).hash)
    assert waiting(node) == set()
    node.mine(OPEN_SCRIPT)
    send(node, transaction)


def test_old_entries_expire(node, notes):
    """After two weeks an entry and its children leave."""
    old = send(node, spend(notes[0]))
    node.clock.set(node.clock.now() + 100)
    send(node, spend(notes_of(old)[0]))
    fresh = send(node, spend(notes[1]))
    gone = upkeep.expire(node.pool, node.clock.now() - 50)
    assert len(gone) == 2
    assert waiting(node) == {fresh.txid}
