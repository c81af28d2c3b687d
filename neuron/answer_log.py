"""Every answer this neuron ever signed, on disk before it leaves the machine.

Two different signed answers to one request cost the stake, whatever made them differ: a new version,
another GPU, a restored backup, a crash between signing and sending. So an answer is looked up before it is
computed and synced before it is sent, and a request once answered is answered with the same bytes forever.
"""

import contextlib
from pathlib import Path
from typing import Final

import plyvel

from primitives.codec import Reader, Writer
from primitives.curve import ECDSA_BYTES
from primitives.errors import ConfigError, InvalidInput, InvariantViolation
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

        Raises ConfigError `neuron.datadir_in_use` when another process holds it, `neuron.datadir` when it
        cannot be used.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._database = plyvel.DB(str(folder), create_if_missing=True, paranoid_checks=True)
        except (plyvel.Error, OSError) as error:
            raise _cannot_open(folder, error) from error
        layout = self._database.get(_LAYOUT_KEY)
        if layout not in (None, _LAYOUT):
            self._database.close()
            raise ConfigError(
                "neuron.datadir_layout",
                f"{folder} was written by another version",
                fix="run the version that wrote it, or name another --datadir and use another key",
            )
        self._database.put(_LAYOUT_KEY, _LAYOUT, sync=True)

    def recall(self, config_identity: Hash32, request_hash: Hash32) -> SignedAnswer | None:
        """Return the answer signed earlier, if there is one.

        Raises InvariantViolation `answer_log.corrupt` when the stored bytes are not an answer.
        """
        stored = self._database.get(_ANSWER_PREFIX + config_identity + request_hash)
        if stored is None:
            return None
        try:
            return _decode(request_hash, stored)
        except InvalidInput as error:
            raise InvariantViolation("answer_log.corrupt", "a stored answer cannot be read") from error

    def record(self, config_identity: Hash32, answer: SignedAnswer) -> None:
        """Store an answer and return once it is on disk.

        Raises InvariantViolation `answer_log.equivocation` when another answer to the request is stored.
        """
        earlier = self.recall(config_identity, answer.request_hash)
        if earlier is not None and earlier != answer:
            raise InvariantViolation("answer_log.equivocation", "a different answer was signed before")
        key = _ANSWER_PREFIX + config_identity + answer.request_hash
        self._database.put(key, _encode(answer), sync=True)

    def close(self) -> None:
        """Let the folder go."""
        with contextlib.suppress(plyvel.Error):
            self._database.close()


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
        return ConfigError(
            "neuron.datadir_in_use", message, fix="stop the other process, or name another --datadir"
        )
    return ConfigError(
        "neuron.datadir", f"cannot use {folder}: {error}", fix=f"mkdir -p {folder} && chmod 700 {folder}"
    )
