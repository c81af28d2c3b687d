"""Why a transaction is none, by the names that official tests use."""

from dataclasses import dataclass
from typing import Final

from primitives.errors import InvalidInput

_PREFIX: Final = "TransactionException."
_NAMES: Final = {
    "tx.nonce_too_low": "NONCE_MISMATCH_TOO_LOW",
    "tx.nonce_too_high": "NONCE_MISMATCH_TOO_HIGH",
    "tx.nonce_overflow": "NONCE_IS_MAX",
    "tx.insufficient_funds": "INSUFFICIENT_ACCOUNT_FUNDS",
    "tx.fee_overflow": "GASLIMIT_PRICE_PRODUCT_OVERFLOW",
    "tx.fee_cap_below_base_fee": "INSUFFICIENT_MAX_FEE_PER_GAS",
    "tx.priority_above_fee_cap": "PRIORITY_GREATER_THAN_MAX_FEE_PER_GAS",
    "tx.sender_is_contract": "SENDER_NOT_EOA",
    "tx.block_gas": "GAS_ALLOWANCE_EXCEEDED",
    "tx.intrinsic_gas": "INTRINSIC_GAS_TOO_LOW",
    "tx.floor_gas": "INTRINSIC_GAS_BELOW_FLOOR_GAS_COST",
    "tx.gas_cap": "GAS_LIMIT_EXCEEDS_MAXIMUM",
    "tx.init_code_size": "INITCODE_SIZE_EXCEEDED",
    "tx.wrong_chain": "INVALID_CHAINID",
    "tx.authorization_list": "TYPE_4_EMPTY_AUTHORIZATION_LIST",
    "tx.authorization_format": "TYPE_4_INVALID_AUTHORIZATION_FORMAT",
    "tx.blob_fee": "INSUFFICIENT_MAX_FEE_PER_BLOB_GAS",
    "tx.no_blobs": "TYPE_3_TX_ZERO_BLOBS",
    "tx.blob_version": "TYPE_3_TX_INVALID_BLOB_VERSIONED_HASH",
    "tx.too_many_blobs": "TYPE_3_TX_BLOB_COUNT_EXCEEDED",
    "tx.block_blob_gas": "TYPE_3_TX_MAX_BLOB_GAS_ALLOWANCE_EXCEEDED",
    "tx.blob_creation": "TYPE_3_TX_CONTRACT_CREATION",
    "tx.set_code_creation": "TYPE_4_TX_CONTRACT_CREATION",
    "tx.type_not_supported": "TYPE_NOT_SUPPORTED",
    "tx.bad_signature": "INVALID_SIGNATURE_VRS",
    "tx.malformed": "RLP_INVALID_VALUE",
    "tx.value_overflow": "RLP_INVALID_VALUE",
    "tx.gas_limit_overflow": "GAS_LIMIT_EXCEEDS_MAXIMUM",
}
"""Code of the core or of these doors, to the name in execution-spec-tests."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A transaction that cannot be included: its stable code and words for a person."""

    code: str
    words: str

    @property
    def name(self) -> str:
        """Name in official tests."""
        return _PREFIX + _NAMES.get(self.code, "UNDEFINED")

    def __str__(self) -> str:
        """Return the name, then the words."""
        return f"{self.name}: {self.words}"


class Refused(InvalidInput):
    """A transaction that is none on any chain; carries the refusal out of a decoder."""

    @property
    def refusal(self) -> Refusal:
        """What is told of it."""
        return Refusal(self.code, self.message)
