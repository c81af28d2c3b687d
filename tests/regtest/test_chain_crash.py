"""Kill the process on any line: what was acknowledged is there, what is there is consistent, and it goes on.

A test stands on every fault point and photographs the data directory, which is exactly what a killed process
leaves (the kernel's unwritten state is not in the picture). Each picture is then opened.
"""

import shutil
import time
from pathlib import Path

import pytest

from regtest.chain import LOG_FILE
from regtest.clock import OffsetClock
from regtest.node import Node
from tests.regtest.conftest import MONTH_SECONDS
from tests.regtest.ledger import assert_consistent
from tests.regtest.mini_wallet import OPEN_SCRIPT, mature_notes, parsed, spend
from tests.regtest.test_chain import ancestor, block_on


class Camera:
    """Copies the data directory at every fault point, with the tips that are allowed there."""

    def __init__(self, directory: Path, album: Path):
        self.directory = directory
        self.album = album
        self.pictures: list[tuple[str, Path]] = []
        self.on = False

    def __call__(self, point: str) -> None:
        if self.on:
            picture = self.album / f"{len(self.pictures):03}"
            shutil.copytree(self.directory, picture)
            self.pictures.append((point, picture))


def develop(picture: Path) -> Node:
    """Open what a dead process left."""
    return Node(picture, OffsetClock(time.time, -MONTH_SECONDS))


def extend_by_one(node):
    """An empty block."""
    node.mine(OPEN_SCRIPT)


def extend_with_transactions(node):
    """A block with transactions."""
    for note in mature_notes(node)[:3]:
        node.submit_transaction(parsed(spend(note, outputs=2)), None)
    node.mine(OPEN_SCRIPT)


def reorganise(node):
    """A branch overtakes."""
    parent = ancestor(node.chain, 2)
    for _ in range(3):
        answer = node.submit_block(block_on(node.chain, parent))
        parent = node.chain.tree.row(answer.block_hash)


def submit_bad_block(node):
    """A block that is stored and found invalid."""
    node.submit_block(block_on(node.chain, node.tip, fees=1))


def invalidate(node):
    """One rebuild."""
    node.invalidate(ancestor(node.chain, 2).hash)


def invalidate_and_reconsider(node):
    """Two rebuilds."""
    block_hash = ancestor(node.chain, 1).hash
    node.invalidate(block_hash)
    node.reconsider(block_hash)


DEEDS = [
    extend_by_one,
    extend_with_transactions,
    reorganise,
    submit_bad_block,
    invalidate,
    invalidate_and_reconsider,
]


@pytest.mark.parametrize("deed", DEEDS)
def test_killed_anywhere(open_node, tmp_path, deed):
    """Opened from any picture, the node stands on a tip it had been on, and works."""
    camera = Camera(tmp_path / "node", tmp_path / "album")
    node = open_node(fault=camera)
    tips = [node.tip.hash]
    follow = node._follow

    def note_tip(update):
        follow(update)
        tips.append(node.tip.hash)

    node._follow = note_tip
    camera.on = True
    deed(node)
    camera.on = False
    assert camera.pictures
    for point, picture in camera.pictures:
        survivor = develop(picture)
        try:
            assert survivor.tip.hash in tips, point
            assert_consistent(survivor.chain)
            survivor.mine(OPEN_SCRIPT)
            assert_consistent(survivor.chain)
        finally:
            survivor.close()
        shutil.rmtree(picture)


def test_synchronised_is_kept(open_node, tmp_path):
    """From the moment the log has a block, a dead process's successor stands on it."""
    camera = Camera(tmp_path / "node", tmp_path / "album")
    node = open_node(fault=camera)
    camera.on = True
    node.mine(OPEN_SCRIPT)
    camera.on = False
    reached = False
    for point, picture in camera.pictures:
        reached = reached or point == "log.synced"
        survivor = develop(picture)
        assert (survivor.tip.hash == node.tip.hash) or not reached, point
        survivor.close()
    assert reached


def test_half_written_record(open_node, tmp_path):
    """A block of which only a part reached the disk never happened."""
    node = open_node()
    before = node.tip.hash
    size = (tmp_path / "node" / LOG_FILE).stat().st_size
    node.mine(OPEN_SCRIPT)
    node.close()
    whole = (tmp_path / "node" / LOG_FILE).read_bytes()
    for cut in (size + 1, size + 9, size + 50, len(whole) - 1):
        picture = tmp_path / f"cut-{cut}"
        picture.mkdir()
        (picture / LOG_FILE).write_bytes(whole[:cut])
        survivor = develop(picture)
        assert survivor.tip.hash == before
        survivor.mine(OPEN_SCRIPT)
        survivor.close()


def test_crash_during_recovery(open_node, tmp_path):
    """A process that dies while it repairs leaves something that the next one repairs."""
    node = open_node()
    node.mine_many(3, OPEN_SCRIPT)
    block_hash = ancestor(node.chain, 1).hash
    node.invalidate(block_hash)
    node.mine(OPEN_SCRIPT)
    tip = node.tip.hash
    node.close()
    shutil.rmtree(tmp_path / "node" / "index")
    camera = Camera(tmp_path / "node", tmp_path / "album")
    points = []

    def sometimes(point):
        points.append(point)
        camera.on = len(points) % 97 == 0 or point.startswith("generation.")
        camera(point)

    again = open_node(fault=sometimes)
    assert again.tip.hash == tip
    assert len(camera.pictures) >= 5
    for _, picture in camera.pictures:
        survivor = develop(picture)
        assert survivor.tip.hash == tip
        assert_consistent(survivor.chain)
        survivor.close()
        shutil.rmtree(picture)
