"""Collect models that are inscribed in chunks, by signer and sequence; anybody may inscribe one.

What a complete artifact means is not judged here. A copy of a whole upload completes again and changes
nothing: the registry of models knows each id once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from primitives.bitcoin.envelope import Envelope, EnvelopeKind
from primitives.errors import InvalidInput
from primitives.ids import XOnlyKey
from rollup.batch.channel import Frame, decode_frame
from rollup.derivation.errors import ArtifactCode
from rollup.derivation.events import EnvelopeOutcome
from rollup.derivation.machine import describe
from rollup.derivation.pieces import Assembly, Fit
from rollup.limits import Limits

UploadKey: TypeAlias = "tuple[XOnlyKey, int]"
"""Signer and sequence."""
_MISFITS: Final = {
    Fit.BAD_INDEX: ArtifactCode.BAD_INDEX,
    Fit.DUPLICATE: ArtifactCode.DUPLICATE,
    Fit.CONFLICT: ArtifactCode.CONFLICT,
}


class CompleteArtifact(NamedTuple):
    """An artifact whose last chunk has come; the place is that chunk's."""

    signer: XOnlyKey
    sequence: int
    data: bytes
    tx_index: int
    position: int


@dataclass(frozen=True, slots=True)
class ArtifactState:
    """Uploads with chunks missing."""

    uploads: Mapping[UploadKey, Assembly] = field(default_factory=dict)


class ArtifactTransition(NamedTuple):
    """The state after an L1 block, what became complete in block order, and what became of every chunk."""

    state: ArtifactState
    complete: tuple[CompleteArtifact, ...]
    outcomes: tuple[EnvelopeOutcome, ...]


def step(
    limits: Limits, state: ArtifactState, height: int, envelopes: Iterable[Envelope]
) -> ArtifactTransition:
    """Take in the chunks of one L1 block, then forget uploads that took too long."""
    uploads = dict(state.uploads)
    complete: list[CompleteArtifact] = []
    outcomes: list[EnvelopeOutcome] = []
    for envelope in envelopes:
        if envelope.header.kind != EnvelopeKind.ARTIFACT_CHUNK:
            continue
        code = _take_chunk(limits, uploads, envelope, height)
        key = (envelope.signer, envelope.header.number)
        upload = uploads.get(key)
        if not code and upload is not None and upload.is_complete:
            del uploads[key]
            if upload.is_intact:
                place = (envelope.tx_index, envelope.position)
                complete.append(CompleteArtifact(*key, upload.content, *place))
            else:
                code = ArtifactCode.CONTENT_HASH
        outcomes.append(describe(envelope, code))
    kept = {
        key: upload
        for key, upload in uploads.items()
        if height - upload.first_height < limits.artifact_timeout
    }
    return ArtifactTransition(ArtifactState(kept), tuple(complete), tuple(outcomes))


def _take_chunk(limits: Limits, uploads: dict[UploadKey, Assembly], envelope: Envelope, height: int) -> str:
    """Add a chunk to its upload, or say why not."""
    try:
        frame = decode_frame(envelope.payload)
    except InvalidInput as error:
        return error.code.replace("frame.", "artifact.")
    if frame.of > limits.artifact_chunks:
        return ArtifactCode.TOO_MANY_CHUNKS
    key = (envelope.signer, envelope.header.number)
    upload = uploads.get(key) or Assembly.begin(frame, height)
    fit = upload.fit(frame, envelope.header.index)
    if fit is not Fit.NEW:
        return _MISFITS[fit]
    code = _check_room(limits, uploads, key, frame)
    if not code:
        uploads[key] = upload.add(frame, envelope.header.index)
    return code


def _check_room(
    limits: Limits, uploads: Mapping[UploadKey, Assembly], key: UploadKey, frame: Frame
) -> ArtifactCode:
    held = uploads.get(key)
    if held is None:
        of_signer = sum(signer == key[0] for signer, _ in uploads)
        if len(uploads) >= limits.open_artifacts or of_signer >= limits.signer_artifacts:
            return ArtifactCode.TOO_MANY_OPEN
    if (held.size if held else 0) + len(frame.data) > limits.artifact_bytes:
        return ArtifactCode.TOO_LARGE
    if sum(upload.size for upload in uploads.values()) + len(frame.data) > limits.artifact_buffered_bytes:
        return ArtifactCode.BUFFER_FULL
    return ArtifactCode.ACCEPTED
