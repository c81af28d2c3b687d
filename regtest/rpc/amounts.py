"""Amounts on the wire: bitcoins with eight decimals, read exactly and written as Core writes them."""

from decimal import Decimal, InvalidOperation
from typing import Final

import orjson

from regtest.limits import MAX_MONEY_SATS
from regtest.rpc.errors import Code, RpcError

SATS_PER_COIN: Final = 100_000_000


def to_json(sats: int) -> orjson.Fragment:
    """Return an amount as a JSON number with all its decimals."""
    sign = "-" if sats < 0 else ""
    coins, rest = divmod(abs(sats), SATS_PER_COIN)
    return orjson.Fragment(f"{sign}{coins}.{rest:08}".encode())


def to_sats(value: object) -> int:
    """Return the sats of a JSON number or string; raises RpcError -3 as Core's AmountFromValue."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise RpcError(Code.TYPE, "Amount is not a number or string")
    try:
        # repr is the shortest text that reads back as this float: the digits that the client sent.
        amount = Decimal(value if isinstance(value, str) else repr(value))
    except InvalidOperation:
        raise RpcError(Code.TYPE, "Invalid amount") from None
    if not amount.is_finite():
        raise RpcError(Code.TYPE, "Invalid amount")
    if not 0 <= amount <= MAX_MONEY_SATS // SATS_PER_COIN:
        raise RpcError(Code.TYPE, "Amount out of range")
    sats = amount * SATS_PER_COIN
    if sats != int(sats):
        raise RpcError(Code.TYPE, "Invalid amount")
    return int(sats)
