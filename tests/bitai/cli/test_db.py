"""`bitai-node db`: the database of a stopped node, and that of a running one through its door."""

import asyncio
import json
import os

import pytest
from aiohttp.test_utils import TestServer
from click.testing import CliRunner

from bitai.adapters.leveldb import LevelStore
from bitai.bootstrap import rollup_file
from bitai.cli.app import root
from bitai.cli.exit_codes import ExitCode
from bitai.database_check import DatabaseDoor
from bitai.database_info import describe_store
from bitai.datadir import DataDir
from bitai.health import AdminAccess, health_app
from bitai.metrics import Metrics
from bitai.run_file import RunFile
from tests.bitai.nodes import FixedNode
from tests.bitai.test_chain_reorg import CONFIG, story
from tests.vm.golden_store import golden_rows
from vm import schema
from vm.store import WriteBatch


def write(files: DataDir, rows: dict[bytes, bytes]):
    """Put rows on the disk."""
    with LevelStore(files.chain) as store:
        store.write(WriteBatch(list(rows.items())), sync=True)


@pytest.fixture
def files(tmp_path):
    """The folder of a stopped node at the end of the reorg tests' story."""
    files = DataDir(tmp_path / "node")
    files.prepare()
    rollup_file(files).write_text(CONFIG.to_json())
    write(files, story()[1][-1])
    return files


def ask(files: DataDir, *args: str):
    """Run a command on a folder."""
    return CliRunner().invoke(root, [*args, "--datadir", str(files.root)])


def test_a_stopped_nodes_database_is_checked(files):
    """A sound database: exit code 0; a damaged one: 1, and the fault with its row, its meaning and what to do."""
    done = ask(files, "db", "check", "--full", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["state"], report["faults"]) == ("sound", [])
    assert {"blocks", "trie nodes", "flat rows", "history", "derivation", "models"} <= report["rows"].keys()
    key = schema.body_key(3)
    write(files, {key: story()[1][-1][schema.body_key(4)]})
    done = ask(files, "db", "check")
    assert done.exit_code == ExitCode.FAILED
    for shown in ("body.wrong_root  0x" + key.hex(), "block 3: other transactions", "do: stop the node"):
        assert shown in done.stdout


@pytest.mark.parametrize("prefix", [b"Dc", b"Dp", b"P"])
def test_damage_of_the_drivers_rows_is_found(files, prefix):
    """The cursor, the pieces of waiting channels and the journal of transactions are checked as well."""
    rows = story()[1][-1]
    key = next((key for key in sorted(rows) if key.startswith(prefix)), prefix + bytes(32))
    value = bytearray(rows.get(key, b"not of this hash"))
    value[7 if prefix == b"Dc" else 0] ^= 0x80
    write(files, {key: bytes(value)})
    report = json.loads(ask(files, "db", "check", "--json").stdout)
    assert [fault["kind"].partition(".")[0] for fault in report["faults"]] == ["derivation"]


def test_damage_on_the_disk_is_told_in_the_disks_words(files):
    """A byte changed in a file, under LevelDB's checksums, ends the check with what it says."""
    with LevelStore(files.chain) as store:
        store._db.compact_range()
    table = max(files.chain.glob("*.ldb"), key=lambda path: path.stat().st_size)
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes(content)
    done = ask(files, "db", "check", "--json")
    assert done.exit_code == ExitCode.FAILED
    told = json.loads(done.stdout)
    assert "store.corrupt" in told.get("failure", "") + told.get("error", {}).get("code", "")


