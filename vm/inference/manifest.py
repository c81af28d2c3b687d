"""The manifest: the few facts about a model that its 32-byte id is the hash of.

The id is the identity of an integer artifact: graph, tables and weights by their roots, and what a caller
must know (types, cost, tier, licence). The same weights on another tier are another model. Encoding:
docs/spec/inference.md section 5.
"""

import string
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from primitives.codec import Reader, Writer
from primitives.errors import InvalidInput
from primitives.hashes import tagged_hash
from primitives.ids import HASH_BYTES, Hash32, ModelId
from vm.inference.tensors import TensorType, code_of, decode_tensor_type, encode_tensor_type

IR_VERSION: Final = 1
MAX_MANIFEST_BYTES: Final = 4_096
MAX_NAME_BYTES: Final = 64
MAX_LICENCE_BYTES: Final = 64
MAX_TENSORS: Final = 16

MODEL_TAG: Final = "BitAI/model"

_NAME_ALPHABET = frozenset(string.ascii_lowercase + string.digits + "-._")
_LICENCE_ALPHABET = frozenset(string.ascii_letters + string.digits + "-.+() ")


class Profile(IntEnum):
    """Family of ops a model is written in."""

    TENSOR = 0
    LANGUAGE = 1


class Tier(IntEnum):
    """Who runs the model: every node, or the neurons."""

    ON_CHAIN = 0
    NEURON = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """Describe one model completely but for the bytes under its three roots.

    `macs` is the cost in multiply-accumulate units as `analyse` counts them, not only true multiplications.
    """

    profile: Profile
    tier: Tier
    name: str
    licence: str
    graph_root: Hash32
    tables_root: Hash32
    weights_root: Hash32
    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    macs: int

    @property
    def model_id(self) -> ModelId:
        """Return the model's id: the tagged hash of its encoding."""
        return ModelId(tagged_hash(MODEL_TAG, encode_manifest(self)))

    @property
    def input_bytes(self) -> int:
        """Return the exact length of an input."""
        return sum(tensor.byte_count for tensor in self.inputs)

    @property
    def output_bytes(self) -> int:
        """Return the exact length of an output."""
        return sum(tensor.byte_count for tensor in self.outputs)


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the one encoding of a manifest."""
    writer = Writer()
    writer.u16(IR_VERSION)
    writer.u8(manifest.profile)
    writer.u8(manifest.tier)
    writer.byte_string(manifest.name.encode("ascii"))
    writer.byte_string(manifest.licence.encode("ascii"))
    for root in (manifest.graph_root, manifest.tables_root, manifest.weights_root):
        writer.raw(root)
    for tensors in (manifest.inputs, manifest.outputs):
        writer.u8(len(tensors))
        for tensor in tensors:
            encode_tensor_type(writer, tensor)
    writer.u64(manifest.macs)
    return writer.finish()


def decode_manifest(data: bytes | memoryview) -> Manifest:
    """Parse an encoded manifest.

    Raises InvalidInput `model.manifest_size`, `model.ir_version`, `model.profile`, `model.tier`,
    `model.name`, `model.licence`, `model.count`, `model.dtype`, `model.shape`, `model.range` or `codec.*`.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise InvalidInput(
            "model.manifest_size", "manifest too long", limit=MAX_MANIFEST_BYTES, found=len(data)
        )
    reader = Reader(data)
    version = reader.u16()
    if version != IR_VERSION:
        raise InvalidInput("model.ir_version", "this IR version is not known here", version=version)
    profile = code_of(Profile, reader.u8(), "profile")
    if profile is not Profile.TENSOR:
        raise InvalidInput("model.profile", "IR version 1 has the tensor profile only", profile=profile.name)
    manifest = Manifest(
        profile=profile,
        tier=code_of(Tier, reader.u8(), "tier"),
        name=_text(reader.byte_string(MAX_NAME_BYTES), _NAME_ALPHABET, "name"),
        licence=_text(reader.byte_string(MAX_LICENCE_BYTES), _LICENCE_ALPHABET, "licence"),
        graph_root=Hash32(reader.take(HASH_BYTES)),
        tables_root=Hash32(reader.take(HASH_BYTES)),
        weights_root=Hash32(reader.take(HASH_BYTES)),
        inputs=_tensors(reader),
        outputs=_tensors(reader),
        macs=reader.u64(),
    )
    reader.done()
    return manifest


def _text(data: bytes, alphabet: frozenset[str], what: str) -> str:
    """Accept a non-empty text of a small alphabet, so that no two names look alike on a screen."""
    text = data.decode("latin-1")
    if not text or not alphabet.issuperset(text):
        raise InvalidInput(f"model.{what}", f"{what} is empty or has a character outside its alphabet")
    return text


def _tensors(reader: Reader) -> tuple[TensorType, ...]:
    count = reader.u8()
    if not 1 <= count <= MAX_TENSORS:
        raise InvalidInput("model.count", "number of tensors out of bounds", count=count, limit=MAX_TENSORS)
    return tuple(decode_tensor_type(reader) for _ in range(count))
