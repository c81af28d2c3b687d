"""Pages say what the program does: generated ones are current, and commands in the others exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from bitai.cli.app import root
from tests.arch.source import ROOT, tracked_files
from tools.error_codes import error_codes
from tools.generate_docs import PAGES

_FENCE = re.compile(r"^```(?:sh|bash|console|text)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#]+)(?:#[^)]*)?\)")


def _pages() -> Iterator[tuple[str, str]]:
    for name in tracked_files():
        if name.endswith(".md") and name not in PAGES and not name.startswith("tests/"):
            yield name, (ROOT / name).read_text()


def _commands(text: str) -> Iterator[str]:
    """Command lines inside fences: with a prompt, or bare in a fence of commands alone."""
    for block in _FENCE.findall(text):
        for line in block.splitlines():
            words = line.removeprefix("$ ").strip()
            if words.startswith(("bitai-node ", "make ")):
                yield words


@pytest.mark.parametrize("name", PAGES)
def test_generated_pages_are_current(name):
    """What `make docs` would write is what is committed."""
    path = ROOT / name
    assert path.exists(), "run `make docs`"
    assert path.read_text() == PAGES[name](), f"{name} is stale: run `make docs`"


def test_every_error_code_is_listed_once():
    """The table holds each code exactly once."""
    page = (ROOT / "docs/errors.md").read_text()
    listed = re.findall(r"^\| `([a-z0-9_.…]+)` \|", page, re.MULTILINE)
    assert sorted(listed) == sorted(code.code for code in error_codes())
    assert len(listed) == len(set(listed))


def test_commands_in_pages_exist():
    """Every bitai-node command and make target that a page shows can be typed as it stands."""
    wrong = [
        f"{name}: {line}: {why}"
        for name, text in _pages()
        for line in _commands(text)
        if (why := _flaw(line))
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def _flaw(line: str) -> str:
    """Why a command line would be refused; empty if it would not."""
    words = shlex.split(re.split(r"\s+(?:\||&&|#|>)\s*", line)[0])
    if words[0] == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        unknown = [word for word in words[1:] if "=" not in word and word not in targets]
        return f"no target {unknown[0]}" if unknown else ""
    command: click.Command = root
    rest = words[1:]
    while isinstance(command, click.Group) and rest and rest[0] in command.commands:
        command = command.commands[rest.pop(0)]
    if isinstance(command, click.Group):
        return "" if rest == ["--help"] else f"no command {' '.join(words)}"
    known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
    unknown = [word for word in rest if word.startswith("--") and word.partition("=")[0] not in known]
    return f"no flag {unknown[0]}" if unknown else ""


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("bitai-node run --demo", False),
        ("bitai-node status --json | jq .heads", False),
        ("make test T=tests/l1", False),
        ("bitai-node fly", True),
        ("bitai-node run --wings", True),
        ("make coffee", True),
    ],
)
def test_flaws_are_found(line, wrong):
    """The check itself tells good commands from bad ones."""
    assert bool(_flaw(line)) is wrong


def test_links_lead_somewhere():
    """Every relative link in a page points at a file of the repository."""
    broken = [
        f"{name}: {target}"
        for name, text in _pages()
        for target in _LINK.findall(text)
        if not (ROOT / Path(name).parent / target).exists()
    ]
    assert not broken, "\n" + "\n".join(broken)


def test_pages_are_found_by_the_map():
    """Each folder that ships is named in the README's map of folders."""
    readme = (ROOT / "README.md").read_text()
    for folder in (
        "primitives",
        "l1",
        "vm",
        "rollup",
        "neuron",
        "regtest",
        "bitai",
        "contracts",
        "docs",
        "tests",
    ):
        assert f"`{folder}/`" in readme, folder
