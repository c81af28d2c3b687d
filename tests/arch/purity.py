"""What consensus code may not do: look at the world, use floats, or let a set's order reach an output."""

import ast
from collections.abc import Iterator

from tests.arch.source import Finding, Module

# Pure: the same input gives the same output on every machine. A prefix ends at a dot or the end of the name.
PURE = (
    "primitives",
    "l1",
    "vm",
    "rollup.config",
    "rollup.parameters",
    "rollup.limits",
    "rollup.batch",
    "rollup.derivation",
    "rollup.finality",
    "rollup.dispatch",
    "rollup.dispute",
    "rollup.sequencer.rules",
    "bitai.pipeline",
    "bitai.pipeline_events",
    "bitai.pipeline_state",
    "bitai.l1_scan",
    "bitai.model_inscription",
    "bitai.replay",
)

# Drivers may wait (asyncio) and log, but files, sockets, environment and clock reach them through ports.
DRIVERS = ("rollup.sequencer", "rollup.batcher", "rollup.proposer", "rollup.follower")

# numpy float64 matrix products, only where the analyser proves every partial sum below 2^53; a property test
# holds them equal to the int64 reference.
FLOATS_PROVEN = frozenset({"vm.inference.exact_blas"})

_WORLD = frozenset(
    {"ctypes", "datetime", "fcntl", "glob", "http", "io", "multiprocessing", "os", "pathlib", "platform"}
    | {"random", "resource", "secrets", "select", "selectors", "shutil", "signal", "socket", "socketserver"}
    | {"sqlite3", "ssl", "subprocess", "tempfile", "time", "urllib", "uuid"}
    | {"aiohttp", "httpx", "plyvel", "requests", "torch", "websockets"}
)
_CONCURRENCY_AND_LOGS = frozenset(
    {
        "asyncio",
        "concurrent",
        "contextvars",
        "logging",
        "queue",
        "sched",
        "structlog",
        "threading",
        "warnings",
    }
)
# A lock that guards a cache or keeps two writers of one table apart, never a result: readers of older states come from
# the RPC's threads, history is written on a thread of its own, and the store in memory takes both.
_LOCKS = frozenset({("vm.views", "threading"), ("vm.history", "threading"), ("vm.store", "threading")})
_CALLS = frozenset({"open", "print", "input", "eval", "exec", "hash", "id", "breakpoint"})
_WHOLE_MATH = frozenset({"isqrt", "gcd", "lcm", "prod", "comb", "perm"})
_FLOAT_NAMES = frozenset({"float16", "float32", "float64", "longdouble", "float_", "double"})
_SET_MAKERS = frozenset({"set", "frozenset"})
# What takes a set's elements without their order mattering.
_ORDERLESS = frozenset({"sorted", "len", "min", "max", "any", "all", "set", "frozenset", "bool"})
_ORDERED = frozenset(
    {"list", "tuple", "enumerate", "iter", "next", "zip", "map", "filter", "reversed", "sum"}
)


def is_pure(name: str) -> bool:
    """Whether a module must be pure."""
    return _under(PURE, name)


def check_purity(module: Module) -> Iterator[Finding]:
    """Find what a pure module, or a driver, may not do."""
    pure = is_pure(module.name)
    if not pure and not _under(DRIVERS, module.name):
        return
    banned = _WORLD | _CONCURRENCY_AND_LOGS if pure else _WORLD
    for node in ast.walk(module.tree):
        yield from _imports(module, node, banned)
        yield from _calls(module, node)
        if pure and module.name not in FLOATS_PROVEN:
            yield from _floats(module, node)
    if pure:
        yield from _set_order(module)


def _under(prefixes: tuple[str, ...], name: str) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def _imports(module: Module, node: ast.AST, banned: frozenset[str]) -> Iterator[Finding]:
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and not node.level:
        names = [node.module or ""]
    for name in names:
        if name.partition(".")[0] in banned and (module.name, name) not in _LOCKS:
            yield module.found(node, "purity", f"imports {name}")


