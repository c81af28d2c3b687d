"""Make blocks on time: choose transactions, build, and sort what did not get in; rehearse what waits meanwhile.

The loop is collect (pool, clock, L1 facts), build and persist in one step of the chain, then tell: settle
what is in, park what asks a neuron, drop what can never run. It holds no state that a restart would miss.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

import structlog

from primitives.errors import Temporary
from primitives.ids import Address, Hash32

if TYPE_CHECKING:
    from rollup.sequencer.lane import PooledTransaction
    from rollup.sequencer.pool import NonceSource, Pool
    from vm._core import InferenceRequest
    from vm.types import InferenceRecord, L1Origin, Outcome, SystemTransaction

log = structlog.get_logger(__name__)

WAIT_CODES: Final = frozenset(
    {"tx.block_gas", "infer.block_mac_limit", "tx.nonce_too_high", "tx.fee_cap_below_base_fee"}
)
"""Outcomes that a later block may change; every other skip is for good."""
OFFERED_BLOCKS: Final = 3
"""Gas offered for one block, in blocks: most transactions declare more than they use, and one that finds no
room costs next to nothing."""
ON_DEMAND_PAUSE: Final = 2
"""On demand, after a block of transactions pass this many times what it took: the next one then holds what has come
meanwhile. Under load each block's fixed costs (a synced write above all) are shared by more transactions; alone, a
transaction never waits."""
LONGEST_PAUSE_S: Final = 0.1
FIRST_RETRY_S: Final = 0.5
LONGEST_RETRY_S: Final = 15.0
REHEARSAL_PAUSE_S: Final = 0.1
REHEARSAL_SHARE: Final = 4
"""Between rehearsals pass this many times what one took, so that they use a fifth of the time at most."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the next block is opened with; `empty_only` when time drifted too far ahead of Bitcoin's."""

    timestamp: int
    origin: L1Origin
    system_transactions: tuple[SystemTransaction, ...]
    new_epoch: bool
    empty_only: bool
    base_fee_wei: int
    gas_limit: int
    parent: Hash32
    """The head that the block follows; if it has moved, none is made."""
    behind: int
    """Bitcoin blocks known beyond the origin: the next blocks come at once until this is 0."""


@dataclass(frozen=True, slots=True)
class MadeBlock:
    """A block on disk, with one outcome for each transaction offered; `number` None: dropped, being empty."""

    number: int | None
    outcomes: tuple[Outcome, ...]


class ChainPort(Protocol):
    """The chain as the sequencer needs it."""

    async def propose(self) -> Proposal | None:
        """Return what the next block would be opened with now, or None if none may be made yet."""
        ...

    def nonces(self) -> NonceSource:
        """Return the head state's nonces."""
        ...

    async def make(
        self,
        proposal: Proposal,
        transactions: Sequence[PooledTransaction],
        records: Sequence[InferenceRecord],
        *,
        keep_empty: bool,
    ) -> MadeBlock | None:
        """Build, persist and announce a block; None if the head has moved since the proposal.

        What it includes leaves the pool with the announcement. Not here: a Bitcoin reorg may have taken the block
        back, and returned its transactions to the pool, before this returns.
        """
        ...

    async def rehearse(
        self,
        proposal: Proposal,
        transactions: Sequence[PooledTransaction],
        records: Sequence[InferenceRecord],
    ) -> tuple[Outcome, ...] | None:
        """Run transactions as `make` would and keep nothing; None if the head has moved since the proposal."""
        ...


class DispatchPort(Protocol):
    """The way to the neurons."""

    def ask(self, transaction: Hash32, sender: Address, request: InferenceRequest) -> None:
        """Have a parked transaction's question answered."""
        ...

    def has_changed(self, transaction: Hash32, request: InferenceRequest) -> bool:
        """Tell whether a transaction has asked something else in this place before."""
        ...

    def records(self, transaction: Hash32, index: int) -> list[InferenceRecord]:
        """Return the answers a transaction may use, as records of the block's transaction `index`."""
        ...

    def settled(self, transaction: Hash32) -> None:
        """Take note that a transaction is in a block or out of the pool."""
        ...


