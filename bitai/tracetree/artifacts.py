"""Names from a developer's build: Foundry's `out/` and Hardhat's `artifacts/`, read from their JSON files."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bitai.tracetree.abi import Entry, Input, Kind, parse_entry
from primitives.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MAX_FILES: Final = 20_000
MAX_FILE_BYTES: Final = 64 << 20
_METADATA_LENGTH_BYTES: Final = 2


@dataclass(frozen=True, slots=True)
class Code:
    """A contract's code as built, and which of its bytes deployment sets (immutables, linked libraries)."""

    name: str
    code: bytes
    unset: tuple[tuple[int, int], ...]

    def is_of(self, code: bytes) -> bool:
        """Tell whether this is the code of a deployed contract; what metadata says of sources may differ."""
        mine, theirs = bytearray(_without_metadata(self.code)), bytearray(_without_metadata(code))
        if not mine or len(mine) != len(theirs):
            return False
        for start, length in self.unset:
            mine[start : start + length] = theirs[start : start + length] = bytes(length)
        return mine == theirs


def _without_metadata(code: bytes) -> bytes:
    """Cut off the CBOR that solc appends, whose length its last two bytes say."""
    length = int.from_bytes(code[-_METADATA_LENGTH_BYTES:], "big") + _METADATA_LENGTH_BYTES
    return code[:-length] if length < len(code) else code


_BUILT_IN: Final = (
    Entry("Error", (Input("", Kind("string")),)),
    Entry("Panic", (Input("", Kind("uint256")),)),
)
"""Errors that Solidity itself makes."""


@dataclass(slots=True)
class Artifacts:
    """What is known of contracts: code by name, entries by selector or topic; the first to claim one keeps it."""

    codes: list[Code] = field(default_factory=list)
    functions: dict[bytes, Entry] = field(default_factory=dict)
    events: dict[bytes, Entry] = field(default_factory=dict)
    errors: dict[bytes, Entry] = field(default_factory=lambda: {each.hash[:4]: each for each in _BUILT_IN})

    def name_of(self, code: bytes) -> str | None:
        """Return the name of the contract with this code."""
        return next((each.name for each in self.codes if each.is_of(code)), None)

    def add(self, name: str, artifact: dict[str, Any]) -> None:
        """Take one artifact in. Errors: `KeyError`, `TypeError` or `ValueError` for what is none."""
        for item in artifact["abi"]:
            kind = item.get("type")
            if kind == "function":
                entry = parse_entry(item)
                self.functions.setdefault(entry.hash[:4], entry)
            elif kind == "event":
                entry = parse_entry(item)
                self.events.setdefault(entry.hash, entry)
            elif kind == "error":
                entry = parse_entry(item)
                self.errors.setdefault(entry.hash[:4], entry)
        deployed = artifact.get("deployedBytecode") or ""
        if isinstance(deployed, dict):
            text, references = deployed.get("object", ""), deployed.get("immutableReferences", {})
        else:
            text, references = deployed, artifact.get("immutableReferences", {})
        unset = [(int(each["start"]), int(each["length"])) for list_ in references.values() for each in list_]
        code, holes = _parse_code(str(text))
        if code:
            self.codes.append(Code(name, code, (*unset, *holes)))


def _parse_code(text: str) -> tuple[bytes, list[tuple[int, int]]]:
    """Read hex in which libraries may not be linked yet: __$...$__ in the place of an address."""
    digits = text.removeprefix("0x")
    holes: list[tuple[int, int]] = []
    while (at := digits.find("__")) >= 0:
        holes.append((at // 2, 20))
        digits = digits[:at] + "0" * 40 + digits[at + 40 :]
    return bytes.fromhex(digits), holes


def load_artifacts(folders: Iterable[Path]) -> Artifacts:
    """Read every artifact under the folders; files that are none (build information, caches) are passed over.

    Raises ConfigError `trace.no_artifacts` for a folder that is not there.
    """
    found = Artifacts()
    left = MAX_FILES
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(
                "trace.no_artifacts", f"no folder {folder}", fix="forge build, or npx hardhat compile"
            )
        for path in sorted(folder.rglob("*.json")):
            left -= 1
            if left < 0:
                raise ConfigError(
                    "trace.no_artifacts", f"more than {MAX_FILES} files", fix="name the folder of one build"
                )
            _load(found, path)
    return found


def _load(found: Artifacts, path: Path) -> None:
    if path.name.endswith(".dbg.json") or "build-info" in path.parts or path.stat().st_size > MAX_FILE_BYTES:
        return
    try:
        artifact = json.loads(path.read_bytes())
        if isinstance(artifact, dict) and isinstance(artifact.get("abi"), list):
            found.add(str(artifact.get("contractName", path.stem)), artifact)
    except (ValueError, KeyError, TypeError, AttributeError):
        return  # JSON of another kind lies about in build folders; what it names stays unnamed
