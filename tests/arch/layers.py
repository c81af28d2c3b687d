"""Who may import whom: down only, siblings never, and each outside package in its own place."""

import ast
import sys
from collections.abc import Iterator

from tests.arch.source import PACKAGES, Finding, Module

# What each package may import of ours besides itself; a dotted name admits that subpackage alone.
BELOW: dict[str, tuple[str, ...]] = {
    "primitives": (),
    "l1": ("primitives",),
    "vm": ("primitives",),
    "rollup": ("vm", "l1", "primitives"),
    "bridge": ("l1", "primitives"),
    "neuron": ("vm.inference", "primitives"),
    "regtest": ("primitives",),
    "bitai": ("primitives", "l1", "vm", "rollup", "bridge", "neuron", "regtest"),
}

# Packages from outside that only some modules may touch, so that replacing one is a change in one place.
OUTSIDE: dict[str, tuple[str, ...]] = {
    "bitcoin": ("primitives", "regtest"),
    "bitcoinrpc": ("bitai.adapters.bitcoin",),
    "coincurve": ("primitives.curve",),
    "Crypto": ("primitives.hashes",),
    "pbk": ("regtest",),
    "plyvel": ("bitai.adapters", "regtest", "neuron"),
    "torch": ("neuron",),
}

# The lowest packages stand on nothing else: a new one is a decision, with a line in docs/dependencies.md.
ONLY: dict[str, frozenset[str]] = {
    "primitives": frozenset({"bitcoin", "coincurve", "Crypto"}),
    "l1": frozenset(),
    "vm": frozenset({"numpy"}),
    "rollup": frozenset({"zstandard", "structlog"}),
    "bridge": frozenset(),
}

# python-bitcoinlib's script interpreter knows no taproot and has been wrong before: never a judge of ours.
NEVER = ("bitcoin.core.scripteval", "bitcoin.rpc")


def check_layers(module: Module) -> Iterator[Finding]:
    """Find imports that go up, sideways, or to an outside package that lives elsewhere."""
    for node in ast.walk(module.tree):
        for target in _targets(module, node):
            yield from _judge(module, node, target)


def _targets(module: Module, node: ast.AST) -> list[str]:
    """The dotted names that an import statement reaches; `from vm import inference` reaches vm.inference."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    origin = node.module or ""
    if node.level:
        parts = module.name.split(".")
        base = parts if module.path.endswith("__init__.py") else parts[:-1]
        origin = ".".join([*base[: len(base) - node.level + 1], *([origin] if origin else [])])
    return [f"{origin}.{alias.name}" for alias in node.names]


def _judge(module: Module, node: ast.AST, target: str) -> Iterator[Finding]:
    top = target.partition(".")[0]
    if top in PACKAGES:
        if top != module.package and not _admits(BELOW[module.package], target):
            yield module.found(node, "layers", f"{module.package} may not import {target}")
        return
    if top in sys.stdlib_module_names:
        return
    if _admits(NEVER, target):
        yield module.found(node, "never", f"{target} is not to be used at all")
    if top in OUTSIDE and not _admits(OUTSIDE[top], module.name):
        yield module.found(node, "outside", f"{top} belongs to {', '.join(OUTSIDE[top])}")
    if module.package in ONLY and top not in ONLY[module.package]:
        yield module.found(node, "outside", f"{module.package} stands on no outside package {top}")


def _admits(allowed: tuple[str, ...], name: str) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in allowed)
