"""The transactions that derivation makes, and what the L1 information contract remembers of them.

Spec: docs/spec/transactions.md.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from primitives.hashes import keccak256
from primitives.ids import Address, Hash32, L1Hash, ModelId
from vm.data_fee import SCALAR_ONE
from vm.predeploys import L1_INFO, MODEL_REGISTRY, SYSTEM_SENDER
from vm.registry import ModelFacts, StorageReader
from vm.types import L1Origin, SystemTransaction

SYSTEM_GAS: Final = 1_000_000
"""Gas that a system transaction of ours may use; the dearest, a first registration, takes about 100,000."""

RING_LENGTH: Final = 8_192
_RING_SLOT: Final = 2
_SCALAR_SLOT: Final = _RING_SLOT + RING_LENGTH


class SystemSource(IntEnum):
    """What a system transaction stems from; part of its source hash, so that no two are ever equal."""

    DEPOSIT = 0
    L1_INFO = 1
    MODEL_REGISTRATION = 2
    MODEL_ACTIVITY = 3


@dataclass(frozen=True, slots=True)
class L1Info:
    """What the L1 information contract holds.

    The fee rate is in sats per 1,000 weight units, the scalar of the data fee in millionths.
    """

    origin: L1Origin
    fee_rate: int
    finalized_number: int
    fee_scalar: int = SCALAR_ONE


def source_hash(source: SystemSource, l1_hash: L1Hash, index: int) -> Hash32:
    """Return keccak256(source as 32 bytes | L1 block hash | index as 32 bytes): one for each cause."""
    return keccak256(_word(source) + l1_hash + _word(index))


def build_l1_info_transaction(info: L1Info) -> SystemTransaction:
    """Return the first transaction of an epoch's first block."""
    origin = info.origin
    arguments = _words(
        origin.height, origin.hash, origin.mtp, info.fee_rate, info.finalized_number, info.fee_scalar
    )
    return _call(
        L1_INFO,
        _selector("setL1Info(uint64,bytes32,uint64,uint64,uint64,uint64)") + arguments,
        source=source_hash(SystemSource.L1_INFO, info.origin.hash, 0),
    )


def build_registration(facts: ModelFacts, l1_hash: L1Hash, index: int) -> SystemTransaction:
    """Return the transaction that makes a model callable.

    `l1_hash` is the L1 block in which its inscription became complete, `index` counts such models of that
    block.
    """
    arguments = _words(
        facts.model_id,
        facts.tier,
        facts.profile,
        facts.input_bytes,
        facts.output_bytes,
        facts.macs,
        facts.l1_height,
    )
    return _call(
        MODEL_REGISTRY,
        _selector("register(bytes32,uint8,uint8,uint32,uint32,uint64,uint64)") + arguments,
        source=source_hash(SystemSource.MODEL_REGISTRATION, l1_hash, index),
    )


def build_model_activity(
    model_id: ModelId, *, active: bool, l1_hash: L1Hash, index: int
) -> SystemTransaction:
    """Return the transaction that switches a registered model on or off."""
    return _call(
        MODEL_REGISTRY,
        _selector("setActive(bytes32,bool)") + _words(model_id, int(active)),
        source=source_hash(SystemSource.MODEL_ACTIVITY, l1_hash, index),
    )


def l1_info_storage(origin: L1Origin, fee_rate: int) -> dict[bytes, int]:
    """Return the contract's storage in the first block: final block 0, the scalar 1."""
    block_hash = int.from_bytes(origin.hash, "big")
    storage = {
        _word(0): origin.height | origin.mtp << 64 | fee_rate << 192,
        _word(1): block_hash,
        _word(_RING_SLOT + origin.height % RING_LENGTH): block_hash,
        _word(_SCALAR_SLOT): SCALAR_ONE,
    }
    return {slot: value for slot, value in storage.items() if value}


def read_l1_info(storage: StorageReader) -> L1Info:
    """Read the contract's storage."""
    word = storage(L1_INFO, _word(0))
    height, mtp, finalized, fee_rate = (
        (word >> shift) & 0xFFFF_FFFF_FFFF_FFFF for shift in (0, 64, 128, 192)
    )
    block_hash = L1Hash(storage(L1_INFO, _word(1)).to_bytes(32, "big"))
    fee_scalar = storage(L1_INFO, _word(_SCALAR_SLOT)) & 0xFFFF_FFFF_FFFF_FFFF
    return L1Info(L1Origin(height, block_hash, mtp), fee_rate, finalized, fee_scalar)


def _call(to: Address, data: bytes, *, source: Hash32) -> SystemTransaction:
    return SystemTransaction(
        source_hash=source, sender=SYSTEM_SENDER, to=to, mint=0, value=0, gas=SYSTEM_GAS, data=data
    )


def _selector(signature: str) -> bytes:
    return keccak256(signature.encode())[:4]


def _words(*values: int | bytes) -> bytes:
    """Encode static ABI arguments: integers and bytes32."""
    return b"".join(value if isinstance(value, bytes) else _word(value) for value in values)


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")
