"""Scratch: the part of a development chain that is this node's own, and how it comes and goes.

What a cheat makes cannot be rebuilt from Bitcoin. So the first one marks the head, block S: above it nothing is posted,
signed or told to others, no Bitcoin block is worked through, and blocks hold what their owner wants. Leaving goes back
to S, and the chain goes on from there as if nothing had been. The mark is a row of its own, so a restart changes
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from bitai.admission import JOURNAL_PREFIX
from primitives.errors import InvariantViolation, Rejected
from primitives.hashes import keccak256
from primitives.ids import Address, Hash32
from rollup.sequencer.driver import Proposal
from vm._core import next_base_fee
from vm.environment import EnvironmentWish
from vm.schema import BlockId
from vm.store import WriteBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vm._core import AccountOverride
    from vm.executor import Executor
    from vm.store import KeyValueStore

log = structlog.get_logger(__name__)

SCRATCH_KEY: Final = b"Dx"
VERSION: Final = 1
MAX_IMPERSONATED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Scratch:
    """The last block that others share, and what its owner has settled for those above. Times in seconds."""

    base: BlockId
    offset_s: int = 0
    """How far this chain's clock runs ahead of the machine's."""
    step_s: int | None = None
    """Time from block to block, None for the clock's."""
    coinbase: Address | None = None
    gas_limit: int | None = None
    impersonated: frozenset[Address] = frozenset()
    impersonates_all: bool = False
    holds_back: bool = False
    """No block is made unless it is asked for."""

    def encode(self) -> bytes:
        """Return the row's value."""
        return orjson.dumps(
            {
                "version": VERSION,
                "number": self.base.number,
                "hash": self.base.hash.hex(),
                "offset": self.offset_s,
                "step": self.step_s,
                "coinbase": None if self.coinbase is None else self.coinbase.hex(),
                "gasLimit": self.gas_limit,
                "impersonated": sorted(each.hex() for each in self.impersonated),
                "impersonatesAll": self.impersonates_all,
                "holdsBack": self.holds_back,
            }
        )

    @classmethod
    def decode(cls, value: bytes) -> Scratch:
        """Read the row; raises InvariantViolation `store.corrupt`."""
        row: dict[str, Any] = orjson.loads(value)
        if row["version"] != VERSION:
            raise InvariantViolation("store.corrupt", "the row of the scratch chain is of another version")
        coinbase = row["coinbase"]
        return cls(
            BlockId(row["number"], Hash32(bytes.fromhex(row["hash"]))),
            row["offset"],
            row["step"],
            None if coinbase is None else Address(bytes.fromhex(coinbase)),
            row["gasLimit"],
            frozenset(Address(bytes.fromhex(each)) for each in row["impersonated"]),
            row["impersonatesAll"],
            row["holdsBack"],
        )


