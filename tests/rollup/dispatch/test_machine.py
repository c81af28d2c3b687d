"""The dispatcher: who is asked, in what order, how often, and what a sender may cost its neighbours."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from primitives.hashes import sha256
from rollup.dispatch.events import (
    Answered,
    AnswerKnown,
    Asked,
    Assignment,
    Declined,
    Joined,
    Left,
    Reassigned,
    SendJob,
    Settled,
    Tick,
    TransactionRefused,
)
from rollup.dispatch.machine import expired, step
from rollup.dispatch.state import DispatchConfig, DispatchState
from vm.inference.wire import Request, SignedAnswer, Status

CONFIG = DispatchConfig()
MODEL = sha256(b"model")
ANN, BOB, CID = (bytes([letter]) * 20 for letter in b"abc")
SENDER = b"\x11" * 20


def request(number):
    """A request by number."""
    return Request(MODEL, b"input %d" % number, b"", 21)


def asked(transaction, number, *, ordinal=0, height=100, sender=SENDER, assigned=(ANN, BOB)):
    """A transaction was parked at a call."""
    return Asked(sha256(transaction), sender, ordinal, request(number), height, assigned)


def answered(neuron, number, output=b"7"):
    """A neuron answered a request."""
    return Answered(neuron, SignedAnswer(request(number).hash, Status.OK, output, bytes(65)))


def reassigned(*pairs, height):
    """Requests, by number, and the neuron that may answer each at a newer height."""
    return Reassigned(tuple(Assignment(request(number).hash, height, (neuron,)) for number, neuron in pairs))


class Desk:
    """Applies events and keeps what came of each."""

    def __init__(self, *events, config=CONFIG):
        """Begin with these events at time 0."""
        self.config, self.state = config, DispatchState()
        for event in events:
            self.tell(event)

    def tell(self, event, now_ms=0):
        """Apply an event; return whom jobs were sent to, and the signals."""
        transition = step(self.config, self.state, event, now_ms)
        self.state = transition.state
        assert all(isinstance(duty, SendJob) for duty in transition.duties)
        return [duty.neuron for duty in transition.duties], list(transition.signals)


def refused(transaction, code):
    """The signal that a transaction has to go."""
    return [TransactionRefused(sha256(transaction), code)]


def test_the_first_assigned_neuron_that_can_is_asked():
    """Order is the chain's; connection, model and room decide who of them can."""
    desk = Desk(Joined(BOB, (MODEL,), 1), Joined(CID, (MODEL,), 9))
    assert desk.tell(asked(b"1", 1))[0] == [BOB]
    assert desk.tell(asked(b"2", 2))[0] == []
    assert desk.tell(Joined(ANN, (sha256(b"other"),), 9))[0] == []
    assert desk.tell(answered(BOB, 1))[0] == [BOB]
    assert desk.tell(Joined(ANN, (MODEL,), 9))[0] == []
    assert desk.tell(asked(b"3", 3))[0] == [ANN]


def test_equal_questions_are_asked_once():
    """Two transactions wait for one job, and an answer kept answers at once."""
    desk = Desk(Joined(ANN, (MODEL,), 9))
    assert desk.tell(asked(b"1", 1))[0] == [ANN]
    assert desk.tell(asked(b"2", 1)) == ([], [])
    sent, (signal,) = desk.tell(answered(ANN, 1))
    assert (sent, signal.request_hash, signal.known.neuron) == ([], request(1).hash, ANN)
    assert isinstance(desk.tell(asked(b"3", 1))[1][0], AnswerKnown)


def test_silence_and_refusal_pass_the_job_on():
    """After the last assigned neuron the round begins anew: a question waits as long as it takes."""
    desk = Desk(Joined(ANN, (MODEL,), 9), Joined(BOB, (MODEL,), 9))
    assert desk.tell(asked(b"1", 1))[0] == [ANN]
    assert desk.tell(Tick(), CONFIG.job_timeout_ms - 1)[0] == []
    assert desk.tell(Tick(), CONFIG.job_timeout_ms)[0] == [BOB]
    assert desk.tell(Declined(BOB, request(1).hash), CONFIG.job_timeout_ms)[0] == []
    assert desk.tell(Tick(), CONFIG.job_timeout_ms + 1)[0] == [ANN]
    assert desk.tell(Left(ANN), CONFIG.job_timeout_ms + 2)[0] == [BOB]


def test_only_assigned_neurons_answer_and_the_first_counts():
    """Others are not paid and not heard; a second answer changes nothing."""
    desk = Desk(Joined(ANN, (MODEL,), 9), asked(b"1", 1))
    assert desk.tell(answered(CID, 1)) == ([], [])
    assert desk.tell(answered(BOB, 1))[1][0].known.neuron == BOB
    assert desk.tell(answered(ANN, 1)) == ([], [])
    assert desk.state.neurons[ANN].held == 0


