"""A channel: one compressed batch, cut into numbered frames that each fit an envelope.

Any compressor may write a channel; only what it unfolds to counts. So decompression is strict, and bounded
before it begins. Spec: docs/spec/channel.md.
"""

from typing import Final, NamedTuple

import zstandard

from primitives.codec import Reader, Writer
from primitives.errors import InvalidInput
from primitives.hashes import sha256
from primitives.ids import HASH_BYTES, Hash32
from rollup.batch.dictionary import DICTIONARY
from rollup.limits import MAX_CHUNK_BYTES

PLAIN: Final = 0
"""zstd without a dictionary."""
WITH_DICTIONARY: Final = 1
"""zstd with the dictionary of `rollup/batch/dictionary.py`."""
LEVEL: Final = 19
"""The strongest before window sizes grow: a batch is written once and paid for by the byte."""
WINDOW_LOG: Final = 23
"""8 MiB: what a reader keeps of what it has unfolded. RFC 8878 asks decoders to support that much."""

_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"


class Frame(NamedTuple):
    """One piece of a channel; `content_hash` is SHA-256 of all `of` pieces together."""

    of: int
    content_hash: Hash32
    data: bytes


def compress_batch(batch: bytes, version: int = WITH_DICTIONARY, *, level: int = LEVEL) -> bytes:
    """Return a channel's content: version byte, one zstd frame with its size and no checksum."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level,
        source_size=len(batch),
        window_log=min(WINDOW_LOG, _window_for(len(batch))),
        write_checksum=False,
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters, dict_data=_dictionary(version))
    return bytes([version]) + compressor.compress(batch)


def read_claimed_size(content: bytes, max_bytes: int) -> int:
    """Return how long the batch in a channel's content says it is, before anything is unfolded.

    Raises what `decompress_batch` raises, without `.bad_compression`.
    """
    if not content:
        raise InvalidInput("channel.empty", "a channel has at least its version byte")
    _dictionary(content[0])
    return _check_frame_header(content[1:33], max_bytes)


def decompress_batch(content: bytes, max_bytes: int) -> bytes:
    """Return the batch in a channel's content.

    The size that the frame claims is checked against the bound, and is then all that is ever allocated; a
    frame that unfolds to more or less is refused. Raises InvalidInput `channel.empty`, `.unknown_version`,
    `.not_zstd`, `.size_unknown`, `.too_large`, `.window_too_large`, `.bad_compression`.
    """
    read_claimed_size(content, max_bytes)
    dictionary, packed = _dictionary(content[0]), memoryview(content)[1:]
    decompressor = zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=1 << WINDOW_LOG)
    try:
        return decompressor.decompress(packed, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise InvalidInput("channel.bad_compression", "the channel does not decompress") from error


def split_frames(content: bytes, max_data_bytes: int = MAX_CHUNK_BYTES) -> tuple[bytes, ...]:
    """Return the payloads of a channel's frames, by index."""
    pieces = [content[start : start + max_data_bytes] for start in range(0, len(content), max_data_bytes)]
    content_hash = sha256(content)
    return tuple(encode_frame(Frame(len(pieces), content_hash, piece)) for piece in pieces)


def encode_frame(frame: Frame) -> bytes:
    """Return count u16 | content hash 32 | data. An artifact chunk has the same layout."""
    writer = Writer()
    writer.u16(frame.of)
    writer.raw(frame.content_hash)
    writer.raw(frame.data)
    return writer.finish()


def decode_frame(payload: bytes) -> Frame:
    """Read one payload; raises InvalidInput `frame.truncated`, `frame.no_count`, `frame.empty`."""
    reader = Reader(payload)
    try:
        count, content_hash = reader.u16(), Hash32(reader.take(HASH_BYTES))
    except InvalidInput as error:
        raise InvalidInput("frame.truncated", "shorter than a frame's header", length=len(payload)) from error
    if not count:
        raise InvalidInput("frame.no_count", "a channel has at least one frame")
    if not reader.remaining:
        raise InvalidInput("frame.empty", "a frame has data")
    return Frame(count, content_hash, reader.rest())


def _check_frame_header(head: bytes, max_bytes: int) -> int:
    """Return the size that a frame claims."""
    if head[:4] != _ZSTD_MAGIC:
        raise InvalidInput("channel.not_zstd", "not a zstd frame")
    try:
        parameters = zstandard.get_frame_parameters(head)
    except zstandard.ZstdError as error:
        raise InvalidInput("channel.not_zstd", "a malformed zstd frame header") from error
    if parameters.content_size == zstandard.CONTENTSIZE_UNKNOWN:
        raise InvalidInput("channel.size_unknown", "the frame does not tell its size")
    if parameters.content_size > max_bytes:
        size = parameters.content_size
        raise InvalidInput("channel.too_large", "the channel unfolds to too much", size=size, limit=max_bytes)
    if parameters.window_size > 1 << WINDOW_LOG:
        raise InvalidInput("channel.window_too_large", "the frame asks for too large a window")
    if parameters.dict_id or parameters.has_checksum:
        raise InvalidInput("channel.not_zstd", "dictionary ids and checksums are not used here")
    return int(parameters.content_size)


def _window_for(size: int) -> int:
    return max(10, (max(size, 1) - 1).bit_length())


def _dictionary(version: int) -> zstandard.ZstdCompressionDict | None:
    if version == PLAIN:
        return None
    if version == WITH_DICTIONARY:
        return zstandard.ZstdCompressionDict(DICTIONARY, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    raise InvalidInput(
        "channel.unknown_version", "compressed in a way this program does not know", version=version
    )
