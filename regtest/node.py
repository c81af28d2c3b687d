"""The node: chain, mempool, miner and faucet as one thing that is always consistent between two calls.

Synchronous and single-threaded; the server runs every call on one thread. Whatever changes the chain passes
`_follow`, which brings mempool and faucet after it.
"""

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from primitives.bitcoin.parser import ParsedTx, parse_whole_transaction
from primitives.errors import InvalidInput, Rejected, Temporary
from primitives.ids import L1Hash, OutPoint, display_hash
from regtest import limits
from regtest.block_tree import BlockRow
from regtest.chain import Chain, ChainUpdate, Submitted
from regtest.clock import OffsetClock
from regtest.coins import Coin, coin_of
from regtest.faults import FaultPoint, nothing
from regtest.kernel import SpentOutput
from regtest.mempool import upkeep
from regtest.mempool.admission import Admission
from regtest.mempool.entry import vbytes_of
from regtest.mempool.package import PackageOutcome, Packages, require_below
from regtest.mempool.pool import Pool
from regtest.mempool.template import Template, build_template
from regtest.mining import BlockPlan, build_block
from regtest.options import NodeOptions
from regtest.policy.locks import NextBlock
from regtest.policy.rejection import TransactionRejected
from regtest.policy.scripts import count_sigops
from regtest.wallet import Wallet

MEMPOOL_EXPIRY_SECONDS: Final = 336 * 60 * 60
_TXID: Final = re.compile(r"\b[0-9a-f]{64}\b")

logger = logging.getLogger(__name__)


