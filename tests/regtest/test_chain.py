"""The chain follows the most work, remembers everything it was told, and can be told to think again."""

import shutil

import pytest

from primitives.bitcoin.parser import parse_block
from primitives.errors import ConfigError, InvalidInput, Rejected, Temporary
from primitives.ids import L1Hash
from regtest import disk
from regtest.block_log import BlockLog, RecordKind
from regtest.chain import INDEX_DIRECTORY, KERNEL_PREFIX, LOG_FILE, Chain
from regtest.mining import BlockPlan, build_block
from tests.regtest.conftest import SEED_HEIGHT
from tests.regtest.ledger import assert_consistent
from tests.regtest.mini_wallet import OPEN_SCRIPT, mature_notes, parsed, spend


def block_on(chain, parent, *, transactions=(), fees=0, time=None, extra=None) -> bytes:
    """A raw block on any block of the tree."""
    tree = chain.tree
    when = tree.median_time(parent) + 1 if time is None else time
    nonce = len(tree) if extra is None else extra
    plan = BlockPlan(parent.hash, parent.height + 1, when, OPEN_SCRIPT, fees, nonce, transactions)
    return build_block(plan)


def extend(chain, parent, count=1):
    """Submit blocks on a parent, one on the other; returns the last row and answer."""
    for _ in range(count):
        answer = chain.submit(block_on(chain, parent))
        parent = chain.tree.row(answer.block_hash)
    return parent, answer


def ancestor(chain, depth):
    """The active block so many below the tip."""
    return chain.tree.row(chain.tree.active_hash(chain.tree.height - depth))


def reopen(node, open_node):
    """The same directory in a new process, as it were."""
    node.close()
    return open_node().chain


def test_seed_chain_is_consistent(node):
    """A log alone brings back chain, coins and kernel state."""
    assert node.tip.height == SEED_HEIGHT
    assert_consistent(node.chain)


@pytest.mark.parametrize("depth", range(1, 8))
def test_reorganisation(node, depth):
    """A branch of equal work changes nothing, one more block switches; coins are those of the new branch."""
    chain = node.chain
    old, _ = extend(chain, chain.tree.tip, depth)
    fork = ancestor(chain, depth)
    new, answer = extend(chain, fork, depth)
    assert answer.reason == "inconclusive"
    assert chain.tree.tip == old
    assert (answer.update.connected, answer.update.disconnected) == ((), ())
    new, answer = extend(chain, new)
    assert answer.reason == ""
    assert chain.tree.tip == new
    assert [item.row.height for item in answer.update.disconnected] == list(
        range(fork.height + depth, fork.height, -1)
    )
    assert [item.row.height for item in answer.update.connected] == list(
        range(fork.height + 1, fork.height + depth + 2)
    )
    assert_consistent(chain)


def test_heavier_branch_with_an_invalid_end(node):
    """A heavier branch that turns out invalid leaves the old chain in place; nothing builds on it."""
    chain = node.chain
    before = chain.tree.tip
    side, _ = extend(chain, ancestor(chain, 1))
    answer = chain.submit(block_on(chain, side, fees=1))
    assert answer.reason.startswith("bad-cb-amount")
    assert chain.tree.tip == before
    bad = chain.tree.row(answer.block_hash)
    assert bad.failed
    assert chain.submit(block_on(chain, bad)).reason == "bad-prevblk"
    assert_consistent(chain)


def test_invalid_middle_of_a_branch(node):
    """A branch whose first block is found invalid only when it is heavier is out as a whole."""
    chain = node.chain
    before = chain.tree.tip
    fork = ancestor(chain, 2)
    overpaid = chain.submit(block_on(chain, fork, fees=1))
    assert overpaid.reason == "inconclusive"
    tip, answer = extend(chain, chain.tree.row(overpaid.block_hash), 2)
    assert answer.reason == "inconclusive"
    assert chain.tree.tip == before
    assert tip.hash in chain.tree.failed()
    assert_consistent(chain)


