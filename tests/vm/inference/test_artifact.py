"""The container and the identity: one encoding, nothing trusted, no file that crashes the parser."""

import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.errors import InvalidInput
from primitives.merkle import merkle_root
from tests.vm.inference.random_graphs import random_model
from tests.vm.inference.small_model import small_artifact, small_constants, small_graph
from vm.inference.analyse import analyse
from vm.inference.artifact import (
    Labels,
    build_artifact,
    encode_announcement,
    encode_artifact,
    parse_announcement,
    parse_artifact,
)
from vm.inference.graph import Constant, Graph, Node, Op, Role, encode_graph, graph_leaves
from vm.inference.manifest import Manifest, Profile, Tier, encode_manifest
from vm.inference.tensors import DType, TensorType

HEADER = struct.Struct(">8sBIIQQ")


def sections(data):
    """Cut a container by hand."""
    magic, version, *lengths = HEADER.unpack_from(data)
    pieces, offset = [], HEADER.size
    for length in lengths:
        pieces.append(data[offset : offset + length])
        offset += length
    return (magic, version), pieces


def joined(head, pieces):
    """Put a container together by hand."""
    return HEADER.pack(*head, *(len(piece) for piece in pieces)) + b"".join(pieces)


def refusal(data, parse=parse_artifact):
    """Return the code a parser refuses with."""
    with pytest.raises(InvalidInput) as caught:
        parse(data)
    return caught.value.code


def test_round_trip():
    """What was built, written and read again is the same model."""
    artifact = small_artifact()
    data = encode_artifact(artifact)
    again = parse_artifact(data)
    assert encode_artifact(again) == data
    assert again.model_id == artifact.model_id
    assert (again.graph, again.manifest, again.analysis) == (
        artifact.graph,
        artifact.manifest,
        artifact.analysis,
    )
    for left, right in zip(again.constants, small_constants(), strict=True):
        assert np.array_equal(left, right)


@given(st.integers(0, 2**32 - 1))
def test_round_trip_of_random_models(seed):
    """Any graph the builder makes survives its own encoding."""
    artifact, _ = random_model(seed)
    assert encode_artifact(parse_artifact(encode_artifact(artifact))) == encode_artifact(artifact)


def test_identity_is_the_tagged_hash_of_a_hand_made_manifest():
    """The id follows from the page alone: layout by struct, Merkle trees and tagged hash by hashlib."""

    def leaf(data):
        return hashlib.sha256(b"\0" + data).digest()

    def root(hashes):
        while len(hashes) > 1:
            pairs = [
                hashlib.sha256(b"\1" + a + b).digest()
                for a, b in zip(hashes[::2], hashes[1::2], strict=False)
            ]
            hashes = pairs + (hashes[-1:] if len(hashes) % 2 else [])
        return hashes[0]

    def kind(dtype, shape, low, high):
        return struct.pack(f">BB{len(shape)}Iqq", dtype, len(shape), *shape, low, high)

    # A row's root is a leaf of the tensor's tree, whose root is a leaf of the section's.
    def tensor(data):
        leaves = [leaf(data[start : start + 1024]) for start in range(0, len(data), 1024)]
        return leaf(root(leaves))

    weights, bias, multiplier, shift, table = small_constants()
    source, i32 = kind(1, (4,), 0, 16), (5,)
    types = [
        b"\0" + kind(2, (3, 4), -127, 127),
        b"\0" + kind(*i32, (3,), -1000, 1000),
        b"\0" + kind(*i32, (1,), 0, 2**31 - 1),
        b"\0" + kind(1, (1,), 1, 62),
        b"\1" + kind(*i32, (1024,), 2**29, 2**30),
    ]
    preamble = b"\1" + source + struct.pack(">H", 5) + b"".join(types) + struct.pack(">BHHH", 2, 4, 3, 4)
    nodes = [
        struct.pack(">BHHH", 3, 0, 0, 1),
        struct.pack(">BHHHiii", 4, 1, 2, 3, 5, -(2**24), 2**24),
        struct.pack(">BHH", 9, 2, 4),
        struct.pack(">BH", 10, 2),
    ]
    graph_root = root([leaf(part) for part in (preamble, *nodes)])
    tables_root = root([leaf(tensor(struct.pack(">1024i", *table)))])
    encoded = [
        weights.astype("i1").tobytes(),
        struct.pack(">3i", *bias),
        struct.pack(">i", *multiplier),
        bytes(shift.tolist()),
    ]
    weights_root = root([leaf(tensor(data)) for data in encoded])
    outputs = kind(1, (1,), 0, 2) + kind(3, (3,), 0, 2**15)
    macs = 4 * 4 + 4 * 16384 + 3 * (4 + 4) + 8 * 3 + 32 * 3 + 4 * 3
    manifest = (
        struct.pack(">HBB", 1, 0, 0)
        + b"\5small\3MIT"
        + graph_root
        + tables_root
        + weights_root
        + b"\1"
        + source
        + b"\2"
        + outputs
        + struct.pack(">Q", macs)
    )
    tag = hashlib.sha256(b"BitAI/model").digest()
    assert small_artifact().model_id == hashlib.sha256(tag + tag + manifest).digest()