async def test_a_running_nodes_database_is_checked_through_its_door(files):
    """The node reads a snapshot and says how far it is; only the bearer of its cookie may ask."""
    with LevelStore(files.chain) as store:
        door = DatabaseDoor(store, lambda: describe_store(store))
        access = AdminAccess(files.new_cookie(), database=door)
        async with TestServer(health_app(FixedNode(), Metrics(), access)) as server:
            url = str(server.make_url("")).rstrip("/")
            RunFile(os.getpid(), "regtest", "dev", url, url, url, url, url).write(files)
            done = await asyncio.to_thread(ask, files, "db", "check", "--json")
            assert (done.exit_code, json.loads(done.stdout)["state"]) == (0, "sound"), done.output
            facts = await asyncio.to_thread(ask, files, "db", "info", "--json")
            assert json.loads(facts.stdout)["layout"] == schema.SCHEMA
            files.cookie_file.write_text("another")
            assert (await asyncio.to_thread(ask, files, "db", "check")).exit_code == ExitCode.REFUSED
            files.cookie_file.write_text(access.cookie)
            access.database = None
            assert "not open yet" in (await asyncio.to_thread(ask, files, "db", "info")).stderr
        door.close()


def test_a_check_under_way_is_joined_and_stopped(files):
    """A second request tells of the first check; closing the node ends it."""
    with LevelStore(files.chain) as store:
        door = DatabaseDoor(store, dict)
        assert door.progress().state == "none"
        first = door.start_check(sample=1)
        assert door.start_check(sample=1) is first
        door.close()
        assert first.state in {"sound", "failed"}


def test_what_a_database_holds(files):
    """Layout, heads, floors and the size of each table."""
    with LevelStore(files.chain) as store:
        store._db.compact_range()
    facts = json.loads(ask(files, "db", "info", "--json").stdout)
    assert facts["heads"]["unsafe"]["number"] > facts["heads"]["safe"]["number"]
    assert facts["oldest_state"] == 0
    assert facts["tables"]["account trie"] > 0
    assert "account trie" in ask(files, "db", "info").stdout


def test_an_old_database_is_brought_forward(tmp_path):
    """A dry run only tells; the command migrates; a second time there is nothing to do."""
    files = DataDir(tmp_path)
    files.prepare()
    write(files, golden_rows())
    assert "older_schema" in ask(files, "db", "check").stderr
    assert "layout 1 to 2: would write" in ask(files, "db", "migrate", "--dry-run").stdout
    with LevelStore(files.chain) as store:
        assert dict(store.scan(b"")) == golden_rows()
    assert "layout 1 to 2: wrote" in ask(files, "db", "migrate").stdout
    assert "layout 2 is this program's" in ask(files, "db", "migrate").stdout
    assert ask(files, "db", "check", "--full").exit_code == 0


def test_a_stopped_nodes_chain_is_unwound(files):
    """A dry run only tells; without --yes it asks; below the finalized block it refuses and says why."""
    with LevelStore(files.chain) as store:
        facts = describe_store(store)
    head, finalized = facts["heads"]["unsafe"]["number"], facts["heads"]["finalized"]["number"]
    told = ask(files, "db", "unwind", "--to-block", str(head - 1), "--dry-run")
    assert f"would go: blocks {head} to {head}" in told.stdout, told.output
    assert ask(files, "db", "unwind", "--to-block", str(head - 1)).exit_code != 0
    refused = ask(files, "db", "unwind", "--to-block", str(finalized - 1), "--yes")
    assert refused.exit_code == ExitCode.REFUSED
    assert "unwind.finalized" in refused.stderr
    assert json.loads(ask(files, "db", "info", "--json").stdout)["heads"]["unsafe"]["number"] == head
    done = ask(files, "db", "unwind", "--to-block", str(finalized), "--yes")
    assert done.exit_code == 0, done.output
    assert json.loads(ask(files, "db", "info", "--json").stdout)["heads"]["unsafe"]["number"] == finalized
    assert ask(files, "db", "check", "--full").exit_code == 0


def test_a_database_that_is_not_there(tmp_path):
    """Nothing is made where there is none."""
    done = ask(DataDir(tmp_path), "db", "check")
    assert done.exit_code == ExitCode.USAGE
    assert "store.missing" in done.stderr
    assert list(tmp_path.iterdir()) == []
