"""Settings: precedence, origins, and complaints a person can act on."""

from pathlib import Path

import pytest

from bitai.config import NodeConfig, Source, flag_of, is_loopback, load_config, variable_of
from primitives.errors import ConfigError


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch, tmp_path):
    for name in NodeConfig.model_fields:
        monkeypatch.delenv(variable_of(name), raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))


def _file(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bitai.toml").write_text(text)
    return folder


def test_stronger_sources_win(tmp_path, monkeypatch):
    """Flag beats environment beats file beats default, and every value knows where it came from."""
    folder = _file(tmp_path / "node", "rpc_port = 1\nweb_port = 2\nneuron_port = 3\n")
    monkeypatch.setenv("BITAI_RPC_PORT", "11")
    monkeypatch.setenv("BITAI_WEB_PORT", "12")
    loaded = load_config({"datadir": str(folder), "rpc_port": "21"})
    config, origins = loaded.config, loaded.origins
    assert (config.rpc_port, config.web_port, config.neuron_port, config.metrics_port) == (21, 12, 3, 9550)
    assert (origins["rpc_port"].source, origins["rpc_port"].place) == (Source.FLAG, "--rpc-port")
    assert (origins["web_port"].source, origins["web_port"].place) == (Source.ENVIRONMENT, "BITAI_WEB_PORT")
    assert (origins["neuron_port"].source, origins["neuron_port"].place) == (
        Source.FILE,
        str(folder / "bitai.toml"),
    )
    assert origins["metrics_port"].source is Source.DEFAULT
    assert set(origins) == set(NodeConfig.model_fields)


def test_default_datadir_follows_network(tmp_path, monkeypatch):
    """Each network has a folder of its own, and its file is read from there."""
    assert load_config({}).config.datadir == tmp_path / "share/bitai/regtest"
    _file(tmp_path / "share/bitai/regtest", "log_level = 'debug'\n")
    assert load_config({}).config.log_level == "debug"
    monkeypatch.setenv("BITAI_DATADIR", str(tmp_path / "elsewhere"))
    assert load_config({}).config.datadir == tmp_path / "elsewhere"


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        ({"rpc_port": "70000"}, "config.invalid_value", "rpc_port"),
        ({"rpc_port": "x"}, "config.invalid_value", "--rpc-port"),
        ({"role": "king"}, "config.invalid_value", "role"),
        ({"network": "mainnet"}, "config.contradiction", "l1_rpc"),
        ({"role": "full"}, "config.contradiction", "l1_rpc"),
        ({"l1_rpc": "foo"}, "config.contradiction", "a URL"),
        ({"l1_rpc": "localhost:18443"}, "config.contradiction", "a URL"),
        ({"l1_rpc": "http://127.0.0.1:x"}, "config.contradiction", "a URL"),
        ({"l1_rpc": "http://me:hunter2@127.0.0.1:1"}, "config.contradiction", "l1_password_file"),
        ({"demo": True, "neuron": False}, "config.contradiction", "no-neuron"),
        (
            {"role": "full", "l1_rpc": "http://x:1", "rollup_config": "r", "sequencer_url": "http://x:1"},
            "config.contradiction",
            "ws://",
        ),
        ({"role": "full", "l1_rpc": "http://x:1"}, "config.contradiction", "rollup_config"),
        ({"l1_user": "u"}, "config.contradiction", "l1_password_file"),
        ({"l1_cookie": "c"}, "config.contradiction", "l1_rpc"),
        ({"sequencer_url": "ws://x"}, "config.contradiction", "role full"),
        ({"demo": True, "role": "sequencer"}, "config.contradiction", "role dev"),
        ({"rpc_port": 8550}, "config.contradiction", "port"),
        ({"fee_floor": 5_000, "fee_cap": 4_000}, "config.contradiction", "fee_cap"),
        (
            {"role": "full", "l1_rpc": "http://x:1", "rollup_config": "r", "fee_cap": 9_000},
            "config.contradiction",
            "fee_cap",
        ),
        ({"fee_floor": 1}, "config.invalid_value", "fee_floor"),
        ({"batch_codec": "opreturn"}, "config.invalid_value", "batch_codec"),
        ({"l1_ca_file": "c", "l1_rpc": "http://x:1"}, "config.contradiction", "https"),
    ],
)
def test_impossible_settings_are_named(flags, code, words):
    """A setting that cannot be is refused with a stable code and words that name it."""
    with pytest.raises(ConfigError) as caught:
        load_config(flags)
    assert caught.value.code == code
    assert words in f"{caught.value.message} {caught.value.details['why']}"
    assert caught.value.fix


