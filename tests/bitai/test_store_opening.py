"""Opening a node's database brings an older one forward, if the disk has room for it."""

from types import SimpleNamespace

import pytest

from bitai import store_opening
from bitai.adapters.leveldb import LevelStore
from bitai.store_opening import open_store
from primitives.errors import ConfigError
from tests.vm.golden_store import golden_batch, golden_rows
from tests.vm.test_migrations import require_golden
from tests.vm.world import World


@pytest.fixture
def folder(tmp_path):
    """A folder with the database of an older version."""
    with LevelStore(tmp_path / "chain") as store:
        store.write(golden_batch(), sync=True)
    return tmp_path / "chain"


def test_an_old_database_is_migrated(folder):
    """A database that an older version wrote opens, and its states read as they did."""
    with open_store(folder) as store:
        world = World(store=store)
        require_golden(world)
        world.executor.close()


def test_no_room_is_told_before_anything_is_written(folder, monkeypatch):
    """Without room for the new layout the database stays as it is, and can be opened by the old version."""
    monkeypatch.setattr(store_opening.shutil, "disk_usage", lambda _: SimpleNamespace(free=1))
    with pytest.raises(ConfigError, match=r"store\.no_room"):
        open_store(folder)
    with LevelStore(folder) as store:
        assert dict(store.scan(b"")) == golden_rows()


def test_a_new_database_is_made(tmp_path):
    """Where there is none, one is made; `create` false refuses that."""
    with pytest.raises(ConfigError, match=r"store\.missing"):
        open_store(tmp_path / "chain", create=False)
    with open_store(tmp_path / "chain") as store:
        assert World(store=store).executor.head.number == 0
