"""Commands that ask a running node, against the real door of a fixed one."""

import asyncio
import json
import os
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestServer
from click.testing import CliRunner

from bitai.cli.app import root
from bitai.cli.exit_codes import ExitCode
from bitai.datadir import DataDir
from bitai.health import AdminAccess, health_app
from bitai.metrics import Metrics
from bitai.run_file import RunFile
from bitai.status import Phase
from tests.bitai.nodes import ADDRESS, READY, FixedNode, RecordedWorld


@pytest.fixture
def node() -> FixedNode:
    """A ready node."""
    return FixedNode()


@pytest.fixture
def world() -> RecordedWorld:
    """A regtest world that notes what is done to it."""
    return RecordedWorld()


@pytest.fixture
async def ask(node, world, tmp_path):
    """Run a command against the node, from another thread as another process would."""
    files = DataDir(tmp_path)
    files.prepare()
    app = health_app(node, Metrics(), AdminAccess(files.new_cookie(), world))
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        RunFile(os.getpid(), "regtest", "dev", url, url, url, url, url).write(files)

        async def run(*args: str):
            arguments = [*args, "--datadir", str(tmp_path)]
            return await asyncio.to_thread(CliRunner().invoke, root, arguments)

        yield run


async def test_status_for_people_and_programs(ask):
    """The same facts as text and as JSON."""
    done = await ask("status")
    assert done.exit_code == 0, done.output
    for shown in ("ready", "726945", "height 112", "410 sats", "digits"):
        assert shown in done.stdout
    assert json.loads((await ask("status", "--json")).stdout)["heads"]["unsafe"]["number"] == 9


async def test_status_of_a_starting_node(ask, node):
    """A node that is not ready has an exit code of its own, and still tells its state."""
    node.unready(Phase.SYNCING, "12 blocks behind")
    done = await ask("status")
    assert done.exit_code == ExitCode.NOT_READY
    assert "12 blocks behind" in done.stdout


async def test_dev_commands_reach_the_world(ask, world):
    """Faucet, mining and reorg are done by the node whose cookie we can read."""
    results = [
        await ask("dev", "faucet", ADDRESS, "--amount", "2.5"),
        await ask("dev", "mine", "3"),
        await ask("dev", "reorg", "2"),
    ]
    assert [done.exit_code for done in results] == [0, 0, 0], [done.output for done in results]
    assert world.asked == [("faucet", (ADDRESS, 250_000_000)), ("mine", 3), ("reorg", 2)]
    assert "250000000 sats" in results[0].stdout


async def test_the_nodes_refusal_is_passed_on(ask, world):
    """The code and words of the node reach the person."""
    world.coins_sats = 0
    done = await ask("dev", "faucet", ADDRESS)
    assert done.exit_code == ExitCode.REFUSED
    assert "faucet.empty" in done.stderr


async def test_an_old_cookie_is_refused(ask, tmp_path, world):
    """Who cannot read the present cookie cannot act."""
    DataDir(tmp_path).cookie_file.write_text("old")
    assert "admin.no_cookie" in (await ask("dev", "mine")).stderr
    assert world.asked == []


async def test_models_are_listed_and_shown(ask):
    """By name, by id and by the beginning of an id."""
    model = READY.models[0]
    assert model.model_id in (await ask("model", "ls")).stdout
    for name in (model.name, model.model_id, model.model_id[:12]):
        assert "on-chain" in (await ask("model", "show", name)).stdout
    assert "model.unknown" in (await ask("model", "show", "nothing")).stderr


async def test_a_silent_node_is_unreachable(ask, tmp_path):
    """A process that lives but does not answer is told apart from none."""
    files = DataDir(tmp_path)
    dead = "http://127.0.0.1:1"
    RunFile(os.getpid(), "regtest", "dev", dead, dead, dead, dead, dead).write(files)
    done = await ask("status")
    assert done.exit_code == ExitCode.UNREACHABLE
    assert "node.unreachable" in done.stderr


async def test_a_starting_node_is_not_said_to_have_no_models(ask, node):
    """Models that cannot be read yet are not models that are not there."""
    node.unready(Phase.SYNCING, "12 blocks behind")
    node.current = replace(node.current, models=())
    done = await ask("model", "ls")
    assert done.exit_code == ExitCode.NOT_READY
    assert "node.not_ready" in done.stderr
    assert "12 blocks behind" in done.stderr
