"""Pinned digests: proof, at start-up, that an engine computes these integers on this machine.

Fast kernels fail silently: int8 products saturate on processors without VNNI, float32 sums lose bits once
they pass 2^24, division truncates. Each case drives one op at the lengths and values where such failures
show, and its result is compared with a digest that is part of this file. Operands come from SHAKE-256, so
nothing is stored.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from vm.inference.artifact import Artifact, Labels, build_artifact
from vm.inference.graph import Constant, Graph, Node, Op, Role
from vm.inference.manifest import Tier
from vm.inference.tensors import DType, Int64, TensorType

BATCH: Final = 3
_BIAS: Final = 1 << 30

Evaluate: TypeAlias = Callable[[Artifact, Sequence[Int64]], Sequence[Int64]]
"""Run a model on a batch of inputs and return its outputs, each with the batch axis."""


class Case(NamedTuple):
    """Hold one model and one batch of inputs for it."""

    name: str
    artifact: Artifact
    inputs: tuple[Int64, ...]


def failed_cases(evaluate: Evaluate) -> tuple[str, ...]:
    """Return the names of the cases that an engine gets wrong; none means that it conforms."""
    return tuple(case.name for case in cases() if result_digest(case, evaluate) != PINNED.get(case.name))


def result_digest(case: Case, evaluate: Evaluate) -> str:
    """Return the hex digest of a case's outputs, as int64 big-endian."""
    outputs = evaluate(case.artifact, case.inputs)
    return hashlib.sha256(b"".join(np.asarray(value, dtype=">i8").tobytes() for value in outputs)).hexdigest()


def cases() -> Iterator[Case]:
    """Yield the cases, one at a time: together they are large."""
    for length in (7, 64, 576, 1_040, 8_192):
        for pattern in _PATTERNS:
            yield _dense(length, pattern)
    for pattern in _PATTERNS:
        yield _convolution(pattern)
        yield _depthwise(pattern)
    yield _pools()
    yield _classifier()


def _dense(length: int, pattern: str) -> Case:
    name = f"dense {length} {pattern}"
    source = _PATTERNS[pattern]._replace(shape=(length,))
    weights, bias = _weights((9, length)), _i32((9,), -_BIAS, _BIAS)
    return _case(name, (source,), (weights, bias), (Node(Op.DENSE, 0, (0, 1)),))


def _convolution(pattern: str) -> Case:
    source = _PATTERNS[pattern]._replace(shape=(9, 8, 24))
    weights, bias = _weights((11, 3, 3, 24)), _i32((11,), -_BIAS, _BIAS)
    nodes = (
        Node(Op.CONV2D, 0, (0, 1), (1, 1, 1, 1, 1, 1, 1, 1)),
        Node(Op.CONV2D, 0, (0, 1), (2, 3, 2, 1, 2, 0, 0, 1)),
    )
    return _case(f"conv2d {pattern}", (source,), (weights, bias), nodes)


def _depthwise(pattern: str) -> Case:
    source = _PATTERNS[pattern]._replace(shape=(9, 8, 24))
    weights, bias = _weights((24, 3, 3)), _i32((24,), -_BIAS, _BIAS)
    nodes = (Node(Op.DEPTHWISE_CONV2D, 0, (0, 1), (2, 1, 1, 2, 1, 0, 2, 1)),)
    return _case(f"depthwise {pattern}", (source,), (weights, bias), nodes)


def _pools() -> Case:
    source = _Pattern(DType.I8, -128, 127, (7, 6, 5))
    nodes = (
        Node(Op.MAX_POOL2D, 0, (), (3, 2, 2, 1, 2, 1, 0, 1)),
        Node(Op.AVERAGE_POOL2D, 0, (), (3, 2, 2, 1, 2, 1, 0, 1)),
        Node(Op.RELU, 0),
        Node(Op.FLATTEN, 0),
    )
    return _case("pools", (source,), (), nodes)


def _classifier() -> Case:
    """Requantise across the whole of int32, then softmax and argmax, with ties."""
    source = _Pattern(DType.I32, -(1 << 31), (1 << 31) - 1, (4, 33))
    constants = (
        _i32((33,), 0, (1 << 31) - 1),
        Constant(Role.WEIGHT, TensorType(DType.U8, (33,), 1, 62)),
        Constant(Role.TABLE, TensorType(DType.I32, (1_024,), 1 << 29, 1 << 30)),
    )
    nodes = (
        Node(Op.REQUANT, 0, (0, 1), (DType.I32, -(1 << 24), 1 << 24)),
        Node(Op.SOFTMAX, 1, (2,)),
        Node(Op.ARGMAX, 1),
    )
    return _case("classifier", (source,), constants, nodes)


class _Pattern(NamedTuple):
    dtype: DType
    low: int
    high: int
    shape: tuple[int, ...] = ()


_PATTERNS: Final = {
    "signed": _Pattern(DType.I8, -128, 127),
    "unsigned": _Pattern(DType.U8, 0, 255),
    "greatest": _Pattern(DType.I8, 127, 127),
    "least": _Pattern(DType.I8, -128, -128),
}


