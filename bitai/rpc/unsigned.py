"""A transaction that nobody has signed: what a wallet is offered to sign, and what a simulated block holds.

Its signature is all zeros, in its bytes and in its hash, as in geth's `eth_fillTransaction` and `eth_simulateV1`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bitai.rpc.encode import data, quantity
from primitives import rlp
from primitives.hashes import keccak256

if TYPE_CHECKING:
    from bitai.rpc.params import CallObject

LEGACY: Final = 0
ACCESS_LIST: Final = 1
FEE_MARKET: Final = 2
SET_CODE: Final = 4
_NO_SIGNATURE: Final[list[rlp.Item]] = [b"", b"", b""]


@dataclass(frozen=True, slots=True)
class UnsignedTransaction:
    """A call with everything decided that a transaction needs; prices in wei per gas.

    `price` is set for types 0 and 1, `fee_cap` and `tip` for 2 and 4.
    """

    call: CallObject
    type: int
    chain_id: int
    nonce: int
    gas: int
    price: int = 0
    fee_cap: int = 0
    tip: int = 0

    def encode(self) -> bytes:
        """Return the transaction's bytes."""
        return self._bytes(_NO_SIGNATURE)

    def signing_payload(self) -> bytes:
        """Return what its sender signs the hash of."""
        legacy: list[rlp.Item] = [rlp.encode_int(self.chain_id), b"", b""]  # EIP-155
        return self._bytes(legacy if self.type == LEGACY else [])

    def with_signature(self, y_parity: int, r: int, s: int) -> bytes:
        """Return its bytes with a signature."""
        v = 35 + 2 * self.chain_id + y_parity if self.type == LEGACY else y_parity
        return self._bytes([rlp.encode_int(v), rlp.encode_int(r), rlp.encode_int(s)])

    def _bytes(self, signature: list[rlp.Item]) -> bytes:
        call, number = self.call, rlp.encode_int
        places: list[rlp.Item] = [number(self.gas), call.to or b"", number(call.value), call.input]
        access: rlp.Item = [[address, list(slots)] for address, slots in call.access_list]
        if self.type == LEGACY:
            return rlp.encode([number(self.nonce), number(self.price), *places, *signature])
        begin: list[rlp.Item] = [number(self.chain_id), number(self.nonce)]
        if self.type == ACCESS_LIST:
            fields = [*begin, number(self.price), *places, access]
        else:
            fields = [*begin, number(self.tip), number(self.fee_cap), *places, access]
        if self.type == SET_CODE:
            fields.append([_authorization_fields(each) for each in call.authorizations])
        return bytes([self.type]) + rlp.encode([*fields, *signature])

    def hash(self) -> bytes:
        """Return the hash of its bytes."""
        return keccak256(self.encode())

    def to_object(self) -> dict[str, Any]:
        """Return it as JSON-RPC shows a transaction, without sender and place."""
        call = self.call
        shown: dict[str, Any] = {
            "type": quantity(self.type),
            "chainId": quantity(self.chain_id),
            "nonce": quantity(self.nonce),
            "to": data(call.to) if call.to is not None else None,
            "gas": quantity(self.gas),
            "gasPrice": quantity(self.price) if self.type < FEE_MARKET else None,
            "value": quantity(call.value),
            "input": data(call.input),
            "v": "0x0",
            "r": "0x0",
            "s": "0x0",
            "hash": data(self.hash()),
        }
        if self.type != LEGACY:
            shown["yParity"] = "0x0"
            shown["accessList"] = [
                {"address": data(address), "storageKeys": [data(slot) for slot in slots]}
                for address, slots in call.access_list
            ]
        if self.type >= FEE_MARKET:
            shown["maxFeePerGas"] = quantity(self.fee_cap)
            shown["maxPriorityFeePerGas"] = quantity(self.tip)
        if self.type == SET_CODE:
            shown["authorizationList"] = [authorization_object(each) for each in call.authorizations]
        return shown


def type_of(call: CallObject) -> int:
    """Return the type that a call's members ask for; where they leave it open, a fee-market transaction."""
    if call.authorizations:
        return SET_CODE
    if call.fee_cap is not None or call.tip is not None or not call.gas_price:
        return FEE_MARKET
    return ACCESS_LIST if call.access_list else LEGACY


def authorization_object(each: Any) -> dict[str, str]:
    """Return an entry of an authorization list (EIP-7702) as JSON-RPC shows it."""
    return {
        "chainId": quantity(each.chain_id),
        "address": data(each.address),
        "nonce": quantity(each.nonce),
        "yParity": quantity(each.y_parity),
        "r": quantity(each.r),
        "s": quantity(each.s),
    }


def _authorization_fields(each: Any) -> list[rlp.Item]:
    number = rlp.encode_int
    tail = [number(each.y_parity), number(each.r), number(each.s)]
    return [number(each.chain_id), each.address, number(each.nonce), *tail]
