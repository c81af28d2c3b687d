"""The contract in vm/_core.pyi against the built module, name by name."""

import ast
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from primitives.hashes import keccak256
from primitives.rlp import encode
from vm import _core

STUB = ast.parse((Path(_core.__file__).parent / "_core.pyi").read_text())
CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}


def is_alias(node: ast.AnnAssign) -> bool:
    """Tell whether a declaration is a type alias."""
    return isinstance(node.annotation, ast.Name) and node.annotation.id == "TypeAlias"


def names(nodes: list[ast.stmt]) -> set[str]:
    """Return the names that statements declare; type aliases are for checkers only."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and not is_alias(node):
            found.add(node.target.id)
    return found


def test_module_names() -> None:
    """The module has what the stub declares, and nothing else in public."""
    built = {name for name in dir(_core) if not name.startswith("_")} | {"__version__"}
    assert names(STUB.body) == built


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_class_members(name: str) -> None:
    """So has every class."""
    declared = {member for member in names(CLASSES[name].body) if not member.startswith("_")}
    built = {member for member in vars(getattr(_core, name)) if not member.startswith("_")}
    assert declared == built


def callables() -> Iterator[tuple[str, Callable[..., object], ast.FunctionDef]]:
    """Yield every function, constructor and method that the stub declares, with what was built."""
    for node in STUB.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, getattr(_core, node.name), node
    for owner, body in CLASSES.items():
        for node in body.body:
            if isinstance(node, ast.FunctionDef) and not node.decorator_list and node.name[:2] != "__":
                yield f"{owner}.{node.name}", getattr(getattr(_core, owner), node.name), node
            if isinstance(node, ast.FunctionDef) and node.name == "__new__":
                yield owner, getattr(_core, owner), node


def test_signatures() -> None:
    """Parameters have the declared names, order and kinds, and defaults where the stub has one."""
    checked = 0
    for name, built, node in callables():
        parameters = list(inspect.signature(built).parameters.values())
        positional = [arg for arg in [*node.args.posonlyargs, *node.args.args] if arg.arg != "cls"]
        optional = len(node.args.defaults)
        expected = [(arg.arg, at >= len(positional) - optional) for at, arg in enumerate(positional)]
        keywords = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        expected += [(arg.arg, default is not None) for arg, default in keywords]
        assert [(p.name, p.default is not p.empty) for p in parameters] == expected, name
        named = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
        assert named == {arg.arg for arg in node.args.kwonlyargs}, name
        checked += 1
    assert checked > 25


def test_constants() -> None:
    """Constants are the published ones."""
    assert keccak256(b"") == _core.EMPTY_CODE_HASH
    assert keccak256(b"\x80") == _core.EMPTY_ROOT
    assert keccak256(b"infer(bytes32,bytes,bytes,uint32)")[:4] == _core.INFER_SELECTOR
    assert bytes.fromhex("0000000000000000000000000000000000100000") == _core.INFER_ADDRESS
    assert (_core.TRANSACTION_GAS_CAP, _core.SYSTEM_TRANSACTION_TYPE, _core.RECORDS_REQUEST_TYPE) == (
        2**24, 0x7E, 0xBA,
    )  # fmt: skip


def test_errors_carry_their_code() -> None:
    """A core error has code and message, and prints both."""
    error = _core.CoreError("core.stale", "moved")
    assert (error.code, error.message, error.args, str(error)) == (
        "core.stale", "moved", ("core.stale", "moved"), "core.stale: moved",
    )  # fmt: skip
    assert isinstance(error, Exception)


def test_hashes() -> None:
    """Bulk hashes are those of primitives, in order."""
    items = [bytes([i]) * i for i in range(50)]
    assert (
        _core.keccak256_many(items)
        == [keccak256(item) for item in items]
        == [_core.keccak256(i) for i in items]
    )


def test_ordered_roots_are_the_specifications() -> None:
    """Roots of lists of all sizes around the places where RLP of the index grows."""
    from ethereum.forks.osaka.trie import Trie, root, trie_set
    from ethereum_types.bytes import Bytes

    for count in (0, 1, 2, 127, 128, 129, 256, 300):
        items = [keccak256(bytes([i % 256, i // 256])) for i in range(count)]
        trie: Trie[Bytes, Bytes | None] = Trie(secured=False, default=None)
        for index, item in enumerate(items):
            key = encode(index.to_bytes((index.bit_length() + 7) // 8, "big"))
            trie_set(trie, Bytes(key), Bytes(item))
        assert _core.ordered_root(items) == bytes(root(trie))
