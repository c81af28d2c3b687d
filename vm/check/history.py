"""Checks undo data and history: what is there against what must be, and old states against their headers."""

from array import array
from zlib import crc32

from primitives import rlp
from primitives.errors import BitaiError, InvalidInput
from vm import schema
from vm._core import EMPTY_ROOT, CoreError, Header, history_rows, keccak256
from vm.chain import Chain
from vm.check.fault import HARMLESS, OLD_STATES, REBUILD, Fault, Findings, Tick
from vm.check.state import ACCOUNT, NODE, SLOT, STORAGE_NODE, read_account
from vm.check.tries import Child, Leaf, Path, nibbles_of, parts_of
from vm.history import PastRows, read_marks, read_sweep
from vm.store import Snapshot

KINDS = (ACCOUNT, SLOT, NODE, STORAGE_NODE)
NUMBER_BYTES = 8


def check_undo(rows: Snapshot, head: int, sample: int) -> Findings:
    """Find undo data that is missing, does not decode, or is not what history says; one row of `sample` is followed."""
    floor = schema.decode_number(rows.get(schema.META_UNDO_FLOOR) or bytes(NUMBER_BYTES))
    indexed, judge = read_marks(rows).indexed.number, _Judge(rows, head)
    for number in range(max(floor, 1), head + 1):
        undo, key = rows.get(schema.undo_key(number)), schema.undo_key(number)
        yield Tick("undo data", 1)
        if undo is None:
            yield Fault("undo.missing", key, f"block {number} cannot be taken back", REBUILD)
            continue
        try:
            former, _ = history_rows(undo, number)
        except CoreError as error:
            yield Fault("undo.malformed", key, f"block {number}: {error.message}", REBUILD)
            continue
        yield Tick("undo data", len(former))
        for count, (place, value) in enumerate(former):
            row = place[2:-NUMBER_BYTES]
            if number <= indexed and rows.get(place) != value:
                yield Fault("history.not_undo", place, f"block {number} has other undo data", OLD_STATES)
            elif number > indexed and (count % sample == 0 or row == NODE):
                yield from judge.judge(key, row, number, value or None)
    for key, _ in rows.scan(schema.UNDO_PREFIX):
        if not floor <= int.from_bytes(key[1:], "big") <= head:
            yield Fault("orphan.undo", key, "no block that can be taken back has it", HARMLESS)


def check_history(rows: Snapshot, head: int, sample: int) -> Findings:
    """Find former values that were lost or damaged; of `sample` rows one is followed from its state's root."""
    judge, marks, sweep = _Judge(rows, head), read_marks(rows), read_sweep(rows)
    sums = _Sums(min(marks.indexed.number, head))
    for count, (key, value) in enumerate(rows.scan(schema.HISTORY_PREFIX)):
        yield Tick("history", 1)
        row, number = key[2:-NUMBER_BYTES], int.from_bytes(key[-NUMBER_BYTES:], "big")
        if len(key) < 3 + NUMBER_BYTES or key[1] != len(row) or row[:1] not in KINDS:
            yield Fault("history.malformed", key, "no state row has such a key", OLD_STATES)
        elif not sweep.done < number <= min(marks.indexed.number + 1, head):
            yield Fault(
                "orphan.history", key, f"no kept state needs what was ahead of block {number}", HARMLESS
            )
        else:
            sums.add(number, key, value)
            if number > marks.floor and (count % sample == 0 or row == NODE):
                yield from judge.judge(key, row, number, value or None)
    yield from _check_sums(rows, sums, max(marks.floor, sweep.target))


class _Sums:
    """Rows counted and summed for each block, in 16 bytes a block."""

    def __init__(self, highest: int) -> None:
        self.highest = highest
        self._rows, self._totals = array("Q", bytes(8 * (highest + 1))), array("Q", bytes(8 * (highest + 1)))

    def add(self, number: int, key: bytes, value: bytes) -> None:
        """Count a row."""
        if number <= self.highest:
            self._rows[number] += 1
            self._totals[number] += crc32(key + value)

    def of(self, number: int) -> schema.HistorySum:
        """Return what was found of a block."""
        return schema.HistorySum(self._rows[number], self._totals[number])


