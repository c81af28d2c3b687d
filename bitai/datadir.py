"""Where a node keeps its files, and the lock that gives one process the folder to itself."""

import errno
import fcntl
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bitai.atomic_file import write_atomically
from primitives.errors import ConfigError

CONFIG_FILE = "bitai.toml"


def default_datadir(network: str) -> Path:
    """The folder of one network: $XDG_DATA_HOME/bitai/<network>, by default under ~/.local/share."""
    data_home = os.environ.get("XDG_DATA_HOME")
    parent = Path(data_home) if data_home else Path.home() / ".local" / "share"
    return parent / "bitai" / network


@dataclass(frozen=True)
class DataDir:
    """The layout of a node's folder. Only paths; `prepare` makes what is missing."""

    root: Path

    @property
    def config_file(self) -> Path:
        """Settings of this node, read by every command."""
        return self.root / CONFIG_FILE

    @property
    def cookie_file(self) -> Path:
        """The admin secret of the running node, new at each start, readable by its user alone."""
        return self.root / ".cookie"

    @property
    def lock_file(self) -> Path:
        """Held locked by the running node; its text names the process."""
        return self.root / ".lock"

    @property
    def run_file(self) -> Path:
        """Where the running node says how to reach it."""
        return self.root / "node.json"

    @property
    def chain(self) -> Path:
        """The LevelDB of blocks, receipts and state."""
        return self.root / "chain"

    @property
    def bitcoin(self) -> Path:
        """The embedded Bitcoin's own folder."""
        return self.root / "bitcoin"

    @property
    def neuron(self) -> Path:
        """The compute neuron's key and caches."""
        return self.root / "neuron"

    @property
    def keystore(self) -> Path:
        """Encrypted keys."""
        return self.root / "keystore"

    def prepare(self) -> None:
        """Make the folders, for this user only.

        Raises ConfigError `datadir.unusable` when the place cannot be written.
        """
        try:
            for folder in (self.root, self.chain, self.bitcoin, self.neuron, self.keystore):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self.unusable("made", error) from error

    def new_cookie(self) -> str:
        """Write a fresh admin secret and return it; raises ConfigError `datadir.unusable` (a full disk, say)."""
        cookie = secrets.token_hex(32)
        try:
            write_atomically(self.cookie_file, cookie.encode())
        except OSError as error:
            raise self.unusable("written", error) from error
        return cookie

    def unusable(self, verb: str, error: OSError) -> ConfigError:
        """Tell a person that the folder cannot be made or written, and what the system said."""
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        return ConfigError(
            "datadir.unusable",
            f"the data folder {self.root} cannot be {verb}",
            why=error.strerror or str(error),
            fix=f"df -h {self.root}" if full else "bitai-node run --datadir ./data",
        )

    def read_cookie(self) -> str | None:
        """The running node's admin secret, or None where there is none for this user."""
        try:
            return self.cookie_file.read_text().strip()
        except OSError:
            return None


class DataDirLock:
    """Hold a data folder for this process until `release` or the process ends, however it ends."""

    def __init__(self, datadir: DataDir) -> None:
        self._datadir = datadir
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the folder.

        Raises ConfigError `datadir.locked` naming the process that has it, or `datadir.unusable`.
        """
        try:
            file = self._datadir.lock_file.open("a+")
        except OSError as error:
            raise self._datadir.unusable("written", error) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise ConfigError(
                "datadir.locked",
                f"another node uses {self._datadir.root}",
                why=f"process {holder} holds its lock",
                fix=f"bitai-node status --datadir {self._datadir.root}",
            ) from error
        try:
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), str(os.getpid()).encode())
        except OSError as error:
            file.close()
            raise self._datadir.unusable("written", error) from error
        self._file = file

    def release(self) -> None:
        """Give the folder back; the file stays, since removing it would let two processes lock two files."""
        if self._file is not None:
            self._file.close()
            self._file = None
