"""The faucet: keys derived from a constant, the coins they own, and payments; for tests and developers only.

Anyone can compute these keys. They exist so that a fresh chain has somebody to mine to and to pay from; the
rollup's own wallet never uses them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from primitives.bitcoin.taproot import (
    SIGHASH_DEFAULT,
    TaprootSpend,
    build_taproot,
    output_secret,
    sign_sighash,
)
from primitives.bitcoin.transaction import Transaction, TxIn, TxOut
from primitives.curve import xonly_public_key
from primitives.errors import InvalidInput, Rejected
from primitives.hashes import tagged_hash
from primitives.ids import OutPoint
from regtest.coins import Coin
from regtest.limits import COINBASE_MATURITY
from regtest.mempool.entry import fee_at
from regtest.mempool.pool import Pool
from regtest.policy.scripts import dust_threshold_sats

KEY_TAG: Final = "BitAI/regtest/faucet"
LOOK_AHEAD: Final = 100
"""Keys watched beyond the last one given out, in case the count of those is lost with the index."""
MAX_INPUTS: Final = 1_000
_COUNT: Final = "wallet_addresses"
_SIGNATURE: Final = bytes(64)


class WalletChain(Protocol):
    """What the faucet needs from the chain."""

    def coins(self) -> Iterator[tuple[OutPoint, Coin]]:
        """Yield every coin that is unspent at the tip."""

    def number(self, name: str) -> int:
        """Return a number kept under a name, 0 if there is none."""

    def keep_number(self, name: str, value: int) -> None:
        """Keep a number, on disk when this returns."""


class OwnedCoin(NamedTuple):
    """A coin of the faucet; `confirmations` is 0 in the mempool."""

    outpoint: OutPoint
    coin: Coin
    confirmations: int

    @property
    def is_spendable(self) -> bool:
        """Tell whether the next block may spend it."""
        return not self.coin.is_coinbase or self.confirmations >= COINBASE_MATURITY


@dataclass(frozen=True, slots=True)
class _Key:
    secret: bytes
    script: bytes


class Wallet:
    """Keys, coins and payments of the faucet."""

    def __init__(self, chain: WalletChain, pool: Pool, height: Callable[[], int]) -> None:
        """Find the faucet's coins in the chain; `height` tells the tip's."""
        self._chain = chain
        self._pool = pool
        self._height = height
        self._keys: dict[bytes, _Key] = {}
        self._scripts: list[bytes] = []
        self._coins: dict[OutPoint, Coin] = {}
        self._issued = chain.number(_COUNT)
        self._derive(self._issued + 1 + LOOK_AHEAD)
        self.rescan()

    @property
    def faucet_script(self) -> bytes:
        """Return the output script that mining pays by default."""
        return self._scripts[0]

    def new_script(self) -> bytes:
        """Return an output script that was not given out before."""
        self._issued += 1
        self._chain.keep_number(_COUNT, self._issued)
        self._derive(self._issued + 1 + LOOK_AHEAD)
        return self._scripts[self._issued]

    def owns(self, script: bytes) -> bool:
        """Tell whether an output script is the faucet's."""
        return script in self._keys

    def rescan(self) -> None:
        """Read all coins of the chain again, as after blocks were disconnected."""
        self._coins = {outpoint: coin for outpoint, coin in self._chain.coins() if coin.script in self._keys}

    def receive(self, outpoint: OutPoint, coin: Coin) -> None:
        """Note a coin of a newly connected block, if it is the faucet's."""
        if coin.script in self._keys:
            self._coins[outpoint] = coin

    def spend(self, outpoint: OutPoint) -> None:
        """Note that a newly connected block spent a coin."""
        self._coins.pop(outpoint, None)

    def unspent(self) -> list[OwnedCoin]:
        """Return the faucet's coins that nothing in the mempool spends, confirmed ones first."""
        tip = self._height()
        owned = [OwnedCoin(outpoint, coin, tip - coin.height + 1) for outpoint, coin in self._coins.items()]
        owned += [OwnedCoin(outpoint, coin, 0) for outpoint, coin in self._unconfirmed()]
        return [entry for entry in owned if self._pool.spender(entry.outpoint) is None]

    def balance_sats(self, least_confirmations: int = 0) -> int:
        """Return what can be spent now: mature coins, and what waits in the mempool from our own payments."""
        return sum(
            entry.coin.value_sats
            for entry in self.unspent()
            if entry.confirmations >= least_confirmations and self._is_usable(entry)
        )

    def pay(self, outputs: Sequence[TxOut], feerate: int) -> Transaction:
        """Return a signed payment at a rate in sats per 1,000 vbytes, change to the faucet.

        Raises InvalidInput `wallet.dust` and Rejected `wallet.insufficient_funds`.
        """
        if any(output.value < dust_threshold_sats(output.script) for output in outputs):
            raise InvalidInput("wallet.dust", "The transaction amount is too small to send")
        wanted = sum(output.value for output in outputs)
        chosen: list[OwnedCoin] = []
        usable = [entry for entry in self.unspent() if self._is_usable(entry)]
        usable.sort(key=lambda entry: (entry.confirmations == 0, -entry.coin.value_sats, entry.outpoint))
        for entry in usable[:MAX_INPUTS]:
            chosen.append(entry)
            payment = self._assemble(chosen, outputs, feerate)
            if payment is not None:
                return self._sign(payment, chosen)
        raise Rejected("wallet.insufficient_funds", "Insufficient funds", wanted_sats=wanted)

    def _assemble(
        self, chosen: Sequence[OwnedCoin], outputs: Sequence[TxOut], feerate: int
    ) -> Transaction | None:
        """Return the unsigned payment with what is left as change, None when the coins do not cover it."""
        inputs = tuple(TxIn(entry.outpoint, witness=(_SIGNATURE,)) for entry in chosen)
        gathered = sum(entry.coin.value_sats for entry in chosen)
        change = TxOut(0, self.faucet_script)
        draft = Transaction(inputs, (*outputs, change))
        left = gathered - sum(output.value for output in outputs) - fee_at(feerate, draft.vbytes)
        if left >= dust_threshold_sats(change.script):
            return Transaction(inputs, (*outputs, TxOut(left, change.script)))
        bare = Transaction(inputs, tuple(outputs))
        fee = gathered - sum(output.value for output in outputs)
        return bare if fee >= fee_at(feerate, bare.vbytes) else None

    def _sign(self, payment: Transaction, chosen: Sequence[OwnedCoin]) -> Transaction:
        spent = [TxOut(entry.coin.value_sats, entry.coin.script) for entry in chosen]
        spend = TaprootSpend(payment, spent)
        for index, entry in enumerate(chosen):
            key = self._keys[entry.coin.script]
            signature = sign_sighash(key.secret, spend.sighash(index, SIGHASH_DEFAULT))
            payment = payment.with_witness(index, (signature,))
        return payment

    def _is_usable(self, entry: OwnedCoin) -> bool:
        """Tell whether a coin may be spent now; of unconfirmed ones, only our own change."""
        if entry.confirmations:
            return entry.is_spendable
        origin = self._pool.entry(entry.outpoint.txid)
        return all(self.owns(coin.script) for coin in origin.coins)

    def _unconfirmed(self) -> Iterator[tuple[OutPoint, Coin]]:
        for entry in self._pool:
            for vout, output in enumerate(entry.transaction.outputs):
                script = bytes(output.script)
                if script in self._keys:
                    coin = Coin(output.value, script, self._height() + 1, is_coinbase=False)
                    yield OutPoint(entry.txid, vout), coin

    def _derive(self, count: int) -> None:
        for number in range(len(self._scripts), count):
            secret = tagged_hash(KEY_TAG, number.to_bytes(4, "big"))
            public_key = xonly_public_key(secret)
            script = build_taproot(public_key).script
            self._keys[script] = _Key(output_secret(secret, public_key, None), script)
            self._scripts.append(script)
