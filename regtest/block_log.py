"""The block log: what this Bitcoin was told, in order, on disk before anything acts on it.

The engine writes its state only when it is closed, so a killed process would forget blocks it had accepted.
This file is the truth instead; the engine's directory and the index are caches of it. One record is

    kind u8 | length u32 | crc32 u32 of kind and payload | payload

big-endian, after an 8-byte file mark. Kinds: a raw block, and the two operator commands that change which
blocks count (`invalidateblock`, `reconsiderblock`; payload the block hash in internal order). Only whole
records are ever used: a torn last record, which a crash in mid-write leaves, is cut off at open. Damage
anywhere else is reported and nothing is cut.
"""

import os
import re
import struct
import zlib
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

from primitives.errors import ConfigError, InvalidInput, InvariantViolation, Temporary
from regtest.faults import FaultPoint, nothing
from regtest.limits import MAX_BLOCK_WEIGHT

FILE_MARK: Final = b"BTAILOG\x01"
MAX_PAYLOAD_BYTES: Final = MAX_BLOCK_WEIGHT
"""A block has at least one weight unit for each byte."""
_FRAME: Final = struct.Struct(">BII")
FRAME_BYTES: Final = _FRAME.size


class RecordKind(IntEnum):
    """What a record says."""

    BLOCK = 1
    INVALIDATE = 2
    RECONSIDER = 3


_KINDS: Final = frozenset(int(kind) for kind in RecordKind)
_FRAME_START: Final = re.compile(rb"[\x01-\x03]\x00")
"""A kind, and the first byte of a length, which is below 2^24."""


class LogRecord(NamedTuple):
    """One record: where its payload begins, and where the next record does."""

    kind: RecordKind
    payload: bytes
    offset: int
    end: int


