"""Make blocks on time: choose transactions, build, and sort what did not get in.

The loop is collect (pool, clock, L1 facts), build and persist in one step of the chain, then tell: settle
what is in, park what asks a neuron, drop what can never run. It holds no state that a restart would miss.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

import structlog

from primitives.ids import Address, Hash32

if TYPE_CHECKING:
    from rollup.sequencer.pool import NonceSource, Pool, PooledTransaction
    from vm._core import InferenceRequest
    from vm.types import InferenceRecord, L1Origin, Outcome, SystemTransaction

log = structlog.get_logger(__name__)

WAIT_CODES: Final = frozenset(
    {"tx.block_gas", "infer.block_mac_limit", "tx.nonce_too_high", "tx.fee_cap_below_base_fee"}
)
"""Outcomes that a later block may change; every other skip is for good."""


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
    behind: int
    """Bitcoin blocks known beyond the origin: the next blocks come at once until this is 0."""


@dataclass(frozen=True, slots=True)
class MadeBlock:
    """A block that is on disk (`number` None: dropped, for it was empty), with one outcome a transaction offered."""

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
        """Build, persist and announce a block; None if the head has moved since the proposal."""
        ...


class DispatchPort(Protocol):
    """The way to the neurons."""

    def ask(self, transaction: Hash32, sender: Address, request: InferenceRequest) -> None: ...
    def records(self, transaction: Hash32, index: int) -> list[InferenceRecord]: ...
    def settled(self, transaction: Hash32) -> None: ...


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
        """Sequence for one chain; `on-demand` makes a block as soon as something waits, or the origin moves."""
        self._chain = chain
        self._pool = pool
        self._dispatch = dispatch
        self._mode = mode
        self._block_time_s = block_time_s
        self._wanted = asyncio.Event()
        self._behind = 0

    def wake(self) -> None:
        """Say that something may have changed: a transaction, an answer, a Bitcoin block."""
        self._wanted.set()

    async def run(self) -> None:
        """Make blocks for as long as the node runs."""
        while True:
            if self._mode == "on-demand":
                await self._wanted.wait()
                self._wanted.clear()
                await self._fill_on_demand()
            else:
                if not await self._catch_up():
                    await asyncio.sleep(self._block_time_s)

    async def _catch_up(self) -> bool:
        """Make a block; true if the next should follow at once because the origin is behind Bitcoin."""
        made = await self.make_block()
        return made is not None and self._behind > 0

    async def _fill_on_demand(self) -> None:
        while True:
            proposal = await self._chain.propose()
            if proposal is None or not (proposal.new_epoch or self._choose(proposal)):
                return
            if await self.make_block() is None:
                return

    async def make_block(self) -> MadeBlock | None:
        """Make one block now, empty if nothing is ready; None if none may be made."""
        proposal = await self._chain.propose()
        if proposal is None:
            return None
        self._behind = proposal.behind
        chosen = self._choose(proposal)
        records = [
            record
            for index, transaction in enumerate(chosen)
            for record in self._dispatch.records(Hash32(transaction.hash), index)
        ]
        keep_empty = self._mode == "interval" or proposal.new_epoch
        made = await self._chain.make(proposal, chosen, records, keep_empty=keep_empty)
        if made is not None:
            self._sort(chosen, made.outcomes)
        return made

    def _choose(self, proposal: Proposal) -> list[PooledTransaction]:
        if proposal.empty_only:
            return []
        return self._pool.ready(proposal.base_fee_wei, self._chain.nonces(), gas=proposal.gas_limit)

    def _sort(self, chosen: Sequence[PooledTransaction], outcomes: Sequence[Outcome]) -> None:
        gone: list[bytes] = []
        for transaction, outcome in zip(chosen, outcomes, strict=True):
            transaction_hash = Hash32(transaction.hash)
            if outcome.kind == "parked" and outcome.request is not None:
                self._pool.wait_for(transaction.hash, Hash32(outcome.request.request_hash))
                self._dispatch.ask(transaction_hash, Address(transaction.sender), outcome.request)
            elif outcome.kind == "included":
                gone.append(transaction.hash)
                self._dispatch.settled(transaction_hash)
            elif outcome.code not in WAIT_CODES:
                log.info("transaction dropped", transaction="0x" + transaction.hash.hex(), code=outcome.code)
                gone.append(transaction.hash)
                self._dispatch.settled(transaction_hash)
        self._pool.remove(gone)
