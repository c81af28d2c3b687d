"""The command line: quick, complete, and the same manners in every command."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bitai.cli.app import root
from bitai.cli.command import NodeCommand
from bitai.cli.dev import sats_of
from bitai.cli.exit_codes import MEANINGS, ExitCode, exit_code_of
from bitai.config import NodeConfig, flag_of
from primitives.errors import ConfigError, Duplicate, InvalidInput, InvariantViolation, Temporary

ROOT = Path(__file__).resolve().parents[3]

# What makes a start slow; a command that needs one imports it when it is called.
HEAVY = {
    "aiohttp",
    "coincurve",
    "cryptography",
    "httpx",
    "jinja2",
    "numpy",
    "orjson",
    "plyvel",
    "prometheus_client",
    "pydantic",
    "pydantic_settings",
    "structlog",
    "torch",
    "uvloop",
    "vm",
    "web3",
}


def _leaves(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found = []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += _leaves(command, (*path, name))
        else:
            found.append(((*path, name), command))
    return found


LEAVES = _leaves(root)
IDS = [" ".join(path) for path, _ in LEAVES]


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Run a command in an empty home and return its result."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))

    def run(*args: str, **more):
        return CliRunner().invoke(root, list(args), **more)

    return run


def test_help_imports_nothing_heavy():
    """`bitai-node --help` loads click and little else: it must be instant, with no node there."""
    program = (
        "import sys, contextlib\n"
        "from bitai.cli import main\n"
        "sys.argv = ['bitai-node', '--help']\n"
        "with contextlib.suppress(SystemExit): main()\n"
        "print(' '.join({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "Run a BitAI node" in done.stdout
    assert HEAVY & set(done.stderr.split()) == set()


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=IDS)
def test_every_command_has_the_house_manners(path, command):
    """Each command explains itself, has --json, and at least two examples."""
    assert isinstance(command, NodeCommand)
    assert command.help
    assert any(parameter.name == "as_json" for parameter in command.params)
    assert len(command.examples) >= 2


@pytest.mark.parametrize(
    ("path", "example"),
    [(path, example) for path, command in LEAVES for example in command.examples],
)
def test_examples_parse(path, example):
    """What help tells people to type is accepted."""
    words = shlex.split(example.partition(" | ")[0])
    assert tuple(words[: len(path) + 1]) == ("bitai-node", *path)
    command = dict(LEAVES)[path]
    command.make_context(path[-1], words[len(path) + 1 :])


def test_run_has_one_flag_for_each_setting():
    """No setting without a flag, no flag without a setting."""
    run = dict(LEAVES)[("run",)]
    flags = {option for parameter in run.params for option in parameter.opts if parameter.name != "as_json"}
    assert flags == {flag_of(name) for name in NodeConfig.model_fields}


def test_run_hands_over_what_was_named(monkeypatch, ask, tmp_path):
    """Only flags that were given reach the settings; the rest keep their origin."""
    import types

    started = []
    fake = types.ModuleType("bitai.node")
    fake.run_node = lambda config: started.append(config) or 0
    monkeypatch.setitem(sys.modules, "bitai.node", fake)
    done = ask("run", "--no-neuron", "--rpc-port", "0", "--datadir", str(tmp_path / "n"), "--json")
    assert done.exit_code == 0, done.output
    (config,) = started
    assert (config.neuron, config.rpc_port, config.json_logs, config.demo) == (False, 0, True, False)


def test_wrong_settings_end_in_four_parts(ask):
    """What, why, fix and code on standard error, with the exit code for a wrong setting."""
    done = ask("run", "--rpc-port", "x")
    assert done.exit_code == ExitCode.USAGE
    for part in ("Error: rpc_port = 'x'", "why", "fix", "config.invalid_value"):
        assert part in done.stderr
    assert done.stdout == ""


def test_errors_as_json(ask):
    """With --json an error is one JSON object on standard output."""
    done = ask("status", "--json")
    assert done.exit_code == ExitCode.UNREACHABLE
    answer = json.loads(done.stdout)
    assert answer["schema"] == 1
    assert answer["error"]["code"] == "node.not_running"
    assert answer["error"]["fix"].startswith("bitai-node run")


def test_keys_from_making_to_listing(ask, tmp_path):
    """A key is made with a password file, listed without its secret, and never made twice."""
    (tmp_path / "password").write_text("open sesame\n")
    made = ask("keys", "new", "batcher", "--password-file", str(tmp_path / "password"), "--json")
    assert made.exit_code == 0, made.output
    key = json.loads(made.stdout)
    assert set(key) == {"schema", "name", "network", "address", "xonly"}
    listed = json.loads(ask("keys", "list", "--json").stdout)
    assert [item["address"] for item in listed["keys"]] == [key["address"]]
    again = ask("keys", "new", "batcher", "--password-file", str(tmp_path / "password"))
    assert again.exit_code == ExitCode.REFUSED
    assert "keystore.exists" in again.stderr


def test_a_secret_is_shown_only_on_request(ask):
    """--show-secret prints the key; the prompt takes the password twice."""
    made = ask("keys", "new", "mine", "--show-secret", input="pw\npw\n")
    assert made.exit_code == 0, made.output
    secret = next(line.split()[1] for line in made.stdout.splitlines() if line.startswith("secret"))
    assert len(bytes.fromhex(secret)) == 32


def test_json_never_prompts(ask):
    """A program gets an error, not a question."""
    done = ask("keys", "new", "mine", "--json")
    assert done.exit_code == ExitCode.USAGE
    assert json.loads(done.stdout)["error"]["code"] == "keys.no_password"


def test_without_a_terminal_the_password_file_is_named(tmp_path):
    """A service that makes keys is told how, and nothing is read that would show on a screen."""
    done = _bare("keys", "new", "mine", "--datadir", str(tmp_path))
    assert done.returncode == ExitCode.USAGE
    assert "keys.no_password" in done.stderr
    assert "--password-file" in done.stderr


def test_what_the_system_refuses_is_no_traceback(tmp_path, ask):
    """A folder that cannot be made, and a password that is no text, end in words."""
    (tmp_path / "password").write_text("pw")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    keys = ("keys", "new", "mine", "--password-file")
    done = ask(*keys, str(tmp_path / "password"), "--datadir", str(tmp_path / "password"), "--json")
    assert (done.exit_code, json.loads(done.stdout)["error"]["code"]) == (ExitCode.USAGE, "system.refused")
    done = ask(*keys, str(tmp_path / "binary"), "--json")
    assert json.loads(done.stdout)["error"]["code"] == "keys.password_file"


@pytest.mark.parametrize("words", [("dev", "mine", "abc"), ("fly",), ("run", "--wings")])
def test_wrong_words_are_told_like_every_error(words):
    """What click refuses has a code and a fix too, and is JSON for a program."""
    done = _bare(*words)
    assert done.returncode == ExitCode.USAGE
    assert "cli.usage" in done.stderr
    assert "--help" in done.stderr
    done = _bare(*words, "--json")
    assert json.loads(done.stdout)["error"]["code"] == "cli.usage"


def test_a_network_that_is_none_is_refused(ask, tmp_path):
    """A misspelt network makes no key and no folder."""
    (tmp_path / "password").write_text("pw")
    done = ask("keys", "new", "mine", "--network", "mainet", "--password-file", str(tmp_path / "password"))
    assert "config.invalid_value" in done.stderr
    assert not (tmp_path / "bitai").exists()


def _bare(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a process without a terminal."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BITAI_")}
    return subprocess.run(
        [sys.executable, "-m", "bitai.cli", *words],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )


def test_config_show_names_origins(ask, monkeypatch):
    """Each value with who gave it."""
    monkeypatch.setenv("BITAI_RPC_PORT", "9999")
    shown = json.loads(ask("config", "show", "--origin", "--json").stdout)
    assert shown["rpc_port"] == {"value": 9999, "source": "environment", "place": "BITAI_RPC_PORT"}
    assert shown["web_port"]["source"] == "default"
    assert "9999" in ask("config", "show").stdout


def test_version(ask):
    """The version is printed for people and programs."""
    assert json.loads(ask("version", "--json").stdout)["bitai-node"] in ask("version").stdout


@pytest.mark.parametrize(("text", "sats"), [("1", 10**8), ("0.00000001", 1), ("2.5", 250_000_000)])
def test_amounts_are_exact(text, sats):
    """BTC amounts become whole sats without passing through floats."""
    assert sats_of(text) == sats


@pytest.mark.parametrize("text", ["0", "-1", "0.000000001", "x", "nan", "Infinity", ""])
def test_senseless_amounts_are_refused(text):
    """What is no amount in whole sats is refused."""
    with pytest.raises(InvalidInput, match=r"amount\.bad"):
        sats_of(text)


def test_exit_codes_follow_the_kind_of_error():
    """Scripts can tell wrong input from refusal from silence."""
    assert exit_code_of(ConfigError("a.b", "", fix="")) is ExitCode.USAGE
    assert exit_code_of(Duplicate("a.b", "")) is ExitCode.REFUSED
    assert exit_code_of(Temporary("a.b", "")) is ExitCode.TIMEOUT
    assert exit_code_of(Temporary("node.unreachable", "")) is ExitCode.UNREACHABLE
    assert exit_code_of(InvariantViolation("a.b", "")) is ExitCode.FAILED
    assert set(MEANINGS) == set(ExitCode)
