"""LevelDB keeps the contract of every store, and a chain on it survives losing the process."""

import subprocess
import sys

import pytest

from bitai.adapters.leveldb import LevelStore
from primitives.errors import ConfigError, InvariantViolation
from tests.vm.store_contract import StoreContract, batch
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


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from bitai.adapters.leveldb import LevelStore
from primitives.errors import ConfigError
from vm.store import WriteBatch

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = LevelStore(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
for number in range(100):
    try:
        store.write(WriteBatch([(b"%03d" % number, bytes(50_000))]), sync=True)
    except ConfigError as error:
        print(number, error.code)
        break
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
try:
    store.write(WriteBatch([(b"after", b"1")]), sync=True)
except ConfigError as error:
    print(error.code, store.get(b"after"), store.get(b"000") is not None)
"""


def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path):
    """The write that failed is refused, so is every later one, and after reopening all earlier ones are there."""
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "chain")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    first, after = done.stdout.splitlines()
    number, code = first.split()
    assert (code, after) == ("store.write_failed", "store.write_failed None True")
    with LevelStore(tmp_path / "chain", create=False) as store:
        assert [key for key, _ in store.scan(b"")] == [b"%03d" % each for each in range(int(number))]
        store.write(batch((b"again", b"1")), sync=True)


def test_damage_is_found_by_the_read_that_meets_it(tmp_path):
    """A flipped byte in a sorted file is an error with a code, never another value."""
    with LevelStore(tmp_path / "chain") as store:
        store.write(batch(*[(b"%05d" % each, bytes(100)) for each in range(2_000)]), sync=True)
        store._db.compact_range()
    (table,) = (tmp_path / "chain").glob("*.ldb")
    raw = bytearray(table.read_bytes())
    raw[len(raw) // 2] ^= 1
    table.write_bytes(bytes(raw))
    with LevelStore(tmp_path / "chain") as store:
        for read in (
            lambda: list(store.scan(b"")),
            lambda: store.get_many([b"%05d" % each for each in range(2_000)]),
            lambda: [store.get(b"%05d" % each) for each in range(2_000)],
        ):
            with pytest.raises(InvariantViolation, match=r"store\.corrupt"):
                read()