def test_tier_is_part_of_the_identity():
    """The same weights on the other tier are another model."""
    assert small_artifact(Tier.ON_CHAIN).model_id != small_artifact(Tier.NEURON).model_id


def test_announcement_is_the_model_without_weights():
    """An announcement has the id, types and tables of its model, and is refused as a model."""
    artifact = small_artifact(Tier.NEURON)
    data = encode_announcement(artifact.announcement)
    assert parse_announcement(data).model_id == artifact.model_id
    assert parse_announcement(encode_artifact(artifact)).tables == artifact.announcement.tables
    assert len(data) == len(encode_artifact(artifact)) - len(artifact.weights)
    assert refusal(data) == "model.no_weights"


@pytest.mark.parametrize("parse", [parse_artifact, parse_announcement])
def test_truncated_at_every_byte(parse):
    """Every proper prefix is refused with a code, whatever is cut."""
    data = encode_artifact(small_artifact())
    codes = {refusal(data[:length], parse) for length in range(len(data))}
    assert codes <= {"codec.truncated", "model.length"}


def test_every_flipped_byte_is_refused_or_another_model():
    """No byte is without meaning: a changed one makes the file invalid, or the id different."""
    artifact = small_artifact()
    data = bytearray(encode_artifact(artifact))
    head = HEADER.size + HEADER.unpack_from(data)[2] + HEADER.unpack_from(data)[3]
    for position in [*range(head), *range(head, len(data), 37)]:
        for change in (0x01, 0x80, 0xFF):
            mutated = data.copy()
            mutated[position] ^= change
            try:
                found = parse_artifact(bytes(mutated))
            except InvalidInput as error:
                assert error.code.startswith(("model.", "codec."))  # noqa: PT017 (either outcome is right)
            else:
                assert found.model_id != artifact.model_id


@given(st.binary(max_size=400))
def test_garbage_is_refused(data):
    """Arbitrary bytes, with or without our magic, raise InvalidInput and nothing else."""
    for candidate in (data, b"BITAIMDL\0" + data):
        assert refusal(candidate).startswith(("model.", "codec."))
        assert refusal(candidate, parse_announcement).startswith(("model.", "codec."))


@pytest.mark.parametrize(
    ("lengths", "code"),
    [
        ((2**32 - 1, 1, 0, 0), "model.length"),
        ((1, 1, 2**63, 2**63), "model.length"),
        ((0, 0, 0, 0), "codec.truncated"),
    ],
)
def test_claims_cost_nothing(lengths, code):
    """Lengths are compared with the bytes at hand before anything is read or allocated."""
    assert refusal(HEADER.pack(b"BITAIMDL", 0, *lengths)) == code


