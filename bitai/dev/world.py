"""What the owner of a development node may do to its chain: time, mining, state, snapshots, other people's names.

Everything belongs to the event loop. What a shared chain could not hold begins a scratch first (`bitai.dev.scratch`);
plain mining within the rules does not.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import structlog

from bitai.dev.dump import dump_accounts
from bitai.dev.scratch import MAX_IMPERSONATED, NextBlock, Scratch, forget_journal
from primitives.errors import Rejected, Temporary
from rollup.derivation.judge import latest_full_time
from vm.inference.wire import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bitai.admission import Admission
    from bitai.chain import ChainUpdate
    from bitai.chain_service import ChainService
    from bitai.dev.answers import MockAnswers
    from bitai.dev.dump import DumpedAccount
    from bitai.dev.scratch import Mark, ScratchChain
    from bitai.status import DevControls
    from primitives.ids import Address, Hash32, ModelId
    from rollup.sequencer.driver import Sequencer
    from rollup.sequencer.pool import Pool
    from vm._core import AccountOverride
    from vm.executor import Executor
    from vm.store import KeyValueStore

log = structlog.get_logger(__name__)

MAX_MINED: Final = 10_000
"""Blocks of one call; each is a synced write."""
MAX_SNAPSHOTS: Final = 4_096
"""The oldest is forgotten beyond it."""
MAX_TIME_S: Final = 1 << 40
MINE_LIMIT_S: Final = 20.0
RESET_LIMIT_S: Final = 60.0
POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A point to come back to, and what waited then."""

    mark: Mark
    waiting: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class DevParts:
    """What the world is made of; `store` is the chain's, `bitcoin` None where a test has none."""

    chain: ChainService
    sequencer: Sequencer
    pool: Pool
    admission: Admission
    store: KeyValueStore
    answers: MockAnswers
    forget_answers: Callable[[], None]
    """Makes the dispatcher ask anew: what was made up must not outlive its scratch."""
    bitcoin: DevControls | None = None


