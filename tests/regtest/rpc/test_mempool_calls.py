"""Sending, dry runs, packages and entries, with the codes clients depend on."""

import pytest

from primitives.ids import display_hash
from tests.regtest.mempool.test_admission import send
from tests.regtest.mini_wallet import OPEN_SCRIPT, mature_notes, notes_of, spend
from tests.regtest.rpc.caller import RpcFailure


def failure(call, *params) -> RpcFailure:
    """The error of a call."""
    with pytest.raises(RpcFailure) as caught:
        call(*params)
    return caught.value


@pytest.fixture
def notes(node):
    """Coins that may be spent."""
    return mature_notes(node)


def test_send_and_send_again(rpc, node, notes):
    """Sending returns the id, also the second time, also with another witness; once mined it is -27."""
    transaction = spend(notes[0])
    txid = display_hash(transaction.txid)
    assert rpc.sendrawtransaction(transaction.raw.hex()) == txid
    assert rpc.sendrawtransaction(transaction.raw.hex()) == txid
    twin = transaction.with_witness(0, (*transaction.inputs[0].witness[:1], b"\xc0" + bytes(32)))
    assert rpc.sendrawtransaction(twin.raw.hex()) == txid
    assert rpc.getrawmempool() == [txid]
    node.mine(OPEN_SCRIPT)
    found = failure(rpc.sendrawtransaction, transaction.raw.hex())
    assert (found.code, found.message) == (-27, "Transaction outputs already in utxo set")


def test_codes_of_refusals(rpc, notes):
    """-22 undecodable, -25 missing inputs or too dear, -26 policy, each with Core's words."""
    good = spend(notes[0]).raw.hex()
    for text in ("", "zz", good + "00", good[:-2], "00" * 10):
        assert failure(rpc.sendrawtransaction, text).code == -22
    orphan = spend(notes_of(spend(notes[0]))[0]).raw.hex()
    found = failure(rpc.sendrawtransaction, orphan)
    assert (found.code, found.message) == (-25, "bad-txns-inputs-missingorspent")
    found = failure(rpc.sendrawtransaction, spend(notes[0], fee=1).raw.hex())
    assert (found.code, found.message) == (-26, "min relay fee not met, 1 < 11")
    dear = spend(notes[0], fee=10**7).raw.hex()
    assert failure(rpc.sendrawtransaction, dear).code == -25
    assert failure(rpc.sendrawtransaction, good, 1).code == -8
    assert rpc.sendrawtransaction(dear, 0)


def test_burning_needs_consent(rpc, notes):
    """Value in an OP_RETURN is refused unless allowed."""
    from primitives.bitcoin.transaction import TxOut

    burn = spend(notes[0], extra=[TxOut(1_000, b"\x6a\x01x")]).raw.hex()
    assert failure(rpc.sendrawtransaction, burn).code == -25
    assert rpc.sendrawtransaction(burn, None, 0.00001)


def test_dry_run(rpc, notes):
    """Allowed with size and fee, or refused with reason and details; nothing is sent."""
    good = spend(notes[0], fee=500)
    (answer,) = rpc.testmempoolaccept([good.raw.hex()])
    assert answer["allowed"] is True
    assert (answer["vsize"], answer["fees"]["base"]) == (good.vbytes, 0.000005)
    assert answer["fees"]["effective-includes"] == [display_hash(good.wtxid)]
    (answer,) = rpc.testmempoolaccept([spend(notes[0], fee=1).raw.hex()])
    assert answer["allowed"] is False
    assert answer["reject-reason"] == "min relay fee not met"
    assert answer["reject-details"] == "min relay fee not met, 1 < 11"
    (answer,) = rpc.testmempoolaccept([spend(notes_of(good)[0]).raw.hex()])
    assert answer["reject-reason"] == "missing-inputs"
    (answer,) = rpc.testmempoolaccept([spend(notes[0], fee=10**7).raw.hex()])
    assert answer["reject-reason"] == "max-fee-exceeded"
    chain = [good, spend(notes_of(good)[0])]
    assert [each["allowed"] for each in rpc.testmempoolaccept([each.raw.hex() for each in chain])] == [
        True,
        True,
    ]
    backwards = rpc.testmempoolaccept([each.raw.hex() for each in chain[::-1]])
    assert [each["package-error"] for each in backwards] == ["package-not-sorted"] * 2
    assert rpc.getrawmempool() == []
    assert failure(rpc.testmempoolaccept, []).code == -8


def test_package(rpc, notes):
    """A free parent and its child enter together; the answer names both by witness id."""
    parent = spend(notes[0], fee=0)
    child = spend(notes_of(parent)[0], fee=2_000)
    answer = rpc.submitpackage([parent.raw.hex(), child.raw.hex()])
    assert (answer["package_msg"], answer["replaced-transactions"]) == ("success", [])
    results = answer["tx-results"]
    assert set(results) == {display_hash(parent.wtxid), display_hash(child.wtxid)}
    rate = results[display_hash(parent.wtxid)]["fees"]["effective-feerate"]
    assert rate == pytest.approx(2_000 / (parent.vbytes + child.vbytes) / 1e5, abs=2e-8)
    unrelated = [spend(notes[1]).raw.hex(), spend(notes[2]).raw.hex()]
    assert failure(rpc.submitpackage, unrelated).code == -25
    poor = spend(notes[1], fee=1)
    answer = rpc.submitpackage([poor.raw.hex()])
    assert answer["package_msg"] == "transaction failed"
    assert "min relay fee" in answer["tx-results"][display_hash(poor.wtxid)]["error"]


def test_entries(rpc, node, notes):
    """An entry tells its family, and the chunk it will be mined in."""
    parent = send(node, spend(notes[0], fee=100))
    child = send(node, spend(notes_of(parent)[0], fee=10_000))
    ids = [display_hash(each.txid) for each in (parent, child)]
    entry = rpc.getmempoolentry(ids[0])
    assert (entry["descendantcount"], entry["ancestorcount"]) == (2, 1)
    assert entry["fees"] == {
        "base": 0.000001,
        "modified": 0.000001,
        "ancestor": 0.000001,
        "descendant": 0.000101,
        "chunk": 0.000101,
    }
    assert (entry["spentby"], rpc.getmempoolentry(ids[1])["depends"]) == ([ids[1]], [ids[0]])
    assert rpc.getmempoolancestors(ids[1]) == [ids[0]]
    assert rpc.getmempooldescendants(ids[0]) == [ids[1]]
    assert set(rpc.getrawmempool(True)) == set(ids)
    cluster = rpc.getmempoolcluster(ids[0])
    assert (cluster["txcount"], cluster["chunks"][0]["txs"]) == (2, ids)
    info = rpc.getmempoolinfo()
    assert (info["size"], info["limitclustercount"], info["limitclustersize"]) == (2, 64, 101_000)
    assert (info["minrelaytxfee"], info["total_fee"]) == (0.000001, 0.000101)
    assert rpc.getrawmempool(False, True)["txids"] == ids


def test_decoding_and_estimates(rpc, notes):
    """Decoding needs no mempool; the estimate is 1 sat/vB on an empty one."""
    transaction = spend(notes[0], padding=10)
    shown = rpc.decoderawtransaction(transaction.raw.hex())
    assert shown["txid"] == display_hash(transaction.txid)
    assert shown["hash"] == display_hash(transaction.wtxid)
    assert [each["scriptPubKey"]["type"] for each in shown["vout"]] == ["witness_v1_taproot", "nulldata"]
    assert rpc.estimatesmartfee(1) == {"feerate": 0.00001, "blocks": 2}
    assert failure(rpc.estimatesmartfee, 0).code == -8
