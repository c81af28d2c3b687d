"""A whole block of plain Ethereum: system calls, transactions, rewards, withdrawals, requests, in this order."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from bitai.evm.forks import GAS_PER_BLOB, BlobSchedule, Fork
from bitai.evm.refusals import Refusal, Refused
from bitai.evm.transactions import LEGACY, Fields
from bitai.evm.world import Block, BlockFields, BlockHash, Trace, World, summary_line
from primitives import rlp
from vm import _core

BEACON_ROOTS: Final = _core.BEACON_ROOTS_ADDRESS
HISTORY: Final = _core.HISTORY_ADDRESS
_DEPOSITS: Final = bytes.fromhex("00000000219ab540356cbb839cbe05303d7705fa")
_DEPOSIT_TOPIC: Final = bytes.fromhex("649bbc62d0e31342afea4e5cd82d4049e7e1ee912fc0889aa790803be39038c5")
_WITHDRAWAL_REQUESTS: Final = bytes.fromhex("00000961ef480eb55e80d19ad83579a64c007002")
_CONSOLIDATION_REQUESTS: Final = bytes.fromhex("0000bbddc7ce488642fb579f8b00f3a590007251")
# Where the five parts of a deposit's log stand, and how long each is (EIP-6110).
_DEPOSIT_PARTS: Final = ((160, 48), (256, 32), (320, 8), (384, 96), (512, 8))
_DEPOSIT_LOG_BYTES: Final = 576
_GWEI: Final = 10**9
_ETHER: Final = 10**18
_BLOB_BASE_COST: Final = 1 << 13
"""Gas whose price blob gas follows at least (EIP-7918)."""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Coin from the beacon chain (EIP-4895)."""

    index: int
    validator: int
    address: bytes
    amount_gwei: int

    def encoded(self) -> bytes:
        """Return the encoding that the withdrawals root commits to."""
        numbers = [rlp.encode_int(part) for part in (self.index, self.validator, self.amount_gwei)]
        return rlp.encode([numbers[0], numbers[1], self.address, numbers[2]])


@dataclass(frozen=True, slots=True)
class Signed:
    """A transaction of a block with its sender and its bytes."""

    fields: Fields
    sender: bytes
    raw: bytes


@dataclass(frozen=True, slots=True)
class Ommer:
    """A block beside the chain that this block rewards; `delta` is its distance."""

    delta: int
    coinbase: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockInput:
    """What a block consists of, besides its environment."""

    transactions: Sequence[Signed | Refusal] = ()
    """Refusals are transactions that did not even decode."""
    withdrawals: Sequence[Withdrawal] = ()
    ommers: Sequence[Ommer] = ()
    parent_hash: bytes | None = None
    beacon_root: bytes | None = None
    reward_wei: int | None = None
    """For the coinbase; None: what the fork gives."""
    only_transactions: bool = False
    """No system calls, rewards, withdrawals or requests: a state test."""


@dataclass(slots=True)
class BlockOutput:
    """What came of a block."""

    block: Block
    sealed: _core.SealedBlock
    included: list[int]
    rejected: list[tuple[int, Refusal]]
    requests: list[bytes]
    blob_gas_used: int
    exception: str = ""
    """Why the block is none, by the names of official tests."""


@dataclass(slots=True)
class _Progress:
    included: list[int] = field(default_factory=list)
    rejected: list[tuple[int, Refusal]] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    exception: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """What stays the same from block to block."""

    fork: Fork
    chain_id: int
    block_hash: BlockHash


class TraceTo:
    """Decide where the steps of each transaction go; this one wants none."""

    def open(self, index: int, signed: Signed) -> Trace | None:
        """Return what is handed the lines of a transaction, or None."""
        del index, signed
        return None


def process(
    world: World, chain: Chain, fields: BlockFields, content: BlockInput, *, traces: TraceTo | None = None
) -> BlockOutput:
    """Run a block on a world, which stays as it is until the block is committed; faults are told in the output."""
    block = Block(world, chain.fork, fields, chain_id=chain.chain_id, block_hash=chain.block_hash)
    progress = _Progress()
    if not content.only_transactions:
        _open(block, chain.fork, content)
    transactions = [_in_fork(signed, chain.fork) for signed in content.transactions]
    _run_all(block, transactions, progress, traces or TraceTo())
    if not content.only_transactions:
        _close(block, chain.fork, fields, content)
        if chain.fork.since("Prague"):
            _collect_requests(block, progress)
    sealed = block.seal()
    return BlockOutput(
        block,
        sealed,
        progress.included,
        progress.rejected,
        progress.requests,
        block.blob_gas_used,
        progress.exception,
    )


def requests_hash(requests: Sequence[bytes]) -> bytes:
    """Return the commitment to requests, each with its type byte (EIP-7685)."""
    return sha256(b"".join(sha256(request).digest() for request in requests)).digest()


