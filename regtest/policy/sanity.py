"""Rules that need no chain (Core's CheckTransaction), and the sums over what is spent."""

from collections.abc import Sequence

from primitives.bitcoin.parser import ParsedTx
from regtest.coins import Coin
from regtest.limits import MAX_BLOCK_WEIGHT, MAX_MONEY_SATS, WITNESS_SCALE
from regtest.policy.locks import first_immature_coinbase
from regtest.policy.rejection import consensus

_NULL_TXID = bytes(32)
_NULL_VOUT = 0xFFFFFFFF


def require_sane(transaction: ParsedTx) -> None:
    """Refuse what no block may contain, and a coinbase, which only a block may.

    Reasons: bad-txns-vout-empty, -oversize, -vout-negative, -vout-toolarge, -txouttotal-toolarge,
    -inputs-duplicate, -prevout-null; coinbase.
    """
    if not transaction.outputs:
        raise consensus("bad-txns-vout-empty")
    if len(transaction.stripped) * WITNESS_SCALE > MAX_BLOCK_WEIGHT:
        raise consensus("bad-txns-oversize")
    _require_possible_values([output.value for output in transaction.outputs])
    spent = [entry.prevout for entry in transaction.inputs]
    if len(set(spent)) != len(spent):
        raise consensus("bad-txns-inputs-duplicate")
    if transaction.is_coinbase:
        raise consensus("coinbase")
    if any(prevout == (_NULL_TXID, _NULL_VOUT) for prevout in spent):
        raise consensus("bad-txns-prevout-null")


def require_fee(transaction: ParsedTx, coins: Sequence[Coin], height: int) -> int:
    """Return the fee in sats of a transaction that would be mined at a height.

    Reasons: bad-txns-premature-spend-of-coinbase, bad-txns-inputvalues-outofrange, bad-txns-in-belowout.
    """
    immature = first_immature_coinbase(coins, height)
    if immature is not None:
        depth = height - immature.height
        raise consensus("bad-txns-premature-spend-of-coinbase", f"tried to spend coinbase at depth {depth}")
    spent = sum(coin.value_sats for coin in coins)
    if not 0 <= spent <= MAX_MONEY_SATS:
        raise consensus("bad-txns-inputvalues-outofrange")
    paid = sum(output.value for output in transaction.outputs)
    if spent < paid:
        raise consensus("bad-txns-in-belowout", f"value in ({_coins(spent)}) < value out ({_coins(paid)})")
    return spent - paid


def _require_possible_values(values: Sequence[int]) -> None:
    if any(value < 0 for value in values):
        raise consensus("bad-txns-vout-negative")
    if any(value > MAX_MONEY_SATS for value in values):
        raise consensus("bad-txns-vout-toolarge")
    if sum(values) > MAX_MONEY_SATS:
        raise consensus("bad-txns-txouttotal-toolarge")


def _coins(value_sats: int) -> str:
    return f"{value_sats // 10**8}.{value_sats % 10**8:08}"