class ChainSight:
    """The chain as mempool and faucet see it."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def coin(self, outpoint: OutPoint) -> Coin | None:
        """Return a coin that is unspent at the tip."""
        return self._chain.coin(outpoint)

    def next_block(self) -> NextBlock:
        """Return what the next block is measured by."""
        tree = self._chain.tree
        return NextBlock(tree.height + 1, tree.median_time(tree.tip), self._median_time_at)

    def check_scripts(self, transaction: ParsedTx, coins: Sequence[Coin]) -> int | None:
        """Return the first input whose script the kernel finds wrong."""
        spent = [SpentOutput(coin.value_sats, coin.script) for coin in coins]
        return self._chain.kernel.first_bad_input(bytes(transaction.raw), spent)

    def _median_time_at(self, height: int) -> int:
        tree = self._chain.tree
        block_hash = tree.active_hash(height)
        if block_hash is None:  # an unconfirmed coin's parent block is the tip
            return tree.median_time(tree.tip)
        return tree.median_time(tree.row(block_hash))


class Node:
    """Everything a client can ask for, without the asking."""

    def __init__(
        self,
        directory: Path,
        clock: OffsetClock,
        options: NodeOptions | None = None,
        fault: FaultPoint = nothing,
    ) -> None:
        """Open the data directory; raises what `Chain` raises."""
        self.chain = Chain(directory, fault)
        self.clock = clock
        self.options = options or NodeOptions()
        self.pool = Pool()
        sight = ChainSight(self.chain)
        self.admission = Admission(self.pool, sight, sight.check_scripts)
        self.packages = Packages(self.pool, self.admission)
        self.wallet = Wallet(self.chain, self.pool, lambda: self.chain.tree.height)
        self.interrupted: Callable[[], bool] = lambda: False
        """Asked between the blocks of a long call; a server that stops says yes."""

    def close(self) -> None:
        """Flush and let go of the data directory."""
        self.chain.close()

    @property
    def tip(self) -> BlockRow:
        """Return the last block of the active chain."""
        return self.chain.tree.tip

    @property
    def payout_script(self) -> bytes:
        """Return where unattended mining pays."""
        return self.options.payout_script or self.wallet.faucet_script

    def submit_block(self, raw: bytes) -> Submitted:
        """Take a block from outside; raises InvalidInput for bytes that are no block."""
        submitted = self.chain.submit(raw)
        self._follow(submitted.update)
        return submitted

    def submit_transaction(self, transaction: ParsedTx, max_feerate: int | None) -> None:
        """Let a transaction wait for a block.

        `max_feerate` is in sats per 1,000 vbytes. Raises TransactionRejected.
        """
        candidate = self.admission.examine(transaction, self.clock.now())
        require_below(candidate.entry, max_feerate)
        self.admission.admit(candidate)
        self._after_acceptance()

    def submit_package(self, transactions: Sequence[ParsedTx], max_feerate: int | None) -> PackageOutcome:
        """Let parents and their child in together; raises PackageRejected."""
        outcome = self.packages.submit(transactions, self.clock.now(), max_feerate)
        if any(item.group for item in outcome.judged):
            self._after_acceptance()
        return outcome

    def mine(self, script: bytes) -> L1Hash:
        """Mine one block of what pays best.

        The template is valid by construction. Should the kernel disagree, what it names leaves the mempool,
        this is reported loudly, and mining goes on without. Raises Rejected `mining.payout_too_large`,
        `mining.too_far_ahead`, `mining.refused`, and Temporary as `Chain.submit`.
        """
        require_small_payout(script)
        while True:
            template = build_template(self.pool)
            raw = self.assemble(self.tip, script, [entry.transaction for entry in template.entries], template)
            submitted = self.submit_block(raw)
            if not submitted.reason:
                return submitted.block_hash
            if not template.entries:
                raise Rejected("mining.refused", f"the kernel refused an empty block: {submitted.reason}")
            self._drop_offender(template, submitted.reason)

    def mine_many(self, count: int, script: bytes) -> list[L1Hash]:
        """Mine blocks one after another; fewer when the process is told to stop meanwhile."""
        mined: list[L1Hash] = []
        while len(mined) < count and not self.interrupted():
            mined.append(self.mine(script))
        return mined

    def assemble(
        self,
        parent: BlockRow,
        script: bytes,
        transactions: Sequence[ParsedTx],
        template: Template | None = None,
    ) -> bytes:
        """Return a raw block on any parent; without a template its coinbase takes no fees.

        Raises Rejected `mining.too_far_ahead` when its time would be refused.
        """
        tree = self.chain.tree
        time = max(self.clock.now(), tree.median_time(parent) + 1)
        if time > self.clock.latest_block_time():
            raise Rejected(
                "mining.too_far_ahead", "block time would be over two hours ahead of this machine's clock"
            )
        fees_sats = template.fees_sats if template else 0
        plan = BlockPlan(parent.hash, parent.height + 1, time, script, fees_sats, len(tree), transactions)
        return build_block(plan)

    def invalidate(self, block_hash: L1Hash) -> None:
        """Rule out a block and its descendants; their transactions wait again."""
        self._follow(self.chain.invalidate(block_hash))

    def reconsider(self, block_hash: L1Hash) -> None:
        """Let a block count again."""
        self._follow(self.chain.reconsider(block_hash))

    def feerate(self) -> int:
        """Return sats per 1,000 vbytes that should get into the next block."""
        template = build_template(self.pool)
        if not template.is_full or template.worst is None:
            return limits.FALLBACK_FEERATE
        marginal = template.worst.fee_sats * 1000 // vbytes_of(template.worst.weight)
        return max(limits.FALLBACK_FEERATE, marginal + limits.INCREMENTAL_FEERATE)

    def saved_mempool(self) -> list[bytes]:
        """Return the waiting transactions' bytes, parents first, for a clean stop."""
        return [bytes(entry.transaction.raw) for entry in self.pool]

    def restore_mempool(self, transactions: Sequence[bytes]) -> int:
        """Let saved transactions in again; returns how many still may."""
        restored = 0
        for raw in transactions:
            try:
                candidate = self.admission.examine(parse_whole_transaction(raw), self.clock.now())
            except (TransactionRejected, InvalidInput) as error:
                logger.info("a saved transaction stays out: %s", error)
                continue
            self.admission.admit(candidate)
            restored += 1
        return restored

    def _after_acceptance(self) -> None:
        """Mine if a block is wanted at once; that there can be none now is no reason to refuse what waits."""
        if not self.options.mine_on_transaction:
            return
        try:
            self.mine(self.payout_script)
        except (Rejected, Temporary) as error:
            logger.warning("no block for this transaction yet: %s", error)

    def _follow(self, update: ChainUpdate) -> None:
        """Bring mempool and faucet after the chain."""
        for item in update.connected:
            upkeep.forget_mined(self.pool, item.block.transactions)
        if update.disconnected:
            self._return_transactions(update)
            self.wallet.rescan()
            return
        for item in update.connected:
            for transaction in item.block.transactions:
                self._tell_wallet(transaction, item.row.height)
        expired = upkeep.expire(self.pool, self.clock.now() - MEMPOOL_EXPIRY_SECONDS)
        if expired:
            logger.info("%d transactions waited for two weeks and expired", len(expired))

    def _return_transactions(self, update: ChainUpdate) -> None:
        returned = [
            transaction for item in reversed(update.disconnected) for transaction in item.block.transactions
        ]
        refusals = upkeep.start_over(self.pool, self.admission, returned, self.clock.now())
        for refusal in refusals:
            logger.info("a transaction did not survive the reorganisation: %s", refusal)

    def _tell_wallet(self, transaction: ParsedTx, height: int) -> None:
        for entry in transaction.inputs:
            self.wallet.spend(entry.prevout)
        for vout, output in enumerate(transaction.outputs):
            coin = coin_of(output, height, is_coinbase=transaction.is_coinbase)
            self.wallet.receive(OutPoint(transaction.txid, vout), coin)

    def _drop_offender(self, template: Template, reason: str) -> None:
        """Remove what the kernel objects to, or everything in the template if it names nothing of it."""
        named = set(_TXID.findall(reason))
        guilty = [entry for entry in template.entries if display_hash(entry.txid) in named]
        gone = self.pool.remove(entry.txid for entry in self.pool.descendants(guilty or template.entries))
        shown = ", ".join(display_hash(entry.txid) for entry in gone)
        logger.error(
            "BUG: the kernel refused a block template (%s); dropped from the mempool: %s", reason, shown
        )


def require_small_payout(script: bytes) -> None:
    """Refuse a payout that takes more of a block than templates leave for the coinbase.

    The kernel would refuse the block, and the waiting transactions would be blamed. Raises Rejected
    `mining.payout_too_large`.
    """
    weight = limits.WITNESS_SCALE * len(script)
    cost = limits.WITNESS_SCALE * count_sigops(script, accurate=False)
    if weight > limits.MAX_PAYOUT_WEIGHT or cost > limits.RESERVED_SIGOPS_COST:
        raise Rejected(
            "mining.payout_too_large", "the output script is too large for a coinbase", length=len(script)
        )
