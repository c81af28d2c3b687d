"""Our own coins: one taproot key, the outputs that scanned blocks pay to it, and what is spendable now.

The wallet never asks a node. It reads every block in order, keeps an undo record per block for reorgs, and
works out from our own unconfirmed transactions which coins are taken and which change may already be used.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Final

from l1.coin_choice import Coin
from l1.fees import vbytes_of_weight
from l1.ports import ChainPoint
from primitives.bitcoin.parser import ParsedTx, parse_block, parse_whole_transaction
from primitives.errors import InvalidInput
from primitives.ids import OutPoint, Txid, display_hash

COINBASE_MATURITY: Final = 100
DEFAULT_JOURNAL_LIMIT: Final = 200
"""Blocks that can be undone; deeper than any finality depth in use (testnet4: 100)."""
_CHEAP_SEARCH_LIMIT: Final = 64
"""Searching bytes runs at gigabytes a second: below this many, it beats parsing a block not ours."""


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A transaction of ours, ready to send. `own_outputs` are the (vout, sats) that pay the wallet."""

    raw: bytes
    txid: Txid
    fee_sats: int
    weight: int
    inputs: tuple[OutPoint, ...]
    own_outputs: tuple[tuple[int, int], ...]

    @property
    def vbytes(self) -> int:
        """Virtual size, rounded up."""
        return vbytes_of_weight(self.weight)


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """A transaction of ours that waits for a block; `settled` when no other version will replace it."""

    transaction: SignedTransaction
    settled: bool


@dataclass(frozen=True, slots=True)
class Spend:
    """A watched output was spent by a transaction in a block."""

    outpoint: OutPoint
    spender: Txid


@dataclass(frozen=True, slots=True)
class BlockUndo:
    """What one block did to our coins, so that it can be taken back."""

    point: ChainPoint
    parent: ChainPoint
    created: tuple[OutPoint, ...]
    spent: tuple[Coin, ...]


@dataclass(frozen=True, slots=True)
class Wallet:
    """Confirmed coins as of `tip`. The journal lists the newest blocks, oldest first."""

    script: bytes
    tip: ChainPoint
    coins: Mapping[OutPoint, Coin] = field(default_factory=dict)
    journal: tuple[BlockUndo, ...] = ()
    journal_limit: int = DEFAULT_JOURNAL_LIMIT

    @property
    def balance_sats(self) -> int:
        """The sum of all confirmed coins, immature and reserved ones included."""
        return sum(coin.value_sats for coin in self.coins.values())


def read_signed_transaction(raw: bytes, fee_sats: int, own_script: bytes) -> SignedTransaction:
    """Return the facts that the machines need of a serialised transaction of ours."""
    parsed = parse_whole_transaction(raw)
    return SignedTransaction(
        raw=raw,
        txid=parsed.txid,
        fee_sats=fee_sats,
        weight=parsed.weight,
        inputs=tuple(entry.prevout for entry in parsed.inputs),
        own_outputs=tuple(
            (vout, output.value) for vout, output in enumerate(parsed.outputs) if output.script == own_script
        ),
    )


def apply_block(
    wallet: Wallet, height: int, raw: bytes, watched: AbstractSet[OutPoint]
) -> tuple[Wallet, tuple[Spend, ...]]:
    """Return the wallet after a block on its tip, and the spends of `watched` outputs in it.

    Raises InvalidInput `wallet.unlinked_block` when the block does not follow the tip.
    """
    block = parse_block(raw)
    if block.header.previous != wallet.tip.hash or height != wallet.tip.height + 1:
        raise InvalidInput(
            "wallet.unlinked_block", "the block does not follow the wallet's tip", height=height
        )
    coins = dict(wallet.coins)
    created: list[OutPoint] = []
    spent: list[Coin] = []
    spends: list[Spend] = []
    for transaction in block.transactions if _may_touch(raw, wallet, watched) else ():
        prevouts = [entry.prevout for entry in transaction.inputs]
        spends.extend(Spend(prevout, transaction.txid) for prevout in prevouts if prevout in watched)
        spent.extend(coins.pop(prevout) for prevout in prevouts if prevout in coins)
        for coin in _coins_of(transaction, wallet.script, height):
            coins[coin.outpoint] = coin
            created.append(coin.outpoint)
    point = ChainPoint(height, block.header.hash)
    undo = BlockUndo(point, wallet.tip, tuple(created), tuple(spent))
    journal = (*wallet.journal, undo)[-wallet.journal_limit :]
    return replace(wallet, tip=point, coins=coins, journal=journal), tuple(spends)