def test_a_changed_question_costs_half_the_quota():
    """A replay that asks something else at one ask height goes; asking anew at a later one is no offence."""
    config = replace(CONFIG, parked_per_sender=2)
    desk = Desk(asked(b"1", 1), config=config)
    assert desk.tell(asked(b"1", 2, height=101)) == ([], [])
    assert desk.tell(asked(b"1", 3, height=101))[1] == refused(b"1", "infer.changed_question")
    assert desk.tell(asked(b"2", 1))[1] == []
    assert desk.tell(asked(b"3", 1))[1] == refused(b"3", "infer.parked_quota")
    late = CONFIG.quota_penalty_ms
    assert desk.tell(asked(b"3", 1), late)[1] == []
    assert desk.tell(asked(b"4", 1), late)[1] == refused(b"4", "infer.parked_quota")
    assert desk.tell(asked(b"5", 1, sender=b"\x22" * 20))[1] == []


def test_one_dispatch_an_ordinal_and_one_more():
    """Two calls allow three dispatches, whatever the ask heights."""
    desk = Desk(asked(b"1", 1), asked(b"1", 2, ordinal=1))
    assert desk.tell(asked(b"1", 3, height=101))[1] == []
    assert desk.tell(asked(b"1", 3, height=102))[1] == []
    assert desk.tell(asked(b"1", 4, height=103))[1] == refused(b"1", "infer.too_many_dispatches")
    assert not desk.state.parked


def test_what_nobody_waits_for_is_forgotten():
    """A settled transaction's questions go, unless another waits for them, and the neuron has room again."""
    desk = Desk(Joined(ANN, (MODEL,), 9), asked(b"1", 1), asked(b"2", 1), asked(b"2", 2, ordinal=1))
    desk.tell(Settled(sha256(b"2")))
    assert list(desk.state.questions) == [request(1).hash]
    desk.tell(Settled(sha256(b"1")))
    assert not desk.state.questions
    assert desk.state.neurons[ANN].held == 0
    assert desk.tell(answered(ANN, 1)) == ([], [])


def test_an_expired_ask_height_is_renewed():
    """A question moves to those assigned anew, an answer stays only if its neuron is among them."""
    desk = Desk(Joined(ANN, (MODEL,), 9), Joined(CID, (MODEL,), 9))
    for number in (1, 2, 3):
        desk.tell(asked(b"%d" % number, number))
    desk.tell(answered(ANN, 1))
    desk.tell(answered(ANN, 2))
    assert expired(CONFIG, desk.state, 100 + CONFIG.ask_window) == ()
    late = expired(CONFIG, desk.state, 101 + CONFIG.ask_window)
    assert sorted(late) == sorted(request(number).hash for number in (1, 2, 3))
    assert desk.tell(reassigned((1, ANN), (2, CID), (3, CID), (4, ANN), height=107))[0] == [CID]
    assert {each: known.ask_height for each, known in desk.state.answers.items()} == {request(1).hash: 107}
    assert desk.state.answer_bytes == 1
    assert desk.state.neurons[ANN].held == 0


def test_answers_and_questions_are_bounded():
    """The oldest answers go first, by count and by bytes; beyond the queue a transaction is refused whole."""
    config = DispatchConfig(answers=3, answer_bytes=10, jobs=2, parked_per_sender=99)
    desk = Desk(config=config)
    for number, size in enumerate((1, 1, 1, 1, 9, 4, 50)):
        desk.tell(asked(b"%d" % number, number))
        desk.tell(answered(ANN, number, bytes(size)))
        kept = [len(known.answer.output) for known in desk.state.answers.values()]
        assert len(kept) <= 3
        assert sum(kept) <= 10 or kept == [50]
    desk = Desk(asked(b"1", 1), asked(b"2", 2), config=config)
    assert desk.tell(asked(b"3", 3))[1] == refused(b"3", "infer.queue_full")
    assert desk.tell(asked(b"1", 4, ordinal=1))[1] == refused(b"1", "infer.queue_full")
    assert sorted(desk.state.parked) == [sha256(b"2")]


def test_a_wrong_answer_bars_its_neuron_from_the_question():
    """Who answered wrongly is not asked this again, in no later round; others are, and so is it other things."""
    desk = Desk(Joined(ANN, (MODEL,), 9), Joined(BOB, (MODEL,), 9))
    assert desk.tell(asked(b"1", 1))[0] == [ANN]
    assert desk.tell(Declined(ANN, request(1).hash, wrong=True))[0] == [BOB]
    assert desk.tell(Declined(BOB, request(1).hash))[0] == []
    assert desk.tell(Tick(), 1)[0] == [BOB]
    assert desk.tell(asked(b"2", 2), 1)[0] == [ANN]
    assert desk.tell(Declined(CID, request(1).hash, wrong=True), 1) == ([], [])


def test_an_answer_that_did_not_stand_is_asked_anew():
    """A replay that parks on what it was offered means that Bitcoin left the ask height: asked again, thrice."""
    desk = Desk(Joined(ANN, (MODEL,), 9), asked(b"1", 1))
    for _ in range(CONFIG.repeats):
        desk.tell(answered(ANN, 1))
        sent, signals = desk.tell(asked(b"1", 1, height=101))
        assert (sent, signals, desk.state.answers, desk.state.answer_bytes) == ([ANN], [], {}, 0)
    desk.tell(answered(ANN, 1))
    assert desk.tell(asked(b"1", 1, height=102))[1] == refused(b"1", "infer.answer_refused")


