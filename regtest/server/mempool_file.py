"""The waiting transactions of a clean stop; a killed process loses them, as Bitcoin Core's does.

Big-endian: a mark of 8 bytes, a count of 4, then length and bytes of each, then sha256 of all before.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from primitives.codec import Reader, Writer
from primitives.errors import InvalidInput

MEMPOOL_FILE: Final = "mempool.dat"
FILE_MARK: Final = b"BTAIMEM\x01"
_DIGEST_BYTES: Final = 32


def save_mempool(directory: Path, transactions: Sequence[bytes]) -> None:
    """Write the transactions so that a reader finds all or none."""
    writer = Writer()
    writer.raw(FILE_MARK)
    writer.u32(len(transactions))
    for raw in transactions:
        writer.u32(len(raw))
        writer.raw(raw)
    body = writer.finish()
    temporary = directory / f"{MEMPOOL_FILE}.tmp"
    with temporary.open("wb") as file:
        file.write(body + hashlib.sha256(body).digest())
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(directory / MEMPOOL_FILE)


def load_mempool(directory: Path) -> list[bytes]:
    """Return the saved transactions, none when there is no file.

    Raises InvalidInput `mempool_file.damaged`, `codec.*`; the file may then be ignored.
    """
    try:
        data = (directory / MEMPOOL_FILE).read_bytes()
    except FileNotFoundError:
        return []
    body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest or not body.startswith(FILE_MARK):
        raise InvalidInput("mempool_file.damaged", "the saved mempool is damaged")
    reader = Reader(body[len(FILE_MARK) :])
    transactions = [reader.take(reader.u32()) for _ in range(reader.u32())]
    reader.done()
    return transactions


def remove_mempool(directory: Path) -> None:
    """Forget the saved transactions, which are only good for the start after a clean stop."""
    (directory / MEMPOOL_FILE).unlink(missing_ok=True)
