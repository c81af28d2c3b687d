"""The project's Python sources, parsed once, and how a broken rule is told."""

import ast
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# The top-level packages of the wheel, lowest first.
PACKAGES = ("primitives", "l1", "vm", "rollup", "bridge", "neuron", "regtest", "bitai")


@dataclass(frozen=True)
class Finding:
    """One place that breaks a rule."""

    path: str
    line: int
    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: [{self.rule}] {self.what}"


@dataclass(frozen=True)
class Module:
    """One parsed file; `path` is relative to the repository, `name` as it is imported."""

    path: str
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """The dotted name: vm/inference/ops.py is vm.inference.ops."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def package(self) -> str:
        """The top-level package."""
        return self.name.partition(".")[0]

    def found(self, node: ast.AST | int, rule: str, what: str) -> Finding:
        """Make a finding at a node or line."""
        line = node if isinstance(node, int) else getattr(node, "lineno", 1)
        return Finding(self.path, line, rule, what)


def parse(path: str, text: str) -> Module:
    """Parse a source; tests use it for the samples that rules must catch."""
    return Module(path, text, ast.parse(text))


@cache
def modules() -> tuple[Module, ...]:
    """Every Python file of the packages."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return tuple(parse(path.relative_to(ROOT).as_posix(), path.read_text()) for path in paths)


@cache
def tracked_files() -> tuple[str, ...]:
    """Every file that git tracks and that is still there."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return tuple(name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())


def tell(findings: list[Finding]) -> str:
    """All findings, one a line, for an assertion's message."""
    return "\n" + "\n".join(str(finding) for finding in findings)
