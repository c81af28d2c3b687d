"""The chain for the event loop: every step on the chain thread, every change told to whoever listens."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar, cast

import structlog

from bitai.chain import ChainDriver, ChainUpdate
from bitai.l1_scan import L1BlockInput
from primitives.errors import Rejected, Temporary

if TYPE_CHECKING:
    from bitai.chain_thread import ChainThread
    from bitai.metrics import Metrics
    from l1.ports import ChainPoint
    from primitives.ids import Address
    from rollup.follower.l1_follower import Connected, Disconnected
    from rollup.follower.signed_block import SignedBlock
    from rollup.sequencer.driver import MadeBlock, Proposal
    from rollup.sequencer.lane import PooledTransaction
    from rollup.sequencer.pool import NonceSource
    from vm._core import Transaction
    from vm.executor import Executor
    from vm.schema import BlockId
    from vm.types import InferenceRecord, Outcome

log = structlog.get_logger(__name__)

HEAD_TRIES: Final = 8
"""A head that is rewound while it is read is read again this often."""

T = TypeVar("T")

Listener = Callable[[ChainUpdate], Awaitable[None]]


class _HeadNonces:
    """Nonces in the head's state, whatever the head is by then."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def next_nonce(self, sender: Address) -> int:
        """See `NonceSource.next_nonce`; raises Temporary `chain.head_moves`."""
        for _ in range(HEAD_TRIES):
            try:
                return self._executor.view(self._executor.head.number).nonce(sender)
            except Rejected:  # rewound at this very moment
                continue
        raise Temporary("chain.head_moves", "the head moves too fast to read it")


class ChainService:
    """One node's chain; its methods belong to the event loop."""

    def __init__(self, driver: ChainDriver, thread: ChainThread, metrics: Metrics) -> None:
        """Run a driver on its thread."""
        self.driver = driver
        self._thread = thread
        self._metrics = metrics
        self._listeners: list[Listener] = []
        self._bitcoin_turn = asyncio.Lock()
        self._following = asyncio.Event()
        """Bitcoin is followed: the chain is no development node's scratch."""
        if driver.scratch.now is None:
            self._following.set()
        self._resume_height = 0
        self._left = 0
        """Bitcoin blocks taken back since the last that came."""

    def listen(self, listener: Listener) -> None:
        """Call `listener` after every step that changed something, in the order of the steps."""
        self._listeners.append(listener)

    async def connected(self, event: Connected) -> None:
        """Work through a Bitcoin block; on a development node, once its scratch is left."""
        block = L1BlockInput(event.height, event.header.encode(), event.raw)
        async with self._turn_of_bitcoin():
            update = await self._thread.run(self.driver.connect, block)
            for code in update.dropped:
                self._metrics.count("derivation_dropped_total", code=code)
            if self._left:
                self._metrics.observe("l1_reorg_depth", self._left)
                self._left = 0
            await self._publish(update)

    async def disconnected(self, event: Disconnected, point: ChainPoint) -> None:
        """Take back a Bitcoin block; on a development node, once its scratch is left."""
        log.info("bitcoin reorg", height=event.height, left=event.hash[::-1].hex())
        async with self._turn_of_bitcoin():
            self._left += 1
            await self._publish(await self._thread.run(self.driver.disconnect, point))

    @asynccontextmanager
    async def _turn_of_bitcoin(self) -> AsyncIterator[None]:
        while True:
            await self._following.wait()
            async with self._bitcoin_turn:
                if self._following.is_set():  # else a scratch began meanwhile
                    yield
                    return

    @property
    def following(self) -> bool:
        """Whether Bitcoin is followed."""
        return self._following.is_set()

    async def enter_scratch(self) -> None:
        """Make what follows this development node's own; see `bitai.dev.scratch`."""
        async with self._bitcoin_turn:
            self._following.clear()
            try:
                await self._thread.run(self.driver.scratch.enter, int(time.time()))
            finally:
                if self.driver.scratch.now is None:
                    self._following.set()

    async def leave_scratch(self, bitcoin_height: int) -> None:
        """Go back to what others share, and follow Bitcoin again; no block is made before this height is reached.

        One made before could contradict what Bitcoin has been holding for long.
        """
        async with self._bitcoin_turn:
            self._resume_height = bitcoin_height
            gone = await self._thread.run(self.driver.scratch.leave)
            await self._publish(ChainUpdate(removed=tuple(gone)))
            self._following.set()

    async def scratch_step(self, step: Callable[[], list[BlockId]]) -> None:
        """Run a step of the scratch chain that returns the blocks it took back, and tell of them."""
        await self._publish(ChainUpdate(removed=tuple(await self._thread.run(step))))

    async def on_thread(self, question: Callable[[], T]) -> T:
        """Run a question to the chain, or a change that moves no head, on its thread."""
        return await self._thread.run(question)

    async def apply_signed(self, block: SignedBlock) -> None:
        """Take an unsafe block from the sequencer. Errors: those of `ChainDriver.apply_signed`."""
        await self._publish(await self._thread.run(self.driver.apply_signed, block))

    async def propose(self) -> Proposal | None:
        """See `rollup.sequencer.driver.ChainPort.propose`."""
        if self.following and self.driver.cursor.height < self._resume_height:
            return None
        return await self._thread.run(self.driver.propose, int(time.time()))

    def nonces(self) -> NonceSource:
        """See `ChainPort.nonces`."""
        return _HeadNonces(self.driver.executor)

    async def make(
        self,
        proposal: Proposal,
        transactions: Sequence[PooledTransaction],
        records: Sequence[InferenceRecord],
        *,
        keep_empty: bool,
    ) -> MadeBlock | None:
        """See `ChainPort.make`."""
        started = time.perf_counter()
        decoded = cast("Sequence[Transaction]", transactions)  # the pool holds what the core decoded
        made = await self._thread.run(self.driver.make, proposal, decoded, records, keep_empty=keep_empty)
        if made is None:
            return None
        block, update = made
        self._metrics.observe("l2_block_build_seconds", time.perf_counter() - started)
        for kind, count in Counter(outcome.kind for outcome in block.outcomes).items():
            self._metrics.count("l2_transactions_total", count, outcome=kind)
        await self._publish(update)
        return block

    async def rehearse(
        self,
        proposal: Proposal,
        transactions: Sequence[PooledTransaction],
        records: Sequence[InferenceRecord],
    ) -> tuple[Outcome, ...] | None:
        """See `ChainPort.rehearse`."""
        decoded = cast("Sequence[Transaction]", transactions)  # as in `make`
        return await self._thread.run(self.driver.rehearse, proposal, decoded, records)

    async def _publish(self, update: ChainUpdate) -> None:
        if not (update.added or update.removed or update.epoch):
            return
        self._metrics.set("l2_height", self.driver.executor.head.number, head="unsafe")
        self._metrics.set("l2_height", self.driver.safe, head="safe")
        self._metrics.set("l2_height", self.driver.finalized, head="finalized")
        for listener in self._listeners:
            await listener(update)
