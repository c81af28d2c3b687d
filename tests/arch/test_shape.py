"""Files and functions stay small enough to read."""

import ast

import pytest

from tests.arch.shape import LARGER, LAST_LINES, check_shape
from tests.arch.source import ROOT, modules, parse, tell


def test_code_stays_readable():
    """No file, function, nesting, argument list or port outgrows its limit."""
    findings = [finding for module in modules() for finding in check_shape(module)]
    assert not findings, tell(findings)


def test_exemptions_are_still_needed():
    """An exemption whose place is gone is removed with it."""
    for place in [*LARGER, *LAST_LINES]:
        path, _, function = place.partition(":")
        tree = ast.parse((ROOT / path).read_text())
        names = {
            node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert not function or function in names, place


@pytest.mark.parametrize(
    ("path", "text", "rule"),
    [
        ("vm/x.py", "x = 1\n" * 601, "size"),
        ("vm/x.py", "def f():\n" + "    x = 1\n" * 60, "size"),
        ("vm/x.py", "def f(a, b, c, d, e): ...", "arguments"),
        ("vm/x.py", "def f():\n if a:\n  for b in c:\n   while d:\n    if e: pass", "nesting"),
        ("vm/utils.py", "", "name"),
        ("vm/x.py", "def bip340_verify(): ...", "name"),
        ("vm/x.py", "EIP1559_FEE = 1", "name"),
        ("vm/x.py", "try: f()\nexcept Exception: g()", "except"),
        ("vm/x.py", "try: f()\nexcept: g()", "except"),
        ("vm/x.py", "class P(Protocol):\n" + "".join(f" def m{n}(self): ...\n" for n in range(6)), "port"),
    ],
)
def test_the_rule_catches(path, text, rule):
    """Each excess is found under its rule."""
    assert rule in {finding.rule for finding in check_shape(parse(path, text))}


@pytest.mark.parametrize(
    "text",
    [
        "def f(self, a, b, c, d, *, e, g): ...",
        "def f():\n if a: x\n elif b: y\n elif c: y\n elif d: y\n else: z",
        "try: f()\nexcept Exception as e: raise X from e",
        "def clip(bipolar): ...",
    ],
)
def test_the_rule_allows(text):
    """Keyword arguments, elif chains and re-raising pass."""
    assert not list(check_shape(parse("vm/x.py", text)))
