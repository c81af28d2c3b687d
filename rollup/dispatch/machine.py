"""Assign questions to neurons: `step(config, state, event, now) -> Transition(state, duties, signals)`.

A question goes to the first assigned neuron that is connected, serves the model and has room; silence or a
refusal passes it to the next, and after the last the round begins anew, so a question waits as long as no
neuron is there and never ends in a made-up answer. One sender parks a bounded number of transactions, and a
replay that asks something else at the same ask height leaves the pool and halves its sender's quota: model
runs are dearer than the transactions that ask for them. Source: protocol section 4, park and replay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from primitives.ids import Address, Hash32
from rollup.dispatch.events import (
    Answered,
    AnswerKnown,
    Asked,
    Declined,
    Duty,
    Event,
    Joined,
    Left,
    Reassigned,
    SendJob,
    Settled,
    Signal,
    TransactionRefused,
)
from rollup.dispatch.state import (
    DispatchConfig,
    DispatchState,
    KnownAnswer,
    NeuronLink,
    ParkedTransaction,
    Question,
)

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Transition:
    """The state after an event, what to do outside, and what to tell."""

    state: DispatchState
    duties: tuple[Duty, ...] = ()
    signals: tuple[Signal, ...] = ()


def step(config: DispatchConfig, state: DispatchState, event: Event, now_ms: int) -> Transition:
    """Apply one event at a time of the driver's clock (ms)."""
    signals: tuple[Signal, ...] = ()
    match event:
        case Asked():
            state, signals = _ask(config, state, event, now_ms)
        case Reassigned():
            state, signals = _reassign(state, event)
        case Answered():
            state, signals = _answer(config, state, event)
        case Declined():
            state = _give_back(state, event.request_hash, event.neuron)
        case Joined():
            link = NeuronLink(frozenset(event.models), max(1, event.capacity))
            state = replace(state, neurons=_put(state.neurons, event.neuron, link))
        case Left():
            state = _leave(state, event.neuron)
        case Settled():
            state = _settle(state, event.transaction)
        case _:
            state = _expire(config, state, now_ms)
    state, duties = _assign(state, now_ms)
    return Transition(state, duties, signals)


def _ask(
    config: DispatchConfig, state: DispatchState, event: Asked, now_ms: int
) -> tuple[DispatchState, tuple[Signal, ...]]:
    request_hash = event.request.hash
    parked = state.parked.get(event.transaction, ParkedTransaction(event.sender))
    before = parked.asked.get(event.ordinal)
    if before is not None and before[0] != request_hash and before[1] == event.ask_height:
        penalty = _put(state.penalties, event.sender, now_ms + config.quota_penalty_ms)
        state = replace(_settle(state, event.transaction), penalties=penalty)
        return state, (TransactionRefused(event.transaction, "infer.changed_question"),)
    if event.transaction not in state.parked and _held_by(state, event.sender) >= _quota(
        config, state, event, now_ms
    ):
        return state, (TransactionRefused(event.transaction, "infer.parked_quota"),)
    asked = _put(parked.asked, event.ordinal, (request_hash, event.ask_height))
    fresh = before is None or before[0] != request_hash
    parked = replace(parked, asked=asked, dispatches=parked.dispatches + int(fresh))
    if parked.dispatches > len(asked) + 1:
        state = _settle(state, event.transaction)
        return state, (TransactionRefused(event.transaction, "infer.too_many_dispatches"),)
    if not _has_room(config, state, request_hash):
        return _settle(state, event.transaction), (TransactionRefused(event.transaction, "infer.queue_full"),)
    state = replace(state, parked=_put(state.parked, event.transaction, parked))
    if before is not None and before[0] != request_hash:
        state = _drop_unwanted(state, [before[0]])
    known = state.answers.get(request_hash)
    if known is not None:
        return state, (AnswerKnown(request_hash, known),)
    question = state.questions.get(request_hash) or Question(event.request, event.ask_height, event.assigned)
    return replace(state, questions=_put(state.questions, request_hash, question)), ()


def _has_room(config: DispatchConfig, state: DispatchState, request_hash: Hash32) -> bool:
    """Tell whether a question is known, answered, or fits the queue."""
    known = request_hash in state.questions or request_hash in state.answers
    return known or len(state.questions) < config.jobs


def _held_by(state: DispatchState, sender: Address) -> int:
    return sum(each.sender == sender for each in state.parked.values())


def _quota(config: DispatchConfig, state: DispatchState, event: Asked, now_ms: int) -> int:
    penalized = state.penalties.get(event.sender, 0) > now_ms
    return config.parked_per_sender // 2 if penalized else config.parked_per_sender


def _reassign(state: DispatchState, event: Reassigned) -> tuple[DispatchState, tuple[Signal, ...]]:
    """Move a question or an answer to a newer ask height; one by another neuron is asked again."""
    known = state.answers.get(event.request_hash)
    if known is not None:
        if known.neuron not in event.assigned:
            return replace(state, answers=_drop(state.answers, event.request_hash)), ()
        moved = replace(known, ask_height=event.ask_height)
        return replace(state, answers=_put(state.answers, event.request_hash, moved)), ()
    question = state.questions.get(event.request_hash)
    if question is None:
        return state, ()
    moved_question = replace(question, ask_height=event.ask_height, assigned=event.assigned, tried=())
    if question.asker is not None and question.asker not in event.assigned:
        state = _release(state, question.asker)
        moved_question = replace(moved_question, asker=None)
    return replace(state, questions=_put(state.questions, event.request_hash, moved_question)), ()


