"""The page about JSON-RPC lists exactly what is served."""

import re

from bitai.rpc.subscriptions import METHODS
from tests.arch.source import ROOT
from tests.bitai.rig import Rig


async def test_every_method_is_listed_once():
    """Each method of the table, and the two of WebSockets, is on the page once; nothing else is."""
    page = (ROOT / "docs" / "json-rpc.md").read_text()
    table = page[: page.index("<!-- end of methods -->")]
    listed = re.findall(r"`((?:eth|net|web3|txpool|bitai|rpc|debug|trace|ots|erigon)_[A-Za-z0-9]+)`", table)
    served = {*Rig().rpc.server._methods, *METHODS}
    assert sorted(listed) == sorted(served)