def test_refusals(node):
    """Whatever is wrong with a block is told in Core's words, and nonsense is no block at all."""
    chain = node.chain
    tip = chain.tree.tip
    raw = block_on(chain, tip)
    assert chain.submit(raw).reason == ""
    assert chain.submit(raw).reason == "duplicate"
    orphan = build_block(BlockPlan(L1Hash(bytes([9]) * 32), 5, tip.header.time, OPEN_SCRIPT, 0, 0))
    assert chain.submit(orphan).reason == "prev-blk-not-found"
    early = block_on(chain, tip, time=chain.tree.median_time(tip))
    assert chain.submit(early).reason.startswith("time-too-old")
    late = block_on(chain, tip, time=2**32 - 1)
    assert chain.submit(late).reason == "time-too-new"
    weak = bytearray(block_on(chain, tip, extra=12345))
    while parse_block(bytes(weak)).header.meets_target:
        weak[76] = (weak[76] + 1) % 256
    assert chain.submit(bytes(weak)).reason.startswith("high-hash")
    for junk in (b"", b"\0" * 80, raw[:-1], raw + b"\0"):
        with pytest.raises(InvalidInput):
            chain.submit(junk)
    overpaid = block_on(chain, chain.tree.tip, fees=1)
    assert chain.submit(overpaid).reason.startswith("bad-cb-amount")
    assert chain.submit(overpaid).reason == "duplicate-invalid"


def test_mutated_block_does_not_poison_the_real_one(node):
    """A block with another witness has the same hash; refusing it must not make the true one a duplicate."""
    chain = node.chain
    note = mature_notes(node)[0]
    transaction = spend(note, fee=0)
    true = block_on(chain, chain.tree.tip, transactions=[parsed(transaction)])
    other = transaction.with_witness(0, (*transaction.inputs[0].witness[:1], b"\xc0" + bytes(32)))
    mutated = true.replace(transaction.raw, other.raw)
    assert mutated[:80] == true[:80]
    assert chain.submit(mutated).reason.startswith("bad-witness-merkle-match")
    assert chain.submit(true).reason == ""


def test_too_far_ahead_is_not_replayed(node, open_node):
    """A block refused for its time is not in the log, or it would come back when its time has come."""
    chain = node.chain
    size = chain.size
    assert chain.submit(block_on(chain, chain.tree.tip, time=2**32 - 1)).reason == "time-too-new"
    assert chain.size == size


@pytest.mark.parametrize("depth", [1, 3, 7])
def test_invalidate_and_reconsider(node, depth):
    """Ruling a block out steps back to its parent; letting it count again returns to the same tip."""
    chain = node.chain
    tip = chain.tree.tip
    target = ancestor(chain, depth - 1)
    update = chain.invalidate(target.hash)
    assert chain.tree.tip.hash == target.previous
    assert len(update.disconnected) == depth
    assert_consistent(chain)
    assert chain.submit(block_on(chain, target)).reason == "bad-prevblk"
    assert chain.submit(chain.raw_block(target)).reason == "duplicate-invalid"
    update = chain.reconsider(tip.hash)
    assert chain.tree.tip.hash == tip.hash
    assert len(update.connected) == depth
    assert_consistent(chain)


def test_invalidating_moves_to_the_next_best_branch(node):
    """When the best branch is ruled out, the heaviest other one takes over, and new blocks extend it."""
    chain = node.chain
    side, _ = extend(chain, ancestor(chain, 3), 2)
    ruled_out = ancestor(chain, 2)
    chain.invalidate(ruled_out.hash)
    assert chain.tree.tip.hash == side.hash
    tip, answer = extend(chain, side, 4)
    assert answer.reason == ""
    chain.reconsider(ruled_out.hash)
    assert chain.tree.tip.hash == tip.hash
    assert_consistent(chain)


def test_reconsider_frees_ancestors_and_descendants_only(node):
    """Reconsidering a block lifts bans on its own line; another branch stays out."""
    chain = node.chain
    side, _ = extend(chain, ancestor(chain, 2), 1)
    chain.invalidate(side.hash)
    line = [ancestor(chain, 3), ancestor(chain, 1)]
    chain.invalidate(line[1].hash)
    chain.invalidate(line[0].hash)
    chain.reconsider(line[1].hash)
    assert chain.excluded == {side.hash}
    assert chain.reconsider(line[1].hash).connected == ()


def test_unknown_and_genesis_blocks(node):
    """Commands about blocks that are not there, or that everything stands on, are refused."""
    with pytest.raises(Rejected):
        node.chain.invalidate(L1Hash(bytes(32)))
    with pytest.raises(Rejected):
        node.chain.reconsider(L1Hash(bytes(32)))
    with pytest.raises(Rejected):
        node.chain.invalidate(node.chain.tree.active_hash(0))


