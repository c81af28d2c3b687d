"""How large and how deep code may grow, and which names say nothing."""

import ast
import re
from collections.abc import Iterator

from tests.arch.source import Finding, Module

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 60
MAX_NESTING = 3
MAX_POSITIONAL = 4
MAX_PORT_METHODS = 5

# Path, or path:function, and why it may be larger than the rule. Tables, vectors and generated files only.
LARGER: dict[str, str] = {}

# Path:function whose `except Exception` is the last line of a loop that must not die of one bug.
LAST_LINES: dict[str, str] = {}

EMPTY_NAMES = frozenset({"utils", "util", "helpers", "helper", "common", "misc", "base", "manager"})

_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
# Branches and loops; a `with` scopes a resource and decides nothing.
_BLOCKS = ast.If | ast.For | ast.AsyncFor | ast.While | ast.Try | ast.TryStar | ast.Match
_PROPOSAL_NUMBER = re.compile(r"(?:^|_)(?:bip|eip|erc)_?\d", re.IGNORECASE)


def check_shape(module: Module) -> Iterator[Finding]:
    """Find files, functions and ports that are too large, and names that say nothing."""
    yield from _file(module)
    for node in ast.walk(module.tree):
        if isinstance(node, _FUNCTIONS):
            yield from _function(module, node)
        if isinstance(node, ast.ClassDef):
            yield from _port(module, node)
        if isinstance(node, ast.ExceptHandler):
            yield from _handler(module, node)
        yield from _names(module, node)


def _file(module: Module) -> Iterator[Finding]:
    lines = module.text.count("\n")
    if lines > MAX_FILE_LINES and module.path not in LARGER:
        yield module.found(1, "size", f"{lines} lines; {MAX_FILE_LINES} at most")
    for part in module.name.split("."):
        if part in EMPTY_NAMES:
            yield module.found(1, "name", f"'{part}' does not say what is in it")


def _function(module: Module, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Finding]:
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    exempt = f"{module.path}:{node.name}" in LARGER
    if lines > MAX_FUNCTION_LINES and not exempt:
        yield module.found(node, "size", f"{node.name} has {lines} lines; {MAX_FUNCTION_LINES} at most")
    if (depth := _depth(node)) > MAX_NESTING and not exempt:
        yield module.found(node, "nesting", f"{node.name} nests {depth} deep; {MAX_NESTING} at most")
    positional = [argument.arg for argument in [*node.args.posonlyargs, *node.args.args]]
    positional = positional[1:] if positional[:1] in (["self"], ["cls"]) else positional
    if len(positional) > MAX_POSITIONAL:
        words = f"{node.name} takes {len(positional)} by position; {MAX_POSITIONAL} at most, the rest by name"
        yield module.found(node, "arguments", words)


def _depth(node: ast.AST) -> int:
    """The deepest nesting of blocks under a node; `elif` is no deeper than its `if`."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _FUNCTIONS | ast.Lambda | ast.ClassDef):
            continue
        chained = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        step = 1 if isinstance(child, _BLOCKS) and not chained else 0
        deepest = max(deepest, step + _depth(child))
    return deepest


def _port(module: Module, node: ast.ClassDef) -> Iterator[Finding]:
    if not any(isinstance(parent, ast.Name) and parent.id == "Protocol" for parent in node.bases):
        return
    methods = [item for item in node.body if isinstance(item, _FUNCTIONS) and not _is_property(item)]
    if len(methods) > MAX_PORT_METHODS:
        words = f"{node.name} asks for {len(methods)} methods; {MAX_PORT_METHODS} at most"
        yield module.found(node, "port", words)


def _is_property(item: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(mark, ast.Name) and mark.id == "property" for mark in item.decorator_list)


def _handler(module: Module, node: ast.ExceptHandler) -> Iterator[Finding]:
    """`except Exception` hides bugs, unless it raises again."""
    broad = node.type is None or (
        isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}
    )
    if not broad or any(isinstance(inner, ast.Raise) for inner in ast.walk(node)):
        return
    inside = [
        function.name
        for function in ast.walk(module.tree)
        if isinstance(function, _FUNCTIONS) and function.lineno <= node.lineno <= (function.end_lineno or 0)
    ]
    if not any(f"{module.path}:{name}" in LAST_LINES for name in inside):
        yield module.found(node, "except", "catches everything; name what is expected")


def _names(module: Module, node: ast.AST) -> Iterator[Finding]:
    names: list[str] = []
    if isinstance(node, _FUNCTIONS | ast.ClassDef):
        names = [node.name]
    elif isinstance(node, ast.arg):
        names = [node.arg]
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        names = [node.id]
    for name in names:
        if _PROPOSAL_NUMBER.search(name):
            yield module.found(
                node, "name", f"'{name}' is a number; name the thing, cite the number in words"
            )
