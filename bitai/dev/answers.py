"""Answers to models' questions that no model gives: made up for a test, or recorded in another run.

A question is model, input, params and length; where in a chain it was asked does not matter. File format:
docs/answer-file.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson
import structlog

from primitives.errors import ConfigError
from primitives.ids import HASH_BYTES, Address, Hash32, ModelId
from vm.inference.wire import (
    MAX_INPUT_BYTES,
    MAX_OUTPUT_BYTES,
    MAX_PARAMS_BYTES,
    NEURON_STATUSES,
    SignedAnswer,
    Status,
    sign_answer,
)

if TYPE_CHECKING:
    from pathlib import Path

    from vm.inference.wire import Request

log = structlog.get_logger(__name__)

FORMAT: Final = "bitai-answers"
VERSION: Final = 1
MAX_ANSWERS: Final = 100_000
MAX_FILE_BYTES: Final = 256 << 20
NO_ANSWER: Final = "infer.no_recorded_answer"

Question = tuple[bytes, bytes, bytes, int]
Given = tuple[Status, bytes]


class AnswerSource(Protocol):
    """What stands in for neurons."""

    address: Address
    """The neuron in whose name it answers."""

    def models(self) -> frozenset[ModelId]:
        """Return the models that it may answer for, whose weights the node need not have."""
        ...

    def answer(self, request: Request) -> SignedAnswer | None:
        """Return the answer to a request, None if it has none."""
        ...

    def is_invented(self, request: Request) -> bool:
        """Tell whether the answer is made up, so that no model need give the same."""
        ...

    def is_all(self) -> bool:
        """Tell whether nobody else is to be asked."""
        ...


@dataclass(frozen=True, slots=True)
class Signer:
    """A development node's own neuron: its key, and the chain it answers on."""

    address: Address
    secret: bytes
    identity: Hash32

    def sign(self, request: Request, given: Given) -> SignedAnswer:
        """Return an answer under this neuron's name."""
        return sign_answer(self.secret, self.identity, request, given)


class MockAnswers:
    """Answers that the node's owner made up, and, where there are, those of a recording."""

    def __init__(self, signer: Signer, recorded: dict[Question, Given] | None = None) -> None:
        """Answer as this neuron; with a recording, nobody else is asked."""
        self.address = signer.address
        self._signer = signer
        self._recorded = recorded
        self._invented: dict[tuple[bytes, bytes | None], Given] = {}

    def invent(self, model_id: ModelId, input_bytes: bytes | None, given: Given) -> None:
        """Answer a question, or with None every other one to this model, with this from now on."""
        self._invented[model_id, input_bytes] = given

    def clear(self) -> None:
        """Forget what was made up."""
        self._invented.clear()

    def models(self) -> frozenset[ModelId]:
        """See `AnswerSource.models`."""
        recorded = {ModelId(question[0]) for question in self._recorded or ()}
        return frozenset(recorded | {ModelId(model) for model, _ in self._invented})

    def answer(self, request: Request) -> SignedAnswer | None:
        """See `AnswerSource.answer`."""
        given = self._made_up(request)
        if given is None and self._recorded is not None:
            given = self._recorded.get(question_of(request))
        return None if given is None else self._signer.sign(request, given)

    def _made_up(self, request: Request) -> Given | None:
        exact = self._invented.get((request.model_id, request.input))
        return exact or self._invented.get((request.model_id, None))

    def is_invented(self, request: Request) -> bool:
        """See `AnswerSource.is_invented`."""
        return self._made_up(request) is not None

    def is_all(self) -> bool:
        """See `AnswerSource.is_all`."""
        return self._recorded is not None


def question_of(request: Request) -> Question:
    """Return what a recorded answer is found by."""
    return bytes(request.model_id), request.input, request.params, request.max_output


class Recorder:
    """Appends each answer that was found right to a file, each question once."""

    def __init__(self, path: Path) -> None:
        """Go on with a recording, or begin one. Errors: those of `read_answers`."""
        self._known = set(read_answers(path)) if path.exists() else set()
        fresh = not path.exists() or path.stat().st_size == 0
        self._file = path.open("ab", buffering=0)
        if fresh:
            self._file.write(orjson.dumps({"format": FORMAT, "version": VERSION}) + b"\n")

    def note(self, request: Request, answer: SignedAnswer) -> None:
        """Write an answer down, unless the file has it or is full."""
        question = question_of(request)
        if question in self._known or len(self._known) >= MAX_ANSWERS:
            return
        self._known.add(question)
        self._file.write(encode_answer(question, (answer.status, answer.output)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def encode_answer(question: Question, given: Given) -> bytes:
    """Return one line of a recording."""
    model, input_bytes, params, max_output = question
    shown = {
        "model": "0x" + model.hex(),
        "input": "0x" + input_bytes.hex(),
        "params": "0x" + params.hex(),
        "maxOutput": max_output,
        "status": int(given[0]),
        "output": "0x" + given[1].hex(),
    }
    return orjson.dumps(shown) + b"\n"


def read_answers(path: Path) -> dict[Question, Given]:
    """Read a recording. Errors: `ConfigError` "answers.unreadable", "answers.bad_file" naming the line."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _bad(path, 0, f"larger than {MAX_FILE_BYTES >> 20} MiB")
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(
            "answers.unreadable", f"{path} cannot be read", why=str(error), fix=f"ls -l {path}"
        ) from error
    if not lines:
        return {}
    if len(lines) > MAX_ANSWERS + 1:
        raise _bad(path, len(lines), f"more than {MAX_ANSWERS:,} answers")
    _require_header(path, lines[0])
    answers: dict[Question, Given] = {}
    for number, line in enumerate(lines[1:], 2):
        try:
            question, given = _decode(orjson.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _bad(path, number, repr(error)) from error
        if answers.setdefault(question, given) != given:
            raise _bad(path, number, "a question is answered twice, and differently")
    return answers


def _require_header(path: Path, line: bytes) -> None:
    try:
        header = orjson.loads(line)
        known = header["format"] == FORMAT and header["version"] == VERSION
    except (ValueError, KeyError, TypeError) as error:
        raise _bad(path, 1, "the first line names no format") from error
    if not known:
        raise _bad(path, 1, f"this program reads {FORMAT} of version {VERSION}")


def _decode(row: dict[str, Any]) -> tuple[Question, Given]:
    model = _bytes(row["model"], HASH_BYTES)
    status, max_output = Status(row["status"]), row["maxOutput"]
    if len(model) != HASH_BYTES or status not in NEURON_STATUSES:
        raise ValueError("a model id has 32 bytes, and a neuron answers with status 0, 1 or 2")
    if not isinstance(max_output, int) or not 0 <= max_output <= MAX_OUTPUT_BYTES:
        raise ValueError("maxOutput is out of bounds")
    question = (
        model,
        _bytes(row["input"], MAX_INPUT_BYTES),
        _bytes(row["params"], MAX_PARAMS_BYTES),
        max_output,
    )
    return question, (status, _bytes(row["output"], max_output))


def _bytes(text: str, most: int) -> bytes:
    raw = bytes.fromhex(text.removeprefix("0x"))
    if len(raw) > most:
        raise ValueError(f"more than {most} bytes")
    return raw


def _bad(path: Path, line: int, why: str) -> ConfigError:
    return ConfigError(
        "answers.bad_file",
        f"{path} is no recording of answers",
        why=f"line {line}: {why}",
        fix=f"mv {path} {path}.broken",
    )