def test_everything_is_there_after_a_restart(node, open_node):
    """Branches, verdicts and bans survive."""
    chain = node.chain
    side, _ = extend(chain, ancestor(chain, 2), 1)
    bad = chain.submit(block_on(chain, chain.tree.tip, fees=1)).block_hash
    chain.invalidate(side.hash)
    tip, leaves = chain.tree.tip, {row.hash for row in chain.tree.leaves()}
    again = reopen(node, open_node)
    assert again.tree.tip == tip
    assert {row.hash for row in again.tree.leaves()} == leaves
    assert again.excluded == {side.hash}
    assert again.tree.row(bad).failed
    assert_consistent(again)


@pytest.mark.parametrize("lost", [[INDEX_DIRECTORY], [KERNEL_PREFIX], [INDEX_DIRECTORY, KERNEL_PREFIX]])
def test_caches_may_be_lost(node, open_node, tmp_path, lost):
    """With only the log left, the same chain, bans and coins come back."""
    chain = node.chain
    side, _ = extend(chain, ancestor(chain, 2), 4)
    chain.invalidate(chain.tree.active_hash(side.height - 1))
    chain.submit(block_on(chain, chain.tree.tip, fees=1))
    tip, excluded = chain.tree.tip.hash, chain.excluded
    node.close()
    for directory in (tmp_path / "node").iterdir():
        if any(directory.name.startswith(name) for name in lost):
            shutil.rmtree(directory)
    again = open_node().chain
    assert (again.tree.tip.hash, again.excluded) == (tip, excluded)
    assert_consistent(again)


@pytest.mark.parametrize("pattern", ["index/*.log", "index/CURRENT", "kernel-0/chainstate/CURRENT"])
def test_damaged_caches_are_rebuilt(node, open_node, tmp_path, pattern):
    """Garbage in a cache costs time, not blocks."""
    tip = node.tip
    node.close()
    for file in (tmp_path / "node").glob(pattern):
        file.write_bytes(b"garbage" * 10)
    again = open_node()
    assert again.tip == tip
    assert_consistent(again.chain)


def test_index_of_another_log_is_rebuilt(node, open_node, tmp_path, seed_log):
    """An index that knows more than the log does not speak for it."""
    node.mine_many(5, OPEN_SCRIPT)
    node.close()
    shutil.copy(seed_log, tmp_path / "node" / LOG_FILE)
    again = open_node()
    assert again.tip.height == SEED_HEIGHT
    assert_consistent(again.chain)


def test_foreign_log_is_left_alone(tmp_path):
    """A directory whose blocks.log is something else is refused, not overwritten."""
    (tmp_path / LOG_FILE).write_bytes(b"notes of a person")
    with pytest.raises(ConfigError):
        Chain(tmp_path)


def test_full_disk_changes_nothing(node, open_node, monkeypatch):
    """Without room on the disk blocks and commands are refused while all is in step, and taken again later."""
    chain = node.chain
    tip, size = chain.tree.tip, chain.size
    raw = block_on(chain, tip)
    monkeypatch.setattr(disk, "MIN_FREE_BYTES", 1 << 62)
    for attempt in (
        lambda: chain.submit(raw),
        lambda: chain.invalidate(tip.hash),
        lambda: node.mine(OPEN_SCRIPT),
    ):
        with pytest.raises(Temporary) as caught:
            attempt()
        assert caught.value.code == "disk.full"
    assert (chain.tree.tip, chain.size) == (tip, size)
    with pytest.raises(ConfigError) as refused:
        open_node("other", seeded=False)
    assert refused.value.code == "chain.disk_full"
    monkeypatch.undo()
    assert chain.submit(raw).reason == ""
    assert_consistent(chain)


@pytest.mark.parametrize("lost", [False, True])
def test_clock_that_went_back(node, open_node, tmp_path, lost):
    """A logged block that is now far in the future stops the start; it is not forgotten."""
    raw = block_on(node.chain, node.tip, time=2**32 - 1)
    node.close()
    path = tmp_path / "node" / LOG_FILE
    log = BlockLog(path)
    list(log.recover())
    log.append(RecordKind.BLOCK, raw)
    log.close()
    if lost:
        shutil.rmtree(tmp_path / "node" / INDEX_DIRECTORY)
    before = path.read_bytes()
    with pytest.raises(ConfigError) as caught:
        open_node()
    assert caught.value.code == "chain.clock_behind"
    assert path.read_bytes() == before
