"""Read from one Bitcoin block what the consensus machines are fed: envelopes, fees, times. Pure."""

from dataclasses import dataclass
from typing import Final

from primitives.bitcoin.envelope import ScanResult, scan_block
from primitives.bitcoin.header import HEADER_BYTES, BlockHeader
from primitives.bitcoin.parser import ParsedBlock, check_commitments, parse_block
from primitives.errors import InvalidInput
from primitives.ids import Hash32

FEE_SPAN: Final = 16
"""Origins whose fee rates are averaged: under three hours of Bitcoin."""
_FIRST_SUBSIDY_SATS: Final = 50 * 100_000_000
_LAST_HALVING: Final = 64


@dataclass(frozen=True, slots=True)
class L1BlockInput:
    """A Bitcoin block as a driver fetched it: header 80 bytes, raw block with witnesses."""

    height: int
    header: bytes
    raw: bytes


@dataclass(frozen=True, slots=True)
class ScannedBlock:
    """What one block alone says; `fee_rate` in sats per 1,000 weight units."""

    height: int
    header: BlockHeader
    fee_rate: int
    scan: ScanResult


def scan_l1_block(block: L1BlockInput, identity: Hash32, halving_interval: int) -> ScannedBlock:
    """Scan a block whose header commits to all that is read of it.

    Raises InvalidInput `bitcoin_*`, `merkle.mutated`, `l1.header_mismatch`: the source gave a wrong block
    and should be asked again.
    """
    if block.raw[:HEADER_BYTES] != block.header:
        raise InvalidInput("l1.header_mismatch", "the block has another header", height=block.height)
    parsed = parse_block(block.raw)
    check_commitments(parsed)
    fee_rate = measure_fee_rate(parsed, block.height, halving_interval)
    return ScannedBlock(block.height, parsed.header, fee_rate, scan_block(block.raw, identity))


def measure_fee_rate(block: ParsedBlock, height: int, halving_interval: int) -> int:
    """Return what the block's transactions paid, in sats per 1,000 weight units.

    Fees are what the coinbase takes beyond the subsidy. A miner may take less: then the rate is 0.
    """
    taken = sum(output.value for output in block.transactions[0].outputs)
    fees = max(taken - subsidy_sats(height, halving_interval), 0)
    return fees * 1_000 // block.weight


def subsidy_sats(height: int, halving_interval: int) -> int:
    """Return what a block creates, in sats."""
    halvings = height // halving_interval
    return _FIRST_SUBSIDY_SATS >> halvings if halvings < _LAST_HALVING else 0
