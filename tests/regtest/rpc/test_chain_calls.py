"""Blocks, headers, transactions and coins look as Bitcoin Core shows them."""

import pytest

from primitives.bitcoin.header import parse_header
from primitives.bitcoin.parser import parse_block
from primitives.ids import display_hash
from tests.regtest.conftest import SEED_HEIGHT
from tests.regtest.mempool.test_admission import send
from tests.regtest.mini_wallet import OPEN_SCRIPT, mature_notes, notes_of, spend
from tests.regtest.rpc.caller import RpcFailure
from tests.regtest.test_chain import ancestor, extend

GENESIS = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"


def test_identity(rpc):
    """Regtest's genesis block, name and difficulty are the known ones."""
    assert rpc.getblockhash(0) == GENESIS
    info = rpc.getblockchaininfo()
    assert (info["chain"], info["blocks"], info["headers"]) == ("regtest", SEED_HEIGHT, SEED_HEIGHT)
    assert info["bestblockhash"] == rpc.getbestblockhash() == rpc.getblockhash(rpc.getblockcount())
    assert f"{info['difficulty']:.6e}" == "4.656542e-10"
    assert info["chainwork"] == f"{2 * (SEED_HEIGHT + 1):064x}"


def test_headers_are_those_that_may_count(rpc):
    """What was ruled out is not waited for."""
    rpc.invalidateblock(rpc.getblockhash(SEED_HEIGHT - 1))
    info = rpc.getblockchaininfo()
    assert (info["blocks"], info["headers"]) == (SEED_HEIGHT - 2, SEED_HEIGHT - 2)


def test_genesis_transaction(rpc):
    """The first coinbase can never be spent and, as in Core, is not found by its id."""
    (txid,) = rpc.getblock(GENESIS)["tx"]
    for verbosity in (0, 1, 2):
        with pytest.raises(RpcFailure) as caught:
            rpc.getrawtransaction(txid, verbosity)
        assert (caught.value.code, "genesis block coinbase" in caught.value.message) == (-5, True)
    assert rpc.getrawtransaction(txid, 1, GENESIS)["txid"] == txid


def test_header(rpc):
    """The verbose header agrees with the raw one, and links both ways."""
    block_hash = rpc.getblockhash(7)
    header = parse_header(bytes.fromhex(rpc.getblockheader(block_hash, False)))
    shown = rpc.getblockheader(block_hash)
    assert shown["hash"] == display_hash(header.hash) == block_hash
    assert (shown["height"], shown["confirmations"], shown["nTx"]) == (7, SEED_HEIGHT - 6, 1)
    assert (shown["time"], shown["nonce"], shown["bits"]) == (header.time, header.nonce, "207fffff")
    assert shown["previousblockhash"] == rpc.getblockhash(6)
    assert shown["nextblockhash"] == rpc.getblockhash(8)
    assert "previousblockhash" not in rpc.getblockheader(GENESIS)
    assert "nextblockhash" not in rpc.getblockheader(rpc.getbestblockhash())


def test_block_at_each_verbosity(rpc, node):
    """Hex, ids, decoded with fees, with what was spent: each says more about the same bytes."""
    note = mature_notes(node)[0]
    parent = send(node, spend(note, fee=700))
    send(node, spend(notes_of(parent)[0], fee=900))
    block_hash = display_hash(node.mine(OPEN_SCRIPT))
    raw = bytes.fromhex(rpc.getblock(block_hash, 0))
    block = parse_block(raw)
    ids = rpc.getblock(block_hash)
    assert ids["tx"] == [display_hash(transaction.txid) for transaction in block.transactions]
    assert (ids["size"], ids["weight"]) == (len(raw), block.weight)
    assert ids["weight"] == 3 * ids["strippedsize"] + ids["size"]
    decoded = rpc.getblock(block_hash, 2)["tx"]
    assert [each.get("fee") for each in decoded] == [None, 0.000007, 0.000009]
    assert decoded[1]["hex"] == parent.raw.hex()
    assert "coinbase" in decoded[0]["vin"][0]
    full = rpc.getblock(block_hash, 3)["tx"]
    prevout = full[1]["vin"][0]["prevout"]
    assert (prevout["generated"], prevout["height"], prevout["value"]) == (True, 1, 50.0)
    assert full[2]["vin"][0]["prevout"]["height"] == rpc.getblockcount()


def test_unknown_things(rpc):
    """What is not there is -5, what cannot be is -8."""
    for method, params in [
        ("getblock", ["00" * 32]),
        ("getblockheader", ["00" * 32]),
        ("getrawtransaction", ["00" * 32]),
        ("getmempoolentry", ["00" * 32]),
        ("invalidateblock", ["00" * 32]),
        ("reconsiderblock", ["00" * 32]),
    ]:
        with pytest.raises(RpcFailure) as caught:
            getattr(rpc, method)(*params)
        assert caught.value.code == -5
    assert rpc.gettxout("00" * 32, 0) is None


