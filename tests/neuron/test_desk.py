"""The desk signs one answer per request, whatever the engine says the second time."""

import pytest

from neuron.desk import Desk, ServedModel
from neuron.engine import ExactEngine
from primitives.curve import address_of
from primitives.errors import Temporary
from tests.neuron.fake_node import CHAIN, job_for, signer_of
from vm.inference.messages import Answer, Decline, DeclineReason, Job
from vm.inference.wire import Request, Status

SECRET = b"\7" * 32


class Notes:
    """Remember in memory."""

    def __init__(self):
        self.kept = {}

    def recall(self, config_identity, request_hash):
        return self.kept.get((config_identity, request_hash))

    def record(self, config_identity, answer):
        self.kept[config_identity, answer.request_hash] = answer


class FullDisk(Notes):
    """A memory that takes nothing more."""

    def record(self, config_identity, answer):
        raise Temporary("answer_log.unusable", "no space left")


class Broken:
    """An engine out of memory."""

    def evaluate(self, inputs):
        raise RuntimeError("CUDA out of memory")


class Lying:
    """An engine that has gone wrong."""

    def __init__(self, honest):
        self.honest = honest

    def evaluate(self, inputs):
        return [output * 0 for output in self.honest.evaluate(inputs)]


@pytest.fixture
def honest(digits):
    """The digits model on the exact route."""
    return ExactEngine().prepare(digits)


def desk_with(digits, model, notes=None):
    """Return a desk with one model."""
    return Desk(SECRET, {digits.model_id: ServedModel(digits, model)}, notes or Notes())


def test_answers_and_signs(digits, honest, images, expected):
    """An answer is the model's output, signed by the neuron."""
    answer = desk_with(digits, honest).answer(CHAIN, job_for(digits, images[0]))
    assert answer.answer.output == expected(images[0])
    assert signer_of(answer, digits) == address_of(SECRET)


def test_bad_input_is_an_answer(digits, honest, images):
    """A request that the manifest refuses is answered BAD_INPUT, signed like any other."""
    answer = desk_with(digits, honest).answer(CHAIN, job_for(digits, images[0][:-1]))
    assert (answer.answer.status, answer.answer.output) == (Status.BAD_INPUT, b"")
    assert signer_of(answer, digits) == address_of(SECRET)


def test_never_two_answers(digits, honest, images):
    """An engine that changes its mind changes nothing: the first signed answer stands."""
    notes, job = Notes(), job_for(digits, images[0])
    first = desk_with(digits, honest, notes).answer(CHAIN, job)
    second = desk_with(digits, Lying(honest), notes).answer(CHAIN, job)
    assert first == second


def test_failed_engine_declines(digits, images):
    """An engine that raises leads to a decline, and nothing is signed."""
    notes, job = Notes(), job_for(digits, images[0])
    assert desk_with(digits, Broken(), notes).answer(CHAIN, job) == Decline(
        job.request_hash, DeclineReason.ENGINE_FAILED
    )
    assert not notes.kept


def test_what_cannot_be_stored_is_not_sent(digits, honest, images):
    """With a full disk the job goes to another neuron; the signed answer stays here."""
    job = job_for(digits, images[0])
    assert desk_with(digits, honest, FullDisk()).answer(CHAIN, job) == Decline(
        job.request_hash, DeclineReason.ENGINE_FAILED
    )


def test_refusals(digits, honest, images):
    """A request hash that is not the request's, and an unknown model, are declined before anything runs."""
    desk, job = desk_with(digits, honest), job_for(digits, images[0])
    assert desk.refuse(job) is None
    forged = Job(b"\1" * 32, job.request, job.ask_height)
    assert desk.refuse(forged).reason is DeclineReason.REQUEST_MISMATCH
    foreign = Request(b"\2" * 32, b"", b"", 1)
    assert desk.refuse(Job(foreign.hash, foreign, 1)).reason is DeclineReason.UNKNOWN_MODEL
    assert isinstance(desk.answer(CHAIN, job), Answer)
