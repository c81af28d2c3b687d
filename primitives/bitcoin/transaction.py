"""Build transactions: our own value types on top of python-bitcoinlib's serialisation.

python-bitcoinlib knows no taproot, and its script checker accepts every spend of a taproot output, so it only
ever serialises here. Reading is `parser`'s work.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from bitcoin.core import COutPoint, CTransaction, CTxIn, CTxInWitness, CTxOut, CTxWitness
from bitcoin.core.script import CScript, CScriptWitness

from primitives.bitcoin.parser import ParsedTx, parse_whole_transaction
from primitives.errors import InvalidInput
from primitives.hashes import BytesLike, sha256d
from primitives.ids import OutPoint, Txid, Wtxid

MAX_SATS: Final = 21_000_000 * 100_000_000
MAX_STANDARD_WEIGHT: Final = 400_000
"""Heavier transactions are not relayed (policy of Bitcoin Core)."""
WEIGHT_PER_VBYTE: Final = 4
SEQUENCE_FINAL: Final = 0xFFFFFFFF
SEQUENCE_REPLACEABLE: Final = 0xFFFFFFFD
"""Signals replacement (BIP 125) and leaves lock time in force, relative lock time off."""
_MAX_U32: Final = 0xFFFFFFFF
_MAX_I32: Final = 0x7FFFFFFF


@dataclass(frozen=True)
class TxIn:
    """One input: the output it spends, and what satisfies it."""

    prevout: OutPoint
    sequence: int = SEQUENCE_REPLACEABLE
    script_sig: bytes = b""
    witness: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if len(self.prevout.txid) != 32 or not 0 <= self.prevout.vout <= _MAX_U32:
            raise InvalidInput(
                "bitcoin_tx.bad_prevout", "an outpoint is a txid and 32 bits", prevout=self.prevout
            )
        if not 0 <= self.sequence <= _MAX_U32:
            raise InvalidInput("bitcoin_tx.bad_sequence", "a sequence is 32 bits", sequence=self.sequence)


@dataclass(frozen=True)
class TxOut:
    """One output: its value in sats and the script that locks it."""

    value: int
    script: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.value <= MAX_SATS:
            raise InvalidInput("bitcoin_tx.bad_value", "a value is 0 to 21 million coins", value=self.value)


@dataclass(frozen=True)
class Transaction:
    """A whole transaction; immutable, so that ids and sizes can be kept once computed."""

    inputs: tuple[TxIn, ...]
    outputs: tuple[TxOut, ...]
    version: int = 2
    locktime: int = 0

    def __post_init__(self) -> None:
        if not self.inputs:
            raise InvalidInput("bitcoin_tx.no_inputs", "a transaction has at least one input")
        if not 0 <= self.locktime <= _MAX_U32:
            raise InvalidInput("bitcoin_tx.bad_locktime", "a lock time is 32 bits", locktime=self.locktime)
        if not -_MAX_I32 - 1 <= self.version <= _MAX_I32:
            raise InvalidInput("bitcoin_tx.bad_version", "a version is 32 bits", version=self.version)

    @cached_property
    def raw(self) -> bytes:
        """Return the serialisation, with the witness where there is one (BIP 144)."""
        return self._encode(with_witness=True)

    @cached_property
    def stripped(self) -> bytes:
        """Return the serialisation without witness, which the txid commits to."""
        return self._encode(with_witness=False)

    @cached_property
    def txid(self) -> Txid:
        """Return the transaction id, internal order; it stays the same whatever the witnesses become."""
        return Txid(sha256d(self.stripped))

    @cached_property
    def wtxid(self) -> Wtxid:
        """Return the id that commits to the witness too, internal order."""
        return Wtxid(sha256d(self.raw))

    @property
    def weight(self) -> int:
        """Return the weight: three times the stripped size plus the whole size (BIP 141)."""
        return 3 * len(self.stripped) + len(self.raw)

    @property
    def vbytes(self) -> int:
        """Return the virtual size, rounded up, on which fee rates are charged."""
        return -(-self.weight // WEIGHT_PER_VBYTE)

    def outpoint(self, index: int) -> OutPoint:
        """Return the outpoint of one of the outputs; raises InvalidInput `bitcoin_tx.no_such_output`."""
        if not 0 <= index < len(self.outputs):
            raise InvalidInput("bitcoin_tx.no_such_output", "no such output", index=index)
        return OutPoint(self.txid, index)

    def with_witness(self, index: int, witness: Sequence[bytes]) -> "Transaction":
        """Return this transaction with one input's witness replaced."""
        if not 0 <= index < len(self.inputs):
            raise InvalidInput("bitcoin_tx.no_such_input", "no such input", index=index)
        signed = replace(self.inputs[index], witness=tuple(witness))
        return replace(self, inputs=(*self.inputs[:index], signed, *self.inputs[index + 1 :]))

    def _encode(self, *, with_witness: bool) -> bytes:
        inputs = [
            CTxIn(
                COutPoint(entry.prevout.txid, entry.prevout.vout), CScript(entry.script_sig), entry.sequence
            )
            for entry in self.inputs
        ]
        outputs = [CTxOut(entry.value, CScript(entry.script)) for entry in self.outputs]
        stacks = (
            [CTxInWitness(CScriptWitness(entry.witness)) for entry in self.inputs] if with_witness else []
        )
        witness = CTxWitness(stacks)
        return bytes(CTransaction(inputs, outputs, self.locktime, self.version, witness).serialize())


def decode_transaction(data: BytesLike) -> Transaction:
    """Return the transaction that all of `data` encodes; raises InvalidInput `bitcoin_tx.*`."""
    return transaction_of(parse_whole_transaction(data))


def transaction_of(parsed: ParsedTx) -> Transaction:
    """Return a parsed transaction as a value of its own that keeps no block alive."""
    inputs = tuple(
        TxIn(entry.prevout, entry.sequence, bytes(entry.script_sig), tuple(bytes(item) for item in stack))
        for entry, stack in zip(parsed.inputs, parsed.witnesses, strict=True)
    )
    outputs = tuple(TxOut(entry.value, bytes(entry.script)) for entry in parsed.outputs)
    return Transaction(inputs, outputs, parsed.version, parsed.locktime)
