"""Hand questions to neurons and take them back: who holds which job, and who is asked next. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from primitives.ids import Address, Hash32
from rollup.dispatch.events import SendJob
from rollup.dispatch.state import DispatchConfig, DispatchState, NeuronLink, Question

Key = TypeVar("Key")
Value = TypeVar("Value")


def join(state: DispatchState, neuron: Address, link: NeuronLink) -> DispatchState:
    """Take a neuron in; what an older connection of its own held is asked again."""
    state = leave(state, neuron)
    return replace(state, neurons=with_item(state.neurons, neuron, link))


def leave(state: DispatchState, neuron: Address) -> DispatchState:
    """Let a neuron go; its jobs wait for others."""
    if neuron not in state.neurons:
        return state
    questions = {
        each: replace(question, asker=None) if question.asker == neuron else question
        for each, question in state.questions.items()
    }
    return replace(state, neurons=without_item(state.neurons, neuron), questions=questions)


def give_back(
    state: DispatchState, request_hash: Hash32, neuron: Address, *, wrong: bool = False
) -> DispatchState:
    """Take a job from the neuron that holds it; it is passed over this round, or for good if it was wrong."""
    question = state.questions.get(request_hash)
    if question is None:
        return state
    if question.asker == neuron:
        question = replace(question, asker=None, tried=(*question.tried, neuron))
        state = release(state, neuron)
    if wrong and neuron not in question.barred:
        question = replace(question, barred=(*question.barred, neuron))
    return replace(state, questions=with_item(state.questions, request_hash, question))


def drop_question(state: DispatchState, request_hash: Hash32) -> DispatchState:
    """Forget a question; a neuron that still works on it has room for another."""
    question = state.questions[request_hash]
    if question.asker is not None:
        state = release(state, question.asker)
    return replace(state, questions=without_item(state.questions, request_hash))


def expire_jobs(config: DispatchConfig, state: DispatchState, now_ms: int) -> DispatchState:
    """Take jobs from neurons that are silent too long; where everyone had a turn, begin a new round."""
    for request_hash, question in state.questions.items():
        if question.asker is not None and now_ms - question.asked_at_ms >= config.job_timeout_ms:
            state = give_back(state, request_hash, question.asker)
        elif question.asker is None and question.tried:
            anew = replace(question, tried=())
            state = replace(state, questions=with_item(state.questions, request_hash, anew))
    return state


def assign_jobs(state: DispatchState, now_ms: int) -> tuple[DispatchState, tuple[SendJob, ...]]:
    """Hand every waiting question to the best neuron that can take it now."""
    if all(link.held >= link.capacity for link in state.neurons.values()):
        return state, ()
    neurons, questions = dict(state.neurons), dict(state.questions)
    duties: list[SendJob] = []
    for request_hash, question in state.questions.items():
        neuron = _choose(neurons, question) if question.asker is None else None
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
        if link is None or candidate in question.tried or candidate in question.barred:
            continue
        if question.request.model_id in link.models and link.held < link.capacity:
            return candidate
    return None


def release(state: DispatchState, neuron: Address) -> DispatchState:
    """Give a neuron room for one more job, if it is still there."""
    link = state.neurons.get(neuron)
    if link is None:
        return state
    freed = replace(link, held=max(0, link.held - 1))
    return replace(state, neurons=with_item(state.neurons, neuron, freed))


def with_item(mapping: Mapping[Key, Value], key: Key, value: Value) -> dict[Key, Value]:
    """Return a copy with one item set; a new key comes last."""
    return {**mapping, key: value}


def without_item(mapping: Mapping[Key, Value], key: Key) -> dict[Key, Value]:
    """Return a copy without one key."""
    rest = dict(mapping)
    rest.pop(key, None)
    return rest
