"""The columns of a batch's transactions: kinds, each field of those taken apart, those kept whole."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Final

from primitives import rlp
from primitives.errors import InvalidInput
from primitives.ids import HASH_BYTES
from rollup.batch.columns import ColumnReader, ColumnWriter, Table, flatten
from rollup.batch.transactions import (
    DYNAMIC_FEE,
    FIELDS,
    KINDS,
    LEGACY,
    SET_CODE,
    WHOLE,
    AccessList,
    Authorization,
    Fields,
    put_together,
    take_apart,
)

SELECTOR_BYTES: Final = 4
_WORD_BYTES: Final = 32
_ENTRY_BYTES: Final = 23
"""The least that an access list's entry takes as RLP: two list prefixes and an address."""
_SLOT_BYTES: Final = 33
_MIN_AUTHORIZATION_BYTES: Final = 27
"""As RLP: a list prefix, an address, and five integers of at least one byte."""


def write_transactions(writer: ColumnWriter, raws: Sequence[bytes], addresses: Table, chain_id: int) -> None:
    """Append the transactions, in order."""
    taken = [take_apart(raw, chain_id) for raw in raws]
    fields = [each for each in taken if each is not None]
    writer.octets([WHOLE if each is None else each.kind for each in taken])
    writer.uvarints(each.nonce for each in fields)
    writer.uvarints(each.gas_limit for each in fields)
    writer.amounts([each.fee for each in fields])
    writer.amounts([each.priority_fee for each in fields if _has_priority_fee(each.kind)])
    addresses.write(writer, [each.to or None for each in fields])
    writer.amounts([each.value for each in fields])
    _write_data(writer, [each.data for each in fields])
    _write_access_lists(writer, [each.access_list for each in fields if each.kind != LEGACY], addresses)
    _write_authorizations(
        writer, [each.authorizations for each in fields if each.kind == SET_CODE], addresses
    )
    writer.bits([each.parity for each in fields])
    writer.raw(_words(each.r for each in fields))
    writer.raw(_words(each.s for each in fields))
    writer.strings([raw for raw, each in zip(raws, taken, strict=True) if each is None])


def read_transactions(
    reader: ColumnReader, count: int, addresses: Table, *, chain_id: int, max_bytes: int
) -> list[bytes]:
    """Return the transactions, together at most `max_bytes` long: a table unfolds to more than it takes.

    Raises InvalidInput `batch.bad_kind`, `batch.not_whole`, `batch.too_large`, and what the columns raise.
    """
    kinds = reader.octets(count)
    if not KINDS.issuperset(kinds):
        raise InvalidInput("batch.bad_kind", "a transaction of unknown kind")
    split = [kind for kind in kinds if kind != WHOLE]
    fields = _read_fields(reader, split, addresses, max_bytes)
    whole = iter(_read_whole(reader, count - len(split), chain_id, max_bytes))
    raws, total = [], 0
    for kind in kinds:
        raw = next(whole) if kind == WHOLE else put_together(next(fields), chain_id)
        total += len(raw)
        if total > max_bytes or (kind != WHOLE and len(raw) > rlp.MAX_BYTES):
            raise InvalidInput("batch.too_large", "the transactions are longer than allowed", limit=max_bytes)
        raws.append(raw)
    return raws


def _read_fields(
    reader: ColumnReader, kinds: Sequence[int], addresses: Table, limit: int
) -> Iterator[Fields]:
    """Yield the fields of the transactions taken apart; all columns are read before the first is yielded."""
    count = len(kinds)
    nonces, gas_limits, fees = reader.uvarints(count), reader.uvarints(count), reader.amounts(count)
    priority_fees = iter(reader.amounts(sum(_has_priority_fee(kind) for kind in kinds)))
    recipients = addresses.read(reader, count)
    values, data = reader.amounts(count), _read_data(reader, count, limit)
    room = limit - sum(map(len, data))
    typed = [kind for kind in kinds if kind != LEGACY]
    access_lists = _read_access_lists(reader, typed, addresses, room)
    authorizations = _read_authorizations(reader, typed.count(SET_CODE), addresses, room)
    parities, rs, ss = reader.bits(count), _integers(reader, count), _integers(reader, count)
    return (
        Fields(
            kind=kind,
            nonce=nonces[index],
            gas_limit=gas_limits[index],
            fee=fees[index],
            priority_fee=next(priority_fees) if _has_priority_fee(kind) else 0,
            to=recipients[index] or b"",
            value=values[index],
            data=data[index],
            access_list=() if kind == LEGACY else next(access_lists),
            authorizations=next(authorizations) if kind == SET_CODE else (),
            parity=parities[index],
            r=rs[index],
            s=ss[index],
        )
        for index, kind in enumerate(kinds)
    )


def _read_whole(reader: ColumnReader, count: int, chain_id: int, limit: int) -> list[bytes]:
    raws = reader.strings(count, limit)
    if any(take_apart(raw, chain_id) is not None for raw in raws):
        raise InvalidInput("batch.not_whole", "a transaction that can be taken apart is kept whole")
    return raws


def _write_data(writer: ColumnWriter, data: Sequence[bytes]) -> None:
    """Write lengths, the selectors of all that are long enough as a table, and what follows them."""
    selectors = Table(SELECTOR_BYTES)
    writer.uvarints(len(each) for each in data)
    selectors.write(writer, [each[:SELECTOR_BYTES] for each in data if len(each) >= SELECTOR_BYTES])
    writer.raw(each[SELECTOR_BYTES:] if len(each) >= SELECTOR_BYTES else each for each in data)


