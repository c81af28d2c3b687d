"""A Bitcoin of raw blocks: coinbase, reveals, headers that commit to them, but no proof of work."""

from dataclasses import dataclass, field

from bitai.l1_scan import L1BlockInput, subsidy_sats
from primitives.bitcoin.envelope import EnvelopeKind, build_header, encode_leaf
from primitives.bitcoin.envelope_codecs import EnvelopeCodec
from primitives.bitcoin.header import BlockHeader
from primitives.bitcoin.transaction import Transaction, TxIn, TxOut
from primitives.curve import xonly_public_key
from primitives.hashes import sha256, sha256d
from primitives.ids import OutPoint
from primitives.merkle import bitcoin_merkle_root
from rollup.batch.channel import compress_batch, split_frames
from rollup.batch.codec import Batch, BatchFormat, encode_batch
from rollup.config import Keys, L1Start, regtest_config

BATCHER = sha256(b"batcher's secret")
ANYBODY = sha256(b"anybody's secret")
START_TIME = 1_700_000_000
START = L1Start(110, sha256d(b"start"), tuple(START_TIME - 10 + n for n in range(11)))
CONFIG = regtest_config(
    START, Keys(xonly_public_key(BATCHER), xonly_public_key(ANYBODY), xonly_public_key(ANYBODY)), bytes(20)
)
_CONTROL = b"\xc0" + xonly_public_key(ANYBODY)


def reveal(payload, kind, number, index=0, *, secret=BATCHER, identity=CONFIG.identity, spends=b"commit"):
    """A transaction that shows a signed envelope."""
    header = build_header(secret, kind, payload, identity=identity, number=number, index=index)
    leaf = encode_leaf(EnvelopeCodec.IF520, xonly_public_key(secret), header, payload)
    prevout = OutPoint(sha256d(spends + header.signature), 0)
    return Transaction((TxIn(prevout, witness=(bytes(64), leaf, _CONTROL)),), (TxOut(546, b"\x51"),))


def channel(blocks, number, size=10**6, config=CONFIG):
    """The reveals of a channel with these blocks: (number, BatchBlock) each."""
    form = BatchFormat(config.chain_id, config.parameters.block_time_s)
    batch = encode_batch(form, Batch(blocks[0][0], tuple(block for _, block in blocks)))
    payloads = split_frames(compress_batch(batch), size)
    kind = EnvelopeKind.BATCH_FRAME
    return [
        reveal(payload, kind, number, index, identity=config.identity)
        for index, payload in enumerate(payloads)
    ]


def upload(data, sequence=0, secret=ANYBODY, identity=CONFIG.identity):
    """The reveals of an inscribed artifact."""
    kind = EnvelopeKind.ARTIFACT_CHUNK
    return [
        reveal(payload, kind, sequence, index, secret=secret, identity=identity)
        for index, payload in enumerate(split_frames(data))
    ]


@dataclass
class RawBitcoin:
    """One branch; `blocks` follow the start block."""

    branch: int = 0
    blocks: list[L1BlockInput] = field(default_factory=list)

    @property
    def height(self):
        """The tip's height."""
        return START.height + len(self.blocks)

    @property
    def tip_hash(self):
        """The tip's hash, internal order."""
        return sha256d(self.blocks[-1].header) if self.blocks else START.hash

    def mine(self, *reveals, fees_sats=0, after_s=600):
        """Add a block; its time follows the last by `after_s`."""
        height = self.height + 1
        commitment = bitcoin_merkle_root([bytes(32), *(each.wtxid for each in reveals)])
        note = b"\x6a\x24\xaa\x21\xa9\xed" + sha256d(commitment + bytes(32))
        coinbase = Transaction(
            (
                TxIn(
                    OutPoint(bytes(32), 0xFFFFFFFF),
                    script_sig=height.to_bytes(4, "little"),
                    witness=(bytes(32),),
                ),
            ),
            (TxOut(subsidy_sats(height, 150) + fees_sats, b"\x51"), TxOut(0, note)),
        )
        everything = (coinbase, *reveals)
        time = self._last_time() + after_s
        root = bitcoin_merkle_root([each.txid for each in everything])
        header = BlockHeader(4, self.tip_hash, root, time, 0x207FFFFF, self.branch).encode()
        raw = header + bytes([len(everything)]) + b"".join(each.raw for each in everything)
        self.blocks.append(L1BlockInput(height, header, raw))
        return self.blocks[-1]

    def fork(self, height, branch):
        """Another branch that shares the blocks up to a height."""
        return RawBitcoin(branch, self.blocks[: height - START.height])

    def _last_time(self):
        return int.from_bytes(self.blocks[-1].header[68:72], "little") if self.blocks else START.times[-1]
