"""LevelDB keeps the contract of every store, and a chain on it survives losing the process."""

import pytest

from bitai.adapters.leveldb import LevelStore
from primitives.errors import ConfigError
from tests.vm.store_contract import StoreContract
from tests.vm.world import World


class TestLevelStore(StoreContract):
    """The one on disk."""

    @pytest.fixture
    def store(self, tmp_path):
        """An empty store in a folder of its own."""
        with LevelStore(tmp_path / "chain") as store:
            yield store


def test_a_chain_on_disk_is_the_chain_in_memory(tmp_path):
    """The same blocks give the same head and rows on disk, after reopening too, and rewind the same."""
    memory = World()
    with LevelStore(tmp_path / "chain") as store:
        disk = World(store=store)
        for world in (memory, disk):
            for value in range(3):
                world.run(world.alice.sign(b"\1" * 20, value=value), epochs=1)
        disk.executor.view(1).balance(b"\1" * 20)
        disk.executor.close()
    with LevelStore(tmp_path / "chain", create=False) as store:
        reopened = World(store=store)
        assert reopened.executor.head == memory.executor.head
        assert dict(store.scan(b"")) == memory.store.rows
        reopened.executor.rewind(1)
        memory.executor.rewind(1)
        assert dict(store.scan(b"")) == memory.store.rows
        reopened.executor.close()


def test_one_process_at_a_time(tmp_path):
    """A second opening of the same folder is refused with a code, not with LevelDB's words."""
    with LevelStore(tmp_path / "chain"), pytest.raises(ConfigError, match=r"store\.locked"):
        LevelStore(tmp_path / "chain")


def test_a_missing_database_is_named(tmp_path):
    """Opening what must exist does not create it."""
    with pytest.raises(ConfigError, match=r"store\.missing"):
        LevelStore(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()
