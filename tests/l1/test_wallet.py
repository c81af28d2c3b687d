"""Wallet: after any history its coins are those of the oracle, and undoing a block takes all of it back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l1.coin_choice import Coin
from l1.journal import decode_wallet, encode_wallet
from l1.keys import open_wallet_key
from l1.ports import ChainPoint
from l1.wallet import (
    COINBASE_MATURITY,
    SignedTransaction,
    Spend,
    Unconfirmed,
    Wallet,
    apply_block,
    list_spendable,
    undo_block,
)
from primitives.errors import InvalidInput
from primitives.ids import OutPoint, Txid
from tests.l1.fake_bitcoin import FakeBitcoin, outpoint_of

KEY = open_wallet_key(b"\x01" * 32)


def pay(spent: list[OutPoint], values: list[int], script: bytes = KEY.script) -> bytes:
    """Return an unsigned transaction; the oracle checks no signatures."""
    inputs = b"".join(o.txid + o.vout.to_bytes(4, "little") + b"\0" + b"\xff" * 4 for o in spent)
    outputs = b"".join(v.to_bytes(8, "little") + bytes([len(script)]) + script for v in values)
    head = bytes.fromhex("02000000") + bytes([len(spent)]) + inputs
    return head + bytes([len(values)]) + outputs + bytes(4)


def own_coins(bitcoin: FakeBitcoin) -> dict[OutPoint, int]:
    """Return the oracle's coins of our script."""
    return {o: value for o, (value, script) in bitcoin.coins().unspent.items() if script == KEY.script}


def start(bitcoin: FakeBitcoin) -> Wallet:
    """Return an empty wallet at the oracle's first block."""
    return Wallet(KEY.script, bitcoin.chain()[0].point)


def catch_up(wallet: Wallet, bitcoin: FakeBitcoin) -> Wallet:
    """Return the wallet at the oracle's tip, undoing what left the chain."""
    chain = bitcoin.chain()
    while wallet.tip.height >= len(chain) or chain[wallet.tip.height].point != wallet.tip:
        wallet = undo_block(wallet, wallet.tip)
    for block in chain[wallet.tip.height + 1 :]:
        wallet, _ = apply_block(wallet, block.point.height, block.raw, frozenset())
    return wallet


steps = st.lists(
    st.tuples(st.sampled_from(["fund", "spend", "mine", "reorg"]), st.integers(0, 1_000)), max_size=25
)


