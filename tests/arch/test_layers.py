"""Imports go down only."""

import pytest

from tests.arch.layers import check_layers
from tests.arch.source import modules, parse, tell


def test_imports_go_down_only():
    """No package reaches up or sideways, and outside packages stay in their place."""
    findings = [finding for module in modules() for finding in check_layers(module)]
    assert not findings, tell(findings)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("primitives/x.py", "import vm"),
        ("primitives/x.py", "from l1.fees import rate"),
        ("l1/x.py", "from vm import types"),
        ("vm/x.py", "import l1.wallet"),
        ("rollup/x.py", "from neuron.engine import run"),
        ("bridge/x.py", "import vm.types"),
        ("neuron/x.py", "import vm.executor"),
        ("neuron/x.py", "from vm import executor"),
        ("regtest/x.py", "import l1"),
        ("rollup/x.py", "from bitai.config import NodeConfig"),
        ("rollup/x.py", "if True:\n    import bitai"),
        ("vm/x.py", "import torch"),
        ("vm/x.py", "import coincurve"),
        ("bitai/rpc/x.py", "import bitcoinrpc"),
        ("primitives/x.py", "import aiohttp"),
        ("primitives/bitcoin/x.py", "from bitcoin.core.scripteval import VerifyScript"),
        ("bitai/x.py", "from bitcoin.core import scripteval"),
    ],
)
def test_the_rule_catches(path, line):
    """Each forbidden import is found, also inside a block and in both spellings."""
    assert list(check_layers(parse(path, line)))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("primitives/x.py", "import hashlib"),
        ("rollup/x.py", "from vm.types import BlockData"),
        ("neuron/x.py", "from vm.inference import graph"),
        ("neuron/x.py", "import torch"),
        ("bitai/x.py", "import regtest.server, neuron.worker, rollup.config"),
        ("vm/inference/x.py", "from . import ops\nfrom ..types import BlockData"),
        ("primitives/curve.py", "import coincurve"),
    ],
)
def test_the_rule_allows(path, line):
    """What the layer diagram allows passes."""
    assert not list(check_layers(parse(path, line)))
