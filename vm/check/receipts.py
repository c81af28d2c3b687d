"""Checks receipts: what the header commits to, and what they say besides against the transactions themselves."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from primitives import rlp
from primitives.errors import InvalidInput
from vm import schema
from vm._core import (
    SYSTEM_TRANSACTION_TYPE,
    CoreError,
    Header,
    Receipt,
    SystemTransaction,
    decode,
    keccak256,
    keccak256_many,
    logs_bloom,
    ordered_root,
)
from vm.check.fault import REBUILD, Fault

WEI_PER_UNIT: Final = 10
"""Of one byte at a rate of 1 sat per 1,000 weight units and a scalar of one millionth."""


class _Facts(NamedTuple):
    """What a receipt says of its transaction that no root commits to."""

    sender: bytes
    to: bytes | None
    effective_gas_price: int
    contract_address: bytes | None
    paid: tuple[int, int]
    """Bytes on Bitcoin and what they cost."""


def check_receipts(
    number: int, header: Header, raws: Sequence[bytes], receipts: Sequence[Receipt]
) -> Iterator[Fault]:
    """Find receipts that are not those of a block's transactions; senders are recovered anew."""
    key = schema.receipts_key(number)
    if ordered_root([receipt.encode() for receipt in receipts]) != header.receipts_root:
        yield Fault("receipts.wrong_root", key, f"block {number}: other receipts", REBUILD)
    logs = [(log.address, log.topics) for receipt in receipts for log in receipt.logs]
    if logs_bloom(logs) != header.logs_bloom:
        yield Fault("receipts.wrong_bloom", key, f"block {number}: other logs", REBUILD)
    if [receipt.transaction_hash for receipt in receipts] != keccak256_many(raws):
        yield Fault("receipts.wrong_transactions", key, f"block {number}: of others", REBUILD)
        return
    try:
        expected = list(_facts(raws, receipts, header.base_fee))
    except (CoreError, InvalidInput) as error:
        yield Fault("body.malformed", schema.body_key(number), f"block {number}: {error}", REBUILD)
        return
    told = [_told(each) for each in receipts]
    if told != expected:
        yield Fault("receipts.wrong_facts", key, f"block {number}: facts of other transactions", REBUILD)


def _told(receipt: Receipt) -> _Facts:
    """Return what a receipt says."""
    return _Facts(
        receipt.sender,
        receipt.to,
        receipt.effective_gas_price,
        receipt.contract_address,
        (receipt.data_size, receipt.data_fee),
    )


def _facts(raws: Sequence[bytes], receipts: Sequence[Receipt], base_fee: int) -> Iterator[_Facts]:
    """Work the facts out again."""
    users = [raw for raw in raws if raw[0] != SYSTEM_TRANSACTION_TYPE]
    decoded = iter(decode(users, _chain_id(users[0])) if users else ())
    for raw, receipt in zip(raws, receipts, strict=True):
        if raw[0] == SYSTEM_TRANSACTION_TYPE:
            system = SystemTransaction.decode(raw)
            nonce = receipt.deposit_nonce or 0
            made = _created(system.sender, system.to, nonce, receipt)
            yield _Facts(system.sender, system.to, 0, made, (0, 0))
            continue
        user = next(decoded)
        if isinstance(user, tuple):
            raise InvalidInput(*user)
        price = user.effective_gas_price(base_fee)
        made = _created(user.sender, user.to, user.nonce, receipt)
        yield _Facts(user.sender, user.to, price, made, _paid(user.data_size, receipt))


def _paid(size: int, receipt: Receipt) -> tuple[int, int]:
    """Return the size, and the fee at the price that the receipt names; where bytes are free the size may miss."""
    fee = size * receipt.data_rate * receipt.data_scalar * WEI_PER_UNIT
    return (size, fee) if fee or receipt.data_size else (0, 0)


def _created(sender: bytes, to: bytes | None, nonce: int, receipt: Receipt) -> bytes | None:
    """Return where a creation that succeeded put its contract."""
    if to is not None or not receipt.status:
        return None
    return keccak256(rlp.encode([sender, rlp.encode_int(nonce)]))[12:]


def _chain_id(raw: bytes) -> int:
    """Return the chain that a signed transaction is for: a typed one's first field, or part of a classic one's v."""
    if raw[0] < 0x80:
        return rlp.decode_int(_field(raw[1:], 0))
    return (rlp.decode_int(_field(raw, 6)) - 35) // 2


def _field(encoded: bytes, index: int) -> rlp.Item:
    fields = rlp.decode(encoded)
    if not isinstance(fields, list) or len(fields) <= index:
        raise InvalidInput("tx.malformed", "a transaction lacks fields")
    return fields[index]
