"""Who may wait: Core's checks in Core's order, from the cheapest to the scripts.

Nothing here changes the pool except `admit`, so a dry run is `examine` alone. What is confirmed is seen
through `ChainView`; scripts are run by the kernel through `ScriptCheck`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from primitives.bitcoin.parser import ParsedTx
from primitives.ids import OutPoint, Txid, display_hash
from regtest import limits
from regtest.coins import Coin
from regtest.mempool import replacement, topology
from regtest.mempool.entry import Entry, fee_at
from regtest.mempool.pool import Pool
from regtest.policy.locks import NextBlock, has_matured, is_final
from regtest.policy.rejection import RejectKind, TransactionRejected, consensus
from regtest.policy.sanity import require_fee, require_sane
from regtest.policy.script_policy import require_script_policy, script_failure
from regtest.policy.standard import (
    dust_outputs,
    require_standard,
    require_standard_inputs,
    sigops_cost,
)

ScriptCheck: TypeAlias = Callable[[ParsedTx, Sequence[Coin]], int | None]
"""Return the first input whose script fails, None when all hold."""


class ChainView(Protocol):
    """What the mempool sees of the chain."""

    def coin(self, outpoint: OutPoint) -> Coin | None:
        """Return a coin that is unspent at the tip."""

    def next_block(self) -> NextBlock:
        """Return what the next block is measured by."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A transaction that passed every check; `conflicts` leave when it enters, descendants included."""

    entry: Entry
    conflicts: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Leniency:
    """What a caller waives: fee minimums inside a package, replacement where it is not supported."""

    below_min_fee: bool = False
    no_replacement: bool = False


STRICT = Leniency()


class Admission:
    """The gate of one pool."""

    def __init__(self, pool: Pool, chain: ChainView, check_scripts: ScriptCheck) -> None:
        self._pool = pool
        self._chain = chain
        self._check_scripts = check_scripts

    def examine(self, transaction: ParsedTx, now: int, leniency: Leniency = STRICT) -> Candidate:
        """Return what would be admitted; `now` is Unix seconds. Raises TransactionRejected."""
        block = self._chain.next_block()
        require_sane(transaction)
        require_standard(transaction)
        if not is_final(transaction, block):
            raise TransactionRejected("non-final")
        self._require_new(transaction)
        coins = self._find_coins(transaction, block)
        if not has_matured(transaction, coins, block):
            raise TransactionRejected("non-BIP68-final")
        fee_sats = require_fee(transaction, coins, block.height)
        require_standard_inputs(transaction, coins)
        cost = sigops_cost(transaction, coins)
        if cost > limits.MAX_STANDARD_SIGOPS_COST:
            raise TransactionRejected("bad-txns-too-many-sigops", str(cost))
        entry = Entry(transaction, tuple(coins), fee_sats, cost, now, block.height - 1)
        if fee_sats and dust_outputs(transaction):
            raise TransactionRejected("dust", "tx with dust output must be 0-fee")
        if not leniency.below_min_fee:
            require_relay_fee(entry)
        conflicts = self._settle_conflicts(entry, leniency)
        self._require_scripts(entry)
        if self._pool.size + entry.size > limits.MAX_MEMPOOL_BYTES:
            raise TransactionRejected("mempool full")
        return Candidate(entry, conflicts)

    def admit(self, candidate: Candidate) -> None:
        """Let a candidate in and its conflicts out; nothing may have changed since it was examined."""
        self._pool.remove(entry.txid for entry in candidate.conflicts)
        self._pool.add(candidate.entry)

    def _require_new(self, transaction: ParsedTx) -> None:
        if self._pool.has_wtxid(transaction.wtxid):
            raise TransactionRejected("txn-already-in-mempool")
        if transaction.txid in self._pool:
            raise TransactionRejected("txn-same-nonwitness-data-in-mempool")

    def _find_coins(self, transaction: ParsedTx, block: NextBlock) -> list[Coin]:
        coins = []
        for entry in transaction.inputs:
            coin = self._chain.coin(entry.prevout) or self._pool.output(entry.prevout, block.height)
            if coin is None:
                raise self._missing(transaction)
            coins.append(coin)
        return coins

    def _missing(self, transaction: ParsedTx) -> TransactionRejected:
        """Tell a transaction that is confirmed already from one whose inputs are nowhere."""
        if self.is_confirmed(transaction):
            return TransactionRejected("txn-already-known")
        return TransactionRejected("bad-txns-inputs-missingorspent", kind=RejectKind.MISSING_INPUTS)

    def is_confirmed(self, transaction: ParsedTx) -> bool:
        """Tell whether an output of this transaction is an unspent coin of the chain."""
        outputs = range(len(transaction.outputs))
        return any(self._chain.coin(OutPoint(transaction.txid, vout)) is not None for vout in outputs)

    def _settle_conflicts(self, entry: Entry, leniency: Leniency) -> tuple[Entry, ...]:
        """Return what the entry would replace, having checked shape and, if it replaces, that it pays."""
        direct = self._direct_conflicts(entry)
        evicted = topology.require_truc(self._pool, entry, direct)
        if evicted is not None:
            direct.append(evicted)
        if direct and leniency.no_replacement:
            raise TransactionRejected("bip125-replacement-disallowed")
        leaving = self._pool.descendants(direct)
        self._require_disjoint(entry, leaving)
        if direct:
            replacement.require_paying(self._pool, entry, direct, leaving)
        topology.require_small_cluster(self._pool, entry, leaving)
        topology.require_dust_spent(self._pool, entry)
        if direct:
            replacement.require_improvement(self._pool, entry, direct, leaving)
        return tuple(leaving)

    def _direct_conflicts(self, entry: Entry) -> list[Entry]:
        found: dict[Txid, Entry] = {}
        for outpoint in entry.spends:
            spender = self._pool.spender(outpoint)
            if spender is not None:
                found[spender] = self._pool.entry(spender)
        return list(found.values())

    def _require_disjoint(self, entry: Entry, leaving: Sequence[Entry]) -> None:
        """Refuse a transaction that depends on what it would replace."""
        gone = {each.txid for each in leaving}
        for outpoint in entry.spends:
            if outpoint.txid in gone:
                detail = f"{display_hash(entry.txid)} spends conflicting transaction"
                raise consensus("bad-txns-spends-conflicting-tx", f"{detail} {display_hash(outpoint.txid)}")

    def _require_scripts(self, entry: Entry) -> None:
        require_script_policy(entry.transaction, entry.coins)
        failed = self._check_scripts(entry.transaction, entry.coins)
        if failed is not None:
            raise script_failure(entry.transaction, failed, "Script evaluation failed")


def require_relay_fee(entry: Entry) -> None:
    """Refuse a transaction that pays less than 0.1 sat/vB; a package may pay for it."""
    least = fee_at(limits.MIN_RELAY_FEERATE, entry.vbytes)
    if entry.fee_sats < least:
        raise TransactionRejected("min relay fee not met", f"{entry.fee_sats} < {least}", RejectKind.FEE)
