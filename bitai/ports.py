"""Which port a listener takes: the one asked for, or in dev a free one; a holder is named, never killed."""

import errno
import socket
from dataclasses import dataclass
from pathlib import Path

from primitives.errors import ConfigError

_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp
_SPAWN_RANGE = range(1, 51)


@dataclass(frozen=True)
class Holder:
    """A process that listens on a port."""

    pid: int
    name: str


def choose_port(
    wanted: int, *, name: str, flag: str, address: str = "127.0.0.1", may_move: bool = False
) -> int:
    """Return a port that can be listened on now: `wanted`, or near it if it is busy and `may_move`.

    0 asks for any. Between this answer and the bind another process may take the port; the bind then fails
    with the system's own error, which is rare and loud.
    Raises ConfigError `port.busy` naming the holder, or `port.forbidden`.
    """
    if wanted == 0:
        return _any_free(address)
    error = _bind_error(address, wanted)
    if error is None:
        return wanted
    if error.errno in {errno.EACCES, errno.EADDRNOTAVAIL}:
        raise ConfigError(
            "port.forbidden",
            f"{name} cannot listen on {address}:{wanted}",
            why=error.strerror or str(error),
            fix=f"bitai-node run {flag} 0",
        )
    if may_move:
        return next(
            (port for port in _near(wanted) if _bind_error(address, port) is None), _any_free(address)
        )
    holder = find_holder(wanted)
    who = (
        f"{holder.name} (process {holder.pid}) listens there"
        if holder
        else "a process of another user has it"
    )
    raise ConfigError(
        "port.busy", f"{name} needs port {wanted}, which is taken", why=who, fix=f"bitai-node run {flag} 0"
    )


def find_holder(port: int) -> Holder | None:
    """The process that listens on a TCP port of this machine, where /proc lets us see it."""
    inodes = _listening_inodes(port)
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        if _has_socket(process, inodes):
            name = (process / "comm").read_text().strip()
            return Holder(pid=int(process.name), name=name)
    return None


def _near(port: int) -> list[int]:
    return [port + step for step in _SPAWN_RANGE if port + step <= 65_535]


def _any_free(address: str) -> int:
    with _socket_for(address) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def _bind_error(address: str, port: int) -> OSError | None:
    with _socket_for(address) as probe:
        # As servers do: a port whose old connections are only winding down is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError as error:
            return error
    return None


def _socket_for(address: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)


def _listening_inodes(port: int) -> set[str]:
    found = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(fields[9])
    return found


def _has_socket(process: Path, inodes: set[str]) -> bool:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    try:
        return any(str(link.readlink()) in wanted for link in (process / "fd").iterdir())
    except OSError:  # gone meanwhile, or another user's
        return False
