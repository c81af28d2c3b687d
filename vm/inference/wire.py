"""The two byte strings a record rests on: the hash of a request, and a neuron's signed answer to it.

The chain commits to requests by hash and to answers by signature, so both have one encoding. The messages
that carry them between node and neuron are in `messages`. Layout: docs/spec/inference.md section 7.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from primitives.codec import Writer
from primitives.curve import ecdsa_recover, ecdsa_sign
from primitives.errors import InvalidInput
from primitives.hashes import keccak256
from primitives.ids import HASH_BYTES, Address, Hash32, ModelId

MAX_INPUT_BYTES: Final = 1 << 20
MAX_PARAMS_BYTES: Final = 4_096
MAX_OUTPUT_BYTES: Final = 1 << 20
NO_SEED: Final = Hash32(bytes(HASH_BYTES))

_REQUEST_PREFIX: Final = b"BitAI/request"
_ANSWER_PREFIX: Final = b"BitAI/answer"


class Status(IntEnum):
    """How an inference ended; an answer, not an error. Part of every record."""

    OK = 0
    BAD_INPUT = 1
    OUT_OF_CONTEXT = 2
    UNAVAILABLE = 3
    UNKNOWN_MODEL = 4


NEURON_STATUSES: Final = frozenset({Status.OK, Status.BAD_INPUT, Status.OUT_OF_CONTEXT})
"""What a neuron may sign: the other two are put only by a rule of the chain."""


@dataclass(frozen=True, slots=True)
class Request:
    """Ask a model something; `seed` is zero unless sampling is asked."""

    model_id: ModelId
    input: bytes
    params: bytes
    max_output: int
    seed: Hash32 = NO_SEED

    @property
    def hash(self) -> Hash32:
        """Return the request's identity on the chain."""
        return request_hash(self)


@dataclass(frozen=True, slots=True)
class SignedAnswer:
    """Give the answer to a request with the neuron's 65-byte signature over its digest."""

    request_hash: Hash32
    status: Status
    output: bytes
    signature: bytes


def request_hash(request: Request) -> Hash32:
    """Return keccak("BitAI/request" | model | keccak(input) | keccak(params) | u32 max_output | seed)."""
    writer = Writer()
    writer.raw(_REQUEST_PREFIX)
    writer.raw(request.model_id)
    writer.raw(keccak256(request.input))
    writer.raw(keccak256(request.params))
    writer.u32(request.max_output)
    writer.raw(request.seed)
    return keccak256(writer.finish())


def answer_digest(
    config_identity: Hash32, model_id: ModelId, request_hash: Hash32, answer: tuple[Status | int, bytes]
) -> Hash32:
    """Return keccak("BitAI/answer" | config | model | request hash | u8 status | keccak(output))."""
    status, output = answer
    writer = Writer()
    writer.raw(_ANSWER_PREFIX)
    for part in (config_identity, model_id, request_hash):
        writer.raw(part)
    writer.u8(status)
    writer.raw(keccak256(output))
    return keccak256(writer.finish())


def sign_answer(
    secret: bytes, config_identity: Hash32, request: Request, answer: tuple[Status, bytes]
) -> SignedAnswer:
    """Sign an answer to a request; the same arguments always give the same bytes (RFC 6979).

    Raises InvalidInput `answer.status` for a status that no neuron may sign.
    """
    status, output = answer
    if status not in NEURON_STATUSES:
        raise InvalidInput("answer.status", "a neuron cannot sign this status", status=status)
    digest = answer_digest(config_identity, request.model_id, request.hash, answer)
    return SignedAnswer(request.hash, status, output, ecdsa_sign(secret, digest))


def recover_neuron(config_identity: Hash32, model_id: ModelId, answer: SignedAnswer) -> Address:
    """Return the account that signed; raises InvalidInput `signature.*` or `answer.status`."""
    if answer.status not in NEURON_STATUSES:
        raise InvalidInput("answer.status", "a neuron cannot sign this status", status=answer.status)
    digest = answer_digest(config_identity, model_id, answer.request_hash, (answer.status, answer.output))
    return ecdsa_recover(digest, answer.signature)