def _answer(
    config: DispatchConfig, state: DispatchState, event: Answered
) -> tuple[DispatchState, tuple[Signal, ...]]:
    """Keep the first answer by a neuron that may give one; later and foreign ones change nothing."""
    request_hash = event.answer.request_hash
    question = state.questions.get(request_hash)
    if question is None or event.neuron not in question.assigned:
        return state, ()
    if question.asker is not None:
        state = _release(state, question.asker)
    known = KnownAnswer(question.request.model_id, event.answer, event.neuron, question.ask_height)
    answers = dict(state.answers)
    room = config.answer_bytes - len(known.answer.output)
    held = sum(len(each.answer.output) for each in answers.values())
    while answers and (len(answers) >= config.answers or held > room):
        oldest = answers.pop(next(iter(answers)))
        held -= len(oldest.answer.output)
    answers[request_hash] = known
    state = replace(state, answers=answers, questions=_drop(state.questions, request_hash))
    return state, (AnswerKnown(request_hash, known),)


def _settle(state: DispatchState, transaction: Hash32) -> DispatchState:
    """Forget a transaction, and the questions that nobody else waits for."""
    settled = state.parked.get(transaction)
    if settled is None:
        return state
    state = replace(state, parked=_drop(state.parked, transaction))
    return _drop_unwanted(state, [request_hash for request_hash, _ in settled.asked.values()])


def _drop_unwanted(state: DispatchState, questions: Sequence[Hash32]) -> DispatchState:
    """Drop those questions that no parked transaction asks: nobody would use their answers."""
    wanted = {request_hash for each in state.parked.values() for request_hash, _ in each.asked.values()}
    for request_hash in questions:
        question = state.questions.get(request_hash)
        if question is None or request_hash in wanted:
            continue
        if question.asker is not None:
            state = _release(state, question.asker)
        state = replace(state, questions=_drop(state.questions, request_hash))
    return state


def _give_back(state: DispatchState, request_hash: Hash32, neuron: Address) -> DispatchState:
    question = state.questions.get(request_hash)
    if question is None or question.asker != neuron:
        return state
    passed = replace(question, asker=None, tried=(*question.tried, neuron))
    return replace(_release(state, neuron), questions=_put(state.questions, request_hash, passed))


def _leave(state: DispatchState, neuron: Address) -> DispatchState:
    questions = {
        each: replace(question, asker=None) if question.asker == neuron else question
        for each, question in state.questions.items()
    }
    return replace(state, neurons=_drop(state.neurons, neuron), questions=questions)


def _expire(config: DispatchConfig, state: DispatchState, now_ms: int) -> DispatchState:
    for request_hash, question in state.questions.items():
        if question.asker is not None and now_ms - question.asked_at_ms >= config.job_timeout_ms:
            state = _give_back(state, request_hash, question.asker)
        elif question.asker is None and question.tried:  # everyone had a turn: begin a new round
            reset = replace(question, tried=())
            state = replace(state, questions=_put(state.questions, request_hash, reset))
    past = {sender: until for sender, until in state.penalties.items() if until > now_ms}
    return state if len(past) == len(state.penalties) else replace(state, penalties=past)


def _assign(state: DispatchState, now_ms: int) -> tuple[DispatchState, tuple[Duty, ...]]:
    """Hand every waiting question to the best neuron that can take it now."""
    neurons, questions = dict(state.neurons), dict(state.questions)
    duties: list[Duty] = []
    for request_hash, question in state.questions.items():
        if question.asker is not None:
            continue
        neuron = _choose(neurons, question)
        if neuron is None:
            continue
        neurons[neuron] = replace(neurons[neuron], held=neurons[neuron].held + 1)
        questions[request_hash] = replace(question, asker=neuron, asked_at_ms=now_ms)
        duties.append(SendJob(neuron, request_hash, question.request, question.ask_height))
    if not duties:
        return state, ()
    return replace(state, neurons=neurons, questions=questions), tuple(duties)


def _choose(neurons: Mapping[Address, NeuronLink], question: Question) -> Address | None:
    for candidate in question.assigned:
        link = neurons.get(candidate)
        if link is None or candidate in question.tried or question.request.model_id not in link.models:
            continue
        if link.held < link.capacity:
            return candidate
    return None


def _release(state: DispatchState, neuron: Address) -> DispatchState:
    link = state.neurons.get(neuron)
    if link is None:
        return state
    return replace(state, neurons=_put(state.neurons, neuron, replace(link, held=max(0, link.held - 1))))


def expired(config: DispatchConfig, state: DispatchState, origin_height: int) -> tuple[Hash32, ...]:
    """Name the questions and answers whose ask height no block with this origin may use any more."""
    lowest = origin_height - config.ask_window
    questions = [each for each, question in state.questions.items() if question.ask_height < lowest]
    answers = [each for each, known in state.answers.items() if known.ask_height < lowest]
    return (*questions, *answers)


def _put(mapping: Mapping[Key, Value], key: Key, value: Value) -> Mapping[Key, Value]:
    return {**mapping, key: value}


def _drop(mapping: Mapping[Key, Value], key: Key) -> Mapping[Key, Value]:
    return {each: value for each, value in mapping.items() if each != key}
