"""The answer log: what was signed once is signed for good, across crashes and restarts."""

import contextlib
import resource

import pytest

from neuron.answer_log import AnswerLog
from primitives.errors import ConfigError, InvariantViolation, Temporary
from vm.inference.wire import Request, SignedAnswer, Status, sign_answer

SECRET = b"\7" * 32
CHAIN, OTHER_CHAIN = b"\xc0" * 32, b"\xc1" * 32
REQUEST = Request(b"\xa1" * 32, b"input", b"", 21)


def signed(output, chain=CHAIN):
    """Return a signed answer."""
    return sign_answer(SECRET, chain, REQUEST, (Status.OK, output))


@pytest.fixture
def folder(tmp_path):
    """Where the log lies."""
    return tmp_path / "answers"


def test_remembers_across_opening(folder):
    """An answer recorded is there after the process has gone."""
    log = AnswerLog(folder)
    log.record(CHAIN, signed(b"one"))
    log.close()
    again = AnswerLog(folder)
    assert again.recall(CHAIN, REQUEST.hash) == signed(b"one")
    again.close()


def test_chains_are_apart(folder):
    """The same request on another chain is another question."""
    log = AnswerLog(folder)
    log.record(CHAIN, signed(b"one"))
    assert log.recall(OTHER_CHAIN, REQUEST.hash) is None
    log.record(OTHER_CHAIN, signed(b"two", OTHER_CHAIN))
    assert log.recall(CHAIN, REQUEST.hash) == signed(b"one")
    log.close()


def test_second_answer_is_never_stored(folder):
    """A different answer to an answered request stops the neuron; the same one is no news."""
    log = AnswerLog(folder)
    log.record(CHAIN, signed(b"one"))
    log.record(CHAIN, signed(b"one"))
    with pytest.raises(InvariantViolation, match=r"answer_log\.equivocation"):
        log.record(CHAIN, signed(b"two"))
    assert log.recall(CHAIN, REQUEST.hash) == signed(b"one")
    log.close()


def test_one_process_holds_the_folder(folder):
    """Two neurons with one key and one folder are told apart at once."""
    log = AnswerLog(folder)
    with pytest.raises(ConfigError) as caught:
        AnswerLog(folder)
    assert caught.value.code == "neuron.datadir_in_use"
    log.close()


def test_a_folder_that_cannot_be_is_said_plainly(tmp_path):
    """A file in the way is a ConfigError with a fix, not a stack trace."""
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(ConfigError) as caught:
        AnswerLog(blocked / "answers")
    assert caught.value.code == "neuron.datadir"


def test_damaged_entry_stops_the_neuron(folder):
    """An entry that cannot be read is never taken for an absent one."""
    log = AnswerLog(folder)
    log._database.put(b"a" + CHAIN + REQUEST.hash, b"\0\1")
    with pytest.raises(InvariantViolation, match=r"answer_log\.corrupt"):
        log.recall(CHAIN, REQUEST.hash)
    log.close()


def test_written_by_a_later_version(folder):
    """A folder of another layout is refused rather than misread."""
    log = AnswerLog(folder)
    log._database.put(b"layout", b"bitai neuron answers 1")
    log.close()
    with pytest.raises(ConfigError, match=r"neuron\.datadir_layout"):
        AnswerLog(folder)


def test_stored_form_is_whole(folder):
    """Status, signature and output come back as they were."""
    log = AnswerLog(folder)
    answer = SignedAnswer(REQUEST.hash, Status.BAD_INPUT, b"", b"\5" * 65)
    log.record(CHAIN, answer)
    assert log.recall(CHAIN, REQUEST.hash) == answer
    log.close()


@contextlib.contextmanager
def full_disk(file_bytes):
    """Let no file of this process grow beyond a size, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_loses_no_answer(folder):
    """A write that fails half way is reported, and spoils nothing that is stored before or after it."""
    requests = [Request(b"\xa1" * 32, b"%d" % number, b"", 40_000) for number in range(4)]
    answers = [sign_answer(SECRET, CHAIN, each, (Status.OK, bytes(40_000))) for each in requests]
    log = AnswerLog(folder)
    log.record(CHAIN, answers[0])
    for file_bytes in (60_000, 20_000):  # enough for half of the second answer; too little to open anew
        with full_disk(file_bytes), pytest.raises(Temporary, match=r"answer_log\.unusable"):
            log.record(CHAIN, answers[1])
    log.record(CHAIN, answers[2])
    log.record(CHAIN, answers[3])
    log.close()
    again = AnswerLog(folder)
    found = [again.recall(CHAIN, each.hash) for each in requests]
    again.close()
    assert found == [answers[0], found[1], *answers[2:]]
    assert found[1] in (None, answers[1])


def test_a_damaged_folder_is_not_used_again(folder):
    """Answers that cannot be read may have been sent: the way out is another key, not an empty folder."""
    log = AnswerLog(folder)
    log.record(CHAIN, signed(bytes(5_000)))
    log.close()
    (written,) = folder.glob("*.log")
    data = bytearray(written.read_bytes())
    data[1_000] ^= 1
    written.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        AnswerLog(folder)
    assert caught.value.code == "neuron.datadir_damaged"
