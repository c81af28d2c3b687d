"""Something cut into numbered pieces that may arrive in any order: a channel, or an artifact.

The first piece to arrive fixes how many there are and what they hash to together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Self

from primitives.hashes import sha256
from primitives.ids import Hash32
from rollup.batch.channel import Frame


class Fit(Enum):
    """How a piece fits what is there."""

    NEW = auto()
    BAD_INDEX = auto()
    DUPLICATE = auto()
    CONFLICT = auto()


@dataclass(frozen=True, slots=True)
class Assembly:
    """Pieces so far, by index; `first_height` is the L1 block of the first."""

    of: int
    content_hash: Hash32
    first_height: int
    pieces: Mapping[int, bytes]
    size: int = 0

    @classmethod
    def begin(cls, frame: Frame, height: int) -> Self:
        """Return an empty assembly as its first piece describes it."""
        return cls(frame.of, frame.content_hash, height, {})

    @property
    def is_complete(self) -> bool:
        """Tell whether no piece is missing."""
        return len(self.pieces) == self.of

    @property
    def is_intact(self) -> bool:
        """Tell whether the pieces hash to what they promised."""
        return sha256(self.content) == self.content_hash

    @property
    def content(self) -> bytes:
        """Return the pieces in order."""
        return b"".join(self.pieces[index] for index in sorted(self.pieces))

    def fit(self, frame: Frame, index: int) -> Fit:
        """Say how a piece fits."""
        if index >= frame.of:
            return Fit.BAD_INDEX
        if (frame.of, frame.content_hash) != (self.of, self.content_hash):
            return Fit.CONFLICT
        held = self.pieces.get(index)
        if held is None:
            return Fit.NEW
        return Fit.DUPLICATE if held == frame.data else Fit.CONFLICT

    def add(self, frame: Frame, index: int) -> Self:
        """Return the assembly with one more piece, which must fit."""
        return replace(self, pieces={**self.pieces, index: frame.data}, size=self.size + len(frame.data))