class DevWorld:
    """One development node's chain in the hands of its owner."""

    def __init__(self, parts: DevParts) -> None:
        """Take up what the last run left."""
        self._parts = parts
        self._snapshots: dict[int, Snapshot] = {}
        self._next_snapshot = 0
        self._usual = (parts.sequencer.automine, parts.sequencer.interval_s)
        self._tells_blocks = False
        self._turn = asyncio.Lock()
        """One cheat at a time: each is several steps."""
        self._chose_mining = False
        if self.scratch is not None:
            parts.sequencer.set_mining(automine=not self.scratch.holds_back, interval_s=0)
        parts.chain.listen(self._tell)

    # -- where it stands -------------------------------------------------------------------------

    @property
    def scratch(self) -> Scratch | None:
        """The present scratch, None while the chain is shared."""
        return self._scratch_chain.now

    @property
    def _scratch_chain(self) -> ScratchChain:
        return self._parts.chain.driver.scratch

    @property
    def executor(self) -> Executor:
        """The machine."""
        return self._parts.chain.driver.executor

    @property
    def bitcoin(self) -> DevControls:
        """Bitcoin's controls; `Rejected` "dev.no_bitcoin" without any."""
        if self._parts.bitcoin is None:
            raise Rejected("dev.no_bitcoin", "this node has no Bitcoin of its own")
        return self._parts.bitcoin

    @property
    def answers(self) -> MockAnswers:
        """The answers that were made up for models."""
        return self._parts.answers

    @property
    def automine(self) -> bool:
        """Whether a block is made as soon as a transaction waits."""
        return self._parts.sequencer.automine

    @property
    def interval_s(self) -> float:
        """Seconds from block to block, 0 for none."""
        return self._parts.sequencer.interval_s

    def snapshots(self) -> dict[int, Mark]:
        """Return the points that one can come back to."""
        return {number: each.mark for number, each in self._snapshots.items()}

    async def begin(self) -> None:
        """Make what follows this node's own: from now on nothing moves but for a transaction or a word of its owner.

        A test that counts blocks must not find one more because time passed; who chose intervals keeps them.
        """
        if self.scratch is None:
            await self._parts.chain.enter_scratch()
            if not self._chose_mining:
                self._parts.sequencer.set_mining(automine=True, interval_s=0)

    # -- blocks ----------------------------------------------------------------------------------

    async def mine(self, count: int, *, interval_s: int | None = None, timestamp: int | None = None) -> None:
        """Make blocks now, empty ones too; with an interval that many seconds apart, with a time the first at it."""
        async with self._turn:
            if timestamp is not None or interval_s is not None or not self._fits(count):
                await self.begin()
            if timestamp is not None:
                self._want(timestamp=timestamp)
            for place in range(count):
                if place and interval_s is not None:
                    self._want(timestamp=self.executor.head.timestamp + max(interval_s, 1))
                await self._mine_one()

    def _fits(self, count: int) -> bool:
        """Tell whether so many blocks keep within the time that Bitcoin allows this chain."""
        driver = self._parts.chain.driver
        parameters, head = driver.config.parameters, self.executor.head
        return head.timestamp + count * parameters.block_time_s <= latest_full_time(parameters, head.origin)

    async def _mine_one(self) -> None:
        try:
            async with asyncio.timeout(MINE_LIMIT_S):
                while True:
                    made = await self._parts.sequencer.make_block()
                    if made is not None and made.number is not None:
                        return
                    await asyncio.sleep(
                        POLL_S
                    )  # another block came between, or Bitcoin is being caught up with
        except TimeoutError:
            raise Temporary(
                "dev.no_block", "no block could be made; the node works on Bitcoin's blocks"
            ) from None

    async def set_mining(self, *, automine: bool | None = None, interval_s: float | None = None) -> None:
        """Make blocks another way; holding all back begins a scratch, for a shared chain goes on with Bitcoin."""
        async with self._turn:
            self._chose_mining = True
            sequencer = self._parts.sequencer
            wanted = sequencer.automine if automine is None else automine
            every_s = sequencer.interval_s if interval_s is None else interval_s
            if automine and interval_s is None and not sequencer.automine:
                every_s = 0  # as anvil: one way takes the place of the other
            if interval_s:
                wanted = False
            holds_back = not wanted and not every_s
            if holds_back:
                await self.begin()
            if self.scratch is not None and self.scratch.holds_back != holds_back:
                await self._settle(replace(self.scratch, holds_back=holds_back))
            sequencer.set_mining(automine=wanted, interval_s=every_s)

    async def rollback(self, depth: int) -> None:
        """Take the last blocks back, and all that was in them."""
        async with self._turn:
            await self.begin()
            await self._parts.chain.scratch_step(lambda: self._scratch_chain.rollback(depth))
            self._drop_lost_snapshots()

    async def reorg(self, depth: int, blocks: Sequence[Sequence[bytes]]) -> None:
        """Put as many new blocks in the place of the last ones, with these signed transactions in each."""
        await self.rollback(depth)
        async with self._turn:
            sequencer, pool = self._parts.sequencer, self._parts.pool
            before, waiting = (sequencer.automine, sequencer.interval_s), pool.raws()
            sequencer.set_mining(automine=False, interval_s=0)
            try:
                self._clear_pool()
                for raws in blocks:
                    for raw in raws:
                        await self._parts.admission.submit(raw)
                    await self._mine_one()
            finally:
                self._parts.admission.readmit(waiting)
                sequencer.set_mining(automine=before[0], interval_s=before[1])

    # -- time ------------------------------------------------------------------------------------

    async def increase_time(self, seconds: int) -> int:
        """Set the chain's clock ahead; return how far ahead of the machine's it now is, in seconds."""
        async with self._turn:
            await self.begin()
            scratch = self._scratch_chain.require
            await self._settle(replace(scratch, offset_s=scratch.offset_s + seconds))
            return scratch.offset_s + seconds

    async def set_time(self, timestamp: int) -> int:
        """Set the chain's clock; return by how many seconds that moved it."""
        async with self._turn:
            await self.begin()
            scratch = self._scratch_chain.require
            offset_s = timestamp - int(time.time())
            await self._settle(replace(scratch, offset_s=offset_s))
            return max(0, offset_s - scratch.offset_s)

    async def set_next_time(self, timestamp: int) -> None:
        """Give the next block a time; the clock goes on from there."""
        async with self._turn:
            await self.begin()
            self._want(timestamp=timestamp)

    async def settle(self, change: Callable[[Scratch], Scratch]) -> None:
        """Settle something for all blocks to come."""
        async with self._turn:
            await self.begin()
            await self._settle(change(self._scratch_chain.require))

    async def want(self, *, base_fee: int | None = None, prev_randao: Hash32 | None = None) -> None:
        """Want something of the next block alone."""
        async with self._turn:
            await self.begin()
            self._want(base_fee=base_fee, prev_randao=prev_randao)

    def _want(
        self,
        *,
        timestamp: int | None = None,
        base_fee: int | None = None,
        prev_randao: Hash32 | None = None,
    ) -> None:
        head = self.executor.head
        if timestamp is not None and timestamp <= head.timestamp:
            raise Rejected(
                "dev.time_not_after",
                f"Timestamp error: {timestamp} is lower than or equal to previous block's timestamp",
            )
        held = self._scratch_chain.next_block
        self._scratch_chain.next_block = NextBlock(
            held.timestamp if timestamp is None else timestamp,
            held.base_fee if base_fee is None else base_fee,
            held.prev_randao if prev_randao is None else prev_randao,
        )

    async def _settle(self, scratch: Scratch) -> None:
        await self._parts.chain.on_thread(lambda: self._scratch_chain.settle(scratch))

    # -- state -----------------------------------------------------------------------------------

    async def edit(self, accounts: Sequence[AccountOverride]) -> None:
        """Change accounts at once, without a block. Errors: `Rejected` "edit.leaves_storage"."""
        async with self._turn:
            await self.begin()
            await self._parts.chain.on_thread(lambda: self._scratch_chain.edit(accounts))

    async def dump(self) -> dict[Address, DumpedAccount]:
        """Return every account. Errors: `Rejected` "dev.state_too_large"."""
        return await self._parts.chain.on_thread(lambda: dump_accounts(self._parts.store))

    # -- snapshots -------------------------------------------------------------------------------

    async def snapshot(self) -> int:
        """Remember where the chain stands; return the number to come back by."""
        async with self._turn:
            await self.begin()
            mark = await self._parts.chain.on_thread(self._scratch_chain.mark)
            number, self._next_snapshot = self._next_snapshot, self._next_snapshot + 1
            self._snapshots[number] = Snapshot(mark, tuple(self._parts.pool.raws()))
            while len(self._snapshots) > MAX_SNAPSHOTS:
                del self._snapshots[min(self._snapshots)]
            return number

    async def revert(self, number: int) -> bool:
        """Go back to a snapshot, which is gone then, as are those made after it; False if there is none."""
        async with self._turn:
            found = self._snapshots.get(number)
            if found is None or not self._scratch_chain.stands(found.mark):
                return False
            self._snapshots = {each: kept for each, kept in self._snapshots.items() if each < number}
            self._clear_pool()
            await self._parts.chain.scratch_step(lambda: self._scratch_chain.revert(found.mark))
            self._parts.admission.readmit(list(found.waiting))
            self._parts.sequencer.wake()
            return True

    def _drop_lost_snapshots(self) -> None:
        stands = self._scratch_chain.stands
        self._snapshots = {number: each for number, each in self._snapshots.items() if stands(each.mark)}

    async def reset(self) -> bool:
        """Go back to the chain that others share, and follow Bitcoin again; False if it was never left."""
        async with self._turn:
            if self.scratch is None:
                return False
            height = 0 if self._parts.bitcoin is None else await self._parts.bitcoin.height()
            waiting = self._clear_pool()
            await self._parts.chain.leave_scratch(height)
            await self._parts.chain.on_thread(
                lambda: self._parts.store.write(forget_journal(waiting), sync=True)
            )
            self._snapshots = {}
            self.answers.clear()
            self._parts.forget_answers()
            self._chose_mining = False
            self._parts.sequencer.set_mining(automine=self._usual[0], interval_s=self._usual[1])
            try:
                async with asyncio.timeout(RESET_LIMIT_S):
                    while self._parts.chain.driver.cursor.height < height:  # noqa: ASYNC110 -- another thread moves it
                        await asyncio.sleep(POLL_S)
            except TimeoutError:
                raise Temporary(
                    "dev.still_syncing", "back on the shared chain, still behind Bitcoin"
                ) from None
            return True

    # -- waiting transactions ----------------------------------------------------------------------

    def drop(self, transaction_hash: Hash32) -> bool:
        """Take a waiting transaction out; False if there is none."""
        if transaction_hash not in self._parts.pool:
            return False
        self._parts.pool.remove([transaction_hash])
        return True

    def drop_all(self) -> None:
        """Take every waiting transaction out."""
        self._clear_pool()

    def _clear_pool(self) -> list[bytes]:
        pool = self._parts.pool
        raws = pool.raws()
        pool.remove(pool.hashes())
        return raws

    # -- names -----------------------------------------------------------------------------------

    def impersonates(self, address: Address) -> bool:
        """Tell whether a transaction may be sent in this account's name."""
        scratch = self.scratch
        return scratch is not None and (scratch.impersonates_all or address in scratch.impersonated)

    async def impersonate(self, address: Address) -> None:
        """Take transactions in an account's name. Errors: `Rejected` "dev.too_many_names"."""
        async with self._turn:
            await self.begin()
            scratch = self._scratch_chain.require
            if len(scratch.impersonated) >= MAX_IMPERSONATED:
                raise Rejected("dev.too_many_names", f"{MAX_IMPERSONATED} accounts are impersonated already")
            await self._settle(replace(scratch, impersonated=scratch.impersonated | {address}))

    async def mock(self, model: ModelId, asked: bytes | None, output: bytes) -> None:
        """Answer a model's question, or every one that has no answer of its own, with this output from now on."""
        async with self._turn:
            await self.begin()
            self.answers.invent(model, asked, (Status.OK, output))
            self._parts.forget_answers()

    # -- log -------------------------------------------------------------------------------------

    def tell_blocks(self, *, wanted: bool) -> None:
        """Log each block that holds transactions, or stop to."""
        self._tells_blocks = wanted

    async def _tell(self, update: ChainUpdate) -> None:
        if self._tells_blocks and update.included:
            log.info(
                "transactions in blocks",
                blocks=list(update.added),
                transactions=["0x" + each.hex() for each in update.included],
            )
