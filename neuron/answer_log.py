"""Every answer this neuron ever signed, on disk before it leaves the machine.

Two different signed answers to one request cost the stake, whatever made them differ: a new version,
another GPU, a restored backup, a crash between signing and sending. So an answer is looked up before it is
computed and synced before it is sent, and a request once answered is answered with the same bytes forever.
"""

import os
from pathlib import Path
from typing import Any, Final

import plyvel

from primitives.codec import Reader, Writer
from primitives.curve import ECDSA_BYTES
from primitives.errors import ConfigError, InvalidInput, InvariantViolation, Temporary
from primitives.ids import Hash32
from vm.inference.tensors import code_of
from vm.inference.wire import MAX_OUTPUT_BYTES, SignedAnswer, Status

_LAYOUT_KEY: Final = b"layout"
_LAYOUT: Final = b"bitai neuron answers 0"
_ANSWER_PREFIX: Final = b"a"


class AnswerLog:
    """Keep signed answers by (chain, request) in a LevelDB folder that one process holds."""

    def __init__(self, folder: Path) -> None:
        """Open or create the folder.

        Raises ConfigError `neuron.datadir_in_use` when another process holds it, `neuron.datadir_damaged`,
        `neuron.datadir_layout`, or `neuron.datadir` when it cannot be used.
        """
        self._folder = folder
        try:
            _make_folder(folder)
            self._database: Any = _open(folder)
        except (plyvel.Error, OSError) as error:
            raise _cannot_open(folder, error) from error
        try:
            self._require_layout()
        except BaseException:
            self.close()
            raise

    def recall(self, config_identity: Hash32, request_hash: Hash32) -> SignedAnswer | None:
        """Return the answer signed earlier, if there is one.

        Raises InvariantViolation `answer_log.corrupt` when the stored bytes are not an answer, Temporary
        `answer_log.unusable` when the disk does not give them.
        """
        database = self._opened()
        try:
            stored = database.get(_ANSWER_PREFIX + config_identity + request_hash, verify_checksums=True)
            return None if stored is None else _decode(request_hash, stored)
        except (plyvel.CorruptionError, InvalidInput) as error:
            raise InvariantViolation("answer_log.corrupt", "a stored answer cannot be read") from error
        except plyvel.Error as error:
            raise self._unusable(error) from error

    def record(self, config_identity: Hash32, answer: SignedAnswer) -> None:
        """Store an answer and return once it is on disk.

        Raises InvariantViolation `answer_log.equivocation` when another answer to the request is stored, Temporary
        `answer_log.unusable` when it cannot be stored: the answer must not leave then.
        """
        earlier = self.recall(config_identity, answer.request_hash)
        if earlier is not None and earlier != answer:
            raise InvariantViolation("answer_log.equivocation", "a different answer was signed before")
        key = _ANSWER_PREFIX + config_identity + answer.request_hash
        try:
            self._opened().put(key, _encode(answer), sync=True)
        except plyvel.Error as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        """Let the folder go."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _require_layout(self) -> None:
        layout = self._database.get(_LAYOUT_KEY)
        if layout not in (None, _LAYOUT):
            raise ConfigError(
                "neuron.datadir_layout",
                f"{self._folder} was written by another version",
                fix="run the version that wrote it, or name another --datadir and use another key",
            )
        try:
            self._database.put(_LAYOUT_KEY, _LAYOUT, sync=True)
        except plyvel.Error as error:
            raise _cannot_open(self._folder, error) from error

    def _opened(self) -> Any:
        """Return the database, opened anew after a failure."""
        if self._database is None:
            try:
                self._database = _open(self._folder)
            except plyvel.Error as error:
                raise self._unusable(error) from error
        return self._database

    def _unusable(self, error: Exception) -> Temporary:
        """Let the database go: what is written behind a write that failed half way, no later start could read."""
        self.close()
        return Temporary("answer_log.unusable", f"the answers in {self._folder} cannot be used now: {error}")


def _make_folder(folder: Path) -> None:
    """Make a folder that a power cut does not take away with everything in it."""
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for each in made:
        parent = os.open(each.parent, os.O_RDONLY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


def _open(folder: Path) -> Any:
    return plyvel.DB(str(folder), create_if_missing=True, paranoid_checks=True)


def _encode(answer: SignedAnswer) -> bytes:
    writer = Writer()
    writer.u8(answer.status)
    writer.raw(answer.signature)
    writer.byte_string(answer.output)
    return writer.finish()


def _decode(request_hash: Hash32, stored: bytes) -> SignedAnswer:
    reader = Reader(stored)
    status = code_of(Status, reader.u8(), "status")
    signature = reader.take(ECDSA_BYTES)
    answer = SignedAnswer(request_hash, status, reader.byte_string(MAX_OUTPUT_BYTES), signature)
    reader.done()
    return answer


def _cannot_open(folder: Path, error: Exception) -> ConfigError:
    if "lock" in str(error).lower():
        message = f"another neuron process uses {folder}; two with one key would risk the stake"
        return ConfigError("neuron.datadir_in_use", message, fix="stop the other process, or use another key")
    if isinstance(error, plyvel.CorruptionError):
        return ConfigError(
            "neuron.datadir_damaged",
            f"the answers in {folder} are damaged: {error}",
            fix="use another key; with this one, what was signed already might be signed otherwise",
        )
    return ConfigError(
        "neuron.datadir", f"cannot use {folder}: {error}", fix=f"mkdir -p {folder} && chmod 700 {folder}"
    )