def test_the_balance_covers_every_dispatch():
    """Two dispatches that together cost more than the sender has are one too many; estimates have no payer."""
    first = replace(asked(b"1", 1), price_wei=60, balance_wei=100)
    desk = Desk(first)
    assert desk.tell(first) == ([], [])
    second = replace(asked(b"1", 2, ordinal=1), price_wei=60, balance_wei=100)
    assert desk.tell(second)[1] == refused(b"1", "infer.insufficient_funds")
    assert not desk.state.questions
    free = replace(asked(b"2", 3), price_wei=10**30, balance_wei=None)
    assert desk.tell(free) == ([], [])


def test_a_neuron_that_comes_back_starts_afresh():
    """A second connection of one key replaces the first; what that held is asked again."""
    desk = Desk(Joined(ANN, (MODEL,), 1), asked(b"1", 1, assigned=(ANN,)))
    assert desk.tell(asked(b"2", 2, assigned=(ANN,)))[0] == []
    assert desk.tell(Joined(ANN, (MODEL,), 2))[0] == [ANN, ANN]
    assert desk.state.neurons[ANN].held == 2


def test_parked_transactions_and_penalties_are_bounded():
    """Beyond the bounds a transaction is refused and the oldest offender is forgiven."""
    config = replace(CONFIG, parked=2, penalties=1)
    desk = Desk(asked(b"1", 1), asked(b"2", 2), config=config)
    assert desk.tell(asked(b"3", 1))[1] == refused(b"3", "infer.queue_full")
    other = b"\x22" * 20
    desk.tell(asked(b"1", 9))
    desk.tell(asked(b"4", 1, sender=other))
    desk.tell(asked(b"4", 9, sender=other))
    assert list(desk.state.penalties) == [other]
    assert desk.tell(Tick(), CONFIG.quota_penalty_ms) == ([], [])
    assert not desk.state.penalties


events = st.one_of(
    st.builds(
        lambda transaction, number, ordinal, height, assigned: asked(
            b"%d" % transaction, number, ordinal=ordinal, height=height, assigned=tuple(assigned)
        ),
        st.integers(0, 4),
        st.integers(0, 4),
        st.integers(0, 1),
        st.integers(100, 102),
        st.permutations([ANN, BOB, CID]),
    ),
    st.builds(answered, st.sampled_from([ANN, BOB, CID]), st.integers(0, 4)),
    st.builds(
        lambda neuron, number, wrong: Declined(neuron, request(number).hash, wrong),
        st.sampled_from([ANN, BOB]),
        st.integers(0, 4),
        st.booleans(),
    ),
    st.builds(
        lambda neuron, room: Joined(neuron, (MODEL,), room),
        st.sampled_from([ANN, BOB, CID]),
        st.integers(1, 2),
    ),
    st.builds(Left, st.sampled_from([ANN, BOB, CID])),
    st.builds(
        lambda pairs, height: reassigned(*pairs, height=height),
        st.lists(st.tuples(st.integers(0, 4), st.sampled_from([ANN, BOB, CID])), max_size=4),
        st.integers(100, 102),
    ),
    st.builds(lambda transaction: Settled(sha256(b"%d" % transaction)), st.integers(0, 4)),
    st.just(Tick()),
)


@given(st.lists(st.tuples(events, st.integers(0, 5_000)), max_size=60))
def test_whatever_happens_the_books_balance(story):
    """Nobody holds more than its room, every question is waited for, every job goes to one assigned."""
    desk, now = Desk(config=replace(CONFIG, parked_per_sender=3)), 0
    for event, passed in story:
        now += passed
        before = desk.state
        transition = step(desk.config, before, event, now)
        assert transition == step(desk.config, before, event, now)
        desk.state = state = transition.state
        for duty in transition.duties:
            assert duty.neuron in state.questions[duty.request_hash].assigned
            assert duty.neuron in state.neurons
            assert duty.neuron not in state.questions[duty.request_hash].barred
        wanted = {request_hash for each in state.parked.values() for request_hash, _ in each.asked.values()}
        assert set(state.questions) <= wanted
        for each, question in state.questions.items():
            assert question.wanted_by
            for transaction in question.wanted_by:
                assert each in {hashed for hashed, _ in state.parked[transaction].asked.values()}
        assert not set(state.questions) & set(state.answers)
        assert state.answer_bytes == sum(len(each.answer.output) for each in state.answers.values())
        held = [question.asker for question in state.questions.values()]
        assert all(link.held == held.count(neuron) for neuron, link in state.neurons.items())
        assert all(0 <= link.held <= link.capacity for link in state.neurons.values())
        assert len(state.parked) <= 3
        assert all(each.dispatches <= len(each.asked) + 1 for each in state.parked.values())
