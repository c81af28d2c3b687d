"""Transactions taken apart into fields, so that like stands beside like; what does not fit stays whole.

A transaction is taken apart only if putting it together again gives the same bytes, so any bytes survive.
"""

from typing import Final, NamedTuple, TypeAlias

from primitives import rlp
from primitives.errors import InvalidInput
from primitives.ids import ADDRESS_BYTES, HASH_BYTES

LEGACY: Final = 0
ACCESS_LIST: Final = 1
DYNAMIC_FEE: Final = 2
SET_CODE: Final = 4
WHOLE: Final = 0xFF
"""Kind of what is kept as it is: another chain's transaction, an unprotected one, or none at all."""
KINDS: Final = frozenset({LEGACY, ACCESS_LIST, DYNAMIC_FEE, SET_CODE, WHOLE})

_REPLAY_PROTECTED: Final = 35
FIELDS: Final = {LEGACY: 9, ACCESS_LIST: 11, DYNAMIC_FEE: 12, SET_CODE: 13}
"""RLP items that each type has at its top."""
_U64: Final = 2**64

AccessList: TypeAlias = "tuple[tuple[bytes, tuple[bytes, ...]], ...]"
"""(address, storage slots) each."""


class Authorization(NamedTuple):
    """One entry of a type 4 transaction (EIP-7702)."""

    chain_id: int
    address: bytes
    nonce: int
    parity: int
    r: int
    s: int


class Fields(NamedTuple):
    """A transaction taken apart; `fee` is the gas price of types 0 and 1, else the highest fee per gas."""

    kind: int
    nonce: int
    gas_limit: int
    fee: int
    priority_fee: int
    to: bytes
    value: int
    data: bytes
    access_list: AccessList
    authorizations: tuple[Authorization, ...]
    parity: int
    r: int
    s: int


def take_apart(raw: bytes, chain_id: int) -> Fields | None:
    """Return the fields of a transaction for this chain, or None for bytes that must stay whole."""
    try:
        fields = _parse(raw, chain_id)
    except InvalidInput:
        return None
    return fields if fields is not None and put_together(fields, chain_id) == raw else None


def put_together(fields: Fields, chain_id: int) -> bytes:
    """Return the transaction's bytes: the inverse of `take_apart`."""
    number = rlp.encode_int
    kind = fields.kind
    prefix: list[rlp.Encodable] = [] if kind == LEGACY else [number(chain_id)]
    prefix.append(number(fields.nonce))
    if kind in (DYNAMIC_FEE, SET_CODE):
        prefix.append(number(fields.priority_fee))
    body: list[rlp.Encodable] = [
        number(fields.fee),
        number(fields.gas_limit),
        fields.to,
        number(fields.value),
        fields.data,
    ]
    if kind != LEGACY:
        body.append([[address, list(slots)] for address, slots in fields.access_list])
    if kind == SET_CODE:
        body.append([_encode_authorization(each) for each in fields.authorizations])
    parity = fields.parity if kind != LEGACY else _REPLAY_PROTECTED + 2 * chain_id + fields.parity
    encoded = rlp.encode([*prefix, *body, number(parity), number(fields.r), number(fields.s)])
    return encoded if kind == LEGACY else bytes([kind]) + encoded


def _parse(raw: bytes, chain_id: int) -> Fields | None:
    """Read any of the four types; None or InvalidInput for what is not one of them."""
    kind = raw[0] if raw and raw[0] < 0x80 else LEGACY
    if kind not in FIELDS or (kind == LEGACY and raw[:1] == b"\0"):
        return None
    items = rlp.decode_list(raw if kind == LEGACY else raw[1:], FIELDS[kind])
    if kind != LEGACY and _small(items.pop(0)) != chain_id:
        return None
    nonce = _small(items.pop(0))
    priority_fee = rlp.decode_int(items.pop(0)) if kind in (DYNAMIC_FEE, SET_CODE) else 0
    fee, gas_limit = rlp.decode_int(items[0]), _small(items[1])
    last = rlp.decode_int(items[-3])
    parity = last - _REPLAY_PROTECTED - 2 * chain_id if kind == LEGACY else last
    if parity not in (0, 1):
        return None
    return Fields(
        kind=kind,
        nonce=nonce,
        gas_limit=gas_limit,
        fee=fee,
        priority_fee=priority_fee,
        to=_string(items[2], (0, ADDRESS_BYTES)),
        value=rlp.decode_int(items[3]),
        data=_string(items[4]),
        access_list=() if kind == LEGACY else _access_list(items[5]),
        authorizations=_authorizations(items[6]) if kind == SET_CODE else (),
        parity=parity,
        r=rlp.decode_int(items[-2]),
        s=rlp.decode_int(items[-1]),
    )


def _access_list(item: rlp.Item) -> AccessList:
    entries = []
    for entry in _list(item):
        address, slots = _list(entry, 2)
        keys = tuple(_string(slot, (HASH_BYTES,)) for slot in _list(slots))
        entries.append((_string(address, (ADDRESS_BYTES,)), keys))
    return tuple(entries)


def _authorizations(item: rlp.Item) -> tuple[Authorization, ...]:
    return tuple(_authorization(entry) for entry in _list(item))


def _authorization(entry: rlp.Item) -> Authorization:
    chain_id, address, nonce, parity, r, s = _list(entry, 6)
    read_parity = _small(parity)
    if read_parity > 1:
        raise _stays_whole()
    return Authorization(
        chain_id=_small(chain_id),
        address=_string(address, (ADDRESS_BYTES,)),
        nonce=_small(nonce),
        parity=read_parity,
        r=rlp.decode_int(r),
        s=rlp.decode_int(s),
    )


def _encode_authorization(entry: Authorization) -> list[rlp.Encodable]:
    number = rlp.encode_int
    numbers = (entry.nonce, entry.parity, entry.r, entry.s)
    return [number(entry.chain_id), entry.address, *(number(each) for each in numbers)]


def _small(item: rlp.Item) -> int:
    """Read an integer that the integer columns can hold."""
    value = rlp.decode_int(item)
    if value >= _U64:
        raise _stays_whole()
    return value


def _string(item: rlp.Item, sizes: tuple[int, ...] = ()) -> bytes:
    if isinstance(item, list) or (sizes and len(item) not in sizes):
        raise _stays_whole()
    return item


def _list(item: rlp.Item, length: int | None = None) -> list[rlp.Item]:
    if not isinstance(item, list) or length not in (None, len(item)):
        raise _stays_whole()
    return item


def _stays_whole() -> InvalidInput:
    return InvalidInput("batch.stays_whole", "this transaction cannot be taken apart")