def _case(
    name: str, sources: tuple[_Pattern, ...], constants: tuple[Constant, ...], nodes: tuple[Node, ...]
) -> Case:
    inputs = tuple(TensorType(source.dtype, source.shape, source.low, source.high) for source in sources)
    outputs = tuple(range(len(inputs), len(inputs) + len(nodes)))
    graph = Graph(inputs, constants, nodes, outputs)
    arrays = [_values(f"{name} constant {index}", entry.type) for index, entry in enumerate(constants)]
    artifact = build_artifact(graph, arrays, Labels("conformance", "MIT", Tier.NEURON))
    batch = tuple(
        np.stack([_values(f"{name} input {index} {row}", tensor) for row in range(BATCH)])
        for index, tensor in enumerate(inputs)
    )
    return Case(name, artifact, batch)


def _weights(shape: tuple[int, ...]) -> Constant:
    return Constant(Role.WEIGHT, TensorType(DType.I8, shape, -127, 127))


def _i32(shape: tuple[int, ...], low: int, high: int) -> Constant:
    return Constant(Role.WEIGHT, TensorType(DType.I32, shape, low, high))


def _values(label: str, tensor: TensorType) -> Int64:
    """Derive elements from a label: a quarter each the least and the greatest, half spread between."""
    stream = hashlib.shake_256(label.encode()).digest(8 * tensor.elements)
    words = np.frombuffer(stream, dtype=">u8")
    spread = (words >> np.uint64(8)) % np.uint64(tensor.high - tensor.low + 1)
    values = spread.astype(np.int64) + tensor.low
    choice = words & np.uint64(3)
    values = np.where(choice == 0, tensor.low, np.where(choice == 1, tensor.high, values))
    return values.reshape(tensor.shape)


PINNED: Final[dict[str, str]] = {
    "dense 7 signed": "66663003c564c14772e5676cccadad71bbdf3e41919d1f4431f2c848c6530069",
    "dense 7 unsigned": "3cc1ad3c808565642ba8c8d2b1d6067fc92731b33e9a50e89f353ba2dbac0277",
    "dense 7 greatest": "f9e7daab4f816aae103464a3cebc693369a07aadace2ab22e94dad69f47fa1c3",
    "dense 7 least": "da88c55725f41cfa07f0ae09980bf2f371c6db01e8d0797ef7dd38d2bb82b5de",
    "dense 64 signed": "53a610d72ab2e75f865028c37407d58780a1b40d0802f10b54e211033ce33a35",
    "dense 64 unsigned": "baae5a39bbd1201f45b00d1e1aacabf0372d065f81bd6a45521e7c962899c8a1",
    "dense 64 greatest": "5e883e5b3c38f316bc571cfa072a26cf661938e3169c01ee53a7773fd4eb469e",
    "dense 64 least": "d43bbd5396000fb4158c6480131490d2db047969f7ef0fe1f7f6b680c1714c40",
    "dense 576 signed": "9b7f129faa548339d9ed01c30a5710e175e7d81c13c7ea14fe836bbc399ac7df",
    "dense 576 unsigned": "10ed8380f9d673486949b68733b56daf32ef6f8f77dc9451be58490d128a1508",
    "dense 576 greatest": "fb52385ec110ae81d9bd8c3b30b368be115dff994d50a7d7713e3f0e3223211d",
    "dense 576 least": "b2a164913373c99d9a169575b9871e523209134629216b7e3a40855a3f698181",
    "dense 1040 signed": "878f4a5c078003c026e15d6672b08912c26b62accf73f6626e6bf24f7f55da41",
    "dense 1040 unsigned": "07f23ce55fcedd0eb2310954e0498bbbf2e291fb5a1bcb75e836d8e363392f0f",
    "dense 1040 greatest": "965907191dc0f49f4712b2ea603cc453d38e38f9906751d5d080ca79b6e036d4",
    "dense 1040 least": "3e55c6949d3061f864c9196b72bfa94a6c5f96a4ad6b20156bde096353b90596",
    "dense 8192 signed": "e0bfd31db1d6eed5e08903c37f7baa57ec05ca1500d5168e3ebe249632383222",
    "dense 8192 unsigned": "5340659f5f758d7fa3f3e2cb25993b76fd92045ddeeed73e669e8c0920a5e352",
    "dense 8192 greatest": "57a86d353eb1e9023da88b48116160a2af99e6e4229e67ca0165846f438d35d7",
    "dense 8192 least": "f4898119db513f37d73f1741c3b6323053f989213288b41fa3c409a61375008d",
    "conv2d signed": "de77bc0280e3d20cd07ca35d081065c65fc58d72c0805d50d4da8fa5ec44e70d",
    "depthwise signed": "92bcab9128f0e57474b46bfc7dd6cb68da9112c73603e3ebd6c4049bbbc8d339",
    "conv2d unsigned": "0ab2015a5da13b02f0f8395d36b477b533360143558ed5a28b30671b1eef86de",
    "depthwise unsigned": "6188c292836ae9091bbb7d9b1487fcb5171523cae64feac975978d9dbd95ee6f",
    "conv2d greatest": "297300f248258dde0865998332421bb3be24b80e6238e005cafc7a00275770f0",
    "depthwise greatest": "b8c52d67b6ef34143dfced5bb5bc6cf11894a0325a86f16965c439420fa155de",
    "conv2d least": "60eb941633a98c4e23c39018bb6cf2a52c126a2165589dce7fcb129149b762f8",
    "depthwise least": "177869494ace82f17030ebd6829c890b2437e48a07ebf51dbbf0887e3e3e5aba",
    "pools": "822cb799d9def44f79867cc585dca394c1005cf6a039293c1ef2f276d94879bb",
    "classifier": "47484de6900ea5425c084ec985d1a553d50373057f38820d64fb11ac207c2efa",
}
