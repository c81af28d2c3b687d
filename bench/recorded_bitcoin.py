"""Bitcoin blocks that carry a chain's inscriptions, as its batcher would have made them; without proof of work."""

from collections.abc import Sequence
from typing import Final

from bench.world import BATCHER, START
from bitai.l1_scan import L1BlockInput, subsidy_sats
from primitives.bitcoin.envelope import EnvelopeKind, build_header, encode_leaf
from primitives.bitcoin.envelope_codecs import EnvelopeCodec
from primitives.bitcoin.header import BlockHeader
from primitives.bitcoin.transaction import Transaction, TxIn, TxOut
from primitives.curve import xonly_public_key
from primitives.hashes import sha256d
from primitives.ids import L1Hash, OutPoint, Txid
from primitives.merkle import bitcoin_merkle_root
from rollup.batch.channel import compress_batch, split_frames
from rollup.batch.codec import Batch, BatchBlock, BatchFormat, encode_batch
from rollup.config import RollupConfig

BLOCK_S: Final = 600
_REGTEST_BITS: Final = 0x207F_FFFF
_OUTPUT: Final = TxOut(546, b"\x51")


def channel_content(config: RollupConfig, first_number: int, blocks: Sequence[BatchBlock]) -> bytes:
    """Return a channel's bytes: the batch, compressed."""
    form = BatchFormat(config.chain_id, config.parameters.block_time_s)
    return compress_batch(encode_batch(form, Batch(first_number, tuple(blocks))))


def channel_reveals(config: RollupConfig, number: int, content: bytes) -> list[Transaction]:
    """Return the transactions that show a channel's frames."""
    payloads = split_frames(content)
    return [
        reveal(config, payload, EnvelopeKind.BATCH_FRAME, number=number, index=index)
        for index, payload in enumerate(payloads)
    ]


def artifact_reveals(config: RollupConfig, artifact: bytes, sequence: int) -> list[Transaction]:
    """Return the transactions that upload a model."""
    return [
        reveal(config, payload, EnvelopeKind.ARTIFACT_CHUNK, number=sequence, index=index)
        for index, payload in enumerate(split_frames(artifact))
    ]


def reveal(
    config: RollupConfig, payload: bytes, kind: EnvelopeKind, *, number: int, index: int
) -> Transaction:
    """Return a transaction that shows one envelope of the batcher."""
    header = build_header(BATCHER, kind, payload, identity=config.identity, number=number, index=index)
    signer = xonly_public_key(BATCHER)
    leaf = encode_leaf(EnvelopeCodec.IF520, signer, header, payload)
    prevout = OutPoint(Txid(sha256d(b"commit" + header.signature)), 0)
    return Transaction((TxIn(prevout, witness=(bytes(64), leaf, b"\xc0" + signer)),), (_OUTPUT,))


class RecordedBitcoin:
    """One branch that follows the chain's start block."""

    def __init__(self) -> None:
        """Begin at the start block."""
        self.blocks: list[L1BlockInput] = []

    def mine(self, reveals: Sequence[Transaction] = ()) -> L1BlockInput:
        """Add a block."""
        height = START.height + len(self.blocks) + 1
        everything = (_coinbase(height, reveals), *reveals)
        header = BlockHeader(
            4,
            L1Hash(sha256d(self.blocks[-1].header)) if self.blocks else START.hash,
            bitcoin_merkle_root([each.txid for each in everything]),
            START.times[-1] + BLOCK_S * (len(self.blocks) + 1),
            _REGTEST_BITS,
            0,
        ).encode()
        count = (
            bytes([len(everything)])
            if len(everything) < 0xFD
            else b"\xfd" + len(everything).to_bytes(2, "little")
        )
        block = L1BlockInput(height, header, header + count + b"".join(each.raw for each in everything))
        self.blocks.append(block)
        return block


def _coinbase(height: int, reveals: Sequence[Transaction]) -> Transaction:
    commitment = sha256d(bitcoin_merkle_root([bytes(32), *(each.wtxid for each in reveals)]) + bytes(32))
    note = TxOut(0, b"\x6a\x24\xaa\x21\xa9\xed" + commitment)
    spent = TxIn(
        OutPoint(Txid(bytes(32)), 0xFFFF_FFFF), script_sig=height.to_bytes(4, "little"), witness=(bytes(32),)
    )
    return Transaction((spent,), (TxOut(subsidy_sats(height, 150), b"\x51"), note))