def _check_sums(rows: Snapshot, sums: _Sums, below: int) -> Findings:
    """Compare what was found of each block above `below` with what was written."""
    for number in range(below + 1, sums.highest + 1):
        yield Tick("history", 1)
        key = schema.history_sum_key(number)
        value = rows.get(key)
        if value is None or value != schema.encode_history_sum(sums.of(number)):
            meaning = f"of what was ahead of block {number} rows are lost, damaged or too many"
            yield Fault("history.sum", key, meaning, OLD_STATES)
    for key, _ in rows.scan(schema.HISTORY_SUM_PREFIX, schema.encode_number(sums.highest + 1)):
        yield Fault("orphan.history", key, "no block has this history", HARMLESS)


def read_header(chain: Chain, number: int) -> Header | None:
    """Return a header, None for one that does not decode: among the blocks that is told."""
    try:
        return chain.header(number)
    except BitaiError:
        return None


class _Judge:
    """Follows state rows from the root of an old state's header."""

    def __init__(self, rows: Snapshot, head: int) -> None:
        self._rows, self._chain, self._head = rows, Chain(rows), head

    def judge(self, key: bytes, row: bytes, number: int, value: bytes | None) -> Findings:
        """Compare a row ahead of a block with what the state of that time has there."""
        header = read_header(self._chain, number - 1)
        if header is None:
            return  # told among the blocks
        try:
            past = PastRows(self._rows, number - 1, self._head)
            found = self._expected(past, row, header.state_root)
        except BitaiError as error:
            yield Fault("history.broken", key, f"the way there is broken: {error.message}", OLD_STATES)
            return
        if found != value:
            meaning = f"the state after block {number - 1} had another value"
            yield Fault("history.wrong", key, meaning, OLD_STATES)

    def _expected(self, past: PastRows, row: bytes, state_root: bytes) -> bytes | None:
        table, rest = row[:1], row[1:]
        if table == NODE:
            return _node_at(past, NODE, state_root, rest)
        account = _leaf_of(past, NODE, state_root, keccak256(rest[:20]))
        if table == ACCOUNT:
            return account
        root = EMPTY_ROOT if account is None else read_account(account)[0]
        prefix = STORAGE_NODE + rest[:20]
        if table == STORAGE_NODE:
            return _node_at(past, prefix, root, rest[20:])
        leaf = _leaf_of(past, prefix, root, keccak256(rest[20:]))
        value = None if leaf is None else rlp.decode(leaf)
        return value if isinstance(value, bytes) else None


def _walk(
    past: PastRows, prefix: bytes, root: bytes, path: Path
) -> tuple[Path, bytes, list[Child | Leaf]] | None:
    """Return the lowest stored node on the way to a path: its place, its bytes, and what hangs on it."""
    at, lowest = (None if root == EMPTY_ROOT else Child(b"", root)), None
    while at is not None:
        (encoded,) = past.read([prefix + at.path])
        if encoded is None or keccak256(encoded) != at.hash:
            raise InvalidInput("trie.broken", f"the node at {at.path.hex()} is not the one that is named")
        parts = parts_of(at.path, encoded)
        lowest = (at.path, encoded, parts)
        if at.path == path:
            break
        at = next((each for each in parts if isinstance(each, Child) and path.startswith(each.path)), None)
    return lowest


def _node_at(past: PastRows, prefix: bytes, root: bytes, path: Path) -> bytes | None:
    lowest = _walk(past, prefix, root, path)
    return lowest[1] if lowest is not None and lowest[0] == path else None


def _leaf_of(past: PastRows, prefix: bytes, root: bytes, hashed: bytes) -> bytes | None:
    path = nibbles_of(hashed)
    lowest = _walk(past, prefix, root, path)
    parts = () if lowest is None else lowest[2]
    return next((each.value for each in parts if isinstance(each, Leaf) and each.path == path), None)
