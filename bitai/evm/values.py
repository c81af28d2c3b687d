"""Numbers and bytes as official test files write them: hex in many spellings, sometimes too large on purpose."""

from collections.abc import Mapping
from typing import Any, Final

from primitives.errors import InvalidInput

ADDRESS_BYTES: Final = 20
WORD_BYTES: Final = 32
_BIG: Final = "0x:bigint "
"""What retesteth writes before a number that exceeds 256 bits."""
_MAX_DIGITS: Final = 2_048
"""Digits of one number: far beyond any official test, far below what would make parsing slow."""


def number(text: object) -> int:
    """Return an unsigned number of any size: an integer, hex with 0x, or decimal; nothing is zero.

    Raises InvalidInput `evm.bad_number`.
    """
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    if not isinstance(text, str) or len(text) > _MAX_DIGITS:
        raise InvalidInput("evm.bad_number", "not an unsigned number", value=_shown(text))
    plain = text.removeprefix(_BIG)
    digits = plain[2:] if plain[:2] in {"0x", "0X"} else plain
    try:
        value = int(digits or "0", 16 if digits != plain else 10)
    except ValueError as error:
        raise InvalidInput("evm.bad_number", "not an unsigned number", value=_shown(text)) from error
    if value < 0:
        raise InvalidInput("evm.bad_number", "not an unsigned number", value=_shown(text))
    return value


def blob(text: object) -> bytes:
    """Return bytes from hex, with or without 0x; a missing first nibble is zero. Raises `evm.bad_hex`."""
    if not isinstance(text, str):
        raise InvalidInput("evm.bad_hex", "not bytes in hex", value=_shown(text))
    digits = text[2:] if text[:2] in {"0x", "0X"} else text
    try:
        return bytes.fromhex("0" + digits if len(digits) % 2 else digits)
    except ValueError as error:
        raise InvalidInput("evm.bad_hex", "not bytes in hex", value=_shown(text)) from error


def address(text: object) -> bytes:
    """Return 20 bytes; shorter hex is a small number."""
    return _padded(text, ADDRESS_BYTES)


def word(text: object) -> bytes:
    """Return 32 bytes; shorter hex is a small number."""
    return _padded(text, WORD_BYTES)


def optional_address(text: object) -> bytes | None:
    """Return an address, or None for the nothing that creates a contract."""
    return None if text is None or text in {"", "0x"} else address(text)


def mapping(value: object, what: str) -> Mapping[str, Any]:
    """Return a JSON object; raises InvalidInput `evm.bad_shape`."""
    if not isinstance(value, dict):
        raise InvalidInput("evm.bad_shape", f"{what} is no JSON object")
    return value


def sequence(value: object, what: str) -> list[Any]:
    """Return a JSON array; raises InvalidInput `evm.bad_shape`."""
    if not isinstance(value, list):
        raise InvalidInput("evm.bad_shape", f"{what} is no JSON array")
    return value


def field(holder: Mapping[str, Any], name: str, what: str) -> Any:
    """Return a field that must be there; raises InvalidInput `evm.missing_field`."""
    if name not in holder:
        raise InvalidInput("evm.missing_field", f"{what} has no '{name}'")
    return holder[name]


def as_hex(data: bytes) -> str:
    """Return bytes as they are shown."""
    return "0x" + data.hex()


def _padded(text: object, length: int) -> bytes:
    data = blob(text)
    if len(data) > length:
        data = data.lstrip(b"\0") if length == WORD_BYTES else data
    if len(data) > length:
        raise InvalidInput("evm.bad_hex", f"more than {length} bytes", value=_shown(text))
    return data.rjust(length, b"\0")


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."
