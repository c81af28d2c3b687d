"""The committed vectors of batch, channel and derivation hold, read as others would read them."""

import json

import pytest

from primitives.errors import InvalidInput
from rollup.batch.channel import decode_frame, decompress_batch
from rollup.batch.codec import BatchFormat, decode_batch, encode_batch
from rollup.limits import Limits
from tests.rollup import vectors

LIMITS = Limits()
BATCH, CHANNEL = (json.loads((vectors.FOLDER / f"{name}.json").read_text()) for name in ("batch", "channel"))
FORM = BatchFormat(BATCH["chain_id"], BATCH["block_time_s"])


@pytest.mark.parametrize("name", vectors.VECTORS)
def test_the_files_are_current(name):
    """A difference is a change of a wire format or of a rule."""
    assert (vectors.FOLDER / f"{name}.json").read_text() == vectors.text(name)


@pytest.mark.parametrize("case", BATCH["valid"], ids=lambda case: case["name"])
def test_batches(case):
    """The bytes give the blocks, and the blocks the bytes."""
    batch = decode_batch(FORM, bytes.fromhex(case["encoded"]), LIMITS)
    assert batch.first_number == case["first_number"]
    assert [block.timestamp for block in batch.blocks] == [block["timestamp"] for block in case["blocks"]]
    for block, told in zip(batch.blocks, case["blocks"], strict=True):
        assert [raw.hex() for raw in block.transactions] == told["transactions"]
        assert [record.output.hex() for record in block.records] == [
            each["output"] for each in told["records"]
        ]
    assert encode_batch(FORM, batch).hex() == case["encoded"]


@pytest.mark.parametrize("case", BATCH["invalid"], ids=lambda case: case["name"])
def test_malformed_batches(case):
    """Each is refused with its code."""
    with pytest.raises(InvalidInput) as caught:
        decode_batch(FORM, bytes.fromhex(case["encoded"]), LIMITS)
    assert caught.value.code == case["code"]


def test_channels():
    """Every content, compressed with or without the dictionary or not at all, unfolds to the batch."""
    contents = [bytes.fromhex(each["content"]) for each in CHANNEL["contents"]]
    for content in (*contents, bytes.fromhex(CHANNEL["stored"])):
        assert decompress_batch(content, LIMITS.decompressed_bytes).hex() == CHANNEL["batch"]
    frames = [decode_frame(bytes.fromhex(payload)) for payload in CHANNEL["frames_of_100_bytes"]]
    assert b"".join(frame.data for frame in frames).hex() == CHANNEL["stored"]
    assert {frame.of for frame in frames} == {len(frames)}


@pytest.mark.parametrize("case", CHANNEL["invalid"], ids=lambda case: case["name"])
def test_malformed_channels(case):
    """Each is refused with its code."""
    with pytest.raises(InvalidInput) as caught:
        decompress_batch(bytes.fromhex(case["content"]), LIMITS.decompressed_bytes)
    assert caught.value.code == case["code"]
