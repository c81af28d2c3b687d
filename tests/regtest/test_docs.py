"""The page about the embedded Bitcoin names every call and every flag."""

import re

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
