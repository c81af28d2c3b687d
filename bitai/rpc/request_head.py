"""Recognize the one shape of HTTP request that wallets and tools post JSON-RPC in, and be sure of it or say no.

A strict subset of RFC 9112: `POST / HTTP/1.1`, one length in digits, one host, nothing folded, nothing coded. What
does not look exactly so may be fine, but is for a whole HTTP parser to judge: no two readers can then disagree on
where a request ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

REQUEST_LINE: Final = b"POST / HTTP/1.1\r\n"
HEAD_END: Final = b"\r\n\r\n"
MAX_HEAD_BYTES: Final = 8_190
"""What aiohttp allows one line; whole heads of clients have some 300 bytes."""
KEPT_HEADS: Final = 512
MAX_KEPT_BYTES: Final = 1_024
"""Heads remembered with what they say, half a megabyte at most: a client's differ in the length of the body only."""

_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e]*)")
_LENGTH: Final = re.compile(rb"[0-9]{1,8}")
_ENDS_ELSEWHERE: Final = frozenset(
    {
        b"transfer-encoding",
        b"content-encoding",
        b"expect",
        b"upgrade",
        b"te",
        b"trailer",
        b"sec-websocket-key",
        b"proxy-connection",
    }
)
"""With one of these a request may end elsewhere than its length says, or want more than an answer."""
_MEANT_ONCE: Final = frozenset({b"content-length", b"host", b"origin", b"accept-encoding", b"connection"})


class Head(NamedTuple):
    """What a recognized head says."""

    length: int
    host: str
    origin: str | None
    accepts_gzip: bool


def may_become_ours(begun: bytes) -> bool:
    """Tell whether the begin of a request, without the end of its head, may still turn out to be of our shape."""
    if not (begun.startswith(REQUEST_LINE) or REQUEST_LINE.startswith(begun)):
        return False
    # A line ended by a bare line feed never becomes ours; a carriage return may be the last byte so far.
    return len(begun) <= MAX_HEAD_BYTES and begun.count(b"\n") == begun.count(b"\r\n")


def parse_head(head: bytes, *, most: int) -> Head | None:
    """Return what a head (without the empty line that ends it) says; None unless it is exactly of our shape.

    `most` is the longest body that is ours.
    """
    if len(head) > MAX_HEAD_BYTES or not head.startswith(REQUEST_LINE):
        return None
    found: dict[bytes, bytes] = {}
    for line in head[len(REQUEST_LINE) :].split(b"\r\n"):
        match = _LINE.fullmatch(line)
        if match is None:
            return None
        name = match[1].lower()
        if name in _ENDS_ELSEWHERE or (name in _MEANT_ONCE and name in found):
            return None
        found[name] = match[2].strip(b" \t")
    length, host = found.get(b"content-length", b""), found.get(b"host")
    if host is None or _LENGTH.fullmatch(length) is None or int(length) > most:
        return None
    if found.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return None
    origin = found.get(b"origin")
    return Head(
        int(length),
        host.decode("ascii"),
        None if origin is None else origin.decode("ascii"),
        b"gzip" in found.get(b"accept-encoding", b""),
    )


class HeadCache:
    """Remembers of heads what was made of them: a client's next request has the same one."""

    def __init__(self, make: Callable[[bytes], Head | None]) -> None:
        """Make what is not known by this function."""
        self._make = make
        self._known: dict[bytes, Head | None] = {}

    def __call__(self, head: bytes) -> Head | None:
        """Return what a head says."""
        if head in self._known:
            return self._known[head]
        said = self._make(head)
        if len(head) <= MAX_KEPT_BYTES:
            if len(self._known) >= KEPT_HEADS:
                self._known.clear()
            self._known[head] = said
        return said
