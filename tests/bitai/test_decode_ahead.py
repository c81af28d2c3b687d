"""Decoding ahead changes when signatures are recovered, never what comes out."""

from bitai.decode_ahead import DecodeAhead
from primitives.hashes import sha256
from primitives.ids import L1Hash
from vm.types import BlockData, L1Origin

ORIGIN = L1Origin(1, L1Hash(sha256(b"l1")), 0)


def block(number, *transactions):
    """Some block data."""
    return BlockData(number, 2 * number, ORIGIN, (), transactions)


class Decoder:
    """Says of each transaction only that it was decoded; counts."""

    def __init__(self):
        self.asked = []

    def __call__(self, raws):
        """Note the question."""
        self.asked.append(tuple(raws))
        return [("decoded", raw.hex()) for raw in raws]


def test_every_block_is_decoded_once():
    """The successor that was named comes out of the thread, and is not decoded again."""
    decoder = Decoder()
    ahead = DecodeAhead(decoder)
    blocks = [block(1, b"a", b"b"), block(2, b"c"), block(3), block(4, b"d")]
    for at, each in enumerate(blocks):
        following = blocks[at + 1] if at + 1 < len(blocks) else None
        assert ahead.take(each, following) == [("decoded", raw.hex()) for raw in each.transactions]
    assert sorted(decoder.asked) == sorted(each.transactions for each in blocks)


def test_another_block_than_the_one_named_is_decoded_as_it_is():
    """A rewind or a reset may bring another block of the same number: its own transactions count."""
    ahead = DecodeAhead(Decoder())
    ahead.take(block(1, b"a"), block(2, b"c"))
    assert ahead.take(block(2, b"x"), None) == [("decoded", b"x".hex())]
