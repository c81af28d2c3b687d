"""What a running node leaves in its data folder, so that the other commands find it."""

import contextlib
import json
import os
from dataclasses import asdict, dataclass, fields

from bitai.atomic_file import write_atomically
from bitai.datadir import DataDir
from primitives.errors import Temporary


@dataclass(frozen=True)
class RunFile:
    """Addresses of one running node; where a busy port was replaced by a free one, only this file knows."""

    pid: int
    network: str
    role: str
    rpc_url: str
    web_url: str
    neuron_url: str
    admin_url: str
    l1_url: str

    def write(self, datadir: DataDir) -> None:
        """Publish the addresses; done once everything listens."""
        write_atomically(datadir.run_file, json.dumps(asdict(self), indent=1).encode())


def remove_run_file(datadir: DataDir) -> None:
    """Take the addresses back at an orderly stop; a kill leaves them, which `find_running` sees through."""
    datadir.run_file.unlink(missing_ok=True)


def find_running(datadir: DataDir) -> RunFile:
    """The addresses of the node that runs on this folder.

    Raises Temporary `node.not_running` when no live process left its addresses here.
    """
    with contextlib.suppress(OSError, ValueError, TypeError):
        stored = json.loads(datadir.run_file.read_bytes())
        known = {field.name for field in fields(RunFile)}
        found = RunFile(**{name: value for name, value in stored.items() if name in known})
        if _alive(found.pid):
            return found
    raise Temporary(
        "node.not_running",
        f"no node runs on {datadir.root}",
        why=f"{datadir.run_file} is missing, or names a process that has ended",
        fix=f"bitai-node run --datadir {datadir.root}",
    )


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # someone else's process, so it lives
        return True
    return True
