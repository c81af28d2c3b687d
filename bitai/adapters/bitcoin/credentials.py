"""Who we are to a Bitcoin node: its cookie file, or a user with a password file, read again when refused."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from primitives.errors import ConfigError, Temporary


class Credentials(Protocol):
    """Give user and password as they are on disk now."""

    def read(self) -> tuple[str, str]:
        """Return user and password; Temporary or ConfigError when the file is not there or not right."""
        ...


@dataclass(frozen=True, slots=True)
class CookieFile:
    """Bitcoin Core writes a new cookie at every start, so a missing one means that the node is not up yet."""

    path: Path

    def read(self) -> tuple[str, str]:
        """See `Credentials.read`."""
        try:
            user, colon, password = self.path.read_text(encoding="utf-8").strip().partition(":")
        except FileNotFoundError as error:
            raise Temporary("l1.no_cookie", f"the node has not written its cookie {self.path} yet") from error
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                "l1.unreadable_cookie",
                f"the cookie file {self.path} cannot be read",
                fix=f"ls -l {self.path}  # let this user read it, or name another with --l1-cookie",
                why=str(error),
            ) from error
        if not colon:
            raise Temporary("l1.no_cookie", f"the cookie file {self.path} is empty")
        return user, password


@dataclass(frozen=True, slots=True)
class UserPassword:
    """A user of the node's configuration, with the password in a file of its own."""

    user: str
    password_file: Path

    def read(self) -> tuple[str, str]:
        """See `Credentials.read`."""
        try:
            return self.user, self.password_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                "l1.unreadable_password",
                f"the password file {self.password_file} cannot be read",
                fix=f"ls -l {self.password_file}  # let this user read it, or name another",
                why=str(error),
            ) from error