@given(steps)
def test_wallet_equals_oracle(history: list[tuple[str, int]]) -> None:
    """After any mix of payments, spends and reorgs the coins are the oracle's, and each undo is exact."""
    bitcoin = FakeBitcoin(min_rate=0)
    wallet = start(bitcoin)
    for action, number in history:
        mine = own_coins(bitcoin)
        if action == "fund":
            bitcoin.fund(KEY.script, 10_000 + number, count=1 + number % 3)
        elif action == "spend" and mine:
            taken = sorted(mine)[: 1 + number % 3]
            total = sum(mine[o] for o in taken)
            first = pay(taken, [total // 2, total - total // 2 - 100])
            bitcoin.mine_foreign(first)
        elif action == "mine":
            bitcoin.mine(1 + number % 2, pay_to=KEY.script)
        elif action == "reorg":
            bitcoin.reorg(min(1 + number % 5, bitcoin.tip.height))
        before = wallet
        wallet = catch_up(wallet, bitcoin)
        assert {o: c.value_sats for o, c in wallet.coins.items()} == own_coins(bitcoin)
        assert wallet.balance_sats == sum(own_coins(bitcoin).values())
        if wallet.tip != before.tip and wallet.journal:
            point = wallet.tip
            block = bitcoin.blocks[point.hash]
            undone = undo_block(wallet, point)
            redone, _ = apply_block(undone, point.height, block.raw, frozenset())
            assert redone == wallet
    assert decode_wallet(encode_wallet(wallet), KEY.script) == wallet


def test_coin_made_and_spent_in_one_block() -> None:
    """A coin that lives within one block leaves no trace, forwards or backwards."""
    bitcoin = FakeBitcoin(min_rate=0)
    bitcoin.fund(KEY.script, 50_000)
    wallet = catch_up(start(bitcoin), bitcoin)
    (coin,) = wallet.coins
    first = pay([coin], [40_000])
    second = pay([OutPoint(Txid(bytes(bitcoin_txid(first))), 0)], [30_000], b"\x51")
    for raw in (first, second):
        bitcoin.mempool[Txid(bitcoin_txid(raw))] = raw
    bitcoin.mine()
    watched = frozenset({OutPoint(Txid(bitcoin_txid(first)), 0)})
    after, spends = apply_block(wallet, 2, bitcoin.chain()[-1].raw, watched)
    assert after.coins == {}
    assert spends == (Spend(next(iter(watched)), Txid(bitcoin_txid(second))),)
    assert undo_block(after, after.tip) == wallet


def bitcoin_txid(raw: bytes) -> bytes:
    """Return a transaction's id by the oracle's library."""
    from tests.l1.fake_bitcoin import txid_of

    return txid_of(raw)


def test_immature_coinbase_waits() -> None:
    """A coinbase is spendable in the block that is 100 above it, not before."""
    bitcoin = FakeBitcoin()
    bitcoin.mine(1, pay_to=KEY.script)
    bitcoin.mine(COINBASE_MATURITY - 2)
    wallet = catch_up(start(bitcoin), bitcoin)
    assert list_spendable(wallet, frozenset(), []) == ()
    bitcoin.mine()
    wallet = catch_up(wallet, bitcoin)
    assert len(list_spendable(wallet, frozenset(), [])) == 1


def test_unconfirmed_change_counts_its_relatives() -> None:
    """Settled change is spendable and names its cluster; unsettled, dead or taken outputs are not."""
    funding = OutPoint(Txid(b"\x11" * 32), 0)
    tip = ChainPoint(5, b"\x22" * 32)
    wallet = Wallet(KEY.script, tip, {funding: Coin(funding, 100_000, 3)})
    parent = transaction(b"\x33" * 32, (funding,), 600, ((0, 90_000),))
    child = transaction(b"\x44" * 32, (OutPoint(Txid(b"\x33" * 32), 5),), 400, ((0, 5_000),))
    dead = transaction(b"\x55" * 32, (OutPoint(Txid(b"\x66" * 32), 0),), 400, ((0, 7_000),))
    unconfirmed = [Unconfirmed(child, False), Unconfirmed(parent, True), Unconfirmed(dead, True)]
    (change,) = list_spendable(wallet, frozenset(), unconfirmed)
    assert change.outpoint == OutPoint(Txid(b"\x33" * 32), 0)
    assert (change.cluster_vbytes, change.cluster_transactions) == (250, 2)
    assert change.height is None
    assert list_spendable(wallet, frozenset({change.outpoint}), unconfirmed) == ()


def transaction(
    txid: bytes, inputs: tuple[OutPoint, ...], weight: int, outputs: tuple[tuple[int, int], ...]
) -> SignedTransaction:
    """Return a transaction of which only the facts matter."""
    return SignedTransaction(b"", Txid(txid), 100, weight, inputs, outputs)


def test_wallet_refuses_what_does_not_follow() -> None:
    """A block with another parent, an undo of another block, and an undo below the journal are refused."""
    bitcoin = FakeBitcoin()
    bitcoin.mine(3)
    wallet = start(bitcoin)
    with pytest.raises(InvalidInput, match=r"wallet\.unlinked_block"):
        apply_block(wallet, 2, bitcoin.chain()[2].raw, frozenset())
    with pytest.raises(InvalidInput, match=r"wallet\.not_the_tip"):
        undo_block(wallet, bitcoin.tip)
    with pytest.raises(InvalidInput, match=r"wallet\.reorg_too_deep"):
        undo_block(wallet, wallet.tip)


def test_oracle_reads_what_we_write() -> None:
    """The oracle's library and our fixture agree on outpoints, so the tests above compare like with like."""
    from bitcoin.core import CTransaction

    outpoint = OutPoint(Txid(bytes(range(32))), 3)
    parsed = CTransaction.deserialize(pay([outpoint], [1_000]))
    assert [outpoint_of(entry) for entry in parsed.vin] == [outpoint]
