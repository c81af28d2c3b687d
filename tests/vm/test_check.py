"""The check finds every kind of damage, names the row, and finds nothing in a sound database."""

import pytest

from tests.vm.test_history import transfer
from tests.vm.test_views import TARGET, finalize
from tests.vm.world import World
from vm import schema
from vm.check.fault import Fault, Tick
from vm.check.whole import check_chain
from vm.store import MemoryStore, WriteBatch

BLOCKS = 9


@pytest.fixture(scope="module")
def sound() -> dict[bytes, bytes]:
    """The rows of a chain with every kind of row: an epoch, contracts, undo data, history that is whole and not."""
    world = World()
    token = world.deploy("Token", "T", "T", 10**6)
    for number in range(2, BLOCKS + 1):
        holder = bytes([number]) * 20
        world.run(world.alice.sign(TARGET, value=1), transfer(world, token, holder, 5), epochs=number % 2)
    finalize(world, 5)
    world.executor.prune_undo(6)
    return world.store.rows


def faults_of(rows: dict[bytes, bytes], sample: int = 1) -> list[Fault]:
    """What a check of these rows finds."""
    return [found for found in check_chain(MemoryStore(rows), sample=sample) if isinstance(found, Fault)]


def rows_of(rows: dict[bytes, bytes], table: bytes) -> list[bytes]:
    """Keys of a table; of large ones some."""
    keys = sorted(key for key in rows if key.startswith(table))
    return keys[:: max(1, len(keys) // 3)]


def test_a_sound_database_has_no_faults(sound):
    """Nothing is found in what the program wrote itself, and every row was looked at."""
    found = list(check_chain(MemoryStore(sound), sample=1))
    assert [each for each in found if isinstance(each, Fault)] == []
    seen = sum(each.rows for each in found if isinstance(each, Tick))
    assert seen > len(sound)
    assert faults_of(World().store.rows) == []


TABLES = [b"a", b"s", b"c", b"A", b"S", b"H", b"E", b"B", b"R", b"U", b"#", b"T", b"O", b"h", b"k"]
TABLES += [b"Mhead", b"Mfinalized", b"Mhistory"]


@pytest.mark.parametrize("table", TABLES, ids=[each.decode() for each in TABLES])
def test_a_flipped_bit_is_found(sound, table):
    """One bit turned in the value of any row is found, in first, middle and last bytes."""
    keys = rows_of(sound, table)
    assert keys
    for index, key in enumerate(keys):
        flipped = bytearray(sound[key])
        if not flipped:
            continue
        place = (0, len(flipped) // 2, len(flipped) - 1)[index % 3]
        if table == b"E" and place >= 80:  # an epoch's median time stands nowhere else
            place = 79
        flipped[place] ^= 1
        assert faults_of({**sound, key: bytes(flipped)}), (key.hex(), place)


@pytest.mark.parametrize("table", TABLES, ids=[each.decode() for each in TABLES])
def test_a_missing_row_is_found(sound, table):
    """A row that is gone is found, and the fault names it or one that leads to it."""
    optional = {schema.META_FINALIZED, schema.META_SAFE}
    for key in set(rows_of(sound, table)) - optional:
        if table == b"Mhistory":
            continue  # without its marks a database does not open
        assert faults_of({name: value for name, value in sound.items() if name != key}), key.hex()


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (b"a" + b"\x01" * 20, "flat.not_in_trie"),
        (b"s" + b"\x01" * 52, "orphan.slot"),
        (b"A" + b"\1\2\3\4\5\6\7", "orphan.node"),
        (b"S" + b"\x01" * 20 + b"\2", "orphan.node"),
        (schema.header_key(BLOCKS + 1), "orphan.block"),
        (schema.undo_key(BLOCKS + 1), "orphan.undo"),
        (schema.undo_key(2), "orphan.undo"),
        (b"#" + b"\x01" * 32, "orphan.index"),
        (b"T" + b"\x01" * 32, "orphan.transaction"),
        (schema.origin_key(9_999), "orphan.epoch"),
        (schema.history_prefix(b"a" + bytes(20)) + schema.encode_number(BLOCKS + 9), "orphan.history"),
        (schema.history_prefix(b"a" + bytes(20)) + schema.encode_number(4), "history.wrong"),
        (b"hx" + bytes(20), "history.malformed"),
    ],
)
def test_a_row_too_many_is_found(sound, key, kind):
    """What belongs to nothing is told, with its key, what it means and what to do."""
    value = sound[b"a" + TARGET] if key[:1] == b"a" else schema.encode_number(99) + bytes(32)
    found = faults_of({**sound, key: value})
    assert (kind, key) in [(each.kind, each.key) for each in found]
    assert all(each.meaning and each.remedy for each in found)


def test_sampling_still_holds_every_old_state_against_its_header(sound):
    """Without `full` the root node of every kept state is followed: a chain of old states cannot be another's."""
    (key,) = [key for key in sound if key[:-8] == schema.history_prefix(b"A") and key[-1] == 4]
    assert [each.kind for each in faults_of({**sound, key: b"\1" + sound[key][1:]}, sample=10**9)]


def test_a_check_stops_where_it_is_told(sound):
    """A check is a generator: half of it costs half."""
    steps = check_chain(MemoryStore(sound))
    for _, found in zip(range(10), steps, strict=False):
        assert isinstance(found, Tick)
    steps.close()


def test_a_check_of_a_snapshot_is_not_disturbed(sound):
    """Blocks that come while the check runs do not make a fault."""
    world = World(store=MemoryStore(sound))
    world.alice.nonce = 1 + 2 * (BLOCKS - 1)
    found = []
    for count, each in enumerate(check_chain(world.store.snapshot(), sample=1)):
        found.append(each)
        if count % 100 == 0:
            world.run(world.alice.sign(TARGET, value=1))
    assert [each for each in found if isinstance(each, Fault)] == []
    batch = WriteBatch()
    batch.delete(schema.META_SCHEMA)
    world.store.write(batch, sync=True)
    assert [each.kind for each in faults_of(world.store.rows)] == ["mark.schema"]
