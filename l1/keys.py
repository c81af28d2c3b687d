"""The wallet's one key: a taproot output without scripts, spent by its own signature alone (BIP 86)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from primitives.bitcoin.taproot import TaprootSpend, build_taproot, output_secret, sign_sighash
from primitives.bitcoin.transaction import Transaction, TxOut
from primitives.curve import xonly_public_key
from primitives.ids import XOnlyKey


@dataclass(frozen=True, slots=True)
class WalletKey:
    """A secret with what it locks: all our coins and change pay to `script`. The secret is never shown."""

    secret: bytes = field(repr=False)
    internal_key: XOnlyKey
    script: bytes


def open_wallet_key(secret: bytes) -> WalletKey:
    """Return the key of a 32-byte secret; raises InvalidInput `key.bad_secret`."""
    internal_key = xonly_public_key(secret)
    return WalletKey(secret, internal_key, build_taproot(internal_key).script)


def sign_key_path(key: WalletKey, transaction: Transaction, spent: Sequence[TxOut]) -> Transaction:
    """Return the transaction with every input signed; all of them must spend coins of this key."""
    secret = output_secret(key.secret, key.internal_key, None)
    spend = TaprootSpend(transaction, spent)
    for index in range(len(transaction.inputs)):
        transaction = transaction.with_witness(index, (sign_sighash(secret, spend.sighash(index)),))
    return transaction
