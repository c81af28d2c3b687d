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
    weights, bias = _weights((9, length), pattern), _i32((9,), -_BIAS, _BIAS)
    return _case(name, (source,), (weights, bias), (Node(Op.DENSE, 0, (0, 1)),))


def _convolution(pattern: str) -> Case:
    source = _PATTERNS[pattern]._replace(shape=(9, 8, 24))
    weights, bias = _weights((11, 3, 3, 24), pattern), _i32((11,), -_BIAS, _BIAS)
    nodes = (
        Node(Op.CONV2D, 0, (0, 1), (1, 1, 1, 1, 1, 1, 1, 1)),
        Node(Op.CONV2D, 0, (0, 1), (2, 3, 2, 1, 2, 0, 0, 1)),
    )
    return _case(f"conv2d {pattern}", (source,), (weights, bias), nodes)


def _depthwise(pattern: str) -> Case:
    source = _PATTERNS[pattern]._replace(shape=(9, 8, 24))
    weights, bias = _weights((24, 3, 3), pattern), _i32((24,), -_BIAS, _BIAS)
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
    "greatest": _Pattern(DType.I8, 119, 127),
    "least": _Pattern(DType.I8, -128, -120),
}
_ONE_SIGN: Final = ("greatest", "least")
"""Patterns whose products all have one sign, so that sums grow as far as their bound lets them."""


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


def _weights(shape: tuple[int, ...], pattern: str) -> Constant:
    low = 119 if pattern in _ONE_SIGN else -127
    return Constant(Role.WEIGHT, TensorType(DType.I8, shape, low, 127))


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
    "dense 7 greatest": "80ec1241999ceeb26010d08d92ba86f0072a6080e0954331a1577dff1249c17a",
    "dense 7 least": "9a1a824d91f885d4f695966f927d7638625c8325205fe6e0d28a37c4d0f71883",
    "dense 64 signed": "53a610d72ab2e75f865028c37407d58780a1b40d0802f10b54e211033ce33a35",
    "dense 64 unsigned": "baae5a39bbd1201f45b00d1e1aacabf0372d065f81bd6a45521e7c962899c8a1",
    "dense 64 greatest": "c2754fd4e959882e0dde6088ad0a54e9f0395a1d9881fa0b65323fb0f8acd63f",
    "dense 64 least": "d96930e1855bae01614a14c4dc9fabd3603ccc6af19dc93b0e43d738b197dcb9",
    "dense 576 signed": "9b7f129faa548339d9ed01c30a5710e175e7d81c13c7ea14fe836bbc399ac7df",
    "dense 576 unsigned": "10ed8380f9d673486949b68733b56daf32ef6f8f77dc9451be58490d128a1508",
    "dense 576 greatest": "cbc5961d414289523c800495804613050892a6eca9e9a1805c0145a6411ebe7d",
    "dense 576 least": "f6ba97c9bd87819537a8ad05dc637eff7dc307c9750664eb27d955db5c78254d",
    "dense 1040 signed": "878f4a5c078003c026e15d6672b08912c26b62accf73f6626e6bf24f7f55da41",
    "dense 1040 unsigned": "07f23ce55fcedd0eb2310954e0498bbbf2e291fb5a1bcb75e836d8e363392f0f",
    "dense 1040 greatest": "f5dc6996d9bf1e202934269c80d0fb8fc05cac2ac43166d66263a2a74a833173",
    "dense 1040 least": "25a7403e35cfdb9d8a5fcca62c0b8e3572f10022917e7fe01bfe8ac0ef162661",
    "dense 8192 signed": "e0bfd31db1d6eed5e08903c37f7baa57ec05ca1500d5168e3ebe249632383222",
    "dense 8192 unsigned": "5340659f5f758d7fa3f3e2cb25993b76fd92045ddeeed73e669e8c0920a5e352",
    "dense 8192 greatest": "8ec8d153c16dc1281637f64423784cd9c6543db7196fb1d15a0abca9e49abb11",
    "dense 8192 least": "a35e774d255901b93a416476be025b649eed9bac09cab651363765b4dc93c1bf",
    "conv2d signed": "de77bc0280e3d20cd07ca35d081065c65fc58d72c0805d50d4da8fa5ec44e70d",
    "depthwise signed": "92bcab9128f0e57474b46bfc7dd6cb68da9112c73603e3ebd6c4049bbbc8d339",
    "conv2d unsigned": "0ab2015a5da13b02f0f8395d36b477b533360143558ed5a28b30671b1eef86de",
    "depthwise unsigned": "6188c292836ae9091bbb7d9b1487fcb5171523cae64feac975978d9dbd95ee6f",
    "conv2d greatest": "bc267fe3c2dd538fff05f3e96653c73241821fd21c1061098d5ea4e2b496ef7a",
    "depthwise greatest": "8e76d33a8f50f597c0d4856587bc5dc323b63ab4eb3dfb3ccddbc25a93b7c165",
    "conv2d least": "6ff8d54c31b89a89ef4c11530bf795b22252590c41ab560bf02a59421f4075c5",
    "depthwise least": "f3a525b85af03ada432570accca373c1053e3170ea55d7ec13db3d6fbfe92c91",
    "pools": "822cb799d9def44f79867cc585dca394c1005cf6a039293c1ef2f276d94879bb",
    "classifier": "47484de6900ea5425c084ec985d1a553d50373057f38820d64fb11ac207c2efa",
}