def test_free_ports_may_repeat():
    """Port 0 asks for any free port, so it is no conflict with itself."""
    assert load_config({"rpc_port": 0, "web_port": 0}).config.rpc_port == 0


def test_unknown_names_are_errors_with_a_hint(tmp_path, monkeypatch):
    """A misspelt name in file or environment never passes silently."""
    folder = _file(tmp_path / "node", "rpc_prot = 1\n")
    with pytest.raises(ConfigError, match=r"config\.unknown_key") as caught:
        load_config({"datadir": str(folder)})
    assert "rpc_port" in str(caught.value.details["why"])
    monkeypatch.setenv("BITAI_NEWTORK", "regtest")
    with pytest.raises(ConfigError, match="BITAI_NEWTORK"):
        load_config({})


@pytest.mark.parametrize("text", ["rpc_port = \n", "network = 'signet'\n", "datadir = '/elsewhere'\n"])
def test_bad_files_are_refused(tmp_path, text):
    """A broken file, and settings that decide where the file is, are refused."""
    folder = _file(tmp_path / "node", text)
    with pytest.raises(ConfigError, match=r"config\.(bad_file|not_in_file)"):
        load_config({"datadir": str(folder)})


def test_test_variables_are_no_settings(monkeypatch):
    """Variables that serve tests and set-up do not stop a node."""
    for name in ("BITAI_VECTORS", "BITAI_TEST_PROFILE", "BITAI_TEST_BITCOIND", "BITAI_PYTHON"):
        monkeypatch.setenv(name, "somewhere")
    load_config({})


def test_flags_and_variables_are_derived_from_names():
    """One name, three spellings."""
    assert flag_of("rpc_port") == "--rpc-port"
    assert flag_of("neuron") == "--no-neuron"
    assert variable_of("rpc_port") == "BITAI_RPC_PORT"


@pytest.mark.parametrize(
    ("address", "local"), [("127.0.0.1", True), ("::1", True), ("0.0.0.0", False), ("x", False)]
)
def test_loopback(address, local):
    """Only addresses of this machine count as loopback."""
    assert is_loopback(address) is local


def test_empty_variables_say_nothing(monkeypatch):
    """`BITAI_RPC_PORT=` in a unit file means the default, as for every command."""
    monkeypatch.setenv("BITAI_RPC_PORT", "")
    monkeypatch.setenv("BITAI_NETWORK", "")
    loaded = load_config({})
    assert (loaded.config.rpc_port, loaded.config.network) == (8545, "regtest")
    assert loaded.origins["rpc_port"].source is Source.DEFAULT


def test_a_refused_url_is_not_repeated():
    """An address with a password in it is refused without showing it again."""
    with pytest.raises(ConfigError) as caught:
        load_config({"l1_rpc": "http://me:hunter2@127.0.0.1:1"})
    assert "hunter2" not in f"{caught.value} {caught.value.details}"


@pytest.mark.parametrize(
    ("network", "folder"),
    [("regtest", ".bitcoin/regtest"), ("signet", ".bitcoin/signet"), ("mainnet", ".bitcoin")],
)
def test_the_cookie_is_looked_for_where_core_puts_it(tmp_path, monkeypatch, network, folder):
    """Unnamed, it is the network's own; a `~` in a file is this user's home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    flags = {"network": network, "role": "full", "l1_rpc": "http://x:1", "rollup_config": "r"}
    assert load_config(flags).config.cookie_path == tmp_path / folder / ".cookie"
    named = load_config({**flags, "l1_cookie": "~/c"}).config
    assert named.cookie_path == tmp_path / "c"
