"""Uploads of models: any order, any signer, bounded, and complete only if they hash to what they promised."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from primitives.bitcoin.envelope import EnvelopeKind
from primitives.codec import Reader, Writer
from primitives.hashes import sha256
from rollup.batch.channel import split_frames
from rollup.derivation.artifacts import ArtifactState, step
from rollup.derivation.snapshot import read_artifacts, write_artifacts
from rollup.limits import Limits
from tests.rollup.chains import make_envelope

ALICE, BOB = sha256(b"alice"), sha256(b"bob")
LIMITS = Limits()


def upload(data, sequence=0, signer=ALICE, size=40):
    """The chunks of an artifact."""
    return [
        make_envelope(
            payload,
            kind=EnvelopeKind.ARTIFACT_CHUNK,
            number=sequence,
            index=index,
            signer=signer,
            place=index,
        )
        for index, payload in enumerate(split_frames(data, size))
    ]


def codes(transition):
    """What became of each chunk."""
    return [outcome.code for outcome in transition.outcomes]


@given(st.binary(min_size=1, max_size=300), st.randoms(use_true_random=False), st.integers(1, 5))
def test_chunks_in_any_order_and_any_block(data, random, heights):
    """The artifact is complete at its last chunk, whoever else uploads meanwhile, and is forgotten then."""
    chunks = upload(data) + upload(bytes(reversed(data)), signer=BOB)
    random.shuffle(chunks)
    state, complete = ArtifactState(), []
    for height in range(heights):
        transition = step(LIMITS, state, height, chunks[height::heights])
        assert not any(codes(transition))
        state = transition.state
        complete += [(each.signer, each.data) for each in transition.complete]
        writer = Writer()
        write_artifacts(writer, state)
        assert read_artifacts(Reader(writer.finish())) == state
    assert sorted(complete) == sorted([(ALICE, data), (BOB, bytes(reversed(data)))])
    assert state == ArtifactState()


def test_copies_and_conflicts():
    """A chunk's copy is a duplicate; other data for its slot, or another whole, conflicts."""
    first, second = upload(bytes(80))
    other = upload(b"\1" * 80)[0]
    transition = step(LIMITS, ArtifactState(), 1, [first, first, other, second])
    assert codes(transition) == ["", "artifact.duplicate", "artifact.conflict", ""]
    assert [each.data for each in transition.complete] == [bytes(80)]


def test_chunks_that_do_not_hash_to_their_promise():
    """Completeness is of the whole, not of the count."""
    first, _ = upload(bytes(80))
    wrong = replace(first, payload=first.payload[:-1] + b"\1", header=replace(first.header, index=1))
    transition = step(LIMITS, ArtifactState(), 1, [first, wrong])
    assert codes(transition) == ["", "artifact.content_hash"]
    assert transition.state == ArtifactState()


def test_bounds():
    """Slots, slots of a signer, bytes of one, bytes of all, chunks: each is refused with its reason."""
    limits = Limits(open_artifacts=3, signer_artifacts=2, artifact_bytes=100, artifact_buffered_bytes=120)
    limits = replace(limits, artifact_chunks=4)
    chunks = [upload(bytes(80), sequence)[0] for sequence in range(3)]
    assert codes(step(limits, ArtifactState(), 1, chunks)) == ["", "", "artifact.too_many_open"]
    crowd = [upload(bytes(20), 0, signer=sha256(b"%d" % n), size=10)[0] for n in range(4)]
    assert codes(step(limits, ArtifactState(), 1, crowd)) == ["", "", "", "artifact.too_many_open"]
    crowded = [*upload(bytes(120))[:2], upload(bytes(99), signer=BOB, size=60)[0]]
    large = step(limits, ArtifactState(), 1, upload(bytes(160)))
    assert codes(large) == ["", "", "artifact.too_large", "artifact.too_large"]
    both = step(limits, ArtifactState(), 1, crowded)
    assert codes(both) == ["", "", "artifact.buffer_full"]
    assert (
        codes(step(limits, ArtifactState(), 1, upload(bytes(50), size=10)))
        == ["artifact.too_many_chunks"] * 5
    )
    malformed = make_envelope(b"", kind=EnvelopeKind.ARTIFACT_CHUNK)
    assert codes(step(limits, ArtifactState(), 1, [malformed])) == ["artifact.truncated"]


def test_an_upload_that_takes_too_long_is_forgotten():
    """Its slot and its bytes come back; the chunks of the last block in time still count."""
    limits = Limits(artifact_timeout=3)
    first, second = upload(bytes(80))
    state = step(limits, ArtifactState(), 10, [first]).state
    state = step(limits, state, 12, []).state
    assert step(limits, state, 13, [second]).complete
    assert step(limits, state, 13, []).state == ArtifactState()
