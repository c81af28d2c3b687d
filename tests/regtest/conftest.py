"""Nodes on a chain that was mined once, and a month in the past so that tests can move time."""

import shutil
import time
from pathlib import Path

import pytest

from regtest.chain import LOG_FILE
from regtest.clock import OffsetClock
from regtest.node import Node
from regtest.options import NodeOptions
from tests.regtest.mini_wallet import OPEN_SCRIPT

MONTH_SECONDS = 30 * 24 * 60 * 60
SEED_HEIGHT = 120


@pytest.fixture(scope="session")
def seed_log(tmp_path_factory) -> Path:
    """A block log of 120 blocks whose coinbases anyone may spend."""
    directory = tmp_path_factory.mktemp("seed")
    node = Node(directory, OffsetClock(time.time, -MONTH_SECONDS))
    node.mine_many(SEED_HEIGHT, OPEN_SCRIPT)
    node.close()
    return directory / LOG_FILE


@pytest.fixture
def open_node(tmp_path, seed_log):
    """Open a node in a directory under tmp_path, by default on the seed chain; closed at the end."""
    opened: list[Node] = []

    def open_one(name="node", *, seeded=True, options: NodeOptions | None = None, fault=None) -> Node:
        directory = tmp_path / name
        if seeded and not directory.exists():
            directory.mkdir()
            shutil.copy(seed_log, directory / LOG_FILE)
        extra = {} if fault is None else {"fault": fault}
        node = Node(directory, OffsetClock(time.time, -MONTH_SECONDS), options, **extra)
        opened.append(node)
        return node

    yield open_one
    for node in opened:
        close(node)


@pytest.fixture
def node(open_node) -> Node:
    """A node on the seed chain."""
    return open_node()


def close(node: Node) -> None:
    """Close a node that may be closed already."""
    if node.chain._kernel is not None:
        node.close()
