"""Sign fee-market transactions (EIP-1559) with a local key: what the faucet and the demo need, and no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from primitives import rlp
from primitives.curve import ecdsa_sign
from primitives.hashes import keccak256

if TYPE_CHECKING:
    from primitives.ids import Address

_TYPE: Final = b"\x02"


@dataclass(frozen=True, slots=True)
class Unsigned:
    """The content of a transaction; `to` None creates a contract, amounts in wei."""

    chain_id: int
    nonce: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    gas_limit: int
    to: Address | None
    value: int = 0
    data: bytes = b""


def sign_transaction(unsigned: Unsigned, secret: bytes) -> bytes:
    """Return the signed raw transaction."""
    fields: list[rlp.Item] = [
        rlp.encode_int(unsigned.chain_id),
        rlp.encode_int(unsigned.nonce),
        rlp.encode_int(unsigned.max_priority_fee_per_gas),
        rlp.encode_int(unsigned.max_fee_per_gas),
        rlp.encode_int(unsigned.gas_limit),
        unsigned.to or b"",
        rlp.encode_int(unsigned.value),
        unsigned.data,
        [],
    ]
    signature = ecdsa_sign(secret, keccak256(_TYPE + rlp.encode(fields)))
    r, s, y_parity = signature[:32], signature[32:64], signature[64]
    signed = [*fields, rlp.encode_int(y_parity), r.lstrip(b"\0"), s.lstrip(b"\0")]
    return _TYPE + rlp.encode(signed)
