"""What the exit code of a command means; the table in `bitai-node --help` is made from this one."""

from enum import IntEnum

from primitives.errors import BitaiError, ConfigError, InvalidInput, Rejected, Temporary


class ExitCode(IntEnum):
    """Codes are stable; scripts may rely on them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_READY = 4
    REFUSED = 5
    TIMEOUT = 6
    ABORTED = 7


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "failed; the message says why",
    ExitCode.USAGE: "a flag, a setting or an input file is wrong",
    ExitCode.UNREACHABLE: "no node answers",
    ExitCode.NOT_READY: "the node runs but is not ready",
    ExitCode.REFUSED: "well asked, but not possible now (funds, limits, rules)",
    ExitCode.TIMEOUT: "not finished in time, may still happen",
    ExitCode.ABORTED: "stopped by you",
}

_BY_CODE: dict[str, ExitCode] = {
    "node.not_running": ExitCode.UNREACHABLE,
    "node.unreachable": ExitCode.UNREACHABLE,
    "node.not_ready": ExitCode.NOT_READY,
}


def exit_code_of(error: BitaiError) -> ExitCode:
    """The exit code for an error that ends a command."""
    if error.code in _BY_CODE:
        return _BY_CODE[error.code]
    if isinstance(error, ConfigError | InvalidInput):
        return ExitCode.USAGE
    if isinstance(error, Rejected):
        return ExitCode.REFUSED
    return ExitCode.TIMEOUT if isinstance(error, Temporary) else ExitCode.FAILED
