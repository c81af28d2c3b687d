"""Texts that have no place in the repository: one machine's paths, servers of packages, secrets."""

import re
from collections.abc import Iterator

from tests.arch.source import Finding

# Written in pieces, so that this file does not hold what it looks for.
_FORBIDDEN: tuple[tuple[str, str], ...] = (
    (r"(?<![\w./-])/" + r"work/", "a path of one machine"),
    (r"(?<![\w.-])/" + r"root/", "a path of one machine"),
    (r"/home/" + r"[a-z]", "a path of one machine"),
    (r"pypi\." + r"org|python" + r"hosted\.org", "a server of packages"),
    (r"registry\." + r"npmjs\.org|static\." + r"crates\.io", "a server of packages"),
    (r"-----BEGIN [A-Z ]*PRIVATE " + r"KEY-----", "a private key"),
    (r"\bblue" + r"print\b", "a word of planning, not of the project"),
    (r"\bsub-?" + r"agents?\b|\bco-authored-" + r"by: claude", "a word about tools, not about the project"),
)
_PATTERNS = tuple((re.compile(pattern, re.IGNORECASE), what) for pattern, what in _FORBIDDEN)


def check_words(path: str, text: str) -> Iterator[Finding]:
    """Find forbidden texts, line by line."""
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, what in _PATTERNS:
            if match := pattern.search(line):
                yield Finding(path, number, "words", f"{match.group()!r} is {what}")
