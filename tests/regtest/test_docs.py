"""The page about the embedded Bitcoin names every call and every flag."""

import re
import shlex
import subprocess
import sys

from regtest.rpc.registry import METHODS
from regtest.server.cli import _parser
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "regtest.md").read_text()
SERVER_CALLS = {"uptime", "stop"}


def test_every_call_is_listed_once():
    """The table of calls and the registry agree."""
    table = PAGE.partition("| group | calls |")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"`(\w+)`", table)) == sorted({*METHODS, *SERVER_CALLS})


def test_every_flag_is_explained():
    """Each flag of the command line stands in the page, except the two that exist to be refused."""
    flags = {option for action in _parser()._actions for option in action.option_strings}
    for flag in flags - {"-h", "--help", "--bind", "--network"}:
        assert f"`{flag}" in PAGE or f" {flag} " in PAGE


def test_the_command_shown_serves(tmp_path):
    """The command of the page, with a folder and a port of its own, has 110 blocks when it says that it is ready."""
    (line,) = re.findall(r"^python (-m regtest .*)$", PAGE, re.MULTILINE)
    words = [*shlex.split(line.replace("/tmp/btc", str(tmp_path / "btc"))), "--port", "0"]
    with subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "(height 110," in process.stdout.readline()
        finally:
            process.terminate()
        assert process.wait(30) == 0
