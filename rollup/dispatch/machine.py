"""Assign questions to neurons: `step(config, state, event, now) -> Transition(state, duties, signals)`.

A question goes to the first assigned neuron that is connected, serves the model and has room; silence or a
refusal passes it to the next, and after the last the round begins anew, so a question waits as long as no
neuron is there and never ends in a made-up answer. One sender parks a bounded number of transactions, and a
replay that asks something else at the same ask height leaves the pool and halves its sender's quota: model
runs are dearer than the transactions that ask for them. Source: protocol section 4, park and replay.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from primitives.ids import Address, Hash32
from rollup.dispatch.events import (
    Answered,
    AnswerKnown,
    Asked,
    Assignment,
    Declined,
    Duty,
    Event,
    Joined,
    Left,
    Reassigned,
    Settled,
    Signal,
    TransactionRefused,
)
from rollup.dispatch.jobs import (
    assign_jobs,
    drop_question,
    expire_jobs,
    give_back,
    join,
    leave,
    release,
    with_item,
    without_item,
)
from rollup.dispatch.state import (
    DispatchConfig,
    DispatchState,
    KnownAnswer,
    NeuronLink,
    ParkedTransaction,
    Question,
)

Told = tuple[DispatchState, tuple[Signal, ...]]


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
            state = _reassign(state, event)
        case Answered():
            state, signals = _answer(config, state, event)
        case Declined():
            state = give_back(state, event.request_hash, event.neuron, wrong=event.wrong)
        case Joined():
            state = join(state, event.neuron, NeuronLink(frozenset(event.models), max(1, event.capacity)))
        case Left():
            state = leave(state, event.neuron)
        case Settled():
            state = _settle(state, event.transaction)
        case _:
            state = _forgive(expire_jobs(config, state, now_ms), now_ms)
    state, duties = assign_jobs(state, now_ms)
    return Transition(state, duties, signals)


# -- what transactions ask -------------------------------------------------------------------------


def _ask(config: DispatchConfig, state: DispatchState, event: Asked, now_ms: int) -> Told:
    """Take a question of a parked transaction, or say why the transaction has to go."""
    parked = state.parked.get(event.transaction, ParkedTransaction(event.sender))
    before = parked.asked.get(event.ordinal)
    request_hash = event.request.hash
    changed = before is not None and before[0] != request_hash
    if changed and before is not None and before[1] == event.ask_height:
        return _refuse(_penalize(config, state, event.sender, now_ms), event, "infer.changed_question")
    repeated = before is not None and not changed and request_hash in state.answers
    parked = replace(
        parked,
        asked=with_item(parked.asked, event.ordinal, (request_hash, event.ask_height)),
        dispatches=parked.dispatches + int(before is None or changed),
        repeats=parked.repeats + int(repeated),
        price_wei=parked.price_wei + (event.price_wei if before is None or changed else 0),
    )
    refusal = _refusal(config, state, event, parked)
    if refusal is None and _has_quota(config, state, event, now_ms):
        if repeated:  # it was offered and did not stand: its ask height has left Bitcoin's chain
            state = _drop_answer(state, request_hash)
        state = replace(state, parked=with_item(state.parked, event.transaction, parked))
        if changed and before is not None:
            state = _unwant(state, event.transaction, before[0])
        return _want(state, event)
    return _refuse(state, event, refusal or "infer.parked_quota")


def _refusal(
    config: DispatchConfig, state: DispatchState, event: Asked, parked: ParkedTransaction
) -> str | None:
    """Return the code of the bound that a transaction would break."""
    request_hash = event.request.hash
    if parked.dispatches > len(parked.asked) + 1:
        return "infer.too_many_dispatches"
    if parked.repeats > config.repeats:
        return "infer.answer_refused"
    if event.balance_wei is not None and parked.price_wei > event.balance_wei:
        return "infer.insufficient_funds"
    is_new = request_hash not in state.questions and request_hash not in state.answers
    if is_new and len(state.questions) >= config.jobs:
        return "infer.queue_full"
    if event.transaction not in state.parked and len(state.parked) >= config.parked:
        return "infer.queue_full"
    return None


def _has_quota(config: DispatchConfig, state: DispatchState, event: Asked, now_ms: int) -> bool:
    if event.transaction in state.parked:
        return True
    penalized = state.penalties.get(event.sender, 0) > now_ms
    quota = config.parked_per_sender // 2 if penalized else config.parked_per_sender
    return sum(each.sender == event.sender for each in state.parked.values()) < quota


def _refuse(state: DispatchState, event: Asked, code: str) -> Told:
    return _settle(state, event.transaction), (TransactionRefused(event.transaction, code),)


def _penalize(config: DispatchConfig, state: DispatchState, sender: Address, now_ms: int) -> DispatchState:
    penalties = without_item(state.penalties, sender)
    if len(penalties) >= config.penalties:
        del penalties[next(iter(penalties))]
    return replace(state, penalties={**penalties, sender: now_ms + config.quota_penalty_ms})


def _forgive(state: DispatchState, now_ms: int) -> DispatchState:
    left = {sender: until for sender, until in state.penalties.items() if until > now_ms}
    return state if len(left) == len(state.penalties) else replace(state, penalties=left)


def _want(state: DispatchState, event: Asked) -> Told:
    """Have a transaction wait for its question, or tell at once what is known."""
    request_hash = event.request.hash
    known = state.answers.get(request_hash)
    if known is not None:
        return state, (AnswerKnown(request_hash, known),)
    question = state.questions.get(request_hash) or Question(event.request, event.ask_height, event.assigned)
    if event.transaction not in question.wanted_by:
        question = replace(question, wanted_by=(*question.wanted_by, event.transaction))
    return replace(state, questions=with_item(state.questions, request_hash, question)), ()


def _settle(state: DispatchState, transaction: Hash32) -> DispatchState:
    """Forget a transaction, and the questions that nobody else waits for."""
    settled = state.parked.get(transaction)
    if settled is None:
        return state
    state = replace(state, parked=without_item(state.parked, transaction))
    for request_hash, _ in settled.asked.values():
        state = _unwant(state, transaction, request_hash)
    return state


def _unwant(state: DispatchState, transaction: Hash32, request_hash: Hash32) -> DispatchState:
    """Let a transaction wait no more for a question; one that nobody waits for goes: who would use it?"""
    question = state.questions.get(request_hash)
    parked = state.parked.get(transaction)
    still = parked is not None and any(each == request_hash for each, _ in parked.asked.values())
    if question is None or still:
        return state
    others = tuple(each for each in question.wanted_by if each != transaction)
    if not others:
        return drop_question(state, request_hash)
    moved = replace(question, wanted_by=others)
    return replace(state, questions=with_item(state.questions, request_hash, moved))


# -- what neurons answer ---------------------------------------------------------------------------


def _answer(config: DispatchConfig, state: DispatchState, event: Answered) -> Told:
    """Keep the first answer by a neuron that may give one; later and foreign ones change nothing."""
    request_hash = event.answer.request_hash
    question = state.questions.get(request_hash)
    if question is None or event.neuron not in question.assigned:
        return state, ()
    known = KnownAnswer(question.request.model_id, event.answer, event.neuron, question.ask_height)
    state = _keep_answer(config, drop_question(state, request_hash), known)
    return state, (AnswerKnown(request_hash, known),)


def _keep_answer(config: DispatchConfig, state: DispatchState, known: KnownAnswer) -> DispatchState:
    """Keep an answer in place of the oldest ones."""
    answers, size = dict(state.answers), len(known.answer.output)
    held = state.answer_bytes
    while answers and (len(answers) >= config.answers or held + size > config.answer_bytes):
        held -= len(answers.pop(next(iter(answers))).answer.output)
    answers[known.answer.request_hash] = known
    return replace(state, answers=answers, answer_bytes=held + size)


def _drop_answer(state: DispatchState, request_hash: Hash32) -> DispatchState:
    size = len(state.answers[request_hash].answer.output)
    answers = without_item(state.answers, request_hash)
    return replace(state, answers=answers, answer_bytes=state.answer_bytes - size)


def _reassign(state: DispatchState, event: Reassigned) -> DispatchState:
    """Move questions and answers to a newer ask height; an answer by a neuron that may not give it then goes."""
    answers, dropped_bytes = dict(state.answers), 0
    for assignment in event.assignments:
        known = answers.get(assignment.request_hash)
        if known is None:
            state = _reassign_question(state, assignment)
        elif known.neuron in assignment.assigned:
            answers[assignment.request_hash] = replace(known, ask_height=assignment.ask_height)
        else:
            del answers[assignment.request_hash]
            dropped_bytes += len(known.answer.output)
    return replace(state, answers=answers, answer_bytes=state.answer_bytes - dropped_bytes)


def _reassign_question(state: DispatchState, assignment: Assignment) -> DispatchState:
    question = state.questions.get(assignment.request_hash)
    if question is None:
        return state
    moved = replace(question, ask_height=assignment.ask_height, assigned=assignment.assigned, tried=())
    if question.asker is not None and question.asker not in assignment.assigned:
        state = release(state, question.asker)
        moved = replace(moved, asker=None)
    return replace(state, questions=with_item(state.questions, assignment.request_hash, moved))


def expired(config: DispatchConfig, state: DispatchState, origin_height: int) -> tuple[Hash32, ...]:
    """Name the questions and answers whose ask height no block with this origin may use any more."""
    lowest = origin_height - config.ask_window
    questions = [each for each, question in state.questions.items() if question.ask_height < lowest]
    answers = [each for each, known in state.answers.items() if known.ask_height < lowest]
    return (*questions, *answers)
