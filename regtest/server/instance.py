"""One data directory, one process: the lock that says so, and the secrets that open the door."""

import fcntl
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from primitives.errors import ConfigError

LOCK_FILE: Final = ".lock"
COOKIE_FILE: Final = ".cookie"
COOKIE_USER: Final = "__cookie__"
_FOREIGN_MARKS: Final = ("chainstate", "bitcoin.conf", "wallets")


class InstanceLock:
    """Held from opening to the end of the process, whatever ends it."""

    def __init__(self, directory: Path) -> None:
        """Take the lock.

        Raises ConfigError `instance.taken`, `instance.foreign_directory`, `instance.unusable_directory`.
        """
        if any((directory / mark).exists() for mark in _FOREIGN_MARKS):
            raise ConfigError(
                "instance.foreign_directory",
                f"{directory} looks like Bitcoin Core's data directory",
                fix="choose an empty directory with --datadir",
            )
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._file = (directory / LOCK_FILE).open("a+", encoding="ascii")
        except OSError as error:
            raise ConfigError(
                "instance.unusable_directory",
                f"{directory} cannot be written: {error.strerror}",
                fix="choose a directory of yours with --datadir",
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = self._holder()
            self._file.close()
            raise ConfigError(
                "instance.taken",
                f"another regtest Bitcoin (process {holder}) uses {directory}",
                fix=f"stop it with `kill {holder}`, or choose another --datadir",
            ) from error
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Let another process in."""
        self._file.close()

    def _holder(self) -> str:
        self._file.seek(0)
        return self._file.read().strip() or "unknown"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The `user:password` pairs that are let in."""

    accepted: tuple[bytes, ...]

    def admits(self, given: bytes) -> bool:
        """Compare in constant time, with every pair."""
        matches = [secrets.compare_digest(given, pair) for pair in self.accepted]
        return any(matches)


def write_cookie(directory: Path) -> bytes:
    """Write a new secret that only this user can read, and return the `user:password` pair.

    Written beside and renamed, so that a reader never sees half of it.
    """
    pair = f"{COOKIE_USER}:{secrets.token_hex(32)}".encode()
    temporary = directory / f"{COOKIE_FILE}.tmp"
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, pair)
    finally:
        os.close(descriptor)
    temporary.replace(directory / COOKIE_FILE)
    return pair


def remove_cookie(directory: Path) -> None:
    """Forget the secret at a clean stop."""
    (directory / COOKIE_FILE).unlink(missing_ok=True)


def read_password(path: Path) -> str:
    """Return the first line of a password file; raises ConfigError `instance.bad_password_file`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "instance.bad_password_file", str(error), fix=f"printf '%s' YOUR_PASSWORD > {path}"
        ) from error
    if not lines or not lines[0]:
        raise ConfigError(
            "instance.bad_password_file",
            f"{path} is empty",
            fix=f"printf '%s' YOUR_PASSWORD > {path}",
        )
    return lines[0]
