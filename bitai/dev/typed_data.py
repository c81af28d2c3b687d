"""Hash structured data as EIP-712 says, from the JSON that wallets send."""

from __future__ import annotations

import re
from typing import Any, Final

from primitives.errors import InvalidInput
from primitives.hashes import keccak256

MAX_DEPTH: Final = 32
"""Of structs and arrays within each other: types may name themselves."""
MAX_TYPES: Final = 256
_DOMAIN: Final = "EIP712Domain"
_ARRAY: Final = re.compile(r"(.*)\[(\d*)\]\Z")
_INTEGER: Final = re.compile(r"(u?)int(\d*)\Z")
_BYTES: Final = re.compile(r"bytes(\d+)\Z")

Types = dict[str, list[dict[str, str]]]


def hash_typed_data(data: dict[str, Any]) -> tuple[bytes, bytes]:
    """Return domain separator and hash of the message. Errors: `InvalidInput` "dev.bad_typed_data"."""
    try:
        types: Types = data["types"]
        if len(types) > MAX_TYPES:
            raise InvalidInput("dev.bad_typed_data", f"typed data names at most {MAX_TYPES} types")
        domain = _hash_struct(_DOMAIN, data["domain"], types, 0)
        if data["primaryType"] == _DOMAIN:
            return domain, b""
        return domain, _hash_struct(data["primaryType"], data["message"], types, 0)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InvalidInput("dev.bad_typed_data", f"not typed data of EIP-712: {error!r}") from error


def _hash_struct(name: str, value: dict[str, Any], types: Types, depth: int) -> bytes:
    if depth > MAX_DEPTH:
        raise InvalidInput("dev.bad_typed_data", f"typed data nests at most {MAX_DEPTH} deep")
    parts: list[bytes] = [keccak256(_encode_type(name, types))]
    for member in types[name]:
        held = value.get(member["name"])
        parts.append(_encode_value(member["type"], held, types, depth + 1))
    return keccak256(b"".join(parts))


def _encode_type(name: str, types: Types) -> bytes:
    used: set[str] = set()
    _collect(name, types, used)
    used.discard(name)
    text = ""
    for each in (name, *sorted(used)):
        members = ",".join(f"{member['type']} {member['name']}" for member in types[each])
        text += f"{each}({members})"
    return text.encode()


def _collect(name: str, types: Types, used: set[str]) -> None:
    plain = name.split("[", 1)[0]
    if plain in used or plain not in types:
        return
    used.add(plain)
    for member in types[plain]:
        _collect(member["type"], types, used)


def _encode_value(kind: str, value: Any, types: Types, depth: int) -> bytes:
    if kind in types:
        return bytes(32) if value is None else _hash_struct(kind, value, types, depth)
    array = _ARRAY.match(kind)
    if array is not None:
        if array[2] and len(value) != int(array[2]):
            raise ValueError(f"{kind} wants {array[2]} items")
        if depth > MAX_DEPTH:
            raise InvalidInput("dev.bad_typed_data", f"typed data nests at most {MAX_DEPTH} deep")
        return keccak256(b"".join(_encode_value(array[1], each, types, depth + 1) for each in value))
    return _encode_atom(kind, value)


def _encode_atom(kind: str, value: Any) -> bytes:
    if kind == "string":
        return keccak256(value.encode())
    if kind == "bytes":
        return keccak256(_bytes(value))
    if kind == "bool":
        return int(value in (True, "true", "0x1")).to_bytes(32, "big")
    if kind == "address":
        return _bytes(value).rjust(32, b"\0")
    if (fixed := _BYTES.match(kind)) is not None:
        raw = _bytes(value)
        if len(raw) > int(fixed[1]):
            raise ValueError(f"{kind} is too long")
        return raw.ljust(32, b"\0")
    if (integer := _INTEGER.match(kind)) is not None:
        return _integer(value).to_bytes(32, "big", signed=not integer[1])
    raise ValueError(f"no type {kind}")


def _integer(value: Any) -> int:
    return int(value, 0) if isinstance(value, str) else int(value)


def _bytes(value: Any) -> bytes:
    return bytes.fromhex(value.removeprefix("0x"))
