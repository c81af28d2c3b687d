"""Copies a template of a contract developer's project, with the Solidity package in it, into a new folder."""

from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import Final

from primitives.errors import ConfigError

TEMPLATES: Final = ("foundry", "hardhat")
_PACKAGE_PLACE: Final = PurePosixPath("lib/bitai-contracts")


def make_project(target: Path, template: str) -> list[str]:
    """Write a template's files into a folder that is empty or not there yet; returns their names, sorted.

    Errors: `ConfigError` "project.not_empty" where the folder holds anything or is a file.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(
            "project.not_empty",
            f"{target} is not empty",
            why="a template never writes over what is there",
            fix=f"bitai-node dev init {target}-2 --template {template}",
        )
    source = resources.files("bitai") / "templates"
    files = dict(_files(source / template, PurePosixPath()))
    files |= dict(_files(source / "package", _PACKAGE_PLACE))
    for name, file in files.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.read_bytes())
    return sorted(str(name) for name in files)


def _files(folder: Traversable, place: PurePosixPath) -> Iterator[tuple[PurePosixPath, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files(entry, place / entry.name)
        else:
            yield place / entry.name, entry