class Sequencer:
    """One sequencer's loop."""

    def __init__(
        self,
        chain: ChainPort,
        pool: Pool,
        dispatch: DispatchPort,
        *,
        mode: Literal["interval", "on-demand"],
        block_time_s: int,
    ) -> None:
        """Sequence for one chain; `on-demand`: a block as soon as something waits, or the origin moves."""
        self._chain = chain
        self._pool = pool
        self._dispatch = dispatch
        self._automine = mode == "on-demand"
        self._interval_s: float = 0 if self._automine else block_time_s
        self._wanted = asyncio.Event()
        self._turn = 0.0
        """When the next block is due, by the loop's clock."""
        self._mode_changed = asyncio.Event()

    @property
    def automine(self) -> bool:
        """Whether a block is made as soon as something waits."""
        return self._automine

    @property
    def interval_s(self) -> float:
        """Seconds from block to block, 0 where none is made for the sake of time."""
        return self._interval_s

    def set_mining(self, *, automine: bool | None = None, interval_s: float | None = None) -> None:
        """Make blocks another way from now on: as soon as something waits, at intervals, both, or only when asked."""
        self._automine = self._automine if automine is None else automine
        self._interval_s = self._interval_s if interval_s is None else interval_s
        self._mode_changed.set()
        self._wanted.set()

    def wake(self) -> None:
        """Say that something may have changed: a transaction, an answer, a Bitcoin block."""
        self._wanted.set()

    async def run(self) -> None:
        """Make blocks for as long as the node runs; wait out a full disk or a moved state."""
        retry_s = FIRST_RETRY_S
        while True:
            try:
                self._mode_changed.clear()
                await self._take_turn()
                retry_s = FIRST_RETRY_S
            except Temporary as error:
                log.warning("no block made", code=error.code, reason=error.message, retry_s=retry_s)
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, LONGEST_RETRY_S)
                self._wanted.set()

    async def _take_turn(self) -> None:
        """Make what the present way of making blocks asks for next."""
        if self._automine and self._interval_s:
            await self._on_demand_or_interval()
        elif self._automine:
            await self._on_demand()
        elif self._interval_s:
            await self._at_intervals()
        else:
            await self._mode_changed.wait()

    async def _on_demand_or_interval(self) -> None:
        try:
            async with asyncio.timeout(self._interval_s):
                await self._wanted.wait()
        except TimeoutError:
            await self.make_block()
            return
        await self._on_demand()

    async def _on_demand(self) -> None:
        await self._wanted.wait()
        self._wanted.clear()
        while await self._advance():
            pass

    async def _at_intervals(self) -> None:
        """Make one block and wait for the next one's turn, which the making of this one does not delay.

        Turns follow each other by the clock, not by when the one before was taken: a few milliseconds late each time
        would be a block too few after some minutes.
        """
        clock = asyncio.get_running_loop()
        late_s = clock.time() - self._turn
        due = clock.time() + self._interval_s - (late_s if 0 <= late_s < self._interval_s else 0)
        self._turn = due
        proposal = await self._chain.propose()
        if proposal is None:
            await self._pause(max(0.0, due - clock.time()))
            return
        made = await self._make(proposal, self._choose(proposal), keep_empty=True)
        if made is None or not proposal.behind:
            await self._rehearse_until(due)

    async def _rehearse_until(self, due: float) -> None:
        """Wait for the next block's turn; meanwhile try out what arrives.

        A question that a transaction will ask is found, and asked, before the block: the answer is there when
        its turn comes, instead of one block later. Nothing else follows from a rehearsal: what fails in it may
        be well in the block.
        """
        clock = asyncio.get_running_loop()
        took_s = clock.time() - (due - self._interval_s)  # the block that was just made: one more like it
        while (left_s := due - clock.time()) > 2 * took_s:  # one begun too late would delay the block
            try:
                async with asyncio.timeout(left_s):
                    await self._wanted.wait()
            except TimeoutError:
                return
            if self._mode_changed.is_set():
                return
            self._wanted.clear()
            started = clock.time()
            await self._rehearse()
            took_s = clock.time() - started
            await asyncio.sleep(min(max(REHEARSAL_PAUSE_S, REHEARSAL_SHARE * took_s), due - clock.time()))
        await self._pause(due - clock.time())

    async def _pause(self, seconds: float) -> None:
        """Wait, unless blocks are to be made another way from now on."""
        try:
            async with asyncio.timeout(seconds):
                await self._mode_changed.wait()
        except TimeoutError:
            return

    async def _rehearse(self) -> None:
        """Park what asks a neuron, as the next block would."""
        proposal = await self._chain.propose()
        chosen = [] if proposal is None else self._choose(proposal)
        if proposal is None or not chosen:
            return
        outcomes = await self._chain.rehearse(proposal, chosen, self._records(chosen))
        for transaction, outcome in zip(chosen, outcomes or (), strict=outcomes is not None):
            request = outcome.request
            if outcome.kind != "parked" or request is None:
                continue
            # A question that changed is left to the block: others can make it change in a rehearsal for nothing.
            if not self._dispatch.has_changed(Hash32(transaction.hash), request):
                self._park(transaction, request)

    async def _advance(self) -> bool:
        """Make a block if there is something for it; tell whether another may follow."""
        started = asyncio.get_running_loop().time()
        proposal = await self._chain.propose()
        if proposal is None:
            return False
        chosen = self._choose(proposal)
        if not (chosen or proposal.new_epoch):
            return False
        made = await self._make(proposal, chosen, keep_empty=proposal.new_epoch)
        if made is None:
            return True
        if chosen and not proposal.behind:
            took_s = asyncio.get_running_loop().time() - started
            await asyncio.sleep(min(ON_DEMAND_PAUSE * took_s, LONGEST_PAUSE_S))
        # A dropped block in which everything waits would be made again just the same, for ever.
        return made.number is not None or any(each.code not in WAIT_CODES for each in made.outcomes)

    async def make_block(self) -> MadeBlock | None:
        """Make one block now, empty if nothing is ready; None if none may be made."""
        proposal = await self._chain.propose()
        if proposal is None:
            return None
        return await self._make(proposal, self._choose(proposal), keep_empty=True)

    def _choose(self, proposal: Proposal) -> list[PooledTransaction]:
        if proposal.empty_only:
            return []
        offered_gas = OFFERED_BLOCKS * proposal.gas_limit
        return self._pool.ready(proposal.base_fee_wei, self._chain.nonces(), gas=offered_gas)

    def _records(self, chosen: Sequence[PooledTransaction]) -> list[InferenceRecord]:
        return [
            record
            for index, transaction in enumerate(chosen)
            for record in self._dispatch.records(Hash32(transaction.hash), index)
        ]

    async def _make(
        self, proposal: Proposal, chosen: Sequence[PooledTransaction], *, keep_empty: bool
    ) -> MadeBlock | None:
        made = await self._chain.make(proposal, chosen, self._records(chosen), keep_empty=keep_empty)
        if made is not None:
            self._sort(chosen, made.outcomes)
        return made

    def _sort(self, chosen: Sequence[PooledTransaction], outcomes: Sequence[Outcome]) -> None:
        included: list[bytes] = []
        dropped: list[bytes] = []
        asking: list[tuple[PooledTransaction, InferenceRequest]] = []
        for transaction, outcome in zip(chosen, outcomes, strict=True):
            if outcome.kind == "parked" and outcome.request is not None:
                asking.append((transaction, outcome.request))
            elif outcome.kind == "included":
                included.append(transaction.hash)
            elif outcome.code not in WAIT_CODES:
                log.info("transaction dropped", transaction="0x" + transaction.hash.hex(), code=outcome.code)
                dropped.append(transaction.hash)
        self._pool.remove(dropped)
        for transaction_hash in (*included, *dropped):
            self._dispatch.settled(Hash32(transaction_hash))
        for transaction, request in asking:  # last: asking may fail, and what is settled is told only once
            self._park(transaction, request)

    def _park(self, transaction: PooledTransaction, request: InferenceRequest) -> None:
        """Hold a transaction back until its question is answered; one that cannot be asked now is offered again."""
        request_hash = Hash32(request.request_hash)
        self._pool.wait_for(transaction.hash, request_hash)
        try:
            self._dispatch.ask(Hash32(transaction.hash), Address(transaction.sender), request)
        except Temporary:
            self._pool.wake(request_hash)  # nobody would answer what nobody was asked
            raise