class BlockLog:
    """An append-only file of records; one writer, one thread."""

    def __init__(self, path: Path, fault: FaultPoint = nothing) -> None:
        """Open or create the log; `recover` must run before the first append.

        Raises ConfigError `block_log.foreign` when the file is not ours.
        """
        self._path = path
        self._fault = fault
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        mark = os.pread(self._descriptor, len(FILE_MARK), 0)
        if not FILE_MARK.startswith(mark):
            os.close(self._descriptor)
            raise ConfigError(
                "block_log.foreign", f"{path} is not a block log", fix="choose another --datadir"
            )
        if mark != FILE_MARK:
            os.pwrite(self._descriptor, FILE_MARK, 0)
            os.fsync(self._descriptor)
            _sync_directory(path.parent)
        self._end = len(FILE_MARK)

    @property
    def end(self) -> int:
        """Return the offset after the last whole record."""
        return self._end

    @property
    def size(self) -> int:
        """Return the file's size, a torn tail included."""
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Let go of the file; everything appended is already on disk."""
        os.close(self._descriptor)

    def recover(self, trusted: int = 0) -> Iterator[LogRecord]:
        """Yield every whole record from offset `trusted` on, then cut off a torn last one.

        What is left is synchronised: a killed process may have written its last record and not waited for the
        disk, and nothing may build on what the next power cut takes away.
        `trusted` is an end reported earlier; 0 reads from the beginning. The log takes appends only after
        this ran to its end. Raises InvariantViolation `block_log.corrupt` for damage that no crash explains.
        """
        position = max(trusted, len(FILE_MARK))
        size = self.size
        while (record := self._record_at(position, size)) is not None:
            position = record.end
            yield record
        if position < size:
            self._cut(position, size)
        self._sync()
        self._end = position

    def append(self, kind: RecordKind, payload: bytes) -> int:
        """Write one record, wait until the disk has it, and return the offset of its payload.

        Raises InvalidInput `block_log.too_long`, Temporary `block_log.write_failed`, and InvariantViolation
        `block_log.disk_failed` when nobody knows what the disk has.
        """
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise InvalidInput("block_log.too_long", "a record is too long", length=len(payload))
        frame = _FRAME.pack(kind, len(payload), _checksum(kind, payload))
        self._fault("log.before_write")
        self._write([frame, payload])
        self._fault("log.written")
        self._sync()
        self._fault("log.synced")
        offset = self._end + len(frame)
        self._end = offset + len(payload)
        return offset

    def read(self, offset: int, length: int) -> bytes:
        """Return the payload at an offset that `append` or `recover` gave.

        Raises InvariantViolation `block_log.corrupt` when the file ends before it.
        """
        payload = os.pread(self._descriptor, length, offset)
        if len(payload) != length:
            raise InvariantViolation(
                "block_log.corrupt", "the block log is shorter than its index says", offset=offset
            )
        return payload

    def _write(self, parts: list[bytes]) -> None:
        """Write at the end, all or nothing: what a failed write leaves must not pass for damage later."""
        try:
            written = os.pwritev(self._descriptor, parts, self._end)
        except OSError as error:
            self._take_back()
            raise Temporary("block_log.write_failed", str(error), path=str(self._path)) from error
        if written != sum(map(len, parts)):
            self._take_back()
            raise Temporary("block_log.write_failed", "the disk is full", path=str(self._path))

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._descriptor, self._end)
        except OSError as error:
            raise self._disk_failed(error) from error

    def _sync(self) -> None:
        """Wait for the disk; after a failure the system may have thrown away what was written."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise self._disk_failed(error) from error

    def _disk_failed(self, error: OSError) -> InvariantViolation:
        return InvariantViolation("block_log.disk_failed", str(error), path=str(self._path))

    def _record_at(self, position: int, size: int) -> LogRecord | None:
        """Return the whole record at a position, or None at the end or at a torn tail."""
        frame = os.pread(self._descriptor, _FRAME.size, position)
        if len(frame) < _FRAME.size:
            return None
        kind, length, checksum = _FRAME.unpack(frame)
        offset = position + _FRAME.size
        if kind in _KINDS and length <= MAX_PAYLOAD_BYTES and offset + length <= size:
            payload = os.pread(self._descriptor, length, offset)
            if _checksum(kind, payload) == checksum:
                return LogRecord(RecordKind(kind), payload, offset, offset + length)
        return None

    def _cut(self, position: int, size: int) -> None:
        if not self._is_torn(position, size):
            raise InvariantViolation(
                "block_log.corrupt",
                "a record amid the block log is damaged; restore the file or start a new --datadir",
                path=str(self._path),
                offset=position,
            )
        os.ftruncate(self._descriptor, position)

    def _is_torn(self, position: int, size: int) -> bool:
        """Tell whether what follows is one unfinished write: it claims to reach the end, or is all zeros.

        A damaged length can claim that too; then whole records stand behind it.
        """
        frame = os.pread(self._descriptor, _FRAME.size, position)
        if len(frame) < _FRAME.size:
            return True
        kind, length, _ = _FRAME.unpack(frame)
        if kind in _KINDS and length <= MAX_PAYLOAD_BYTES:
            reaches_end = position + _FRAME.size + length >= size
            return bool(reaches_end and not self._ends_in_record(position, size))
        return self._only_zeros(position, size)

    def _ends_in_record(self, position: int, size: int) -> bool:
        """Tell whether the file's last bytes are a whole record that begins after a position."""
        data = os.pread(self._descriptor, size - position, position)
        for found in _FRAME_START.finditer(data, 1):
            frame = data[found.start() : found.start() + _FRAME.size]
            payload_length = len(data) - found.start() - _FRAME.size
            if payload_length < 0:
                return False
            kind, length, checksum = _FRAME.unpack(frame)
            if length == payload_length and _checksum(kind, data[-length:] if length else b"") == checksum:
                return True
        return False

    def _only_zeros(self, position: int, size: int) -> bool:
        """Tell whether a file that grew before its data arrived ends in zeros from here on."""
        if size - position > _FRAME.size + MAX_PAYLOAD_BYTES:
            return False
        return not any(os.pread(self._descriptor, size - position, position))


def _checksum(kind: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(bytes([kind])))


def _sync_directory(directory: Path) -> None:
    """Make a new file's name durable too."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
