"""Find every error code in the sources: where it is raised, as what, and with which words."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("primitives", "l1", "vm", "rollup", "bridge", "neuron", "regtest", "bitai")

# A code may end in a name that is filled in (batch.too_many_…): its area and its beginning are fixed.
_CODE = re.compile(r"[a-z][a-z0-9_]*\.(?:[a-z][a-z0-9_]*[a-z0-9]|[a-z0-9_]*…[a-z0-9_]*)")
_RUST_CODE = re.compile(r'"([a-z][a-z0-9_]*\.[a-z][a-z0-9_]*)"')
# Texts of the same shape that are no codes: files, and names of loggers and fault sites.
_FILES = frozenset(
    {"json", "log", "toml", "html", "dat", "conf", "css", "py", "rs", "sol", "cookie", "md", "bitai", "bin"}
)
_NO_CODES_IN = frozenset(
    {"get_logger", "getLogger", "_fault", "fault", "PackageLoader", "files", "import_module"}
)


@dataclass
class ErrorCode:
    """One code; `classes` are error classes, empty when it is only ever a value."""

    code: str
    classes: list[str] = field(default_factory=list)
    message: str = ""
    places: list[str] = field(default_factory=list)

    @property
    def area(self) -> str:
        """What stands before the dot."""
        return self.code.partition(".")[0]


@dataclass(frozen=True)
class Use:
    """One place where a code stands; `error_class` is empty where it is no argument of an error."""

    code: str
    path: str
    error_class: str = ""
    message: str = ""


def error_codes() -> list[ErrorCode]:
    """All codes in order, each once, with every class and place it is used with."""
    trees = {path: ast.parse((ROOT / path).read_text()) for path in _sources("*.py")}
    uses = list(_python_uses(trees, _error_classes(trees)))
    areas = {use.code.partition(".")[0] for use in uses if use.error_class}
    native = [use for path in _sources("*.rs") for use in _rust_uses(path)]
    areas |= {use.code.partition(".")[0] for use in native}
    uses += native
    found: dict[str, ErrorCode] = {}
    for use in uses:
        if use.code.partition(".")[0] in areas:
            _note(found.setdefault(use.code, ErrorCode(use.code)), use)
    return [found[code] for code in sorted(found)]


def _note(code: ErrorCode, use: Use) -> None:
    if use.error_class and use.error_class not in code.classes:
        code.classes.append(use.error_class)
    if use.path not in code.places:
        code.places.append(use.path)
    code.message = code.message or use.message


def _sources(pattern: str) -> list[str]:
    found = [path for package in PACKAGES for path in (ROOT / package).rglob(pattern)]
    names = [path.relative_to(ROOT).as_posix() for path in found if "target" not in path.parts]
    return sorted(name for name in names if "/tests/" not in name)


def _error_classes(trees: dict[str, ast.Module]) -> frozenset[str]:
    """The names of BitaiError and of all its descendants."""
    parents = {
        node.name: {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    known = {"BitaiError"}
    while grown := {name for name, bases in parents.items() if bases & known} - known:
        known |= grown
    return frozenset(known)


def _python_uses(trees: dict[str, ast.Module], classes: frozenset[str]) -> Iterator[Use]:
    for path, tree in trees.items():
        skipped: set[int] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                arguments = [argument for argument in node.args if _is_code(argument)]
                if _callee(node) in _NO_CODES_IN:
                    skipped |= {id(argument) for argument in arguments}
                elif arguments and _callee(node) in classes:
                    skipped.add(id(arguments[0]))
                    message = _words(node.args[1]) if len(node.args) > 1 else ""
                    yield Use(_text(arguments[0]), path, _callee(node), message)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and _is_code(node) and id(node) not in skipped:
                yield Use(_text(node), path)


def _rust_uses(path: str) -> Iterator[Use]:
    for code in _RUST_CODE.findall((ROOT / path).read_text()):
        yield Use(code, path)


def _is_code(node: ast.expr) -> bool:
    text = _text(node)
    return bool(_CODE.fullmatch(text)) and text.rpartition(".")[2] not in _FILES


def _text(node: ast.expr) -> str:
    """A text as it is written, with … for what is filled in; empty for anything else."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _callee(node: ast.Call) -> str:
    return ast.unparse(node.func).rpartition(".")[2]


def _words(node: ast.expr) -> str:
    return _text(node) or "…"
