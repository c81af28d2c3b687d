"""Content ids: equal for equal data, different for any difference."""

from dataclasses import replace

from primitives.hashes import sha256
from vm.content import content_id
from vm.types import BlockData, InferenceRecord, L1Origin, SystemTransaction

SYSTEM = SystemTransaction(sha256(b"source"), b"\1" * 20, b"\2" * 20, 3, 4, 5, b"data")
RECORD = InferenceRecord(0, sha256(b"request"), 0, b"7", b"\3" * 20, bytes(65), 90)
DATA = BlockData(7, 1_000, L1Origin(90, sha256(b"l1"), 900), (SYSTEM,), (b"one", b"two"), (RECORD,))


def test_everything_counts():
    """Whatever a block is made from is in its content id."""
    others = [
        replace(DATA, number=8),
        replace(DATA, timestamp=1_001),
        replace(DATA, origin=DATA.origin._replace(height=91)),
        replace(DATA, origin=DATA.origin._replace(hash=sha256(b"other"))),
        replace(DATA, origin=DATA.origin._replace(mtp=901)),
        replace(DATA, system_transactions=()),
        replace(DATA, system_transactions=(replace(SYSTEM, mint=4),)),
        replace(DATA, transactions=(b"onetwo",)),
        replace(DATA, transactions=(b"onet", b"wo")),
        replace(DATA, transactions=(b"one", b"two", b"")),
        replace(DATA, records=()),
        replace(DATA, records=(replace(RECORD, signature=b"\1" * 65),)),
        replace(DATA, records=(replace(RECORD, ask_height=89),)),
    ]
    assert len({content_id(each) for each in (DATA, *others)}) == len(others) + 1
    assert content_id(replace(DATA)) == content_id(DATA)
