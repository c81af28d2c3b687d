"""The messages between a node and a neuron, byte for byte.

A message is one WebSocket binary frame: protocol version u8, kind u8, body. Integers are big-endian. Every
message has exactly one encoding, and every length has a limit that is checked before anything is read.
Layout, order and duties: docs/spec/neuron-protocol.md.
"""

import string
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final, TypeAlias

from primitives.codec import Reader, Writer
from primitives.curve import ECDSA_BYTES, ecdsa_recover, ecdsa_sign
from primitives.errors import InvalidInput
from primitives.hashes import keccak256
from primitives.ids import ADDRESS_BYTES, HASH_BYTES, Address, Hash32, ModelId
from vm.inference.wire import (
    MAX_INPUT_BYTES,
    MAX_OUTPUT_BYTES,
    MAX_PARAMS_BYTES,
    NEURON_STATUSES,
    Request,
    SignedAnswer,
    Status,
)

PROTOCOL_VERSION: Final = 0
NONCE_BYTES: Final = 32
MAX_MESSAGE_BYTES: Final = MAX_INPUT_BYTES + MAX_PARAMS_BYTES + 1_024
MAX_MODELS: Final = 1_024
MAX_TEXT_BYTES: Final = 200

_HELLO_PREFIX: Final = b"BitAI/hello"
_PRINTABLE: Final = frozenset(string.ascii_letters + string.digits + string.punctuation + " ")


class Kind(IntEnum):
    """Kind of a message."""

    CHALLENGE = 1
    HELLO = 2
    WELCOME = 3
    JOB = 4
    ANSWER = 5
    DECLINE = 6
    HEARTBEAT = 7
    GOODBYE = 8


class DeclineReason(IntEnum):
    """Why a neuron will not answer a job now."""

    QUEUE_FULL = 1
    UNKNOWN_MODEL = 2
    SHUTTING_DOWN = 3
    ENGINE_FAILED = 4
    REQUEST_MISMATCH = 5


@dataclass(frozen=True, slots=True)
class Challenge:
    """Open a connection: a fresh nonce, and the identity of the chain whose answers are wanted."""

    config_identity: Hash32
    nonce: bytes
    server: str


@dataclass(frozen=True, slots=True)
class Hello:
    """Prove a neuron's key and offer models; `capacity` is the number of jobs it will hold at once."""

    nonce: bytes
    models: tuple[ModelId, ...]
    capacity: int
    software: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Welcome:
    """Accept a neuron: its address as recovered, and how often a heartbeat is wanted, in milliseconds."""

    neuron: Address
    heartbeat_ms: int


@dataclass(frozen=True, slots=True)
class Job:
    """Hand a request to a neuron. `request_hash` repeats the hash of the request, for comparison."""

    request_hash: Hash32
    request: Request
    ask_height: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Return a signed answer."""

    answer: SignedAnswer


@dataclass(frozen=True, slots=True)
class Decline:
    """Return a job unanswered, so that another neuron can have it at once."""

    request_hash: Hash32
    reason: DeclineReason


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Tell that the neuron lives: jobs held now, and answers sent on this connection."""

    held: int
    answered: int


@dataclass(frozen=True, slots=True)
class Goodbye:
    """End a connection with a stable code and a sentence for a person."""

    code: str
    reason: str


Message: TypeAlias = Challenge | Hello | Welcome | Job | Answer | Decline | Heartbeat | Goodbye


def hello_digest(config_identity: Hash32, hello: Hello) -> Hash32:
    """Return keccak("BitAI/hello" | config | the hello's body without its signature)."""
    return keccak256(_HELLO_PREFIX + config_identity + _hello_body(hello))


def sign_hello(secret: bytes, config_identity: Hash32, hello: Hello) -> Hello:
    """Return the hello with its signature; the one it came with is ignored."""
    return replace(hello, signature=ecdsa_sign(secret, hello_digest(config_identity, hello)))


