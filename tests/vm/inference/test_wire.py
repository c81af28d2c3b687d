"""Request hash and answer digest follow the page, and a signature binds every field."""

import dataclasses
import struct

import pytest
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from primitives.curve import address_of
from primitives.errors import InvalidInput
from vm.inference.wire import (
    NEURON_STATUSES,
    Request,
    SignedAnswer,
    Status,
    answer_digest,
    recover_neuron,
    request_hash,
    sign_answer,
)

SECRET = b"\7" * 32
CHAIN = b"\xc0" * 32
REQUEST = Request(b"\xa1" * 32, b"input", b"params", 77, b"\x5e" * 32)


@given(st.binary(max_size=50), st.binary(max_size=50), st.integers(0, 2**32 - 1))
def test_request_hash_is_the_pages(data, params, max_output):
    """Keccak over prefix, model, two hashes, u32 and seed, computed by another library."""
    wanted = keccak(
        b"BitAI/request"
        + b"\1" * 32
        + keccak(data)
        + keccak(params)
        + struct.pack(">I", max_output)
        + b"\2" * 32
    )
    assert request_hash(Request(b"\1" * 32, data, params, max_output, b"\2" * 32)) == wanted


def test_answer_digest_is_the_pages():
    """Keccak over prefix, chain, model, request, status byte and the output's hash."""
    wanted = keccak(b"BitAI/answer" + CHAIN + b"\1" * 32 + b"\2" * 32 + b"\0" + keccak(b"out"))
    assert answer_digest(CHAIN, b"\1" * 32, b"\2" * 32, (Status.OK, b"out")) == wanted


def test_pinned_values():
    """The bytes of version 0, written down once."""
    assert REQUEST.hash.hex() == PINNED_REQUEST
    answer = sign_answer(SECRET, CHAIN, REQUEST, (Status.OK, b"output"))
    assert answer.signature.hex() == PINNED_SIGNATURE


PINNED_REQUEST = "de1cf6106f90ad4cbd76772fc5b77235379bd1573aa7ae8fc031acff6964f06b"
PINNED_SIGNATURE = (
    "b739a5dce4d13c502755b4d0208383fc3e267fb95b925cc37cafcb02a7ae87435d"
    "c5c9a596df9b2ac34c65c2c9b385382ea0254ed509bab0a4d1d9c5fd803b2200"
)


def test_signature_is_deterministic_and_recovers():
    """Signing twice gives the same bytes, and the signer's account comes back."""
    answer = sign_answer(SECRET, CHAIN, REQUEST, (Status.OK, b"output"))
    assert answer == sign_answer(SECRET, CHAIN, REQUEST, (Status.OK, b"output"))
    assert recover_neuron(CHAIN, REQUEST.model_id, answer) == address_of(SECRET)


@pytest.mark.parametrize("field", ["chain", "model", "request_hash", "status", "output"])
def test_every_field_is_bound(field):
    """An answer moved to another chain, model, request, status or output is someone else's, if anyone's."""
    answer = sign_answer(SECRET, CHAIN, REQUEST, (Status.OK, b"output"))
    chain, model = CHAIN, REQUEST.model_id
    if field == "chain":
        chain = b"\xc1" * 32
    elif field == "model":
        model = b"\xa2" * 32
    else:
        changed = {"request_hash": b"\3" * 32, "status": Status.BAD_INPUT, "output": b"outpux"}
        answer = dataclasses.replace(answer, **{field: changed[field]})
    try:
        assert recover_neuron(chain, model, answer) != address_of(SECRET)
    except InvalidInput as error:
        assert error.code.startswith("signature.")  # noqa: PT017 (either outcome is right)


@pytest.mark.parametrize("status", sorted(set(Status) - NEURON_STATUSES))
def test_a_neuron_cannot_say_unavailable(status):
    """Statuses that only a rule of the chain puts are neither signed nor accepted."""
    with pytest.raises(InvalidInput, match=r"answer\.status"):
        sign_answer(SECRET, CHAIN, REQUEST, (status, b""))
    with pytest.raises(InvalidInput, match=r"answer\.status"):
        recover_neuron(CHAIN, REQUEST.model_id, SignedAnswer(REQUEST.hash, status, b"", b"\0" * 65))
