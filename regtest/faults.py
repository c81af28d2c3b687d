"""Named points where the process may die; a test stands on one of them, production passes by.

A point names what has just become durable, or is just about to. Production uses `nothing`; a test passes a
function that copies the data directory or raises, and then opens what is left.
"""

from collections.abc import Callable

FaultPoint = Callable[[str], None]


def nothing(_point: str) -> None:
    """Let the process live."""