def recover_hello(config_identity: Hash32, hello: Hello) -> Address:
    """Return the account that said hello; raises InvalidInput `signature.*`."""
    return ecdsa_recover(hello_digest(config_identity, hello), hello.signature)


def encode_message(message: Message) -> bytes:
    """Return the one encoding of a message."""
    kind = _KINDS[type(message)]
    writer = Writer()
    writer.u8(PROTOCOL_VERSION)
    writer.u8(kind)
    _ENCODERS[kind](writer, message)
    return writer.finish()


def decode_message(data: bytes) -> Message:
    """Parse one message.

    Raises InvalidInput `message.too_long`, `message.version`, `message.kind`, `message.text`,
    `message.models`, `answer.status`, `message.reason` or `codec.*`.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise InvalidInput("message.too_long", "message too long", limit=MAX_MESSAGE_BYTES, found=len(data))
    reader = Reader(data)
    version = reader.u8()
    if version != PROTOCOL_VERSION:
        raise InvalidInput("message.version", "unknown protocol version", version=version)
    code = reader.u8()
    if code not in _DECODERS:
        raise InvalidInput("message.kind", "unknown message kind", kind=code)
    message = _DECODERS[code](reader)
    reader.done()
    return message


def _hello_body(hello: Hello) -> bytes:
    """Return what a hello's signature covers: all of it but the signature."""
    writer = Writer()
    writer.raw(hello.nonce)
    writer.u16(len(hello.models))
    for model_id in hello.models:
        writer.raw(model_id)
    writer.u16(hello.capacity)
    _write_text(writer, hello.software)
    return writer.finish()


def _encode_challenge(writer: Writer, message: Challenge) -> None:
    writer.raw(message.config_identity)
    writer.raw(message.nonce)
    _write_text(writer, message.server)


def _decode_challenge(reader: Reader) -> Challenge:
    return Challenge(Hash32(reader.take(HASH_BYTES)), reader.take(NONCE_BYTES), _read_text(reader))


def _encode_hello(writer: Writer, message: Hello) -> None:
    writer.raw(_hello_body(message))
    writer.raw(message.signature)


def _decode_hello(reader: Reader) -> Hello:
    nonce = reader.take(NONCE_BYTES)
    count = reader.u16()
    if not 1 <= count <= MAX_MODELS:
        raise InvalidInput("message.models", "number of models out of bounds", count=count, limit=MAX_MODELS)
    models = tuple(ModelId(reader.take(HASH_BYTES)) for _ in range(count))
    if list(models) != sorted(set(models)):
        raise InvalidInput("message.models", "model ids are listed once each, in rising order")
    return Hello(nonce, models, reader.u16(), _read_text(reader), reader.take(ECDSA_BYTES))


def _encode_welcome(writer: Writer, message: Welcome) -> None:
    writer.raw(message.neuron)
    writer.u32(message.heartbeat_ms)


def _decode_welcome(reader: Reader) -> Welcome:
    return Welcome(Address(reader.take(ADDRESS_BYTES)), reader.u32())


def _encode_job(writer: Writer, message: Job) -> None:
    request = message.request
    writer.raw(message.request_hash)
    writer.u64(message.ask_height)
    writer.raw(request.model_id)
    writer.raw(request.seed)
    writer.u32(request.max_output)
    writer.byte_string(request.params)
    writer.byte_string(request.input)


def _decode_job(reader: Reader) -> Job:
    request_hash, ask_height = Hash32(reader.take(HASH_BYTES)), reader.u64()
    model_id, seed, max_output = (
        ModelId(reader.take(HASH_BYTES)),
        Hash32(reader.take(HASH_BYTES)),
        reader.u32(),
    )
    params = reader.byte_string(MAX_PARAMS_BYTES)
    request = Request(model_id, reader.byte_string(MAX_INPUT_BYTES), params, max_output, seed)
    return Job(request_hash, request, ask_height)