@dataclass(frozen=True, slots=True)
class NextBlock:
    """What is wanted of the next block alone; None leaves it to the rules and the clock."""

    timestamp: int | None = None
    base_fee: int | None = None
    prev_randao: Hash32 | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A point to come back to."""

    block: BlockId
    edits: int
    scratch: Scratch


@dataclass(slots=True)
class ScratchChain:
    """The scratch part of one chain; every method that changes it belongs to the chain's thread."""

    executor: Executor
    store: KeyValueStore
    now: Scratch | None = None
    """None while the chain is shared."""
    next_block: NextBlock = field(default_factory=NextBlock)
    _wall_s: int = 0

    def __post_init__(self) -> None:
        """Find what the last run left."""
        value = self.store.get(SCRATCH_KEY)
        if value is not None:
            self.now = Scratch.decode(value)
            self.executor.admits_impersonated = True
            log.warning(
                "scratch: blocks above this one are this node's own, Bitcoin is not followed",
                block=self.now.base.number,
                fix="bitai-node dev reset",
            )

    @property
    def require(self) -> Scratch:
        """The present scratch; `Rejected` "dev.not_scratch" outside."""
        if self.now is None:
            raise Rejected("dev.not_scratch", "nothing has been changed that only this node knows")
        return self.now

    def enter(self, now_s: int) -> None:
        """Begin at the head, if the chain is shared until now; its clock is never behind the head's time.

        Blocks made faster than the machine's clock have run ahead of it.
        """
        if self.now is None:
            head = self.executor.head
            self.settle(Scratch(BlockId(head.number, head.hash), max(0, head.timestamp - now_s)))
            self.executor.admits_impersonated = True
            log.info("scratch begins", block=head.number)

    def settle(self, scratch: Scratch) -> None:
        """Put what the owner settled on the disk."""
        self.store.write(WriteBatch([(SCRATCH_KEY, scratch.encode())]), sync=True)
        self.now = scratch

    def leave(self) -> list[BlockId]:
        """Go back to the block that others share; return the blocks that went, highest first."""
        base = self.require.base
        gone = self._back(base, 0, WriteBatch([(SCRATCH_KEY, None)]))
        self.now, self.next_block = None, NextBlock()
        self.executor.admits_impersonated = False
        log.info("scratch ends", block=base.number, removed=len(gone))
        return gone

    def edit(self, accounts: Sequence[AccountOverride]) -> None:
        """Change the state at the head. Errors: those of `Executor.edit`."""
        _ = self.require
        self.executor.edit(accounts)

    def mark(self) -> Mark:
        """Return where the chain stands."""
        head = self.executor.head
        return Mark(BlockId(head.number, head.hash), self.executor.edits(), self.require)

    def stands(self, mark: Mark) -> bool:
        """Tell whether one can go back to a mark: its block is there, and no later edit was lost below it."""
        found = self.executor.chain.block_hash(mark.block.number) == mark.block.hash
        return found and self.now is not None and mark.block.number >= self.now.base.number

    def revert(self, mark: Mark) -> list[BlockId]:
        """Go back to a mark, settings and clock included; return the blocks that went, highest first."""
        gone = self._back(mark.block, mark.edits, WriteBatch([(SCRATCH_KEY, mark.scratch.encode())]))
        self.now, self.next_block = mark.scratch, NextBlock()
        return gone

    def rollback(self, depth: int) -> list[BlockId]:
        """Take the last blocks back; `Rejected` "dev.too_deep" below the one that others share."""
        head, base = self.executor.head, self.require.base
        if depth > head.number - base.number:
            raise Rejected(
                "dev.too_deep",
                f"Rollback depth must not exceed the blocks above the shared one: {head.number - base.number} of them",
                fix="bitai-node dev reorg",
            )
        number = head.number - depth
        block_hash = self.executor.chain.block_hash(number)
        if block_hash is None:
            raise InvariantViolation("store.corrupt", "a block of the chain is missing", number=number)
        return self._back(BlockId(number, block_hash), None, WriteBatch())

    def _back(self, to: BlockId, keep_edits: int | None, batch: WriteBatch) -> list[BlockId]:
        chain, gone = self.executor.chain, []
        for number in range(self.executor.head.number, to.number, -1):
            block_hash = chain.block_hash(number)
            if block_hash is None:
                raise InvariantViolation("store.corrupt", "a block of the chain is missing", number=number)
            gone.append(BlockId(number, block_hash))
        self.executor.rewind(to.number, batch, keep_edits=keep_edits)
        return gone

    # -- blocks --------------------------------------------------------------------------------

    def propose(self, now_s: int) -> Proposal:
        """Return what the next block is opened with: the head's origin, and the owner's clock."""
        scratch, head = self.require, self.executor.head
        self._wall_s = now_s
        wish, timestamp = self.next_block, now_s + scratch.offset_s
        if scratch.step_s is not None:
            timestamp = head.timestamp + scratch.step_s
        if wish.timestamp is not None:
            timestamp = wish.timestamp
        base_fee = next_base_fee(head.base_fee, head.ordinary_gas_used, head.gas_limit)
        return Proposal(
            timestamp=max(timestamp, head.timestamp + 1),
            origin=head.origin,
            system_transactions=(),
            new_epoch=False,
            empty_only=False,
            base_fee_wei=base_fee if wish.base_fee is None else wish.base_fee,
            gas_limit=scratch.gas_limit or self.executor.spec.gas_limit,
            parent=head.hash,
            behind=0,
        )

    def admits(self, proposal: Proposal) -> bool:
        """Tell whether a block is opened as its owner wants it now: one may have been proposed before that was said."""
        return self.now is None or proposal == self.propose(self._wall_s)

    def wish(self) -> EnvironmentWish | None:
        """Return what the owner wants of the next block's environment, None while the chain is shared."""
        if self.now is None:
            return None
        wanted = self.next_block
        return EnvironmentWish(
            coinbase=self.now.coinbase,
            gas_limit=self.now.gas_limit,
            base_fee=wanted.base_fee,
            prev_randao=wanted.prev_randao,
        )

    def made(self) -> None:
        """Forget what was wanted of one block; the clock goes on from the time that it was given."""
        wanted, self.next_block = self.next_block, NextBlock()
        if self.now is not None and wanted.timestamp is not None:
            self.settle(replace(self.now, offset_s=wanted.timestamp - self._wall_s))


def forget_journal(raws: Sequence[bytes]) -> WriteBatch:
    """Take waiting transactions out of the journal."""
    return WriteBatch([(JOURNAL_PREFIX + keccak256(raw), None) for raw in raws])
