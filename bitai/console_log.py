"""console.log of contracts: decode what they print, as hardhat's library encodes it, into lines of the node's log.

A message is the calldata of log(...) with up to four arguments of uint256, string, bool and address, or of one of
the single-typed forms. What no form fits is shown as hex.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final

import structlog

from primitives.hashes import keccak256

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

log = structlog.get_logger(__name__)

MAX_LINE: Final = 2_048
"""Characters of one line; more is cut off."""
_WORDS: Final = ("uint256", "string", "bool", "address")
_WORD: Final = 32
_DIRECTIVES: Final = ("%s", "%d", "%i", "%o", "%O")


def _forms() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield signatures of the family with the types of their arguments."""
    for count in range(5):
        for types in product(_WORDS, repeat=count):
            yield f"log({','.join(types)})", types
            if (
                "uint256" in types
            ):  # as old versions of the library hashed it, which stands in deployed contracts
                yield f"log({','.join(types)})".replace("uint256", "uint"), types
    sized = [f"bytes{size}" for size in range(1, _WORD + 1)]
    for kind in ("int256", "bytes", *sized):
        yield f"log({kind})", (kind,)
    yield "log(int)", ("int256",)
    for kind in ("uint256", "int256", "string", "bool", "address", "bytes", *sized):
        name = kind.removesuffix("256").capitalize()
        yield f"log{name}({kind})", (kind,)


FORMS: Final = {keccak256(signature.encode())[:4]: types for signature, types in _forms()}
"""Types of the arguments by selector."""


class ConsoleLog:
    """Writes what contracts print into the log, each message as a line `console.log ...`."""

    def __call__(self, transaction_hash: bytes | None, messages: Sequence[bytes]) -> None:
        """Log the messages of a transaction, or of a call."""
        source = "call" if transaction_hash is None else "0x" + transaction_hash.hex()
        for message in messages:
            log.info("console.log %s", render(message), source=source)


def render(message: bytes) -> str:
    """Return one message as a line of printable text."""
    types = FORMS.get(message[:4])
    values = None if types is None else _decode(types, message[4:])
    text = "0x" + message.hex() if values is None else _join(values)
    shown = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text[:MAX_LINE])
    return shown + ("…" if len(text) > MAX_LINE else "")


def _join(values: list[str]) -> str:
    """Join as hardhat does: a first string may say where the next values go."""
    if not values:
        return ""
    first, rest = values[0], values[1:]
    parts: list[str] = []
    while rest:
        found = [(first.find(each), each) for each in _DIRECTIVES if each in first]
        if not found:
            break
        at, directive = min(found)
        parts.append(first[:at] + rest.pop(0))
        first = first[at + len(directive) :]
    return " ".join(["".join(parts) + first, *rest])


def _decode(types: tuple[str, ...], body: bytes) -> list[str] | None:
    """Return the arguments as text, None if the bytes do not hold them."""
    values = [_value(kind, body, _WORD * place) for place, kind in enumerate(types)]
    known = [each for each in values if each is not None]
    return known if len(known) == len(values) else None


def _value(kind: str, body: bytes, at: int) -> str | None:
    word = body[at : at + _WORD]
    if len(word) != _WORD:
        return None
    number = int.from_bytes(word, "big")
    match kind:
        case "uint256":
            return str(number)
        case "int256":
            return str(int.from_bytes(word, "big", signed=True))
        case "bool":
            return "true" if number else "false"
        case "address":
            return "0x" + word[12:].hex()
        case "string" | "bytes":
            data = _tail(body, number)
            if data is None or kind == "string":
                return None if data is None else data.decode("utf-8", "replace")
            return "0x" + data.hex()
    return "0x" + word[: int(kind.removeprefix("bytes"))].hex()


def _tail(body: bytes, offset: int) -> bytes | None:
    """Return a byte string that stands behind its length; what was cut off by our own bound is simply missing."""
    if offset + _WORD > len(body):
        return None
    length = int.from_bytes(body[offset : offset + _WORD], "big")
    start = offset + _WORD
    return body[start : start + min(length, len(body))]
