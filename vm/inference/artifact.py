"""The artifact: one canonical binary container for a model.

Manifest, graph, tables, weights, in this order, behind a fixed header with their lengths. The announcement of
a model is the same container without the weights: all that is inscribed of a neuron-tier model. Reading one
trusts nothing: lengths are compared before bytes are touched, roots before elements are used, and the
analyser must accept the graph. Encoding: docs/spec/inference.md section 6.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from primitives.codec import Reader, Writer
from primitives.errors import InvalidInput
from primitives.ids import ModelId
from primitives.merkle import merkle_root
from vm.inference.analyse import Analysis, analyse, require_tier
from vm.inference.commitment import section_root
from vm.inference.graph import Graph, Role, decode_graph, encode_graph, graph_leaves
from vm.inference.manifest import Manifest, Profile, Tier, decode_manifest, encode_manifest
from vm.inference.tensors import Integers, TensorType, decode_tensor, encode_tensor

MAGIC: Final = b"BITAIMDL"
CONTAINER_VERSION: Final = 0
MAX_GRAPH_BYTES: Final = 1 << 20
MAX_TABLES_BYTES: Final = 8 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Announcement:
    """Hold all of a model but its weights, checked against the manifest."""

    model_id: ModelId
    manifest: Manifest
    graph: Graph
    analysis: Analysis
    tables: bytes


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Artifact:
    """Hold a complete, checked model; `constants` are in the graph's order and narrow dtypes."""

    announcement: Announcement
    weights: bytes
    constants: tuple[Integers, ...]

    @property
    def model_id(self) -> ModelId:
        """Return the model's id."""
        return self.announcement.model_id

    @property
    def manifest(self) -> Manifest:
        """Return the manifest."""
        return self.announcement.manifest

    @property
    def graph(self) -> Graph:
        """Return the graph."""
        return self.announcement.graph

    @property
    def analysis(self) -> Analysis:
        """Return the proven facts about the graph."""
        return self.announcement.analysis


class Labels(NamedTuple):
    """Give what the publisher chooses and the integers do not say."""

    name: str
    licence: str
    tier: Tier


class _Sections(NamedTuple):
    manifest: memoryview
    graph: memoryview
    tables: memoryview
    weights: memoryview


def build_artifact(graph: Graph, constants: Sequence[Integers], labels: Labels) -> Artifact:
    """Make a model from a graph and its constants; the result has passed its own parser.

    Raises InvalidInput `model.*` for anything the parser would refuse.
    """
    if len(constants) != len(graph.constants):
        raise InvalidInput(
            "model.count", "one array per constant", wanted=len(graph.constants), found=len(constants)
        )
    encoded = [
        encode_tensor(constant.type, array)
        for constant, array in zip(graph.constants, constants, strict=True)
    ]
    analysis = analyse(graph)
    manifest = Manifest(
        profile=Profile.TENSOR,
        tier=labels.tier,
        name=labels.name,
        licence=labels.licence,
        graph_root=merkle_root(graph_leaves(graph)),
        tables_root=section_root(_of_role(graph, encoded, Role.TABLE)),
        weights_root=section_root(_of_role(graph, encoded, Role.WEIGHT)),
        inputs=graph.inputs,
        outputs=analysis.outputs,
        macs=analysis.macs,
    )
    tables, weights = (
        b"".join(data for _, data in _of_role(graph, encoded, role)) for role in (Role.TABLE, Role.WEIGHT)
    )
    return parse_artifact(_encode(manifest, encode_graph(graph), tables, weights))


def encode_artifact(artifact: Artifact) -> bytes:
    """Return the complete container."""
    return _encode(
        artifact.manifest, encode_graph(artifact.graph), artifact.announcement.tables, artifact.weights
    )


def encode_announcement(announcement: Announcement) -> bytes:
    """Return the container without weights."""
    return _encode(announcement.manifest, encode_graph(announcement.graph), announcement.tables, b"")


def parse_announcement(data: bytes | memoryview) -> Announcement:
    """Read the container with or without weights, and ignore the weights.

    Raises InvalidInput `model.*` or `codec.*`.
    """
    return _check_announcement(_split(data))


