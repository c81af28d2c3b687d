"""Where a neuron's key comes from: a file only its owner can read, or an environment variable."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from primitives.curve import SECRET_BYTES, address_of
from primitives.errors import ConfigError, InvalidInput

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def read_key_file(path: Path) -> bytes:
    """Return the secret in a file of 64 hex digits.

    Raises ConfigError `key.unreadable`, `key.permissions` or `key.malformed`.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "key.unreadable", f"cannot read the key file {path}: {error}", fix=_way_out(path)
        ) from error
    if mode & _OTHERS:
        raise ConfigError("key.permissions", f"others can read {path}", fix=f"chmod 600 {path}")
    return _parse(text, f"the file {path}", _way_out(path))


def read_key_variable(name: str, environment: Mapping[str, str] = os.environ) -> bytes:
    """Return the secret in an environment variable; raises ConfigError `key.unset` or `key.malformed`."""
    if name not in environment:
        raise ConfigError(
            "key.unset", f"the environment variable {name} is not set", fix=f"export {name}=<64 hex digits>"
        )
    return _parse(environment[name], f"the environment variable {name}", f"export {name}=<64 hex digits>")


def _parse(text: str, where: str, fix: str) -> bytes:
    """Return the secret, and never show any of the text in an error."""
    try:
        secret = bytes.fromhex(text.strip().removeprefix("0x"))
        if len(secret) == SECRET_BYTES:
            address_of(secret)
            return secret
    except (ValueError, InvalidInput):
        pass
    raise ConfigError(
        "key.malformed", f"{where} does not hold a secp256k1 key of 64 hex digits", fix=fix
    ) from None


def _way_out(path: Path) -> str:
    """Return how to make a key where there is none; never a command that writes over a key, stake and all."""
    if path.exists():
        return f"ls -l {path}; wc -c {path}"
    return f"(umask 077; openssl rand -hex 32 > {path})"
