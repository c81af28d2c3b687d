"""A channel unfolds to one batch within its bound, or to a code; frames say what they are a piece of."""

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from primitives.errors import InvalidInput
from primitives.hashes import sha256
from rollup.batch.channel import (
    PLAIN,
    WITH_DICTIONARY,
    Frame,
    compress_batch,
    decode_frame,
    decompress_batch,
    encode_frame,
    split_frames,
)
from rollup.batch.dictionary import DICTIONARY

LIMIT = 1 << 20


def code_of(content, limit=LIMIT):
    """The code with which a content is refused."""
    with pytest.raises(InvalidInput) as caught:
        decompress_batch(content, limit)
    return caught.value.code


def refusal_of(content):
    """The code with which a content is refused, empty if it is not."""
    try:
        decompress_batch(content, LIMIT)
    except InvalidInput as error:
        return error.code
    return ""


def packed(data, **options):
    """A channel's content by any zstd."""
    return bytes([PLAIN]) + zstandard.ZstdCompressor(**options).compress(data)


@given(st.binary(max_size=2_000), st.integers(0, 300), st.sampled_from([PLAIN, WITH_DICTIONARY]))
def test_a_batch_survives(data, repeats, version):
    """Compression loses nothing, with and without the dictionary."""
    batch = data * repeats
    assert decompress_batch(compress_batch(batch, version), len(batch)) == batch


@given(st.binary(min_size=1, max_size=3_000), st.integers(1, 700))
def test_frames_join_to_the_channel(content, size):
    """The data of all frames, by index, is the content that each names by hash."""
    frames = [decode_frame(payload) for payload in split_frames(content, size)]
    assert b"".join(frame.data for frame in frames) == content
    assert {(frame.of, frame.content_hash) for frame in frames} == {(len(frames), sha256(content))}
    assert tuple(encode_frame(frame) for frame in frames) == split_frames(content, size)


def test_the_bound_is_on_what_comes_out():
    """A bomb is refused by what its header claims, and a frame that lies about it does not decompress."""
    bomb = compress_batch(bytes(50 * LIMIT))
    assert len(bomb) < 10_000
    assert code_of(bomb) == "channel.too_large"
    assert decompress_batch(compress_batch(bytes(LIMIT)), LIMIT) == bytes(LIMIT)
    assert code_of(compress_batch(bytes(LIMIT + 1))) == "channel.too_large"
    honest = compress_batch(bytes(70_000), PLAIN)
    lying = honest.replace((70_000).to_bytes(4, "little"), (60_000).to_bytes(4, "little"), 1)
    assert lying != honest
    assert code_of(lying) == "channel.bad_compression"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "channel.empty"),
        (b"\2abc", "channel.unknown_version"),
        (b"\0", "channel.not_zstd"),
        (b"\0\x28\xb5\x2f\xfd", "channel.not_zstd"),
        (b"\0\x50\x2a\x4d\x18\x00\x00\x00\x00", "channel.not_zstd"),
        (packed(b"abc", write_content_size=False), "channel.size_unknown"),
        (packed(b"abc", write_checksum=True), "channel.not_zstd"),
        (packed(b"abc")[:-1], "channel.bad_compression"),
        (packed(b"abc") + b"x", "channel.bad_compression"),
        (packed(b"abc") + packed(b"def")[1:], "channel.bad_compression"),
    ],
)
def test_one_frame_that_tells_its_size_and_nothing_else(content, code):
    """Whatever else a decompressor would tolerate is refused."""
    assert code_of(content) == code


def test_a_window_beyond_the_limit_is_refused():
    """A reader need not keep more than 8 MiB of what it has unfolded."""
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=25)
    content = packed(bytes(40 << 20), compression_params=parameters)
    assert code_of(content, 64 << 20) == "channel.window_too_large"


@given(st.binary(max_size=300), st.integers(0, 300), st.integers(1, 255))
def test_garbage_has_a_code(data, at, bit):
    """Random bytes, and channels with one byte changed, unfold or are refused with a code."""
    changed = bytearray(compress_batch(data))
    changed[at % len(changed)] ^= bit
    for content in (data, bytes(changed), b"\0\x28\xb5\x2f\xfd" + data):
        refused_with = refusal_of(content)
        assert not refused_with or refused_with.startswith("channel.")


@pytest.mark.parametrize(
    ("payload", "code"),
    [(b"", "frame.truncated"), (bytes(33), "frame.truncated"), (b"\0\1" + bytes(32), "frame.empty")],
)
def test_frames_that_say_nothing(payload, code):
    """A frame has a count, a hash and data."""
    with pytest.raises(InvalidInput) as caught:
        decode_frame(payload)
    assert caught.value.code == code


def test_the_dictionary_is_part_of_the_protocol():
    """Another dictionary is another version: these bytes never change."""
    assert sha256(DICTIONARY).hex() == "5902aeebdc67a7a907084c266f7218b362a9f2c6ad073ef6945184215d370ad0"
    assert decode_frame(encode_frame(Frame(2, sha256(b""), b"x"))) == Frame(2, sha256(b""), b"x")
