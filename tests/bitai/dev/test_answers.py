"""Recorded answers are read as they were written, and a file that says anything else is refused whole."""

import orjson
import pytest

from bitai.dev.answers import FORMAT, NO_ANSWER, MockAnswers, Recorder, Signer, question_of, read_answers
from primitives.curve import address_of
from primitives.errors import ConfigError
from primitives.ids import Hash32, ModelId
from vm.inference.wire import Request, Status, recover_neuron, sign_answer

SECRET = b"\x11" * 32
IDENTITY = Hash32(b"\x22" * 32)
SIGNER = Signer(address_of(SECRET), SECRET, IDENTITY)
MODEL = ModelId(b"\x33" * 32)
REQUEST = Request(MODEL, b"\x01\x02", b"", 21)
HEADER = orjson.dumps({"format": FORMAT, "version": 1}) + b"\n"
LINE = {
    "model": "0x" + "33" * 32,
    "input": "0x01",
    "params": "0x",
    "maxOutput": 4,
    "status": 0,
    "output": "0x05",
}


def test_what_is_recorded_is_replayed_under_the_neurons_name(tmp_path):
    """Any seed is the same question; the signature is the neuron's, over this very request."""
    path = tmp_path / "answers"
    recorder = Recorder(path)
    recorder.note(REQUEST, sign_answer(SECRET, IDENTITY, REQUEST, (Status.OK, b"\x07" * 21)))
    recorder.close()
    source = MockAnswers(SIGNER, read_answers(path))
    asked = Request(MODEL, b"\x01\x02", b"", 21, Hash32(b"\x09" * 32))
    answer = source.answer(asked)
    assert (answer.status, answer.output, answer.request_hash) == (Status.OK, b"\x07" * 21, asked.hash)
    assert recover_neuron(IDENTITY, MODEL, answer) == SIGNER.address
    assert source.is_all()
    assert not source.is_invented(asked)
    assert source.models() == {MODEL}
    assert source.answer(Request(MODEL, b"\x01", b"", 21)) is None
    assert NO_ANSWER.startswith("infer.")


def test_a_recording_goes_on_where_it_ended(tmp_path):
    """What it holds is not written twice."""
    path = tmp_path / "answers"
    for other in (b"", b"\x01", b""):
        recorder = Recorder(path)
        request = Request(MODEL, other, b"", 21)
        recorder.note(request, sign_answer(SECRET, IDENTITY, request, (Status.OK, b"\x07")))
        recorder.close()
    assert set(read_answers(path)) == {question_of(Request(MODEL, each, b"", 21)) for each in (b"", b"\x01")}
    assert len(path.read_bytes().splitlines()) == 3


def test_what_is_made_up_goes_before_what_is_recorded():
    """The exact input first, then the model's default, then the recording."""
    source = MockAnswers(SIGNER, {question_of(REQUEST): (Status.OK, b"\x01")})
    assert source.answer(REQUEST).output == b"\x01"
    source.invent(MODEL, None, (Status.OK, b"\x02"))
    assert (source.answer(REQUEST).output, source.is_invented(REQUEST)) == (b"\x02", True)
    source.invent(MODEL, REQUEST.input, (Status.OK, b"\x03"))
    assert source.answer(REQUEST).output == b"\x03"
    source.clear()
    assert source.answer(REQUEST).output == b"\x01"


@pytest.mark.parametrize(
    "content",
    [
        b"hello\n",
        b"{}\n",
        orjson.dumps({"format": FORMAT, "version": 2}) + b"\n",
        HEADER + b"{}\n",
        HEADER + b"[1]\n",
        *(
            HEADER + orjson.dumps({**LINE, **wrong}) + b"\n"
            for wrong in (
                {"model": "0x33"},
                {"status": 3},
                {"status": "no"},
                {"maxOutput": -1},
                {"maxOutput": True, "output": "0x0505"},
                {"output": "0x" + "00" * 5},
                {"input": "0xzz"},
                {"params": "0x" + "00" * 4097},
            )
        ),
        HEADER + orjson.dumps(LINE) + b"\n" + orjson.dumps({**LINE, "output": "0x06"}) + b"\n",
    ],
)
def test_another_file_is_refused_by_its_line(tmp_path, content):
    """Nothing of it is used."""
    path = tmp_path / "answers"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        read_answers(path)
    assert refused.value.code == "answers.bad_file"
    assert "line " in refused.value.details["why"]


def test_a_file_that_is_not_there_is_told(tmp_path):
    """By its own code."""
    with pytest.raises(ConfigError) as refused:
        read_answers(tmp_path / "none")
    assert refused.value.code == "answers.unreadable"