def next_base_fee(parent_gas_limit: int, parent_gas_used: int, parent_base_fee: int) -> int:
    """Return the base fee that follows from the parent block (EIP-1559)."""
    target = parent_gas_limit // 2
    if target in {parent_gas_used, 0}:
        return parent_base_fee
    step = parent_base_fee * abs(parent_gas_used - target) // target // 8
    return parent_base_fee + max(step, 1) if parent_gas_used > target else parent_base_fee - step


def next_excess_blob_gas(fork: Fork, parent_excess: int, parent_used: int, parent_base_fee: int) -> int:
    """Return the excess blob gas that follows from the parent block (EIP-4844, EIP-7918)."""
    blobs = fork.blobs or BlobSchedule(0, 0, 1)
    total, target = parent_excess + parent_used, blobs.target * GAS_PER_BLOB
    if total < target:
        return 0
    is_cheap = _BLOB_BASE_COST * parent_base_fee > GAS_PER_BLOB * blobs.base_fee(parent_excess)
    if fork.since("Osaka") and is_cheap:
        return parent_excess + parent_used * (blobs.most - blobs.target) // blobs.most
    return total - target


def block_reward(fork: Fork) -> int:
    """Return what the coinbase earned for a block before Paris, in wei."""
    if fork.since("Paris"):
        return 0
    if fork.since("Petersburg"):
        return 2 * _ETHER
    return (3 if fork.since("Byzantium") else 5) * _ETHER


def _open(block: Block, fork: Fork, content: BlockInput) -> None:
    if fork.since("Prague") and content.parent_hash is not None:
        block.executor.system_call(HISTORY, content.parent_hash)
    if fork.since("Cancun") and content.beacon_root is not None:
        block.executor.system_call(BEACON_ROOTS, content.beacon_root)


def _in_fork(signed: Signed | Refusal, fork: Fork) -> Signed | Refusal:
    """Refuse a legacy signature that names a chain where EIP-155 does not hold yet."""
    if isinstance(signed, Refusal) or signed.fields.type != LEGACY or fork.since("SpuriousDragon"):
        return signed
    if signed.fields.chain_id is None:
        return signed
    return Refusal("tx.bad_signature", "no signature named a chain before EIP-155")


def _run_all(
    block: Block, transactions: Sequence[Signed | Refusal], progress: _Progress, traces: TraceTo
) -> None:
    for index, signed in enumerate(transactions):
        if isinstance(signed, Refusal):
            progress.rejected.append((index, signed))
            continue
        trace = traces.open(index, signed)
        result = block.run(signed.fields, signed.sender, signed.raw, trace=trace)
        if isinstance(result, Refusal):
            progress.rejected.append((index, result))
            continue
        progress.included.append(index)
        if trace is not None:
            trace(summary_line(result))


def _close(block: Block, fork: Fork, fields: BlockFields, content: BlockInput) -> None:
    reward = block_reward(fork) if content.reward_wei is None else content.reward_wei
    if not fork.since("Paris") and reward >= 0:
        amounts = [(fields.coinbase, reward + len(content.ommers) * (reward // 32))]
        amounts += [(ommer.coinbase, (8 - ommer.delta) * reward // 8) for ommer in content.ommers]
        block.executor.credit(amounts)
    if fork.since("Shanghai"):
        withdrawals = content.withdrawals
        block.executor.credit([(one.address, one.amount_gwei * _GWEI) for one in withdrawals])


def _collect_requests(block: Block, progress: _Progress) -> None:
    try:
        deposits = b"".join(_deposit(log.data) for log in block.logs() if _is_deposit(log))
    except Refused:
        progress.exception = "BlockException.INVALID_DEPOSIT_EVENT_LAYOUT"
        return
    if deposits:
        progress.requests.append(b"\0" + deposits)
    for kind, contract in ((b"\1", _WITHDRAWAL_REQUESTS), (b"\2", _CONSOLIDATION_REQUESTS)):
        has_code, success, output = block.executor.system_call(contract, b"")
        if not success:
            reason = "SYSTEM_CONTRACT_CALL_FAILED" if has_code else "SYSTEM_CONTRACT_EMPTY"
            progress.exception = f"BlockException.{reason}"
            return
        if output:
            progress.requests.append(kind + output)


def _is_deposit(log: _core.Log) -> bool:
    return log.address == _DEPOSITS and log.topics[:1] == [_DEPOSIT_TOPIC]


def _deposit(data: bytes) -> bytes:
    """Return the request that a deposit's log makes; its layout is fixed (EIP-6110)."""
    parts = []
    is_right = len(data) == _DEPOSIT_LOG_BYTES
    for at, (offset, length) in enumerate(_DEPOSIT_PARTS):
        is_right = is_right and int.from_bytes(data[32 * at : 32 * at + 32], "big") == offset
        is_right = is_right and int.from_bytes(data[offset : offset + 32], "big") == length
        parts.append(data[offset + 32 : offset + 32 + length])
    if not is_right:
        raise Refused("evm.deposit_layout", "a deposit's log has another layout")
    return b"".join(parts)
