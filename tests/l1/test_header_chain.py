"""Header chain: links and work are checked, time and ancestors are right."""

import pytest

from l1.header_chain import (
    HeaderChain,
    extend_chain,
    find_common_ancestor,
    require_work,
    retract_chain,
    start_chain,
)
from primitives.bitcoin.header import BlockHeader, parse_header
from primitives.errors import InvalidInput
from primitives.ids import Hash32, L1Hash
from tests.l1.fake_bitcoin import BLOCK_SECONDS, START_TIME, FakeBitcoin


def follow(bitcoin: FakeBitcoin, limit: int = 2_100) -> HeaderChain:
    """Return the fake's active chain as headers."""
    blocks = bitcoin.chain()
    chain = start_chain(blocks[0].point, [START_TIME], limit)
    for block in blocks[1:]:
        chain = extend_chain(chain, parse_header(block.raw[:80]))
    return chain


def test_chain_follows_blocks() -> None:
    """A chain knows its blocks by height, their median time, and the work spent on them."""
    bitcoin = FakeBitcoin()
    bitcoin.mine(20)
    chain = follow(bitcoin)
    assert chain.tip == bitcoin.tip
    assert chain.work == 20 * 2
    assert chain.median_time(20) == START_TIME + BLOCK_SECONDS * 15
    assert chain.median_time(1) == START_TIME + BLOCK_SECONDS
    assert chain.median_time(21) is None
    assert chain.holds(bitcoin.chain()[7].point)
    assert retract_chain(chain).tip == bitcoin.chain()[19].point


def test_tail_is_bounded() -> None:
    """Only the newest headers are kept; what is below them is unknown, not wrong."""
    bitcoin = FakeBitcoin()
    bitcoin.mine(30)
    chain = follow(bitcoin, limit=12)
    assert len(chain.entries) == 12
    assert chain.find(18) is None
    assert chain.find(19) is not None
    assert chain.median_time(18) is None
    assert chain.median_time(19) == START_TIME + BLOCK_SECONDS * 14, "times before the tail are kept"


def test_branches_meet() -> None:
    """Two branches share the block they fork from."""
    bitcoin = FakeBitcoin()
    bitcoin.mine(10)
    old = follow(bitcoin)
    fork = bitcoin.chain()[6].point
    bitcoin.reorg(4)
    new = follow(bitcoin)
    assert find_common_ancestor(old, new) == fork
    assert new.work > old.work


def test_bad_headers_are_refused() -> None:
    """A header with another parent, or without work, does not extend; an empty chain does not retract."""
    bitcoin = FakeBitcoin()
    bitcoin.mine(2)
    chain = follow(bitcoin)
    with pytest.raises(InvalidInput, match=r"l1\.unlinked_header"):
        extend_chain(chain, parse_header(bitcoin.chain()[1].raw[:80]))
    lazy = BlockHeader(1, L1Hash(chain.tip.hash), Hash32(bytes(32)), START_TIME, 0x1D00FFFF, 0)
    with pytest.raises(InvalidInput, match=r"l1\.no_work"):
        require_work(lazy)
    with pytest.raises(InvalidInput, match=r"l1\.no_work"):
        extend_chain(chain, lazy)
    with pytest.raises(InvalidInput, match=r"l1\.reorg_too_deep"):
        retract_chain(start_chain(bitcoin.chain()[0].point, [START_TIME]))
