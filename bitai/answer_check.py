"""Run a neuron's answer again before the sequencer signs a block that records it.

The check needs the model's weights. A model whose weights this node does not have is not checked, and that
is counted: "records signed unverified" must read 0 on a sequencer that means it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import structlog

from primitives.errors import BitaiError
from vm.inference import engine
from vm.inference.artifact import Artifact, parse_artifact
from vm.inference.wire import Request, SignedAnswer, Status, recover_neuron

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from primitives.ids import Address, Hash32, ModelId

log = structlog.get_logger(__name__)


class Finding(StrEnum):
    """What a check found."""

    RIGHT = "right"
    UNCHECKED = "unchecked"
    WRONG = "wrong"
    FORGED = "forged"


class AnswerCheck:
    """Judges answers for one chain by the model files at hand."""

    def __init__(self, identity: Hash32, files: Iterable[Path]) -> None:
        """Load model files; one that does not parse is named and left out."""
        self._identity = identity
        self._artifacts: dict[ModelId, Artifact] = {}
        for path in files:
            try:
                artifact = parse_artifact(path.read_bytes())
            except (OSError, BitaiError) as error:
                log.warning("model file left out", file=str(path), reason=str(error))
                continue
            self._artifacts[artifact.model_id] = artifact

    @property
    def models(self) -> tuple[ModelId, ...]:
        """The models whose answers can be checked."""
        return tuple(self._artifacts)

    def may_be_right(self, request: Request, answer: SignedAnswer) -> bool:
        """Tell, by status and length alone, whether an answer is worth a check: it may be a megabyte of anything.

        Whatever is not OK every node finds by itself, and no record may say it.
        """
        length, artifact = len(answer.output), self._artifacts.get(request.model_id)
        if answer.status != Status.OK or length > request.max_output:
            return False
        return artifact is None or length == artifact.manifest.output_bytes

    def judge(self, request: Request, answer: SignedAnswer, neuron: Address) -> Finding:
        """Check signature and, with the weights at hand, the answer itself; blocking, milliseconds for small models."""
        try:
            signer = recover_neuron(self._identity, request.model_id, answer)
        except BitaiError:
            return Finding.FORGED
        if signer != neuron or answer.request_hash != request.hash:
            return Finding.FORGED
        if not self.may_be_right(request, answer):
            return Finding.WRONG
        artifact = self._artifacts.get(request.model_id)
        if artifact is None:
            return Finding.UNCHECKED
        status, output = engine.run(artifact, request.input, request.params, request.max_output)
        return Finding.RIGHT if (status, output) == (answer.status, answer.output) else Finding.WRONG
