"""The command line refuses what is not safe, and says how to do it right."""

import pytest

from primitives.errors import ConfigError
from regtest.server.cli import CONFIG_ERROR, main, parse_options
from tests.regtest.mini_wallet import OPEN_SCRIPT


def refusal(*arguments) -> ConfigError:
    """The complaint about some arguments."""
    with pytest.raises(ConfigError) as caught:
        parse_options(["--datadir", "d", *arguments])
    assert caught.value.fix
    return caught.value


def test_defaults(tmp_path):
    """With a directory alone: loopback, Core's port, mining on demand."""
    options = parse_options(["--datadir", str(tmp_path)])
    assert (options.host, options.port, options.directory) == ("127.0.0.1", 18443, tmp_path)
    assert options.mine_interval_seconds is None
    assert not options.node.mine_on_transaction


def test_everything_chosen(tmp_path):
    """Each flag arrives."""
    password = tmp_path / "password"
    password.write_text("p")
    flags = "--port 0 --mine-interval 0.5 --mine-on-tx --premine 3 --clock-offset -9 --bind ::1 --rpc-user u"
    options = parse_options(["--datadir", "d", *flags.split(), "--rpc-password-file", str(password)])
    assert (options.port, options.mine_interval_seconds, options.premine_blocks) == (0, 0.5, 3)
    assert (options.clock_offset_seconds, options.host, options.user_and_password) == (-9, "::1", "u:p")
    assert options.node.mine_on_transaction


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--network", "mainnet"], "cli.not_regtest"),
        (["--network", "signet"], "cli.not_regtest"),
        (["--bind", "0.0.0.0"], "cli.not_loopback"),
        (["--bind", "192.168.1.5"], "cli.not_loopback"),
        (["--bind", "example.org"], "cli.not_loopback"),
        (["--rpc-user", "u"], "cli.half_a_login"),
        (["--mine-to", "nonsense"], "cli.bad_address"),
        (["--mine-interval", "0"], "cli.bad_arguments"),
        (["--port", "70000"], "cli.bad_arguments"),
        (["--premine", "-1"], "cli.bad_arguments"),
        (["--clock-offset", "7201"], "cli.bad_arguments"),
        (["--unknown"], "cli.bad_arguments"),
    ],
)
def test_refusals(arguments, code):
    """Other networks, other interfaces and half a login are refused with a remedy."""
    assert refusal(*arguments).code == code


def test_localhost_is_one_address():
    """A name that means two addresses would get two ports, of which one is printed."""
    assert parse_options(["--datadir", "d", "--bind", "localhost"]).host == "127.0.0.1"


def test_payout_address():
    """Unattended mining pays whom it is told to."""
    from regtest.rpc.addresses import address_of_script

    options = parse_options(["--datadir", "d", "--mine-to", address_of_script(OPEN_SCRIPT)])
    assert options.node.payout_script == OPEN_SCRIPT


def test_message_has_four_parts(capsys):
    """What happened, a fix, a code, and the exit status of a mistake."""
    assert main(["--datadir", "d", "--network", "mainnet"]) == CONFIG_ERROR
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["error", "fix", "code"]


def test_help_has_examples(capsys):
    """Help ends with commands to copy."""
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "python -m regtest --datadir /tmp/btc --premine 110" in capsys.readouterr().out