def test_raw_transaction(rpc, node):
    """Waiting, mined, and in a named block; depth and fee included where they are known."""
    transaction = send(node, spend(mature_notes(node)[0], fee=321))
    txid = display_hash(transaction.txid)
    assert rpc.getrawtransaction(txid) == transaction.raw.hex()
    waiting = rpc.getrawtransaction(txid, 2)
    assert (waiting["fee"], waiting["vin"][0]["prevout"]["height"]) == (0.00000321, 1)
    assert "blockhash" not in waiting
    block_hash = display_hash(node.mine(OPEN_SCRIPT))
    mined = rpc.getrawtransaction(txid, 1)
    assert (mined["blockhash"], mined["confirmations"]) == (block_hash, 1)
    assert mined["hex"] == transaction.raw.hex()
    assert mined["vsize"] == transaction.vbytes
    assert rpc.getrawtransaction(txid, 2)["fee"] == 0.00000321
    assert rpc.getrawtransaction(txid, 1, block_hash)["in_active_chain"] is True
    with pytest.raises(RpcFailure) as caught:
        rpc.getrawtransaction(txid, 1, GENESIS)
    assert caught.value.code == -5
    rpc.invalidateblock(block_hash)
    assert rpc.getrawtransaction(txid, 1, block_hash)["in_active_chain"] is False


def test_outputs(rpc, node):
    """An output is unspent, then spent in the mempool, then gone; new ones appear with the mempool's view."""
    note = mature_notes(node)[0]
    txid = display_hash(note.outpoint.txid)
    shown = rpc.gettxout(txid, 0)
    assert (shown["value"], shown["coinbase"], shown["confirmations"]) == (50.0, True, SEED_HEIGHT)
    assert shown["scriptPubKey"]["type"] == "witness_v1_taproot"
    assert shown["scriptPubKey"]["asm"] == f"1 {OPEN_SCRIPT[2:].hex()}"
    transaction = send(node, spend(note))
    assert rpc.gettxout(txid, 0) is None
    assert rpc.gettxout(txid, 0, False) is not None
    new = display_hash(transaction.txid)
    assert rpc.gettxout(new, 0)["confirmations"] == 0
    assert rpc.gettxout(new, 0, False) is None
    answers = rpc.gettxspendingprevout([{"txid": txid, "vout": 0}, {"txid": new, "vout": 0}])
    assert answers[0]["spendingtxid"] == new
    assert "spendingtxid" not in answers[1]
    asked = [{"txid": txid, "vout": 0}]
    assert rpc.gettxspendingprevout(asked, {"mempool_only": True}) == answers[:1]
    for options in ({"mempool_only": False}, {"return_spending_tx": True}, {"anything": 1}):
        with pytest.raises(RpcFailure) as caught:
            rpc.gettxspendingprevout(asked, options)
        assert caught.value.code == -8
    node.mine(OPEN_SCRIPT)
    assert rpc.gettxout(txid, 0, False) is None
    assert rpc.gettxout(new, 0)["confirmations"] == 1


def test_tips(rpc, node):
    """Branches show as valid-headers until connected, valid-fork after, invalid when ruled out."""
    chain = node.chain
    side, _ = extend(chain, ancestor(chain, 3), 1)
    tips = {tip["hash"]: tip for tip in rpc.getchaintips()}
    assert tips[display_hash(side.hash)]["status"] == "valid-headers"
    assert tips[display_hash(side.hash)]["branchlen"] == 1
    assert tips[rpc.getbestblockhash()]["status"] == "active"
    old = rpc.getbestblockhash()
    extend(chain, side, 3)
    tips = {tip["hash"]: tip["status"] for tip in rpc.getchaintips()}
    assert tips[old] == "valid-fork"
    rpc.invalidateblock(rpc.getbestblockhash())
    statuses = sorted(tip["status"] for tip in rpc.getchaintips())
    assert statuses == ["active", "invalid"]


def test_scan(rpc, node):
    """All coins of a script are found by raw(), rawtr() and addr()."""
    address = rpc.gettxout(display_hash(mature_notes(node)[0].outpoint.txid), 0)["scriptPubKey"]["address"]
    for descriptor in (f"raw({OPEN_SCRIPT.hex()})", f"rawtr({OPEN_SCRIPT[2:].hex()})", f"addr({address})#x"):
        found = rpc.scantxoutset("start", [descriptor])
        assert (found["success"], len(found["unspents"]), found["txouts"]) == (True, SEED_HEIGHT, SEED_HEIGHT)
        assert found["total_amount"] == 50.0 * SEED_HEIGHT
    assert rpc.scantxoutset("status") is None
    assert rpc.scantxoutset("abort") is False
    with pytest.raises(RpcFailure):
        rpc.scantxoutset("start", ["pkh(xyz)"])