def _encode_answer(writer: Writer, message: Answer) -> None:
    answer = message.answer
    writer.raw(answer.request_hash)
    writer.u8(answer.status)
    writer.raw(answer.signature)
    writer.byte_string(answer.output)


def _decode_answer(reader: Reader) -> Answer:
    request_hash, status, signature = Hash32(reader.take(HASH_BYTES)), reader.u8(), reader.take(ECDSA_BYTES)
    if status not in NEURON_STATUSES:
        raise InvalidInput("answer.status", "a neuron cannot sign this status", status=status)
    return Answer(SignedAnswer(request_hash, Status(status), reader.byte_string(MAX_OUTPUT_BYTES), signature))


def _encode_decline(writer: Writer, message: Decline) -> None:
    writer.raw(message.request_hash)
    writer.u8(message.reason)


def _decode_decline(reader: Reader) -> Decline:
    request_hash, reason = Hash32(reader.take(HASH_BYTES)), reader.u8()
    if reason not in _REASONS:
        raise InvalidInput("message.reason", "unknown reason to decline", reason=reason)
    return Decline(request_hash, DeclineReason(reason))


def _encode_heartbeat(writer: Writer, message: Heartbeat) -> None:
    writer.u16(message.held)
    writer.u64(message.answered)


def _decode_heartbeat(reader: Reader) -> Heartbeat:
    return Heartbeat(reader.u16(), reader.u64())


def _encode_goodbye(writer: Writer, message: Goodbye) -> None:
    _write_text(writer, message.code)
    _write_text(writer, message.reason)


def _decode_goodbye(reader: Reader) -> Goodbye:
    return Goodbye(_read_text(reader), _read_text(reader))


def _write_text(writer: Writer, text: str) -> None:
    """Append a short printable ASCII text; raises InvalidInput `message.text` for any other."""
    if len(text) > MAX_TEXT_BYTES or not _PRINTABLE.issuperset(text):
        raise InvalidInput("message.text", "text too long or not printable ASCII", text=text[:MAX_TEXT_BYTES])
    writer.byte_string(text.encode("ascii"))


def _read_text(reader: Reader) -> str:
    """Read a short printable ASCII text; control characters would reach an operator's terminal."""
    text = reader.byte_string(MAX_TEXT_BYTES).decode("latin-1")
    if not _PRINTABLE.issuperset(text):
        raise InvalidInput("message.text", "text is not printable ASCII")
    return text


_REASONS: Final = frozenset(DeclineReason)

_KINDS: Final[dict[type[Message], Kind]] = {
    Challenge: Kind.CHALLENGE,
    Hello: Kind.HELLO,
    Welcome: Kind.WELCOME,
    Job: Kind.JOB,
    Answer: Kind.ANSWER,
    Decline: Kind.DECLINE,
    Heartbeat: Kind.HEARTBEAT,
    Goodbye: Kind.GOODBYE,
}

_ENCODERS: Final[dict[Kind, Callable[[Writer, Any], None]]] = {
    Kind.CHALLENGE: _encode_challenge,
    Kind.HELLO: _encode_hello,
    Kind.WELCOME: _encode_welcome,
    Kind.JOB: _encode_job,
    Kind.ANSWER: _encode_answer,
    Kind.DECLINE: _encode_decline,
    Kind.HEARTBEAT: _encode_heartbeat,
    Kind.GOODBYE: _encode_goodbye,
}

_DECODERS: Final[dict[int, Callable[[Reader], Message]]] = {
    Kind.CHALLENGE: _decode_challenge,
    Kind.HELLO: _decode_hello,
    Kind.WELCOME: _decode_welcome,
    Kind.JOB: _decode_job,
    Kind.ANSWER: _decode_answer,
    Kind.DECLINE: _decode_decline,
    Kind.HEARTBEAT: _decode_heartbeat,
    Kind.GOODBYE: _decode_goodbye,
}
