"""The block log keeps whole records, whatever happened in mid-write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.errors import ConfigError, InvalidInput, InvariantViolation, Temporary
from regtest import block_log
from regtest.block_log import FILE_MARK, MAX_PAYLOAD_BYTES, BlockLog, RecordKind

PAYLOADS = [b"first", b"", b"third" * 100]


def written(path, payloads=PAYLOADS) -> list[int]:
    """Append payloads; returns where each record ends."""
    log = BlockLog(path)
    list(log.recover())
    ends = []
    for payload in payloads:
        log.append(RecordKind.BLOCK, payload)
        ends.append(log.end)
    log.close()
    return ends


def recovered(path, trusted=0):
    """What an opened log yields, and where it ends then."""
    log = BlockLog(path)
    records = list(log.recover(trusted))
    end = log.end
    log.close()
    return [(record.kind, record.payload) for record in records], end


def test_records_come_back_in_order(tmp_path):
    """What was appended is read again, with its kind."""
    path = tmp_path / "log"
    log = BlockLog(path)
    assert list(log.recover()) == []
    log.append(RecordKind.BLOCK, b"block")
    offset = log.append(RecordKind.INVALIDATE, b"hash")
    assert log.read(offset, 4) == b"hash"
    log.close()
    assert recovered(path)[0] == [(RecordKind.BLOCK, b"block"), (RecordKind.INVALIDATE, b"hash")]


def test_trusted_part_is_not_read_again(tmp_path):
    """Recovery begins where the caller says it left off."""
    ends = written(tmp_path / "log")
    assert recovered(tmp_path / "log", ends[1])[0] == [(RecordKind.BLOCK, PAYLOADS[2])]


def test_every_torn_tail_is_cut(tmp_path):
    """Cut anywhere in the last record, the log keeps the others and takes appends again."""
    path = tmp_path / "log"
    ends = written(path)
    whole = path.read_bytes()
    for length in [*range(ends[1], ends[1] + 12), *range(ends[1] + 12, ends[2], 41), ends[2] - 1]:
        path.write_bytes(whole[:length])
        records, end = recovered(path)
        assert [payload for _, payload in records] == PAYLOADS[:2]
        assert end == ends[1] == path.stat().st_size
    assert written(path, [b"more"])
    assert [payload for _, payload in recovered(path)[0]] == [*PAYLOADS[:2], b"more"]


def test_tail_of_zeros_is_cut(tmp_path):
    """A file that grew before its data arrived ends in zeros; they are no record and no damage."""
    path = tmp_path / "log"
    ends = written(path)
    path.write_bytes(path.read_bytes() + bytes(5_000))
    assert recovered(path)[1] == ends[2]


def test_tail_with_wrong_bytes_is_cut(tmp_path):
    """A last record of the right length with garbage in it was never finished."""
    path = tmp_path / "log"
    ends = written(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    assert recovered(path)[1] == ends[1]


def test_damage_in_the_middle_is_reported(tmp_path):
    """A flipped byte before the last record is no crash's doing: nothing is cut, the person is told."""
    path = tmp_path / "log"
    written(path)
    data = bytearray(path.read_bytes())
    data[len(FILE_MARK) + 10] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(InvariantViolation) as caught:
        recovered(path)
    assert caught.value.code == "block_log.corrupt"
    assert path.read_bytes() == bytes(data)


@pytest.mark.parametrize("bit", [0x01, 0x02, 0x04, 0x08, 0x10, 0x20])
def test_damaged_length_is_no_torn_tail(tmp_path, bit):
    """A damaged record that claims the rest of the file is not cut: whole records stand behind it."""
    path = tmp_path / "log"
    written(path)
    data = bytearray(path.read_bytes())
    data[len(FILE_MARK) + 2] |= bit
    path.write_bytes(bytes(data))
    with pytest.raises(InvariantViolation) as caught:
        recovered(path)
    assert caught.value.code == "block_log.corrupt"
    assert path.read_bytes() == bytes(data)


def test_recovered_is_synchronised(tmp_path, monkeypatch):
    """What a killed process had written and not synchronised is on disk before anyone builds on it."""
    path = tmp_path / "log"
    written(path)
    log = BlockLog(path)
    synchronised = []
    monkeypatch.setattr(block_log.os, "fsync", synchronised.append)
    assert len(list(log.recover())) == len(PAYLOADS)
    assert synchronised == [log._descriptor]
    log.close()


def test_failed_synchronisation_is_damage(tmp_path, monkeypatch):
    """After a failed fsync nobody knows what the disk has: that is no error to try again after."""

    def fail(_descriptor):
        raise OSError(5, "Input/output error")

    log = BlockLog(tmp_path / "log")
    list(log.recover())
    monkeypatch.setattr(block_log.os, "fsync", fail)
    with pytest.raises(InvariantViolation) as caught:
        log.append(RecordKind.BLOCK, b"block")
    assert caught.value.code == "block_log.disk_failed"
    log.close()


def test_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    """A write that the disk cut short is taken back, and the next one takes its place."""
    path = tmp_path / "log"
    log = BlockLog(path)
    list(log.recover())
    write = block_log.os.pwritev
    monkeypatch.setattr(
        block_log.os, "pwritev", lambda fd, parts, offset: write(fd, [b"".join(parts)[:-1]], offset)
    )
    with pytest.raises(Temporary) as caught:
        log.append(RecordKind.BLOCK, b"block")
    assert caught.value.code == "block_log.write_failed"
    assert path.stat().st_size == log.end == len(FILE_MARK)
    monkeypatch.undo()
    log.append(RecordKind.BLOCK, b"next")
    log.close()
    assert recovered(path)[0] == [(RecordKind.BLOCK, b"next")]


def test_foreign_file_is_refused(tmp_path):
    """A file that is no block log is left alone."""
    path = tmp_path / "log"
    path.write_bytes(b"something else entirely")
    with pytest.raises(ConfigError) as caught:
        BlockLog(path)
    assert caught.value.code == "block_log.foreign"
    assert path.read_bytes() == b"something else entirely"


def test_half_a_file_mark_is_completed(tmp_path):
    """A crash while the file was created leaves a file that opens."""
    path = tmp_path / "log"
    path.write_bytes(FILE_MARK[:3])
    assert recovered(path) == ([], len(FILE_MARK))


def test_oversized_record_is_refused(tmp_path):
    """No record is longer than a block can be."""
    log = BlockLog(tmp_path / "log")
    list(log.recover())
    with pytest.raises(InvalidInput):
        log.append(RecordKind.BLOCK, bytes(MAX_PAYLOAD_BYTES + 1))
    log.close()


@given(payloads=st.lists(st.binary(max_size=60), max_size=6), cut=st.integers(0, 500))
def test_a_cut_log_is_a_prefix(tmp_path_factory, payloads, cut):
    """However much is missing at the end, what is recovered is a prefix of what was written."""
    path = tmp_path_factory.mktemp("log") / "log"
    written(path, payloads)
    data = path.read_bytes()
    path.write_bytes(data[: max(len(data) - cut, len(FILE_MARK))])
    found = [payload for _, payload in recovered(path)[0]]
    assert found == payloads[: len(found)]
