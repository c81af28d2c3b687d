"""Read contract ABIs: types, selectors, and what calldata, logs and errors say, as text for people.

Data may come from any contract, so what does not decode is None, never an error. Source: the contract ABI
specification of Solidity.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from primitives.hashes import keccak256

_WORD: Final = 32
_ARRAY: Final = re.compile(r"(.*)\[(\d*)\]\Z", re.DOTALL)
MAX_ITEMS: Final = 1_000
"""Of an array: a length comes from the data."""
MAX_DEPTH: Final = 16
MAX_TEXT: Final = 256
"""Characters of a string or byte string that are shown."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A type: its canonical name, and the members of a tuple."""

    name: str
    members: tuple[Input, ...] = ()

    def is_dynamic(self) -> bool:
        """Tell whether values stand behind an offset."""
        if (array := _ARRAY.match(self.name)) is not None:
            return array[2] == "" or self.element().is_dynamic()
        if self.members:
            return any(each.kind.is_dynamic() for each in self.members)
        return self.name in {"string", "bytes"}

    def element(self) -> Kind:
        """Return the type of an array's elements."""
        return Kind(self.name[: self.name.rindex("[")], self.members)

    def head_bytes(self) -> int:
        """Return how many bytes a value takes where it stands, an offset included."""
        if self.is_dynamic():
            return _WORD
        if (array := _ARRAY.match(self.name)) is not None:
            return int(array[2]) * self.element().head_bytes()
        return sum(each.kind.head_bytes() for each in self.members) or _WORD


@dataclass(frozen=True, slots=True)
class Input:
    """A named value of a type; `indexed`: it stands in a log's topics."""

    name: str
    kind: Kind
    indexed: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A function, event or error."""

    name: str
    inputs: tuple[Input, ...]
    outputs: tuple[Input, ...] = ()

    @property
    def hash(self) -> bytes:
        """keccak256 of the signature: an event's first topic, and the selector of the others begins it."""
        return keccak256(f"{self.name}({','.join(each.kind.name for each in self.inputs)})".encode())


def parse_entry(item: dict[str, Any]) -> Entry:
    """Read an ABI item. Errors: `KeyError`, `TypeError` or `ValueError` for what is none."""
    return Entry(str(item["name"]), _inputs(item["inputs"]), _inputs(item.get("outputs", [])))


def _inputs(items: list[dict[str, Any]], depth: int = 0) -> tuple[Input, ...]:
    if depth > MAX_DEPTH:
        raise ValueError("tuples are nested too deeply")
    return tuple(
        Input(str(each.get("name", "")), _kind(each, depth), bool(each.get("indexed", False)))
        for each in items
    )


def _kind(item: dict[str, Any], depth: int) -> Kind:
    name = str(item["type"])
    if not name.startswith("tuple"):
        return Kind(name)
    members = _inputs(item["components"], depth + 1)
    inner = ",".join(each.kind.name for each in members)
    return Kind(f"({inner})" + name.removeprefix("tuple"), members)


def decode(inputs: tuple[Input, ...], data: bytes) -> list[str] | None:
    """Return values as text, None where the data does not hold them."""
    try:
        return _sequence([each.kind for each in inputs], data, 0, 0)
    except _Bad:
        return None


class _Bad(Exception):
    """The data does not hold a value of the type."""


def _sequence(kinds: list[Kind], data: bytes, start: int, depth: int) -> list[str]:
    if depth > MAX_DEPTH:
        raise _Bad
    values: list[str] = []
    at = start
    for kind in kinds:
        place = start + _number(data, at) if kind.is_dynamic() else at
        values.append(_value(kind, data, place, depth))
        at += kind.head_bytes()
    return values


def _number(data: bytes, at: int) -> int:
    word = data[at : at + _WORD]
    if len(word) != _WORD:
        raise _Bad
    return int.from_bytes(word, "big")


def _value(kind: Kind, data: bytes, at: int, depth: int) -> str:
    array = _ARRAY.match(kind.name)
    if array is not None:
        length = int(array[2]) if array[2] else _number(data, at)
        if length > MAX_ITEMS:
            raise _Bad
        first = at if array[2] else at + _WORD
        return "[" + ", ".join(_sequence([kind.element()] * length, data, first, depth + 1)) + "]"
    if kind.members:
        values = _sequence([each.kind for each in kind.members], data, at, depth + 1)
        return "(" + ", ".join(_named(kind.members, values)) + ")"
    if kind.name in {"string", "bytes"}:
        length = _number(data, at)
        content = data[at + _WORD : at + _WORD + length]
        if len(content) != length:
            raise _Bad
        return _shown(content, is_text=kind.name == "string")
    return _word(kind.name, _number(data, at))


def _word(name: str, number: int) -> str:
    if name == "bool":
        return "true" if number else "false"
    if name in {"address", "function"}:
        return "0x" + number.to_bytes(_WORD, "big")[12:].hex()
    if name.startswith("int"):
        return str(number - (1 << 256) if number >> 255 else number)
    if name.startswith("bytes"):
        return "0x" + number.to_bytes(_WORD, "big")[: int(name.removeprefix("bytes"))].hex()
    return str(number)


def _shown(content: bytes, *, is_text: bool) -> str:
    text = content.decode("utf-8", "replace") if is_text else "0x" + content.hex()
    cut = text[:MAX_TEXT] + ("…" if len(text) > MAX_TEXT else "")
    if not is_text:
        return cut
    return '"' + "".join(each if each.isprintable() else repr(each)[1:-1] for each in cut) + '"'


def _named(inputs: tuple[Input, ...], values: list[str]) -> list[str]:
    return [
        f"{each.name}: {value}" if each.name else value for each, value in zip(inputs, values, strict=True)
    ]


def arguments(inputs: tuple[Input, ...], data: bytes) -> str | None:
    """Return a list of values for people, each behind its name; None where the data does not hold them."""
    values = decode(inputs, data)
    return None if values is None else ", ".join(_named(inputs, values))


def event_arguments(event: Entry, topics: list[bytes], data: bytes) -> str | None:
    """Return an event's values in their order; an indexed one of dynamic type shows its hash."""
    indexed = [each for each in event.inputs if each.indexed]
    plain = tuple(each for each in event.inputs if not each.indexed)
    values = decode(plain, data)
    if values is None or len(indexed) != len(topics):
        return None
    told = iter(values)
    words = iter(topics)
    shown: list[str] = []
    for each in event.inputs:
        if each.indexed:
            topic = next(words)
            whole = each.kind.is_dynamic() or bool(each.kind.members) or "[" in each.kind.name
            shown.append("0x" + topic.hex() if whole else _word(each.kind.name, int.from_bytes(topic, "big")))
        else:
            shown.append(next(told))
    return ", ".join(_named(event.inputs, shown))
