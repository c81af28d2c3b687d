"""The repository holds nothing of the machine it was written on."""

import pytest

from tests.arch.source import ROOT, tell, tracked_files
from tests.arch.words import check_words


def _readable(name: str) -> str:
    data = (ROOT / name).read_bytes()
    return "" if b"\0" in data else data.decode(errors="replace")


def test_tracked_files_hold_no_foreign_words():
    """No machine's paths, no package server, no secret."""
    findings = [finding for name in tracked_files() for finding in check_words(name, _readable(name))]
    assert not findings, tell(findings)


@pytest.mark.parametrize(
    "text",
    ["see /" + "work/main", "cd /" + "root/x", "https://files.python" + "hosted.org/x", "the blue" + "print"],
)
def test_the_rule_catches(text):
    """Each kind is found."""
    assert list(check_words("x.md", text))


@pytest.mark.parametrize("text", ["the framework/main", "merkle root/leaf", "docs/work/x", "network/root/x"])
def test_the_rule_allows(text):
    """Words that only look alike pass."""
    assert not list(check_words("x.md", text))
