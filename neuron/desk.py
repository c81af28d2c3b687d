"""The desk: one job in, one signed answer or one reason to decline out.

It knows no sockets and no tasks; the session calls it from one worker thread, so at most one model runs at
a time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from neuron.engine import Model, answer
from primitives.errors import Temporary
from primitives.ids import Hash32, ModelId
from vm.inference.artifact import Artifact
from vm.inference.messages import Answer, Decline, DeclineReason, Job
from vm.inference.wire import MAX_OUTPUT_BYTES, SignedAnswer, sign_answer

_log = structlog.get_logger("neuron.desk")


class Memory(Protocol):
    """Remember what was signed."""

    def recall(self, config_identity: Hash32, request_hash: Hash32) -> SignedAnswer | None:
        """Return the answer signed earlier, if there is one; raises Temporary while that cannot be told."""
        ...

    def record(self, config_identity: Hash32, answer: SignedAnswer) -> None:
        """Store an answer and return once it cannot be lost; raises Temporary when it could not be stored."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ServedModel:
    """Hold a model and its prepared form."""

    artifact: Artifact
    model: Model


class Desk:
    """Answer jobs with the models at hand, each request once and for all."""

    def __init__(self, secret: bytes, models: Mapping[ModelId, ServedModel], memory: Memory) -> None:
        """Serve these models with this key."""
        self._secret = secret
        self._models = dict(models)
        self._memory = memory

    @property
    def model_ids(self) -> tuple[ModelId, ...]:
        """Return the served models, in rising order of id as a hello lists them."""
        return tuple(sorted(self._models))

    def refuse(self, job: Job) -> Decline | None:
        """Return why a job cannot be taken, as far as that is known without running it."""
        if job.request_hash != job.request.hash:
            return Decline(job.request_hash, DeclineReason.REQUEST_MISMATCH)
        if job.request.model_id not in self._models:
            return Decline(job.request_hash, DeclineReason.UNKNOWN_MODEL)
        return None

    def answer(self, config_identity: Hash32, job: Job) -> Answer | Decline:
        """Return the one answer to a job that `refuse` let pass; it is on disk when this returns.

        Raises InvariantViolation `answer_log.*`, which must stop the process. While the disk takes or gives nothing,
        jobs are declined: another neuron can have them, and what could not be stored is never sent.
        """
        try:
            return self._answer(config_identity, job)
        except Temporary as error:
            _log.error("no answer", request=job.request_hash.hex(), code=error.code, reason=error.message)
            return Decline(job.request_hash, DeclineReason.ENGINE_FAILED)

    def _answer(self, config_identity: Hash32, job: Job) -> Answer | Decline:
        remembered = self._memory.recall(config_identity, job.request_hash)
        if remembered is not None:
            return Answer(remembered)
        served = self._models[job.request.model_id]
        try:
            result = answer(served.model, served.artifact, job.request)
        except (RuntimeError, MemoryError) as error:
            _log.exception("the engine failed", request=job.request_hash.hex(), error=str(error))
            return Decline(job.request_hash, DeclineReason.ENGINE_FAILED)
        if len(result.output) > MAX_OUTPUT_BYTES:
            return Decline(job.request_hash, DeclineReason.ENGINE_FAILED)
        signed = sign_answer(self._secret, config_identity, job.request, (result.status, result.output))
        self._memory.record(config_identity, signed)
        return Answer(signed)