def test_claimed_shape_allocates_nothing():
    """A sound graph that declares 4 GiB of weights is refused by the length of its section."""
    entries = tuple(Constant(Role.WEIGHT, tensor) for tensor in (HUGE_WEIGHTS, HUGE_BIAS))
    graph = Graph((HUGE_SOURCE,), entries, (Node(Op.DENSE, 0, (0, 1)),), (1,))
    analysis = analyse(graph)
    roots = (merkle_root(graph_leaves(graph)), merkle_root([]), bytes(32))
    labels = (Profile.TENSOR, Tier.NEURON, "huge", "MIT")
    manifest = Manifest(*labels, *roots, graph.inputs, analysis.outputs, analysis.macs)
    pieces = [encode_manifest(manifest), encode_graph(graph), b"", b"\0" * 999]
    assert refusal(joined((b"BITAIMDL", 0), pieces)) == "model.section_size"
    assert parse_announcement(joined((b"BITAIMDL", 0), [*pieces[:3], b""])).manifest == manifest


HUGE_SOURCE = TensorType(DType.U8, (16_384,), 0, 16)
HUGE_WEIGHTS = TensorType(DType.I8, (1 << 18, 16_384), -127, 127)
HUGE_BIAS = TensorType(DType.I32, (1 << 18,), 0, 0)


@pytest.mark.parametrize(
    ("section", "code"), [(1, "model.graph_root"), (2, "model.tables_root"), (3, "model.weights_root")]
)
def test_each_section_is_bound_by_its_root(section, code):
    """A valid section of another model is noticed by its root."""
    head, pieces = sections(encode_artifact(small_artifact()))
    constants = small_constants()
    constants[0][0, 0] += 1
    constants[4][5] += 1
    graph = small_graph()
    graph = type(graph)(graph.inputs, graph.constants, graph.nodes, (3, 4))
    other = encode_artifact(build_artifact(graph, constants, Labels("small", "MIT", Tier.ON_CHAIN)))
    pieces[section] = sections(other)[1][section]
    assert refusal(joined(head, pieces)) == code


@pytest.mark.parametrize(
    ("replaced", "by", "code"),
    [
        (b"\x00\x01\x00\x00\x05small", b"\x00\x02\x00\x00\x05small", "model.ir_version"),
        (b"\x00\x01\x00\x00\x05small", b"\x00\x01\x01\x00\x05small", "model.profile"),
        (b"\x00\x01\x00\x00\x05small", b"\x00\x01\x00\x02\x05small", "model.tier"),
        (b"\x05small", b"\x05Small", "model.name"),
        (b"\x05small", b"\x85\x00small", "codec.non_canonical"),
        (b"\x03MIT", b"\x03M\nT", "model.licence"),
        (b"\x03MIT", b"\x00", "model.licence"),
    ],
)
def test_manifest_refusals(replaced, by, code):
    """Unknown versions and odd names are refused, each with its code."""
    head, pieces = sections(encode_artifact(small_artifact()))
    assert replaced in pieces[0]
    pieces[0] = pieces[0].replace(replaced, by, 1)
    assert refusal(joined(head, pieces)) == code


def test_manifest_must_tell_the_truth_about_cost():
    """A manifest that understates the cost is not the graph's."""
    head, pieces = sections(encode_artifact(small_artifact()))
    pieces[0] = pieces[0][:-8] + struct.pack(">Q", 1)
    assert refusal(joined(head, pieces)) == "model.manifest"


def test_trailing_bytes_are_refused():
    """Nothing may follow the container, nor a section's own content."""
    data = encode_artifact(small_artifact())
    assert refusal(data + b"\0") == "model.length"
    head, pieces = sections(data)
    pieces[0] += b"\0"
    assert refusal(joined(head, pieces)) == "codec.trailing"


@pytest.mark.parametrize(
    ("index", "value"), [(0, 128), (0, -128), (1, 1001), (3, 63), (3, 0), (4, (1 << 30) + 1)]
)
def test_elements_outside_their_range_are_refused(index, value):
    """The bounds are proven from declared ranges, so an element outside is refused."""
    constants = small_constants()
    constants[index].flat[0] = value
    with pytest.raises(InvalidInput, match=r"model\.tensor_value"):
        build_artifact(small_graph(), constants, Labels("small", "MIT", Tier.ON_CHAIN))
