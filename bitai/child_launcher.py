"""Become another program that dies when its parent dies, however the parent dies.

`python -m bitai.child_launcher PARENT_PID PROGRAM ARGUMENTS...` asks the kernel for SIGKILL at the parent's
death and then replaces itself by the program, which keeps that wish. A node killed with -9 so leaves no
Bitcoin process behind that holds the data folder's lock; each child's files survive a kill at any instant.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Bind this process's life to the parent's, and become the program."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel knew our wish
        sys.exit(1)
    os.execvp(program[0], program)  # noqa: S606 - no shell is wanted: becoming the program is the point


if __name__ == "__main__":
    main()