def _read_data(reader: ColumnReader, count: int, limit: int) -> list[bytes]:
    lengths = reader.uvarints(count)
    if sum(lengths) > limit:
        raise InvalidInput("batch.too_large", "call data is longer than allowed", limit=limit)
    long = sum(length >= SELECTOR_BYTES for length in lengths)
    selectors = iter(Table(SELECTOR_BYTES).read_all(reader, long))
    return [
        next(selectors) + reader.take(length - SELECTOR_BYTES)
        if length >= SELECTOR_BYTES
        else reader.take(length)
        for length in lengths
    ]


def _write_access_lists(writer: ColumnWriter, lists: Sequence[AccessList], addresses: Table) -> None:
    entries = [entry for each in lists for entry in each]
    writer.uvarints(len(each) for each in lists)
    addresses.write(writer, [address for address, _ in entries])
    writer.uvarints(len(slots) for _, slots in entries)
    writer.raw(flatten(slots for _, slots in entries))


def _read_access_lists(
    reader: ColumnReader, kinds: Sequence[int], addresses: Table, limit: int
) -> Iterator[AccessList]:
    """Read the access lists of transactions of these kinds; each is built when it is asked for.

    What they unfold to is bounded before anything is built: one byte here can stand for 23 there.
    """
    entry_counts = reader.uvarints(len(kinds))
    _require_room(entry_counts, [0] * len(kinds), limit)
    found = addresses.read_all(reader, sum(entry_counts))
    slot_counts = reader.uvarints(len(found))
    cuts = _cut(entry_counts)
    totals = [sum(slot_counts[start:end]) for start, end in cuts]
    _require_room(entry_counts, totals, limit)
    for kind, entries, slots in zip(kinds, entry_counts, totals, strict=True):
        _require_items(FIELDS[kind] + 3 * entries + slots)
    words = reader.take(HASH_BYTES * sum(totals))

    def build() -> Iterator[AccessList]:
        place = 0
        for start, end in cuts:
            entries = []
            for address, count in zip(found[start:end], slot_counts[start:end], strict=True):
                entries.append((address, tuple(_split_words(words, place, count))))
                place += count
            yield tuple(entries)

    return build()


def _write_authorizations(
    writer: ColumnWriter, lists: Sequence[tuple[Authorization, ...]], addresses: Table
) -> None:
    entries = [entry for each in lists for entry in each]
    writer.uvarints(len(each) for each in lists)
    writer.uvarints(each.chain_id for each in entries)
    addresses.write(writer, [each.address for each in entries])
    writer.uvarints(each.nonce for each in entries)
    writer.bits([each.parity for each in entries])
    writer.raw(_words(each.r for each in entries))
    writer.raw(_words(each.s for each in entries))


def _read_authorizations(
    reader: ColumnReader, count: int, addresses: Table, limit: int
) -> Iterator[tuple[Authorization, ...]]:
    """Read the authorizations of `count` transactions; each list is built when it is asked for."""
    counts = reader.uvarints(count)
    total = sum(counts)
    if _MIN_AUTHORIZATION_BYTES * total > limit:
        raise _too_large("authorizations", limit)
    for each in counts:
        _require_items(FIELDS[SET_CODE] + 7 * each)
    chain_ids, found = reader.uvarints(total), addresses.read_all(reader, total)
    nonces, parities = reader.uvarints(total), reader.bits(total)
    rs, ss = reader.take(_WORD_BYTES * total), reader.take(_WORD_BYTES * total)

    def build(index: int) -> Authorization:
        (r,), (s,) = _split_words(rs, index, 1), _split_words(ss, index, 1)
        numbers = (int.from_bytes(r, "big"), int.from_bytes(s, "big"))
        return Authorization(chain_ids[index], found[index], nonces[index], parities[index], *numbers)

    return (tuple(build(index) for index in range(start, end)) for start, end in _cut(counts))


def _require_room(entry_counts: Sequence[int], slot_counts: Sequence[int], limit: int) -> None:
    """Refuse access lists whose RLP does not fit, each into a transaction and all into `limit`."""
    sizes = [
        _ENTRY_BYTES * entries + _SLOT_BYTES * slots
        for entries, slots in zip(entry_counts, slot_counts, strict=True)
    ]
    if sum(sizes) > limit or max(sizes, default=0) > rlp.MAX_BYTES:
        raise _too_large("access lists", limit)


def _require_items(items: int) -> None:
    """Refuse a transaction of more RLP items than a reader takes: such a one would have been kept whole."""
    if items >= rlp.MAX_ITEMS:  # the transaction itself is one more
        raise _too_large("lists", rlp.MAX_ITEMS)


def _too_large(what: str, limit: int) -> InvalidInput:
    return InvalidInput("batch.too_large", f"{what} are longer than allowed", limit=limit)


def _cut(counts: Iterable[int]) -> list[tuple[int, int]]:
    return list(pairwise(accumulate(counts, initial=0)))


def _split_words(data: bytes, first: int, count: int) -> list[bytes]:
    starts = range(first * _WORD_BYTES, (first + count) * _WORD_BYTES, _WORD_BYTES)
    return [data[start : start + _WORD_BYTES] for start in starts]


def _has_priority_fee(kind: int) -> bool:
    return kind in (DYNAMIC_FEE, SET_CODE)


def _words(values: Iterable[int]) -> Iterator[bytes]:
    return (value.to_bytes(_WORD_BYTES, "big") for value in values)


def _integers(reader: ColumnReader, count: int) -> list[int]:
    return [int.from_bytes(word, "big") for word in reader.fixed(count, _WORD_BYTES)]
