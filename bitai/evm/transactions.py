"""Transactions of types 0 to 4: their fields, their encoding, who signed them, and what the core is handed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from bitai.evm.refusals import Refused
from primitives import rlp
from primitives.curve import ecdsa_recover, ecdsa_sign
from primitives.errors import InvalidInput
from primitives.hashes import keccak256
from vm import _core

LEGACY: Final = 0
ACCESS_LIST: Final = 1
DYNAMIC_FEE: Final = 2
BLOB: Final = 3
SET_CODE: Final = 4

_U8: Final = (1 << 8) - 1
_U64: Final = (1 << 64) - 1
_U128: Final = (1 << 128) - 1
_U256: Final = (1 << 256) - 1

AccessList: TypeAlias = "tuple[tuple[bytes, tuple[bytes, ...]], ...]"


@dataclass(frozen=True, slots=True)
class Authorization:
    """One entry of an authorization list (EIP-7702)."""

    chain_id: int
    address: bytes
    nonce: int
    y_parity: int
    r: int
    s: int

    @property
    def fits(self) -> bool:
        """Whether its numbers have the sizes that an encoding may have; a signature need not be one."""
        return max(self.chain_id, self.r, self.s) <= _U256 and self.nonce <= _U64 and self.y_parity <= _U8


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """A transaction. `max_fee` is the gas price of types 0 and 1; `chain_id` None: signed for any chain."""

    type: int = LEGACY
    chain_id: int | None = None
    nonce: int = 0
    priority_fee: int = 0
    max_fee: int = 0
    gas_limit: int = 0
    to: bytes | None = None
    value: int = 0
    data: bytes = b""
    access_list: AccessList = ()
    max_blob_fee: int = 0
    blob_hashes: tuple[bytes, ...] = ()
    authorizations: tuple[Authorization, ...] = ()
    v: int = 0
    r: int = 0
    s: int = 0

    def require_possible(self) -> "Fields":
        """Refuse what no encoding and no account allows, and return the fields."""
        if self.nonce >= _U64:
            raise Refused("tx.nonce_overflow", "the nonce is 2**64 - 1 or more")
        if self.gas_limit > _U64:
            raise Refused("tx.gas_limit_overflow", "the gas limit exceeds 64 bits")
        if max(self.value, self.max_fee, self.priority_fee, self.max_blob_fee) > _U256:
            raise Refused("tx.value_overflow", "an amount exceeds 256 bits")
        if self.type >= DYNAMIC_FEE and self.priority_fee > self.max_fee:
            raise Refused("tx.priority_above_fee_cap", "the priority fee exceeds the fee cap")
        if self.gas_limit * self.max_fee > _U256:
            raise Refused("tx.fee_overflow", "gas limit x fee cap exceeds 256 bits")
        if self.type == BLOB and self.to is None:
            raise Refused("tx.blob_creation", "a blob transaction creates no contract")
        if self.type == SET_CODE and self.to is None:
            raise Refused("tx.set_code_creation", "a transaction with authorizations creates no contract")
        if not all(entry.fits for entry in self.authorizations):
            raise Refused("tx.authorization_format", "an authorization's number is too large to be encoded")
        return self

    @property
    def highest_cost(self) -> int:
        """What the sender must hold."""
        blobs = len(self.blob_hashes) << 17
        return self.gas_limit * self.max_fee + blobs * self.max_blob_fee + self.value

    @property
    def fees_fit(self) -> bool:
        """Whether the core's 128 bits hold the fees, so that it can judge the sender's balance itself."""
        return max(self.max_fee, self.max_blob_fee) <= _U128

    def to_core(self, sender: bytes, raw: bytes = b"") -> _core.Transaction:
        """Return the transaction for the core."""
        return _core.plain_transaction(
            type=self.type,
            sender=sender,
            nonce=self.nonce,
            gas_limit=self.gas_limit,
            max_fee=min(self.max_fee, _U128),
            priority_fee=min(self.priority_fee, _U128) if self.type >= DYNAMIC_FEE else None,
            to=self.to,
            value=self.value,
            input=self.data,
            chain_id=self.chain_id,
            access_list=[(address, list(slots)) for address, slots in self.access_list],
            blob_hashes=list(self.blob_hashes),
            max_blob_fee=min(self.max_blob_fee, _U128),
            authorizations=[_core_authorization(entry) for entry in self.authorizations],
            raw=raw,
        )


# Fields in the order of their encoding, by type; legacy has no chain id of its own.
_FEE_MARKET: Final = (
    *("chain_id", "nonce", "priority_fee", "max_fee", "gas_limit"),
    *("to", "value", "data", "access_list"),
)
_LAYOUT: Final[dict[int, tuple[str, ...]]] = {
    LEGACY: ("nonce", "max_fee", "gas_limit", "to", "value", "data"),
    ACCESS_LIST: ("chain_id", "nonce", "max_fee", "gas_limit", "to", "value", "data", "access_list"),
    DYNAMIC_FEE: _FEE_MARKET,
    BLOB: (*_FEE_MARKET, "max_blob_fee", "blob_hashes"),
    SET_CODE: (*_FEE_MARKET, "authorizations"),
}
_BYTES_OF: Final = {"chain_id": 32, "nonce": 8, "gas_limit": 8}
"""Longest encoding of a number that is not 32 bytes."""


def encode(fields: Fields) -> bytes:
    """Return the signed transaction as blocks hold it (EIP-2718)."""
    return _encoded(fields, [rlp.encode_int(part) for part in (fields.v, fields.r, fields.s)])


def signing_hash(fields: Fields) -> bytes:
    """Return what the sender signs; a legacy transaction with a chain id by EIP-155."""
    tail: list[rlp.Encodable] = []
    if fields.type == LEGACY and fields.chain_id is not None:
        tail = [rlp.encode_int(fields.chain_id), b"", b""]
    return keccak256(_encoded(fields, tail))


def sign(fields: Fields, secret: bytes) -> Fields:
    """Return the transaction with its signature."""
    signature = ecdsa_sign(secret, signing_hash(fields))
    parity, v = signature[64], signature[64]
    if fields.type == LEGACY:
        v = parity + 27 if fields.chain_id is None else parity + 35 + 2 * fields.chain_id
    return replace(
        fields, v=v, r=int.from_bytes(signature[:32], "big"), s=int.from_bytes(signature[32:64], "big")
    )


def sender_of(fields: Fields) -> bytes:
    """Return who signed; raises `Refused` `tx.bad_signature`."""
    parity = fields.v
    if fields.type == LEGACY:
        parity = fields.v - 27 if fields.chain_id is None else fields.v - 35 - 2 * fields.chain_id
    if parity not in {0, 1} or max(fields.r, fields.s) > _U256:
        raise Refused("tx.bad_signature", "the signature is not valid")
    signature = fields.r.to_bytes(32, "big") + fields.s.to_bytes(32, "big") + bytes([parity])
    try:
        return ecdsa_recover(signing_hash(fields), signature)
    except InvalidInput as error:
        raise Refused("tx.bad_signature", error.message) from error


def decode(raw: bytes) -> Fields:
    """Return the transaction that these bytes are; raises `Refused` `tx.malformed`, `tx.type_not_supported`."""
    if raw and raw[0] < 0x80 and raw[0] not in _LAYOUT:
        raise Refused("tx.type_not_supported", "types 0 to 4 are known")
    typed = bool(raw) and 0 < raw[0] <= SET_CODE
    kind = raw[0] if typed else LEGACY
    layout = _LAYOUT[kind]
    try:
        items = rlp.decode_list(raw[1:] if typed else raw, len(layout) + 3)
        values: dict[str, Any] = {
            name: _decoded(name, item) for name, item in zip(layout, items, strict=False)
        }
        v, r, s = (rlp.decode_int(item) for item in items[len(layout) :])
    except InvalidInput as error:
        raise Refused("tx.malformed", error.message) from error
    if kind == LEGACY and v not in {27, 28}:
        if v < 35:
            raise Refused("tx.bad_signature", "v is neither 27, 28 nor that of a chain")
        values["chain_id"] = (v - 35) // 2
    return Fields(**values, type=kind, v=v, r=r, s=s)


def _encoded(fields: Fields, tail: Sequence[rlp.Encodable]) -> bytes:
    parts = [_encodable(name, getattr(fields, name)) for name in _LAYOUT[fields.type]]
    body = rlp.encode([*parts, *tail])
    return body if fields.type == LEGACY else bytes([fields.type]) + body


def _encodable(name: str, value: object) -> rlp.Encodable:
    if isinstance(value, int):
        return rlp.encode_int(value)
    if isinstance(value, bytes):
        return value
    if value is None:
        return b""
    if name == "authorizations":
        return [_encodable_authorization(entry) for entry in value]  # type: ignore[attr-defined] # a tuple
    if name == "access_list":
        return [[address, list(slots)] for address, slots in value]  # type: ignore[attr-defined] # a tuple
    return list(value)  # type: ignore[call-overload, no-any-return] # blob hashes, a tuple


def _encodable_authorization(entry: Authorization) -> list[rlp.Encodable]:
    numbers = (entry.nonce, entry.y_parity, entry.r, entry.s)
    return [rlp.encode_int(entry.chain_id), entry.address, *(rlp.encode_int(part) for part in numbers)]


def _decoded(name: str, item: rlp.Item) -> object:
    if name == "to":
        return None if item == b"" else _fixed(item, 20)
    if name == "data":
        return _fixed(item, None)
    if name == "access_list":
        return tuple(_decoded_access(entry) for entry in _elements(item))
    if name == "blob_hashes":
        return tuple(_fixed(entry, 32) for entry in _elements(item))
    if name == "authorizations":
        return tuple(_decoded_authorization(entry) for entry in _elements(item))
    return rlp.decode_int(item, _BYTES_OF.get(name, 32))


def _decoded_access(item: rlp.Item) -> tuple[bytes, tuple[bytes, ...]]:
    address, slots = _elements(item, 2)
    return _fixed(address, 20), tuple(_fixed(slot, 32) for slot in _elements(slots))


def _decoded_authorization(item: rlp.Item) -> Authorization:
    chain_id, address, nonce, y_parity, r, s = _elements(item, 6)
    return Authorization(
        rlp.decode_int(chain_id),
        _fixed(address, 20),
        rlp.decode_int(nonce, 8),
        rlp.decode_int(y_parity, 1),
        rlp.decode_int(r),
        rlp.decode_int(s),
    )


def _elements(item: rlp.Item, length: int | None = None) -> list[rlp.Item]:
    if not isinstance(item, list) or (length is not None and len(item) != length):
        raise Refused("tx.malformed", "a list is missing or has another length")
    return item


def _fixed(item: rlp.Item, length: int | None) -> bytes:
    if isinstance(item, list) or (length is not None and len(item) != length):
        raise Refused("tx.malformed", f"bytes of length {length} wanted" if length else "bytes wanted")
    return item


def _core_authorization(entry: Authorization) -> _core.Authorization:
    return _core.Authorization(
        chain_id=entry.chain_id,
        address=entry.address,
        nonce=entry.nonce,
        y_parity=entry.y_parity,
        r=entry.r,
        s=entry.s,
    )