def undo_block(wallet: Wallet, point: ChainPoint) -> Wallet:
    """Return the wallet as it was before its tip, which must be `point`.

    Raises InvalidInput `wallet.not_the_tip`, or `wallet.reorg_too_deep` when the journal does not reach back.
    """
    if wallet.tip != point:
        raise InvalidInput(
            "wallet.not_the_tip", "only the newest block can be undone", hash=display_hash(point.hash)
        )
    if not wallet.journal:
        raise InvalidInput(
            "wallet.reorg_too_deep", "the branch leaves below the wallet's journal", height=point.height
        )
    undo = wallet.journal[-1]
    coins = dict(wallet.coins)
    for coin in undo.spent:
        coins[coin.outpoint] = coin
    for outpoint in undo.created:
        coins.pop(outpoint, None)
    return replace(wallet, tip=undo.parent, coins=coins, journal=wallet.journal[:-1])


def list_spendable(
    wallet: Wallet, reserved: AbstractSet[OutPoint], unconfirmed: Sequence[Unconfirmed]
) -> tuple[Coin, ...]:
    """Return mature coins that no transaction of ours claims, then change of settled unconfirmed ones.

    `unconfirmed` are the versions that should be in the mempool; `reserved` holds the inputs of all versions.
    """
    taken = set(reserved).union(*(entry.transaction.inputs for entry in unconfirmed))
    confirmed = [
        coin for coin in wallet.coins.values() if coin.outpoint not in taken and _is_mature(coin, wallet.tip)
    ]
    clusters = _find_clusters(unconfirmed)
    alive = find_alive(wallet, unconfirmed)
    change: list[Coin] = []
    for entry in unconfirmed:
        transaction = entry.transaction
        if not entry.settled or transaction.txid not in alive:
            continue
        root, vbytes, count = clusters[transaction.txid]
        for vout, value in transaction.own_outputs:
            outpoint = OutPoint(transaction.txid, vout)
            if outpoint not in taken:
                change.append(Coin(outpoint, value, None, False, root, vbytes, count))
    return (*sorted(confirmed, key=lambda coin: coin.outpoint), *change)


def _may_touch(raw: bytes, wallet: Wallet, watched: AbstractSet[OutPoint]) -> bool:
    """Tell whether a block can concern us; only a sure no saves the walk over its transactions."""
    if wallet.script in raw or len(watched) + len(wallet.coins) > _CHEAP_SEARCH_LIMIT:
        return True
    txids = {outpoint.txid for outpoint in watched} | {outpoint.txid for outpoint in wallet.coins}
    return any(raw.find(txid) >= 0 for txid in txids)


def _coins_of(transaction: ParsedTx, script: bytes, height: int) -> Iterable[Coin]:
    for vout, output in enumerate(transaction.outputs):
        if output.script == script:
            outpoint = OutPoint(transaction.txid, vout)
            yield Coin(outpoint, output.value, height, transaction.is_coinbase)


def _is_mature(coin: Coin, tip: ChainPoint) -> bool:
    """Tell whether the next block may spend a confirmed coin."""
    return not coin.coinbase or (
        coin.height is not None and tip.height + 1 - coin.height >= COINBASE_MATURITY
    )


def find_alive(wallet: Wallet, unconfirmed: Sequence[Unconfirmed]) -> set[Txid]:
    """Return the transactions whose inputs all exist: among our coins, or made by another that is alive."""
    alive: set[Txid] = set()
    before = -1
    while len(alive) > before:
        before = len(alive)
        for entry in unconfirmed:
            inputs = entry.transaction.inputs
            if all(outpoint in wallet.coins or outpoint.txid in alive for outpoint in inputs):
                alive.add(entry.transaction.txid)
    return alive


def _find_clusters(unconfirmed: Sequence[Unconfirmed]) -> dict[Txid, tuple[Txid, int, int]]:
    """Return for each transaction its cluster's name, vbytes and count; relatives share all three."""
    root = {entry.transaction.txid: entry.transaction.txid for entry in unconfirmed}

    def find(txid: Txid) -> Txid:
        while root[txid] != txid:
            txid = root[txid]
        return txid

    for entry in unconfirmed:
        for outpoint in entry.transaction.inputs:
            if outpoint.txid in root:
                root[find(entry.transaction.txid)] = find(outpoint.txid)
    sizes: dict[Txid, tuple[int, int]] = {}
    for entry in unconfirmed:
        name = find(entry.transaction.txid)
        vbytes, count = sizes.get(name, (0, 0))
        sizes[name] = (vbytes + entry.transaction.vbytes, count + 1)
    return {txid: (find(txid), *sizes[find(txid)]) for txid in root}
