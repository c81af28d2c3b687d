"""The answer log: what was signed once is signed for good, across crashes and restarts."""

import pytest

from neuron.answer_log import AnswerLog
from primitives.errors import ConfigError, InvariantViolation
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