def _calls(module: Module, node: ast.AST) -> Iterator[Finding]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CALLS:
        yield module.found(node, "purity", f"calls {node.func.id}()")


def _floats(module: Module, node: ast.AST) -> Iterator[Finding]:
    if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
        yield module.found(node, "floats", f"the number {node.value}")
    elif isinstance(node, ast.Name) and node.id == "float":
        yield module.found(node, "floats", "float")
    elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
        yield module.found(node, "floats", "true division; use // for whole numbers")
    elif isinstance(node, ast.Attribute) and node.attr in _FLOAT_NAMES:
        yield module.found(node, "floats", node.attr)
    elif isinstance(node, ast.Attribute) and _is_name(node.value, "math") and node.attr not in _WHOLE_MATH:
        yield module.found(node, "floats", f"math.{node.attr}")
    elif isinstance(node, ast.ImportFrom) and node.module == "math":
        for alias in node.names:
            if alias.name not in _WHOLE_MATH:
                yield module.found(node, "floats", f"math.{alias.name}")


def _set_order(module: Module) -> Iterator[Finding]:
    """Find loops over sets and conversions that fix a set's order, function by function."""
    scopes = [module.tree, *(node for node in ast.walk(module.tree) if isinstance(node, _FUNCTIONS))]
    for scope in scopes:
        names = _set_names(scope)
        for node in _own_nodes(scope):
            yield from _ordered_use(module, node, names)


_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """Walk a scope without the functions inside it, which are scopes of their own."""
    for child in ast.iter_child_nodes(scope):
        if not isinstance(child, _FUNCTIONS):
            yield child
            yield from _own_nodes(child)


def _set_names(scope: ast.AST) -> frozenset[str]:
    """Names that hold a set in this scope, as far as assignments and annotations tell."""
    found: set[str] = set()
    if isinstance(scope, _FUNCTIONS):
        arguments = [*scope.args.posonlyargs, *scope.args.args, *scope.args.kwonlyargs]
        found |= {argument.arg for argument in arguments if _is_set_type(argument.annotation)}
    for node in _own_nodes(scope):
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and _is_set_type(node.annotation)
        ):
            found.add(node.target.id)
        if isinstance(node, ast.Assign) and _is_set(node.value, frozenset(found)):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return frozenset(found)


def _is_set_type(annotation: ast.expr | None) -> bool:
    if annotation is None:
        return False
    outer = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return isinstance(outer, ast.Name) and outer.id in {"set", "frozenset", "AbstractSet", "Set"}


def _is_set(node: ast.expr, names: frozenset[str]) -> bool:
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in _SET_MAKERS
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr | ast.BitAnd | ast.Sub | ast.BitXor):
        return _is_set(node.left, names) or _is_set(node.right, names)
    return isinstance(node, ast.Name) and node.id in names


def _ordered_use(module: Module, node: ast.AST, names: frozenset[str]) -> Iterator[Finding]:
    if isinstance(node, ast.For) and _is_set(node.iter, names):
        yield module.found(node, "set order", "loops over a set; sort it first")
    elif isinstance(node, ast.ListComp | ast.DictComp):
        for generator in node.generators:
            if _is_set(generator.iter, names):
                yield module.found(node, "set order", "makes an ordered value from a set; sort it first")
    elif isinstance(node, ast.Call):
        yield from _ordered_call(module, node, names)


def _ordered_call(module: Module, node: ast.Call, names: frozenset[str]) -> Iterator[Finding]:
    """A call that keeps order given a set, or a generator over one given to such a call."""
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    joins = isinstance(node.func, ast.Attribute) and node.func.attr in {"join", "extend"}
    if name in _ORDERLESS or not (name in _ORDERED or joins):
        return
    for argument in node.args:
        inner = argument.generators[0].iter if isinstance(argument, ast.GeneratorExp) else argument
        if _is_set(inner, names) and not (name == "sum" and isinstance(argument, ast.GeneratorExp)):
            yield module.found(node, "set order", "orders the elements of a set; sort it first")


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
