"""Where the transition tool reads and writes: files, standard input and output, all under their own names."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from bitai.evm.blocks import Signed, TraceTo
from bitai.evm.t8n import Transition
from bitai.evm.values import as_hex, mapping
from bitai.evm.world import Trace
from primitives.errors import InvalidInput
from primitives.hashes import keccak256

_MAX_BYTES: Final = 512 << 20
_OPTIONS: Final = orjson.OPT_INDENT_2


class Inputs:
    """JSON values by name, each from a file or from the one object on standard input."""

    def __init__(self, stdin: BinaryIO | None = None) -> None:
        """Read nothing yet."""
        self._stdin = stdin
        self._object: dict[str, Any] | None = None

    def read(self, name: str, place: str) -> Any:
        """Return the value of `name`.

        Raises InvalidInput `evm.no_file`, `evm.too_large`, `evm.bad_json`, `evm.missing_field`.
        """
        if place == "stdin":
            return self._from_stdin(name)
        path = Path(place)
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise InvalidInput("evm.too_large", f"{path} is too large", limit=_MAX_BYTES)
            content = path.read_bytes()
        except OSError as error:
            why = error.strerror or str(error)
            raise InvalidInput(
                "evm.no_file", f"{path} cannot be read", why=why, fix=f"ls -l {path}"
            ) from error
        if path.suffix == ".rlp":  # hex in quotes, as both tools write a body
            content = b'"' + content.strip().strip(b'"') + b'"'
        return _parsed(content, str(path))

    def _from_stdin(self, name: str) -> Any:
        if self._object is None:
            stream = self._stdin or sys.stdin.buffer
            content = stream.read(_MAX_BYTES + 1)
            if len(content) > _MAX_BYTES:
                raise InvalidInput("evm.too_large", "standard input is too large", limit=_MAX_BYTES)
            self._object = dict(mapping(_parsed(content, "standard input"), "standard input"))
        value = self._object.get(name)
        if value is None and name == "txs":
            return self._object.get("txsRlp", [])
        if value is None:
            raise InvalidInput("evm.missing_field", f"standard input has no '{name}'")
        return value


@dataclass(slots=True)
class Outputs:
    """Results by name, each to a file under `folder`, to standard output or to standard error."""

    folder: Path
    _streams: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(self, name: str, place: str, value: object) -> None:
        """Write a value now, or keep it for `close`; no place, no output."""
        if not place:
            return
        if place in {"stdout", "stderr"}:
            self._streams.setdefault(place, {})[name] = value
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / place).write_bytes(orjson.dumps(value, option=_OPTIONS))

    def close(self) -> dict[str, bytes]:
        """Return what standard output and standard error get, each one JSON object."""
        return {name: orjson.dumps(values, option=_OPTIONS) for name, values in self._streams.items()}

    def write_all(self, done: Transition, *, result: str, alloc: str, body: str) -> None:
        """Write the three results to their places."""
        self.write("result", result, done.result)
        self.write("alloc", alloc, done.alloc)
        self.write("body", body, done.body)


class TraceFiles(TraceTo):
    """A file of steps for each transaction, named as both tools name it."""

    def __init__(self, folder: Path) -> None:
        """Write into this folder."""
        self._folder = folder

    def open(self, index: int, signed: Signed) -> Trace | None:
        """Begin a new file; the lines of a transaction that is refused stay empty."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"trace-{index}-{as_hex(keccak256(signed.raw))}.jsonl"
        path.write_bytes(b"")

        def append(lines: bytes) -> None:
            with path.open("ab") as file:
                file.write(lines)

        return append


def _parsed(content: bytes, what: str) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InvalidInput("evm.bad_json", f"{what} is no JSON", why=str(error)) from error