def parse_artifact(data: bytes | memoryview) -> Artifact:
    """Read a complete model.

    Raises InvalidInput `model.no_weights` for an announcement, other `model.*` or `codec.*` for anything
    malformed.
    """
    sections = _split(data)
    announcement = _check_announcement(sections)
    graph = announcement.graph
    if not sections.weights and _byte_count(graph, Role.WEIGHT):
        raise InvalidInput("model.no_weights", "this is an announcement; the weights are not in it")
    weights = _cut(graph, sections.weights, Role.WEIGHT)
    if section_root(list(weights.values())) != announcement.manifest.weights_root:
        raise InvalidInput("model.weights_root", "weights do not hash to the manifest's root")
    encoded = weights | _cut(graph, sections.tables, Role.TABLE)
    constants = tuple(decode_tensor(*encoded[index]) for index in range(len(graph.constants)))
    return Artifact(announcement, bytes(sections.weights), constants)


def _encode(manifest: Manifest, graph: bytes, tables: bytes, weights: bytes) -> bytes:
    encoded_manifest = encode_manifest(manifest)
    writer = Writer()
    writer.raw(MAGIC)
    writer.u8(CONTAINER_VERSION)
    writer.u32(len(encoded_manifest))
    writer.u32(len(graph))
    writer.u64(len(tables))
    writer.u64(len(weights))
    return b"".join((writer.finish(), encoded_manifest, graph, tables, weights))


def _split(data: bytes | memoryview) -> _Sections:
    """Find the sections; their lengths must add up to exactly the data."""
    reader = Reader(data)
    if reader.take(len(MAGIC)) != MAGIC:
        raise InvalidInput(
            "model.magic",
            "not a model artifact",
            why=f"it does not begin with {MAGIC!r}",
            fix="bitai-node model check FILE.bitai  # the file that the conversion wrote",
        )
    version = reader.u8()
    if version != CONTAINER_VERSION:
        raise InvalidInput("model.container_version", "unknown container version", version=version)
    lengths = (reader.u32(), reader.u32(), reader.u64(), reader.u64())
    if sum(lengths) != reader.remaining:
        raise InvalidInput(
            "model.length", "section lengths do not add up", claimed=sum(lengths), found=reader.remaining
        )
    if lengths[1] > MAX_GRAPH_BYTES or lengths[2] > MAX_TABLES_BYTES:
        raise InvalidInput("model.length", "graph or tables too long", graph=lengths[1], tables=lengths[2])
    return _Sections(*(reader.view(length) for length in lengths))


def _check_announcement(sections: _Sections) -> Announcement:
    manifest = decode_manifest(sections.manifest)
    graph = decode_graph(sections.graph)
    if merkle_root(graph_leaves(graph)) != manifest.graph_root:
        raise InvalidInput("model.graph_root", "graph does not hash to the manifest's root")
    if section_root(list(_cut(graph, sections.tables, Role.TABLE).values())) != manifest.tables_root:
        raise InvalidInput("model.tables_root", "tables do not hash to the manifest's root")
    analysis = analyse(graph)
    if (manifest.inputs, manifest.outputs, manifest.macs) != (graph.inputs, analysis.outputs, analysis.macs):
        raise InvalidInput("model.manifest", "the manifest's types or cost are not the graph's")
    require_tier(manifest.tier, manifest.inputs, analysis)
    _require_table_values(graph, sections.tables)
    return Announcement(manifest.model_id, manifest, graph, analysis, bytes(sections.tables))


def _require_table_values(graph: Graph, tables: memoryview) -> None:
    for tensor, data in _cut(graph, tables, Role.TABLE).values():
        decode_tensor(tensor, data)


def _cut(graph: Graph, section: memoryview, role: Role) -> dict[int, tuple[TensorType, memoryview]]:
    """Cut a section into its tensors, by constant index."""
    wanted = _byte_count(graph, role)
    if len(section) != wanted:
        raise InvalidInput(
            "model.section_size", f"{role.name.lower()} section has the wrong length", wanted=wanted
        )
    pieces: dict[int, tuple[TensorType, memoryview]] = {}
    offset = 0
    for index, constant in enumerate(graph.constants):
        if constant.role is role:
            pieces[index] = (constant.type, section[offset : offset + constant.type.byte_count])
            offset += constant.type.byte_count
    return pieces


def _byte_count(graph: Graph, role: Role) -> int:
    return sum(constant.type.byte_count for constant in graph.constants if constant.role is role)


def _of_role(graph: Graph, encoded: Sequence[bytes], role: Role) -> list[tuple[TensorType, bytes]]:
    pairs = zip(graph.constants, encoded, strict=True)
    return [(constant.type, data) for constant, data in pairs if constant.role is role]
