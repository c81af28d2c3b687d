"""What a method takes: names, JSON types and defaults; and reading them with Core's complaints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from primitives.ids import HASH_BYTES
from regtest.rpc.errors import Code, RpcError

REQUIRED: Final = object()
STRING: Final = ("string",)
NUMBER: Final = ("number",)
BOOLEAN: Final = ("bool",)
ARRAY: Final = ("array",)
OBJECT: Final = ("object",)
AMOUNT: Final = ("number", "string")
VERBOSITY: Final = ("number", "bool")
ANY: Final = ("string", "number", "bool", "array", "object")
_INT32_MAX: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter; `types` are the JSON types it may have, null always means the default."""

    name: str
    types: tuple[str, ...]
    default: object = REQUIRED


class Arguments:
    """The values of one call, by name, checked for type."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def value(self, name: str) -> Any:
        """Return a value as JSON has it."""
        return self._values[name]

    def text(self, name: str) -> str:
        """Return a string."""
        return str(self._values[name])

    def flag(self, name: str) -> bool:
        """Return a boolean."""
        return bool(self._values[name])

    def items(self, name: str) -> list[Any]:
        """Return an array."""
        return list(self._values[name])

    def integer(self, name: str, *, limit: int = _INT32_MAX) -> int:
        """Return an integer of at most `limit` either way; a boolean counts as 0 or 1."""
        return to_integer(self._values[name], limit)

    def block_hash(self, name: str) -> bytes:
        """Return 32 bytes in internal order."""
        return to_hash(self._values[name], name)

    def hex(self, name: str) -> bytes | None:
        """Return the bytes of a hex string, None if it is none."""
        return to_bytes(self._values[name])


def bind(params: Sequence[Param], given: object) -> Arguments:
    """Match positional or named arguments with parameters; raises RpcError -1, -3, -8, -32600."""
    if given is None:
        given = []
    if isinstance(given, dict):
        given = _positional(params, given)
    if not isinstance(given, list):
        raise RpcError(Code.INVALID_REQUEST, "Params must be an array or object")
    if len(given) > len(params):
        raise RpcError(Code.MISC, f"too many arguments: {len(given)} given, {len(params)} known")
    padded = [*given, *([None] * (len(params) - len(given)))]
    wrong = {}
    values = {}
    for position, (param, value) in enumerate(zip(params, padded, strict=True), 1):
        if value is None and param.default is REQUIRED:
            raise RpcError(Code.MISC, f"missing argument {position}: {param.name}")
        if value is not None and json_type(value) not in param.types:
            expected = " or ".join(param.types)
            what = f"JSON value of type {json_type(value)} is not of expected type {expected}"
            wrong[f"Position {position} ({param.name})"] = what
        values[param.name] = param.default if value is None else value
    if wrong:
        shown = ",\n".join(f'    "{where}": "{what}"' for where, what in wrong.items())
        raise RpcError(Code.TYPE, "Wrong type passed:\n{\n" + shown + "\n}")
    return Arguments(values)


def json_type(value: object) -> str:
    """Return Core's name for a JSON value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    names = {str: "string", int: "number", float: "number", list: "array", dict: "object"}
    return names[type(value)]


def to_integer(value: object, limit: int = _INT32_MAX) -> int:
    """Return an integer; raises RpcError -3 for another type and -1 out of range."""
    if not isinstance(value, (int, float)):
        raise RpcError(Code.TYPE, f"JSON value of type {json_type(value)} is not of expected type number")
    if value != value // 1 or not -limit - 1 <= value <= limit:
        raise RpcError(Code.MISC, "JSON integer out of range")
    return int(value)


def to_hash(value: object, name: str) -> bytes:
    """Return the 32 bytes of a displayed hash; raises RpcError -3, -8."""
    if not isinstance(value, str):
        raise RpcError(Code.TYPE, f"JSON value of type {json_type(value)} is not of expected type string")
    if len(value) != 2 * HASH_BYTES:
        shown = value[:80]
        raise RpcError(
            Code.INVALID_PARAMETER, f"{name} must be of length 64 (not {len(value)}, for '{shown}')"
        )
    data = to_bytes(value)
    if data is None:
        raise RpcError(Code.INVALID_PARAMETER, f"{name} must be hexadecimal string (not '{value}')")
    return data[::-1]


def to_bytes(value: object) -> bytes | None:
    """Return the bytes of a string that is all hex digits, None for anything else."""
    if not isinstance(value, str) or not value.isascii() or not value.isalnum():
        return b"" if value == "" else None
    try:
        return bytes.fromhex(value)
    except ValueError:
        return None


def _positional(params: Sequence[Param], named: dict[str, Any]) -> list[Any]:
    """Put named arguments in order; `args` may hold the first ones by position."""
    rest = dict(named)
    values = rest.pop("args", [])
    if not isinstance(values, list):
        raise RpcError(Code.INVALID_PARAMETER, "Parameter args must be an array")
    values = list(values)
    for position, param in enumerate(params):
        if param.name in rest and position < len(values):
            raise RpcError(
                Code.INVALID_PARAMETER, f"Parameter {param.name} specified twice both as positional and named"
            )
        if position >= len(values):
            values.append(rest.pop(param.name, None))
    if rest:
        raise RpcError(Code.INVALID_PARAMETER, f"Unknown named parameter {next(iter(rest))}")
    return values
