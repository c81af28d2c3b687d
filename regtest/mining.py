"""Make a block: coinbase with height and witness commitment, Merkle root, proof of work; pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from primitives.bitcoin.header import BlockHeader
from primitives.bitcoin.parser import ParsedTx
from primitives.bitcoin.script import OP_0, OP_RETURN, encode_compact_size, push, push_number
from primitives.bitcoin.transaction import SEQUENCE_FINAL, Transaction, TxIn, TxOut
from primitives.errors import InvariantViolation
from primitives.hashes import sha256d
from primitives.ids import L1Hash, OutPoint, Txid
from primitives.merkle import bitcoin_merkle_root
from regtest.limits import HALVING_BLOCKS, INITIAL_SUBSIDY_SATS, REGTEST_BITS

BLOCK_VERSION: Final = 0x20000000
_NULL_PREVOUT: Final = OutPoint(Txid(bytes(32)), 0xFFFFFFFF)
_WITNESS_NONCE: Final = bytes(32)
_COMMITMENT_MARK: Final = bytes.fromhex("aa21a9ed")
_MAX_NONCE: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """What a block is to be made of.

    `extra_nonce` tells apart blocks that are otherwise equal, as two forks mined in one second are. The
    transactions stand in an order in which each comes after those it spends.
    """

    previous: L1Hash
    height: int
    time: int
    script: bytes
    fees_sats: int
    extra_nonce: int
    transactions: Sequence[ParsedTx] = ()


def subsidy_sats(height: int) -> int:
    """Return what regtest pays for a block: 50 BTC, halved every 150 blocks."""
    return INITIAL_SUBSIDY_SATS >> (height // HALVING_BLOCKS)


def build_block(plan: BlockPlan) -> bytes:
    """Return the raw block with a nonce that meets regtest's target; about two tries."""
    coinbase = build_coinbase(plan)
    root = bitcoin_merkle_root([coinbase.txid, *(entry.txid for entry in plan.transactions)])
    header = BlockHeader(BLOCK_VERSION, plan.previous, root, plan.time, REGTEST_BITS, 0)
    parts = [
        solve(header).encode(),
        encode_compact_size(1 + len(plan.transactions)),
        coinbase.raw,
        *(bytes(entry.raw) for entry in plan.transactions),
    ]
    return b"".join(parts)


def build_coinbase(plan: BlockPlan) -> Transaction:
    """Return the coinbase: height first (BIP 34), reward to the script, the witness commitment last."""
    script_sig = push_number(plan.height) + push(plan.extra_nonce.to_bytes(8, "little")) + bytes([OP_0])
    entry = TxIn(_NULL_PREVOUT, SEQUENCE_FINAL, script_sig, (_WITNESS_NONCE,))
    reward = TxOut(subsidy_sats(plan.height) + plan.fees_sats, plan.script)
    return Transaction((entry,), (reward, TxOut(0, witness_commitment(plan.transactions))))


def witness_commitment(transactions: Sequence[ParsedTx]) -> bytes:
    """Return the output that commits to all witnesses (BIP 141); the coinbase's own id counts as zeros."""
    root = bitcoin_merkle_root([bytes(32), *(entry.wtxid for entry in transactions)])
    return bytes([OP_RETURN]) + push(_COMMITMENT_MARK + sha256d(root + _WITNESS_NONCE))


def solve(header: BlockHeader) -> BlockHeader:
    """Return the header with the first nonce that meets its target."""
    for nonce in range(_MAX_NONCE + 1):
        candidate = replace(header, nonce=nonce)
        if candidate.meets_target:
            return candidate
    raise InvariantViolation("mining.no_nonce", "no nonce meets the target", bits=header.bits)
