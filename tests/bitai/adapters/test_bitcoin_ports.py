"""The contract of L1Source and L1Broadcaster, held by every implementation we have.

`fake` is the oracle of the unit tests; `core` and `btcd` are the adapter over RPC profiles, btcd's recorded
from a real node; `embedded` is the adapter over a process of ours; `named` is any regtest node that
BITAI_TEST_BITCOIND names (bitcoind or btcd; it gets 110 blocks mined on top).
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from l1.fees import fee_of_weight
from l1.ports import Verdict
from primitives.bitcoin.header import parse_header
from primitives.errors import Rejected
from primitives.ids import L1Hash, OutPoint, Txid
from tests.bitai.adapters.peers import (
    URL_VARIABLE,
    FakePeer,
    Peer,
    RealPeer,
    embedded_bitcoin,
    named_node,
    sign,
)

NOWHERE = L1Hash(b"\x11" * 32)


@pytest.fixture(
    params=[
        "fake",
        "core",
        "btcd",
        pytest.param("embedded", marks=pytest.mark.functional),
        pytest.param("named", marks=pytest.mark.functional),
    ]
)
async def peer(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Peer]:
    """One implementation."""
    if request.param in ("fake", "core", "btcd"):
        yield FakePeer(None if request.param == "fake" else request.param)
        return
    if request.param == "named" and not os.environ.get(URL_VARIABLE):
        pytest.skip(f"set {URL_VARIABLE}=http://user:password@host:port of a regtest node")
    world = embedded_bitcoin(tmp_path) if request.param == "embedded" else named_node()
    async with world as transport:
        real = RealPeer(transport)
        await real.prepare()
        yield real


async def test_blocks_are_read_by_height_and_hash(peer: Peer) -> None:
    """Tip, height, header and raw block of one block agree."""
    await peer.mine([])
    tip = await peer.node.best_tip()
    assert await peer.node.block_hash(tip.height) == tip.hash
    raw = await peer.node.raw_block(tip.hash)
    assert parse_header(raw[:80]).hash == tip.hash
    header = await peer.node.header(tip.hash)
    assert header.hash == tip.hash
    assert header.previous == await peer.node.block_hash(tip.height - 1)


async def test_unknown_blocks_are_rejected(peer: Peer) -> None:
    """A height above the tip and a hash nobody mined are told apart from a node that is away."""
    tip = await peer.node.best_tip()
    with pytest.raises(Rejected, match=r"l1\.unknown_height"):
        await peer.node.block_hash(tip.height + 1)
    with pytest.raises(Rejected, match=r"l1\.unknown_block"):
        await peer.node.header(NOWHERE)
    with pytest.raises(Rejected, match=r"l1\.unknown_block"):
        await peer.node.raw_block(NOWHERE)


async def test_left_blocks_stay_readable(peer: Peer) -> None:
    """After a reorg the header of a block that left the chain still says where it hung."""
    await peer.mine([])
    old = await peer.node.best_tip()
    parent = (await peer.node.header(old.hash)).previous
    await peer.reorg()
    new = await peer.node.best_tip()
    assert new.height == old.height + 1
    assert await peer.node.block_hash(old.height) != old.hash
    assert (await peer.node.header(old.hash)).previous == parent
    assert await peer.node.block_hash(old.height - 1) == parent


async def test_sending_is_idempotent(peer: Peer) -> None:
    """The same bytes may be sent before, in and after the mempool; each answer says where they are."""
    coin = await peer.coin()
    raw = sign([coin], [coin[1] - 5_000]).raw
    txid = sign([coin], [coin[1] - 5_000]).txid
    assert not await peer.node.in_mempool(txid)
    assert (await peer.node.test_accept(raw)).verdict is Verdict.ACCEPTED
    assert not await peer.node.in_mempool(txid)
    assert (await peer.node.send(raw)).verdict is Verdict.ACCEPTED
    assert await peer.node.in_mempool(txid)
    assert (await peer.node.send(raw)).verdict.holds
    await peer.mine([raw])
    assert not await peer.node.in_mempool(txid)
    again = await peer.node.send(raw)
    assert again.verdict is Verdict.IN_CHAIN
    assert again.verdict.holds


async def test_refusals_say_why(peer: Peer) -> None:
    """Missing inputs, and replacements that pay too little, are told apart."""
    coin = await peer.coin()
    absent = (OutPoint(Txid(b"\x22" * 32), 0), 50_000)
    assert (await peer.node.send(sign([absent], [40_000]).raw)).verdict is Verdict.MISSING_INPUTS
    assert (await peer.node.test_accept(sign([absent], [40_000]).raw)).verdict is Verdict.MISSING_INPUTS
    first = sign([coin], [coin[1] - 5_000])
    assert (await peer.node.send(first.raw)).verdict is Verdict.ACCEPTED
    worse = await peer.node.send(sign([coin], [coin[1] - 5_001]).raw)
    assert worse.verdict in (Verdict.FEE_TOO_LOW, Verdict.CONFLICT)
    better = sign([coin], [coin[1] - 20_000])
    assert (await peer.node.send(better.raw)).verdict is Verdict.ACCEPTED
    assert not await peer.node.in_mempool(first.txid)


async def test_our_lowest_rate_is_taken(peer: Peer) -> None:
    """A transaction that pays exactly the policy's floor of 1,000 sats per kvB is accepted."""
    coin = await peer.coin()
    weight = sign([coin], [coin[1]]).weight
    cheap = sign([coin], [coin[1] - fee_of_weight(weight, 1_000)])
    assert (await peer.node.send(cheap.raw)).verdict is Verdict.ACCEPTED


async def test_packages_are_taken_or_said_to_be_unknown(peer: Peer) -> None:
    """A child pays for its parent where packages exist; elsewhere the answer is UNSUPPORTED."""
    coin = await peer.coin()
    parent = sign([coin], [coin[1] - 10])
    child = sign([(OutPoint(parent.txid, 0), coin[1] - 10)], [coin[1] - 5_000])
    outcome = await peer.node.send_package([parent.raw, child.raw])
    if peer.packages:
        assert outcome.verdict is Verdict.ACCEPTED
        assert await peer.node.in_mempool(parent.txid)
        assert await peer.node.in_mempool(child.txid)
    else:
        assert outcome.verdict is Verdict.UNSUPPORTED


async def test_fee_rate_is_an_integer_or_unknown(peer: Peer) -> None:
    """A fresh regtest node knows no market, and the answer is a rate in sats per kvB or None."""
    rate = await peer.node.fee_rate(2)
    assert rate is None or (isinstance(rate, int) and rate > 0)
