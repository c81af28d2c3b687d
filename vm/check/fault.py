"""What a check finds: rows that are not what they must be, each with its key, its meaning and the remedy."""

from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

REBUILD: Final = (
    "stop the node, move the folder `chain` of its data folder away and start again: the chain is rebuilt from "
    "Bitcoin, keys stay"
)
HARMLESS: Final = (
    "nothing reads it; the node may run on. Report it: no program of ours should have left it there"
)
OLD_STATES: Final = (
    "blocks and the head are not touched, the node may run on; reading old states may fail. To mend it: "
    + REBUILD
)


class Fault(NamedTuple):
    """One row that is wrong, missing or too many; `kind` is stable."""

    kind: str
    key: bytes
    meaning: str
    remedy: str


class Tick(NamedTuple):
    """Work done since the last tick: how many rows of which part."""

    part: str
    rows: int


Findings: TypeAlias = "Iterator[Fault | Tick]"
"""A check is a generator: whoever runs it decides how fast, and may stop between two steps."""

TICK_ROWS: Final = 512
"""Rows between two ticks: some milliseconds."""
