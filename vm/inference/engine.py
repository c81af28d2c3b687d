"""Answer a request with an on-chain model: bytes in, status and bytes out, for every input.

A tensor model's input is its input tensors' encodings joined; its output likewise. There is no randomness and
no parameter in the tensor profile, so `params` must be empty.
"""

from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from primitives.errors import InvalidInput
from vm.inference import exact_blas
from vm.inference.artifact import Announcement, Artifact
from vm.inference.manifest import Manifest
from vm.inference.tensors import Int64, decode_tensor, encode_tensor
from vm.inference.wire import Status


class Result(NamedTuple):
    """Pair a status with an output, which is empty unless the status is OK."""

    status: Status
    output: bytes


BAD_INPUT: Final = Result(Status.BAD_INPUT, b"")


def run(artifact: Artifact, input_bytes: bytes, params: bytes, max_output: int) -> Result:
    """Run a model on one input; total: whatever is wrong with the request is BAD_INPUT."""
    inputs = decode_request(artifact.announcement, input_bytes, params, max_output)
    if inputs is None:
        return BAD_INPUT
    outputs = exact_blas.evaluate(_prepared(artifact), [tensor[np.newaxis] for tensor in inputs])
    return Result(Status.OK, encode_output(artifact.announcement, [output[0] for output in outputs]))


def check_request(announcement: Announcement, input_bytes: bytes, params: bytes, max_output: int) -> Status:
    """Tell what the manifest alone says about a request: OK (to be computed) or BAD_INPUT, on either tier."""
    accepted = decode_request(announcement, input_bytes, params, max_output) is not None
    return Status.OK if accepted else Status.BAD_INPUT


def decode_request(
    announcement: Announcement, input_bytes: bytes, params: bytes, max_output: int
) -> tuple[Int64, ...] | None:
    """Return the input tensors as int64, without a batch axis, or None where the answer is BAD_INPUT.

    That is: params not empty, output longer than `max_output`, input of the wrong length, or an element
    outside the declared range.
    """
    manifest: Manifest = announcement.manifest
    if params or max_output < manifest.output_bytes or len(input_bytes) != manifest.input_bytes:
        return None
    tensors, offset = [], 0
    for tensor in manifest.inputs:
        try:
            values = decode_tensor(tensor, memoryview(input_bytes)[offset : offset + tensor.byte_count])
        except InvalidInput:
            return None
        tensors.append(values.astype(np.int64))
        offset += tensor.byte_count
    return tuple(tensors)


def encode_output(announcement: Announcement, outputs: list[Int64]) -> bytes:
    """Return the output tensors' encodings joined, in the manifest's order."""
    pairs = zip(announcement.manifest.outputs, outputs, strict=True)
    return b"".join(encode_tensor(tensor, values) for tensor, values in pairs)


def _prepared(artifact: Artifact) -> exact_blas.PreparedModel:
    prepared = _PREPARED.get(artifact)
    if prepared is None:
        prepared = _PREPARED[artifact] = exact_blas.prepare(artifact)
    return prepared


_PREPARED: Final[WeakKeyDictionary[Artifact, exact_blas.PreparedModel]] = WeakKeyDictionary()
"""Weights laid out, for as long as anybody keeps the artifact: they take eight times as much memory."""
