"""A store of an older program comes forward, wherever that is interrupted; a newer one's is refused."""

import pytest

from primitives.errors import ConfigError, Rejected
from primitives.hashes import keccak256
from tests.vm.golden_store import golden_facts, golden_rows
from tests.vm.test_crash import Died, FailingStore, require_readable
from tests.vm.world import World
from vm import history, migrations, schema
from vm.migrations import Progress, migrate, stored_schema
from vm.store import MemoryStore, WriteBatch


def require_golden(world: World):
    """Compare every state that the old program kept with what it said, and the roots with the headers."""
    facts = golden_facts()
    token = bytes.fromhex(facts["token"])
    for number, said in facts["seen"].items():
        view = world.executor.view(int(number))
        slots = [keccak256((bytes([i]) * 20).rjust(32, b"\0") + (2).to_bytes(32, "big")) for i in range(1, 6)]
        assert view.hash.hex() == said["hash"]
        assert view.balance(b"\x77" * 20) == said["target"]
        assert view.nonce(world.alice.address) == said["alice_nonce"]
        assert [hex(view.storage(token, slot)) for slot in slots] == said["token_slots"]
    with pytest.raises(Rejected, match=r"state\.pruned"):
        world.executor.view(2)
    require_readable(world)


def test_an_old_store_reads_as_it_did():
    """A store of layout 1 has layout 2 afterwards, the same blocks and states, and goes on and back from there."""
    store, told = MemoryStore(golden_rows()), []
    assert stored_schema(store) == 1
    migrate(store, told.append)
    assert stored_schema(store) == schema.SCHEMA
    assert told[-1] == Progress(22, 22)
    world = World(store=store)
    require_golden(world)
    world.alice.nonce = 49
    world.run(world.alice.sign(b"\1" * 20, value=1))
    world.executor.rewind(10)
    require_readable(world)
    unchanged = {key: value for key, value in golden_rows().items() if key[:1] in b"HBRE#TOcW"}
    kept = {key for key in unchanged if store.get(key) == unchanged[key]}
    assert {key for key in unchanged if key[:1] == b"c"} <= kept


def test_migrating_twice_changes_nothing():
    """A store of this layout, and an empty one, stay as they are."""
    store = MemoryStore(golden_rows())
    migrate(store)
    rows = store.rows
    migrate(store)
    assert store.rows == rows
    empty = MemoryStore()
    migrate(empty)
    assert empty.rows == {}


def test_a_program_without_history_is_told_apart():
    """An old store is not opened as if it were new: the error says which command brings it forward."""
    with pytest.raises(ConfigError, match=r"store\.older_schema") as caught:
        World(store=MemoryStore(golden_rows()))
    assert caught.value.fix == "bitai-node db migrate"


@pytest.mark.parametrize("late", [False, True])
def test_a_migration_may_die_at_any_write(late, monkeypatch):
    """Killed at each write in turn and started again, the migration ends with the very rows of one that lived."""
    monkeypatch.setattr(history, "WRITE_ROWS", 40)
    lived = FailingStore(golden_rows())
    migrate(lived)
    assert lived.writes > 40
    for fail_at in range(1, lived.writes + 1):
        store = FailingStore(golden_rows())
        store.fail_at, store.late = fail_at, late
        with pytest.raises(Died):
            migrate(store)
        migrate(store)
        assert store.rows == lived.rows
    require_golden(World(store=lived))


def test_an_old_program_may_run_in_between(monkeypatch):
    """Rows of blocks that have left the chain since do not survive: the migration begins anew."""
    monkeypatch.setattr(migrations, "WIPE_ROWS", 10)
    store = MemoryStore(golden_rows())
    migrate(store)
    forged = WriteBatch()
    forged.delete(schema.META_SCHEMA)
    forged.put(schema.META_HISTORY, schema.encode_number(25) + b"\1" * 32)
    forged.put(schema.history_prefix(b"a" + bytes(20)) + schema.encode_number(9), b"wrong")
    store.write(forged, sync=True)
    migrate(store)
    lived = MemoryStore(golden_rows())
    migrate(lived)
    assert store.rows == lived.rows


def test_a_newer_store_is_refused():
    """What a later version wrote is left alone, and the error names the version to use."""
    world = World()
    batch = WriteBatch()
    batch.put(schema.META_SCHEMA, schema.encode_number(schema.SCHEMA + 1) + b"7.0.0")
    world.store.write(batch, sync=True)
    rows = world.store.rows
    for opening in (lambda: World(store=world.store), lambda: migrate(world.store)):
        with pytest.raises(ConfigError, match=r"store\.newer_schema") as caught:
            opening()
        assert caught.value.fix == "run version 7.0.0 or newer"
    assert world.store.rows == rows
