"""The ten funded accounts are told at start, to people and to programs."""

import io
import json

from bitai.dev_accounts_told import tell_accounts
from bitai.logging import configure_logging
from vm.dev_accounts import DEV_ACCOUNTS


def test_people_read_all_ten(capsys):
    """Each address stands beside its key."""
    tell_accounts(as_json=False)
    lines = capsys.readouterr().out.splitlines()
    for account in DEV_ACCOUNTS:
        assert f"  0x{account.address.hex()}  0x{account.secret.hex()}" in lines


def test_programs_read_all_ten():
    """As log lines, whose keys the blanking of secrets leaves alone: these are public."""
    stream = io.StringIO()
    configure_logging(as_json=True, stream=stream)
    tell_accounts(as_json=True)
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [each["key"] for each in told] == ["0x" + account.secret.hex() for account in DEV_ACCOUNTS]
