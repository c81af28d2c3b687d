"""How numbers and hashes read on a page: short for the eye, whole on demand, with their unit."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

_SATS_PER_BTC: Final = 100_000_000


def short_hash(text: str) -> str:
    """The two ends of a long hash; the page shows the whole one as a title."""
    return text if len(text) <= 20 else f"{text[:10]}…{text[-6:]}"


def sats(amount: int | None) -> str:
    """An amount with its unit: sats below a million, BTC above."""
    if amount is None:
        return "not yet known"
    if abs(amount) < 1_000_000:
        return f"{amount:,} sats"
    whole, rest = divmod(abs(amount), _SATS_PER_BTC)
    fraction = f"{rest:08d}".rstrip("0")
    sign = "-" if amount < 0 else ""
    return f"{sign}{whole:,}{'.' + fraction if fraction else ''} BTC"


def byte_count(amount: int) -> str:
    """A size with its unit."""
    return f"{amount:,} B" if amount < 10_000 else f"{amount // 1_000:,} kB"


def count(amount: int) -> str:
    """A number with its thousands apart."""
    return f"{amount:,}"


def clock(timestamp: int) -> str:
    """A block's time in UTC."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def span(first: int | None, last: int | None) -> str:
    """A range of L2 blocks."""
    if first is None:
        return ""
    return f"{first:,}" if last in {None, first} else f"{first:,} to {last:,}"


FILTERS: Final[dict[str, Callable[..., str]]] = {
    "short_hash": short_hash,
    "sats": sats,
    "byte_count": byte_count,
    "count": count,
    "clock": clock,
    "span": span,
}
