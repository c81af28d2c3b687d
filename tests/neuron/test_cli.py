"""The command line says what is wrong, why, and what to do; and never shows a key."""

from importlib.resources import files

import pytest
from click.testing import CliRunner

from neuron.catalogue import load_models
from neuron.cli import main
from neuron.engine import ExactEngine
from neuron.secret_key import read_key_file, read_key_variable
from primitives.errors import ConfigError

SHIPPED = files("vm.inference.models")


def refused(*arguments, environment=None):
    """Run the command, expect it to refuse, and return what it said."""
    result = CliRunner().invoke(main, arguments, env=environment or {})
    assert result.exit_code == 2
    return result.output


def test_help_has_examples():
    """Help names the key, the datadir's meaning, and commands to copy."""
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert "openssl rand -hex 32" in result.output
    assert "--key-file neuron.key" in result.output


@pytest.mark.parametrize("arguments", [(), ("--key-file", "a", "--key-env", "B")])
def test_exactly_one_key(arguments):
    """No key, or two, is refused with the code and the way out."""
    said = refused(*arguments)
    assert "key.which" in said
    assert "try:" in said


def test_key_file(tmp_path):
    """A key file is 64 hex digits that only its owner can read."""
    path = tmp_path / "key"
    path.write_text("0x" + "07" * 32 + "\n")
    path.chmod(0o600)
    assert read_key_file(path) == b"\7" * 32
    path.chmod(0o644)
    assert "key.permissions" in refused("--key-file", str(path))
    said = refused("--key-file", str(tmp_path / "none"))
    assert "key.unreadable" in said
    assert "openssl rand" in said


def test_no_key_is_written_over(tmp_path):
    """The way out of a key file that is not understood never makes a new key in its place."""
    path = tmp_path / "key"
    path.write_text("07" * 31)
    path.chmod(0o600)
    for where in (path, tmp_path):
        said = refused("--key-file", str(where))
        assert "key." in said
        assert "openssl" not in said


@pytest.mark.parametrize("url", ["node.example", "http://node.example", "ws://", "ws://[::1", "ws://a:99999"])
def test_a_node_that_cannot_be_named(url):
    """A URL that never leads anywhere is refused at once."""
    said = refused("--connect", url, "--key-env", "KEY", environment={"KEY": "07" * 32})
    assert "connect.malformed" in said


@pytest.mark.parametrize("text", ["", "07", "zz" * 32, "00" * 32, "ff" * 32])
def test_malformed_keys(text):
    """What is no key of the curve is refused, and not repeated on the screen."""
    with pytest.raises(ConfigError, match=r"key\.malformed") as caught:
        read_key_variable("KEY", {"KEY": text})
    assert not text or text not in str(caught.value).replace("64 hex", "")


def test_unset_variable():
    """A variable that is not set is named."""
    with pytest.raises(ConfigError, match=r"key\.unset"):
        read_key_variable("KEY", {})


def test_chain_must_be_an_identity(tmp_path):
    """A malformed --chain is refused before anything connects."""
    said = refused(
        "--key-env",
        "KEY",
        "--datadir",
        str(tmp_path),
        "--device",
        "exact",
        "--chain",
        "zz",
        environment={"KEY": "07" * 32},
    )
    assert "chain.malformed" in said


def test_models_are_checked(tmp_path):
    """A file that is no model, an on-chain model, and a missing one are refused with their codes."""
    garbage = tmp_path / "garbage.bitai"
    garbage.write_bytes(b"BITAIMDL" + bytes(40))
    on_chain = tmp_path / "onchain.bitai"
    on_chain.write_bytes(SHIPPED.joinpath("digits-onchain.bitai").read_bytes())
    for path, code in (
        (garbage, "model.refused"),
        (on_chain, "model.tier"),
        (tmp_path / "none", "model.unreadable"),
    ):
        with pytest.raises(ConfigError) as caught:
            load_models([path], ExactEngine())
        assert caught.value.code == code


def test_shipped_model_is_the_default(digits):
    """Without --model the shipped neuron-tier digits model is served."""
    assert list(load_models([], ExactEngine())) == [digits.model_id]


def test_model_is_compared_with_the_exact_route():
    """An engine that is wrong on this very model is found before the first job."""

    class Wrong(ExactEngine):
        def prepare(self, artifact):
            exact = super().prepare(artifact)

            class Model:
                def evaluate(self, inputs):
                    outputs = exact.evaluate(inputs)
                    return [outputs[0], outputs[1] + 1]

            return Model()

    with pytest.raises(ConfigError, match=r"model\.not_exact"):
        load_models([], Wrong())
