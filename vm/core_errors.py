"""The native core's errors, told in the project's own words: who is at fault, and what to do next."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from primitives.errors import BitaiError, InvalidInput, InvariantViolation, Rejected, Temporary
from vm._core import CoreError

_KINDS: Final[dict[str, type[BitaiError]]] = {
    "core.stale": Temporary,
    "undo.malformed": InvariantViolation,  # only our own writing is ever read as these three
    "header.malformed": InvariantViolation,
    "receipts.malformed": InvariantViolation,
    "tx.malformed": InvalidInput,
    "trace.options": InvalidInput,
    "trace.no_such_tracer": InvalidInput,
    "trace.too_large": Rejected,
    "trace.timeout": Rejected,
    "edit.leaves_storage": Rejected,
}


@contextmanager
def translated() -> Iterator[None]:
    """Raise a core error that leaves the block as ours, with the same code."""
    try:
        yield
    except CoreError as error:
        kind = _KINDS.get(error.code, InvariantViolation)
        raise kind(error.code, error.message) from error
