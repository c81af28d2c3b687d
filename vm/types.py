"""The values that go into the machine and come out of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from primitives import rlp
from primitives.hashes import keccak256
from primitives.ids import Address, Hash32, L1Hash

if TYPE_CHECKING:
    from vm._core import InferenceRequest

SYSTEM_TRANSACTION_TYPE = 0x7E
SATS_TO_WEI = 10**10
"""The native coin is BTC with 18 decimals."""


class L1Origin(NamedTuple):
    """The Bitcoin block that an L2 block looks back to; `mtp` is its median time past in seconds."""

    height: int
    hash: L1Hash
    mtp: int


@dataclass(frozen=True, slots=True)
class SystemTransaction:
    """A transaction that derivation makes: no signature, no fee, no nonce check; it may mint wei.

    Its shape is that of an OP deposit, so that RPC clients that know one can show the other.
    """

    source_hash: Hash32
    sender: Address
    to: Address | None
    mint: int
    value: int
    gas: int
    data: bytes

    @property
    def raw(self) -> bytes:
        """0x7e || rlp([source hash, from, to, mint, value, gas, is-system = 0, data])."""
        fields: list[rlp.Encodable] = [
            self.source_hash,
            self.sender,
            self.to or b"",
            rlp.encode_int(self.mint),
            rlp.encode_int(self.value),
            rlp.encode_int(self.gas),
            b"",
            self.data,
        ]
        return bytes([SYSTEM_TRANSACTION_TYPE]) + rlp.encode(fields)

    @property
    def hash(self) -> Hash32:
        """Identify the transaction as any other: keccak256 of its raw bytes."""
        return keccak256(self.raw)


@dataclass(frozen=True, slots=True)
class InferenceRecord:
    """A neuron's signed answer to one call of one transaction.

    `tx_index` counts the user transactions of the same block data, from 0. `signature` is r || s || v (v = 0
    or 1) over the answer digest of `docs/spec/inference.md`. `ask_height` is the L1 height whose block picked
    who may answer.
    """

    tx_index: int
    request_hash: Hash32
    status: int
    output: bytes
    neuron: Address
    signature: bytes
    ask_height: int


@dataclass(frozen=True, slots=True)
class BlockData:
    """Everything that makes one block, as derivation yields it: no parent hash, no roots.

    `timestamp` is in seconds; `transactions` are the users' signed bytes; `records` belong to them by
    `tx_index`.
    """

    number: int
    timestamp: int
    origin: L1Origin
    system_transactions: tuple[SystemTransaction, ...]
    transactions: tuple[bytes, ...]
    records: tuple[InferenceRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a user transaction: in the block, left out with a code, or waiting for an answer.

    `request` is the unanswered call of a parked transaction.
    """

    kind: Literal["included", "skipped", "parked"]
    code: str = ""
    request: "InferenceRequest | None" = None


INCLUDED = Outcome("included")


class Skipped(NamedTuple):
    """A transaction of the block's data that the block leaves out; `position` counts the data's, from 0."""

    position: int
    hash: Hash32
    code: str


@dataclass(frozen=True, slots=True)
class BlockBody:
    """What is stored of a block besides header and receipts.

    `transactions` are raw, system ones first; `records` are those used, in call order, their `tx_index`
    counting the user transactions that are in the block.
    """

    transactions: tuple[bytes, ...]
    records: tuple[InferenceRecord, ...]
    skipped: tuple[Skipped, ...]


class HeadInfo(NamedTuple):
    """The facts of a block that its child is made from."""

    number: int
    hash: Hash32
    state_root: Hash32
    timestamp: int
    gas_limit: int
    base_fee: int
    ordinary_gas_used: int
    origin: L1Origin


@dataclass(frozen=True, slots=True)
class TransactionPlace:
    """Where a transaction is: `index` counts all transactions of the block, system ones too."""

    number: int
    index: int
