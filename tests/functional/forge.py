"""Put any witness on any kind of output into a block of the embedded Bitcoin, past every rule of policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from primitives.bitcoin.address import encode_address
from primitives.bitcoin.script import p2tr_script
from primitives.bitcoin.taproot import (
    TapLeaf,
    TaprootSpend,
    build_taproot,
    output_key,
    output_secret,
    sign_sighash,
)
from primitives.bitcoin.transaction import Transaction, TxIn, TxOut, decode_transaction
from primitives.curve import xonly_public_key
from primitives.hashes import sha256
from primitives.ids import OutPoint
from tests.functional.branches import Bitcoin

PAY_TO_ANCHOR = bytes.fromhex("51024e73")
WITNESS_V2 = bytes.fromhex("5220") + sha256(b"a witness program of a version to come")
COIN_SATS = 1_000
_SECRET = sha256(b"the forger's coins")


class Leaf(NamedTuple):
    """A tapscript leaf to show, and the key that its CHECKSIG asks for."""

    script: bytes
    signer_secret: bytes


class Forge:
    """Coins of its own, and blocks of exactly the transactions it says, which need pay no fee."""

    def __init__(self, bitcoin: Bitcoin) -> None:
        """Get a coin from the faucet."""
        self.bitcoin = bitcoin
        self._key = xonly_public_key(_SECRET)
        self._script = p2tr_script(output_key(self._key, None)[0])
        address = encode_address("regtest", self._script)
        txid = bitcoin.rpc("sendtoaddress", address, 1)
        bitcoin.mine()
        self._take_change(decode_transaction(bytes.fromhex(bitcoin.rpc("getrawtransaction", txid))))

    def mine(self, *transactions: Transaction) -> int:
        """Mine a block of these transactions only; return its height."""
        raws = [transaction.raw.hex() for transaction in transactions]
        self.bitcoin.rpc("generateblock", self.bitcoin.address, raws)
        return self.bitcoin.height

    def lock(self, scripts: Sequence[bytes]) -> list[OutPoint]:
        """Mine a transaction that pays to each of these scripts; return the outpoints."""
        rest = self._coin.value - COIN_SATS * len(scripts)
        outputs = (*(TxOut(COIN_SATS, script) for script in scripts), TxOut(rest, self._script))
        unsigned = Transaction((TxIn(self._outpoint),), outputs)
        secret = output_secret(_SECRET, self._key, None)
        signature = sign_sighash(secret, TaprootSpend(unsigned, [self._coin]).sighash(0))
        transaction = unsigned.with_witness(0, (signature,))
        self.mine(transaction)
        self._take_change(transaction)
        return [transaction.outpoint(index) for index in range(len(scripts))]

    def reveals(self, leaves: Sequence[Leaf]) -> list[Transaction]:
        """Commit to each leaf, and return the transactions that show them, one each."""
        trees = [build_taproot(self._key, TapLeaf(leaf.script)) for leaf in leaves]
        outpoints = self.lock([tree.script for tree in trees])
        shown = []
        for leaf, tree, outpoint in zip(leaves, trees, outpoints, strict=True):
            spend = self._spend(outpoint)
            sighash = TaprootSpend(spend, [TxOut(COIN_SATS, tree.script)]).sighash(
                0, leaf_hash=tree.leaves[0].hash
            )
            witness = (sign_sighash(leaf.signer_secret, sighash), leaf.script, tree.control_block(0))
            shown.append(spend.with_witness(0, witness))
        return shown

    def show(self, witnesses: Sequence[Sequence[bytes]], scripts: Sequence[bytes]) -> list[Transaction]:
        """Return transactions that spend outputs of these scripts with these witnesses, whatever they are."""
        outpoints = self.lock(scripts)
        return [
            self._spend(outpoint).with_witness(0, witness)
            for outpoint, witness in zip(outpoints, witnesses, strict=True)
        ]

    def publish(self, scripts: Sequence[bytes]) -> Transaction:
        """Return a transaction with these scripts as its outputs, after its one input."""
        (tree,) = [build_taproot(self._key, TapLeaf(b"\x51"))]
        (outpoint,) = self.lock([tree.script])
        outputs = tuple(TxOut(0, script) for script in scripts)
        return Transaction((TxIn(outpoint, witness=(b"\x51", tree.control_block(0))),), outputs)

    def _spend(self, outpoint: OutPoint) -> Transaction:
        return Transaction((TxIn(outpoint),), (TxOut(COIN_SATS, self._script),))

    def _take_change(self, transaction: Transaction) -> None:
        for index, output in enumerate(transaction.outputs):
            if output.script == self._script:
                self._outpoint, self._coin = transaction.outpoint(index), output
