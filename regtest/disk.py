"""Room on the disk: asked for before anything is written, because the kernel does not survive without it."""

import os
from pathlib import Path

from primitives.errors import Temporary
from regtest.limits import MIN_FREE_BYTES


def require_room(directory: Path) -> None:
    """Raise Temporary `disk.full` when the disk of a directory has too little room left.

    The check comes while everything is still in step: a kernel or an index that hits the end of the disk in
    the middle of a block can only be stopped and rebuilt.
    """
    state = os.statvfs(directory)
    free = state.f_bavail * state.f_frsize
    if free < MIN_FREE_BYTES:
        raise Temporary(
            "disk.full",
            f"the disk of {directory} has {free >> 20} MiB left, {MIN_FREE_BYTES >> 20} MiB are needed",
        )
