"""Mine on any regtest node with `submitblock`, the one way that all implementations share."""

import time

from primitives.bitcoin.header import BlockHeader
from primitives.bitcoin.parser import parse_block, parse_header, parse_whole_transaction
from primitives.bitcoin.script import encode_compact_size, op_return, push_number
from primitives.bitcoin.transaction import SEQUENCE_FINAL, Transaction, TxIn, TxOut
from primitives.hashes import sha256d
from primitives.ids import L1Hash, OutPoint, Txid
from primitives.merkle import bitcoin_merkle_root

REGTEST_BITS = 0x207FFFFF
_HALVING = 150
_AGE = 7_200
_COMMITMENT = bytes.fromhex("aa21a9ed")


def make_block(parent: bytes, height: int, pay_to: bytes, raws: list[bytes], salt: int = 0) -> bytes:
    """Return a valid block on a raw parent block; fees are left to nobody."""
    header = parse_header(parent[:80])
    subsidy = 5_000_000_000 >> (height // _HALVING)
    wtxids = [bytes(32), *(parse_whole_transaction(raw).wtxid for raw in raws)]
    commitment = sha256d(bitcoin_merkle_root(wtxids) + bytes(32))
    prevout = OutPoint(Txid(bytes(32)), 0xFFFFFFFF)
    entry = TxIn(
        prevout, SEQUENCE_FINAL, push_number(height) + bytes([4]) + salt.to_bytes(4, "big"), (bytes(32),)
    )
    outputs = (TxOut(subsidy, pay_to), TxOut(0, op_return(_COMMITMENT + commitment)))
    coinbase = Transaction((entry,), outputs)
    root = bitcoin_merkle_root([coinbase.txid, *(parse_whole_transaction(raw).txid for raw in raws)])
    when = max(
        header.time + 1, int(time.time()) - _AGE
    )  # btcd turns rules on, and cleans its mempool, by time
    nonce = 0
    while True:
        mined = BlockHeader(0x20000000, L1Hash(header.hash), root, when, REGTEST_BITS, nonce)
        if mined.meets_target:
            break
        nonce += 1
    body = encode_compact_size(len(raws) + 1) + coinbase.raw + b"".join(raws)
    block = mined.encode() + body
    parse_block(block)
    return block
