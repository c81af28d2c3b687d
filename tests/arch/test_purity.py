"""Consensus code is pure."""

import pytest

from tests.arch.purity import check_purity
from tests.arch.source import modules, parse, tell


def test_consensus_code_is_pure():
    """No clock, file, socket, randomness, log, float or set order in what every node must agree on."""
    findings = [finding for module in modules() for finding in check_purity(module)]
    assert not findings, tell(findings)


@pytest.mark.parametrize(
    "text",
    [
        "import time",
        "import os.path",
        "from pathlib import Path",
        "import asyncio",
        "import random",
        "import logging",
        "import threading",
        "import structlog",
        "x = open('f')",
        "print(1)",
        "x = hash('a')",
        "x = 0.5",
        "x = float(1)",
        "def f(x: float) -> None: ...",
        "x = 1 / 2",
        "x /= 2",
        "import numpy as np\nx = np.float64",
        "import math\nx = math.sqrt(2)",
        "from math import log2",
        "for x in {1, 2}: pass",
        "def f():\n    s = set()\n    for x in s: pass",
        "def f(s: frozenset[int]):\n    return [x for x in s]",
        "def f(s: set[int]):\n    return tuple(s)",
        "def f(s: set[bytes]):\n    return b''.join(s)",
        "def f(s: set[int], t: set[int]):\n    return list(s | t)",
        "def f(s: set[int]):\n    return tuple(x + 1 for x in s)",
    ],
)
def test_the_rule_catches(text):
    """Each impurity is found in a pure module."""
    assert list(check_purity(parse("vm/x.py", text)))


@pytest.mark.parametrize(
    "text",
    [
        "x = 7 // 2",
        "from math import isqrt, gcd",
        "def f(s: set[int]):\n    return sorted(s)",
        "def f(s: set[int]):\n    return tuple(sorted(x + 1 for x in s))",
        "def f(s: set[int], x: int):\n    return x in s and len(s) > 1",
        "def f(s: set[int]):\n    return max(x for x in s)",
    ],
)
def test_the_rule_allows(text):
    """Whole numbers and order-free uses of sets pass."""
    assert not list(check_purity(parse("vm/x.py", text)))


def test_drivers_may_wait_but_not_look():
    """A driver awaits and logs; files and clock come through its ports."""
    assert not list(check_purity(parse("rollup/batcher/driver.py", "import asyncio, structlog\nx = 0.5")))
    assert list(check_purity(parse("rollup/batcher/driver.py", "import time")))


def test_only_the_proven_module_uses_floats():
    """The exemption is one module, not a folder."""
    assert not list(check_purity(parse("vm/inference/exact_blas.py", "x = 0.5")))
    assert list(check_purity(parse("vm/inference/exact_blas.py", "import time")))
    assert list(check_purity(parse("vm/inference/ops.py", "x = 0.5")))


def test_the_rest_is_free():
    """Adapters and processes of their own do what they are for."""
    assert not list(check_purity(parse("bitai/adapters/x.py", "import time, os\nx = 0.5")))
