"""Block headers: 80 bytes, proof of work, and the time that the chain agrees on."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from primitives.errors import InvalidInput
from primitives.hashes import BytesLike, sha256d
from primitives.ids import Hash32, L1Hash

HEADER_BYTES: Final = 80
MEDIAN_SPAN: Final = 11
"""Blocks whose median time is the chain's clock (BIP 113)."""
_LAYOUT: Final = struct.Struct("<i32s32sIII")
_MANTISSA_BITS: Final = 0x007FFFFF
_SIGN_BIT: Final = 0x00800000


@dataclass(frozen=True)
class BlockHeader:
    """One block header; hashes in internal order, time in Unix seconds, bits as the compact target."""

    version: int
    previous: L1Hash
    merkle_root: Hash32
    time: int
    bits: int
    nonce: int

    def encode(self) -> bytes:
        """Return the 80 bytes, little-endian as Bitcoin has them."""
        return _LAYOUT.pack(self.version, self.previous, self.merkle_root, self.time, self.bits, self.nonce)

    @cached_property
    def hash(self) -> L1Hash:
        """Return the block hash, internal order."""
        return L1Hash(sha256d(self.encode()))

    @property
    def target(self) -> int:
        """Return the number that the hash must not exceed; 0 when `bits` is negative or overflows."""
        return expand_target(self.bits)

    @property
    def work(self) -> int:
        """Return the expected number of hashes that a block of this target takes."""
        return 0 if self.target == 0 else 2**256 // (self.target + 1)

    @property
    def meets_target(self) -> bool:
        """Tell whether the hash, read as a little-endian number, is at most the target."""
        return int.from_bytes(self.hash, "little") <= self.target


def parse_header(data: BytesLike) -> BlockHeader:
    """Return the header that exactly 80 bytes encode; raises InvalidInput `bitcoin_header.bad_length`."""
    if len(data) != HEADER_BYTES:
        raise InvalidInput("bitcoin_header.bad_length", "a block header is 80 bytes", got=len(data))
    version, previous, merkle_root, time, bits, nonce = _LAYOUT.unpack(data)
    return BlockHeader(version, L1Hash(previous), Hash32(merkle_root), time, bits, nonce)


def expand_target(bits: int) -> int:
    """Return the target of a compact encoding: 3-byte mantissa, base-256 exponent, a sign bit that must be 0.

    Negative and overflowing encodings, which no header may use, give 0, so that no hash meets them.
    """
    exponent = bits >> 24
    mantissa = bits & _MANTISSA_BITS
    if bits & _SIGN_BIT:
        return 0
    target = mantissa << 8 * (exponent - 3) if exponent > 3 else mantissa >> 8 * (3 - exponent)
    return target if target < 2**256 else 0


def median_time_past(times: Sequence[int]) -> int:
    """Return the median of the header times of a block and its up to 10 ancestors (BIP 113), Unix seconds.

    Longer sequences count their last 11. Of an even number, as near genesis, the upper middle is taken, as
    Bitcoin does. Raises InvalidInput `bitcoin_header.no_times` for none.
    """
    if not times:
        raise InvalidInput("bitcoin_header.no_times", "a median needs at least one time")
    recent = sorted(times[-MEDIAN_SPAN:])
    return recent[len(recent) // 2]
