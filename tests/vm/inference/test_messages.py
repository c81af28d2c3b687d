"""Messages have one encoding, and nothing a peer sends does more than raise InvalidInput."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.curve import address_of
from primitives.errors import InvalidInput
from vm.inference.messages import (
    MAX_MESSAGE_BYTES,
    Answer,
    Challenge,
    Decline,
    DeclineReason,
    Goodbye,
    Heartbeat,
    Hello,
    Job,
    Welcome,
    decode_message,
    encode_message,
    recover_hello,
    sign_hello,
)
from vm.inference.wire import MAX_INPUT_BYTES, MAX_PARAMS_BYTES, Request, SignedAnswer, Status

SECRET = b"\7" * 32
CHAIN = b"\xc0" * 32
REQUEST = Request(b"\xa1" * 32, b"input", b"params", 77, b"\x5e" * 32)
HELLO = Hello(b"\1" * 32, (b"\2" * 32, b"\3" * 32), 64, "test/1", bytes(65))
MESSAGES = [
    Challenge(CHAIN, b"\1" * 32, "node/1"),
    HELLO,
    Welcome(b"\4" * 20, 5_000),
    Job(REQUEST.hash, REQUEST, 1_234),
    Answer(SignedAnswer(REQUEST.hash, Status.OK, b"output", b"\5" * 65)),
    Decline(REQUEST.hash, DeclineReason.QUEUE_FULL),
    Heartbeat(3, 99),
    Goodbye("neuron.unknown", "not in the registry"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_round_trip(message):
    """What is written is read, and only whole."""
    data = encode_message(message)
    assert decode_message(data) == message
    for length in range(len(data)):
        with pytest.raises(InvalidInput):
            decode_message(data[:length])
    with pytest.raises(InvalidInput, match=r"codec\.trailing"):
        decode_message(data + b"\0")


@given(st.binary(max_size=300), st.integers(0, 12))
def test_garbage_raises_or_reencodes_to_itself(data, kind):
    """Bytes that parse are the one encoding of what they say."""
    for candidate in (data, bytes([0, kind]) + data):
        try:
            message = decode_message(candidate)
        except InvalidInput:
            continue
        assert encode_message(message) == candidate


def test_largest_job_fits():
    """The limits on the parts leave room within the limit on the whole, and one byte more is refused."""
    request = Request(b"\1" * 32, bytes(MAX_INPUT_BYTES), bytes(MAX_PARAMS_BYTES), 2**32 - 1, b"\2" * 32)
    data = encode_message(Job(request.hash, request, 2**64 - 1))
    assert len(data) <= MAX_MESSAGE_BYTES
    assert decode_message(data) == Job(request.hash, request, 2**64 - 1)
    longer = dataclasses.replace(request, input=bytes(MAX_INPUT_BYTES + 1))
    with pytest.raises(InvalidInput, match=r"codec\.too_long"):
        decode_message(encode_message(Job(longer.hash, longer, 0)))
    with pytest.raises(InvalidInput, match=r"message\.too_long"):
        decode_message(bytes(MAX_MESSAGE_BYTES + 1))


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (dataclasses.replace(HELLO, models=()), "message.models"),
        (dataclasses.replace(HELLO, models=(b"\3" * 32, b"\2" * 32)), "message.models"),
        (dataclasses.replace(HELLO, models=(b"\2" * 32, b"\2" * 32)), "message.models"),
        (Answer(SignedAnswer(REQUEST.hash, Status.UNAVAILABLE, b"", bytes(65))), "answer.status"),
        (Decline(REQUEST.hash, 0), "message.reason"),
    ],
)
def test_refusals(message, code):
    """What a peer must not say is refused with its code."""
    with pytest.raises(InvalidInput) as caught:
        decode_message(encode_message(message))
    assert caught.value.code == code


def test_control_characters_never_reach_a_terminal():
    """Texts are printable ASCII, when written and when read."""
    with pytest.raises(InvalidInput, match=r"message\.text"):
        encode_message(Goodbye("x", "\x1b[2J"))
    data = encode_message(Goodbye("x", "plain")).replace(b"plain", b"\x1b[2Jx")
    with pytest.raises(InvalidInput, match=r"message\.text"):
        decode_message(data)


def test_unknown_versions_and_kinds():
    """Another version or kind is told apart from a damaged message."""
    data = encode_message(Heartbeat(0, 0))
    with pytest.raises(InvalidInput, match=r"message\.version"):
        decode_message(b"\1" + data[1:])
    with pytest.raises(InvalidInput, match=r"message\.kind"):
        decode_message(data[:1] + b"\x63" + data[2:])


def test_hello_binds_chain_nonce_and_offer():
    """A hello proves a key for one chain, one nonce and one list of models."""
    hello = sign_hello(SECRET, CHAIN, HELLO)
    assert recover_hello(CHAIN, hello) == address_of(SECRET)
    changed = [{"nonce": b"\x09" * 32}, {"models": HELLO.models[:1]}, {"capacity": 1}, {"software": "x"}]
    for chain, changes in [(b"\xc1" * 32, {}), *((CHAIN, change) for change in changed)]:
        try:
            assert recover_hello(chain, dataclasses.replace(hello, **changes)) != address_of(SECRET)
        except InvalidInput as error:
            assert error.code.startswith("signature.")  # noqa: PT017 (either outcome is right)
