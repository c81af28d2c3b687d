"""The size rule of docs/spec/fees.md once more, written to be read: what the core must agree with."""

WINDOW = 8_191
"""How far back a repetition may lie."""
TAIL = 13
"""Bytes at the end that are never the start of a repetition."""
LONGEST = 262
"""Bytes that one copy instruction covers."""


def lz_length(data: bytes) -> int:
    """Length of a greedy LZ77 encoding with FastLZ's instructions, which nobody has to make."""
    total = 0
    last_seen = [0] * 8_192
    written = 0
    place = 2
    limit = max(len(data) - TAIL, 0)

    def bucket(at: int) -> int:
        three = int.from_bytes(data[at : at + 3], "little")
        return (three * 2_654_435_769 % 2**32) >> 19

    while place < limit:
        found = _find(data, place, limit, last_seen, bucket)
        if found is None:
            break
        place, source = found
        total += _literals(place - written)
        length = _common(data, source + 3, place + 3, len(data) - 4)
        total += _copies(length)
        for at in (place + length, place + length + 1):
            last_seen[bucket(at)] = at
        place += length + 2
        written = place
    return total + _literals(len(data) - written)


def _find(data, place, limit, last_seen, bucket):
    """The next place whose three bytes stood before, and where; remembers every place it passes."""
    while True:
        slot = bucket(place)
        source, last_seen[slot] = last_seen[slot], place
        if place >= limit:
            return None
        if place - source <= WINDOW and data[place : place + 3] == data[source : source + 3]:
            # A find on the last allowed place is one step too late to be used.
            return None if place + 1 >= limit else (place, source)
        place += 1


def _common(data: bytes, source: int, place: int, end: int) -> int:
    """Bytes alike from both places on, the first unlike one counted, up to `end`."""
    count = 0
    while place + count < end:
        count += 1
        if data[source + count - 1] != data[place + count - 1]:
            break
    return count


def _literals(count: int) -> int:
    """32 bytes after each instruction byte."""
    whole, rest = divmod(count, 32)
    return 33 * whole + (rest + 1 if rest else 0)


def _copies(length: int) -> int:
    """Three bytes for each 262, and two or three for the rest."""
    length -= 1
    return 3 * (length // LONGEST) + (3 if length % LONGEST >= 6 else 2)


def data_size(raw: bytes) -> int:
    """Bytes that a transaction is charged for."""
    return max(-(-lz_length(raw) * 965 // 1_000) - 35, 70)
