"""The node's own keys: made on regtest, asked for elsewhere, and never opened by a guess."""

import shlex

import pytest

from bitai.datadir import DataDir
from bitai.keystore import LIGHT, Keystore
from bitai.node_keys import NAMES, open_node_keys, password_file, write_neuron_key
from primitives.errors import ConfigError


@pytest.fixture
def files(tmp_path):
    """A prepared data folder."""
    files = DataDir(tmp_path / "node")
    files.prepare()
    return files


def test_regtest_makes_its_keys_once(files):
    """All five are there after the first start, differ, and are the same at the second."""
    keys = open_node_keys(files, "regtest")
    assert open_node_keys(files, "regtest") == keys
    assert len({getattr(keys, name) for name in NAMES}) == len(NAMES)
    for path in (password_file(files), write_neuron_key(files, keys), *files.keystore.glob("*.json")):
        assert path.stat().st_mode & 0o777 == 0o600


def test_elsewhere_each_fix_leads_on(files):
    """On a public network a person makes password and keys; doing what each error says ends in a start."""
    with pytest.raises(ConfigError, match=r"keys\.missing") as caught:
        open_node_keys(files, "signet")
    assert caught.value.fix.endswith(str(password_file(files)))
    password_file(files).write_text("open sesame\n")
    for name in NAMES:
        with pytest.raises(ConfigError, match=r"keys\.missing") as caught:
            open_node_keys(files, "signet")
        words = shlex.split(caught.value.fix)
        assert words[:4] == ["bitai-node", "keys", "new", name]
        assert words[4:6] == ["--network", "signet"]
        assert words[-2:] == ["--password-file", str(password_file(files))]
        Keystore(files.keystore).new(name, network="signet", password="open sesame", stretch=LIGHT)
    open_node_keys(files, "signet")


def test_a_key_under_another_password_is_named(files):
    """A person who made the node's key first is told which file stands in the way, and what to do."""
    Keystore(files.keystore).new("batcher", network="regtest", password="mine", stretch=LIGHT)
    with pytest.raises(ConfigError, match=r"keys\.wrong_password") as caught:
        open_node_keys(files, "regtest")
    _, there, away = shlex.split(caught.value.fix)
    (files.keystore / "batcher.json").rename(away)
    assert there == str(files.keystore / "batcher.json")
    open_node_keys(files, "regtest")
