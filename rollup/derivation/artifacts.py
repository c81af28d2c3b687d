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
    desk = _Desk(dict(state.uploads), sum(upload.size for upload in state.uploads.values()))
    complete: list[CompleteArtifact] = []
    outcomes: list[EnvelopeOutcome] = []
    for envelope in envelopes:
        if envelope.header.kind != EnvelopeKind.ARTIFACT_CHUNK:
            continue
        code = _take_chunk(limits, desk, envelope, height)
        key = (envelope.signer, envelope.header.number)
        upload = None if code else desk.take_complete(key)
        if upload is not None and upload.is_intact:
            complete.append(CompleteArtifact(*key, upload.content, envelope.tx_index, envelope.position))
        elif upload is not None:
            code = ArtifactCode.CONTENT_HASH
        outcomes.append(EnvelopeOutcome.of(envelope, code))
    oldest = height - limits.artifact_timeout
    kept = {key: upload for key, upload in desk.uploads.items() if upload.first_height > oldest}
    return ArtifactTransition(ArtifactState(kept), tuple(complete), tuple(outcomes))


@dataclass(slots=True)
class _Desk:
    """The uploads while one L1 block is worked through, with the bytes that they hold together."""

    uploads: dict[UploadKey, Assembly]
    buffered: int

    def add(self, key: UploadKey, upload: Assembly, frame: Frame, index: int) -> None:
        self.uploads[key] = upload.add(frame, index)
        self.buffered += len(frame.data)

    def take_complete(self, key: UploadKey) -> Assembly | None:
        """Return an upload that has all its chunks, and keep it no longer."""
        upload = self.uploads[key]
        if not upload.is_complete:
            return None
        self.buffered -= upload.size
        return self.uploads.pop(key)


def _take_chunk(limits: Limits, desk: _Desk, envelope: Envelope, height: int) -> str:
    """Add a chunk to its upload, or say why not."""
    try:
        frame = decode_frame(envelope.payload)
    except InvalidInput as error:
        return error.code.replace("frame.", "artifact.")
    if frame.of > limits.artifact_chunks:
        return ArtifactCode.TOO_MANY_CHUNKS
    key = (envelope.signer, envelope.header.number)
    upload = desk.uploads.get(key) or Assembly.begin(frame, height)
    fit = upload.fit(frame, envelope.header.index)
    if fit is not Fit.NEW:
        return _MISFITS[fit]
    code = _check_room(limits, desk, key, frame)
    if not code:
        desk.add(key, upload, frame, envelope.header.index)
    return code


def _check_room(limits: Limits, desk: _Desk, key: UploadKey, frame: Frame) -> ArtifactCode:
    held = desk.uploads.get(key)
    if held is None:
        of_signer = sum(signer == key[0] for signer, _ in desk.uploads)
        if len(desk.uploads) >= limits.open_artifacts or of_signer >= limits.signer_artifacts:
            return ArtifactCode.TOO_MANY_OPEN
    if (held.size if held else 0) + len(frame.data) > limits.artifact_bytes:
        return ArtifactCode.TOO_LARGE
    if desk.buffered + len(frame.data) > limits.artifact_buffered_bytes:
        return ArtifactCode.BUFFER_FULL
    return ArtifactCode.ACCEPTED
