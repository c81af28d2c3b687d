"""The analyser refuses what could overflow, divide by zero, run too long, or not be opened in court."""

import dataclasses

import pytest

from primitives.errors import InvalidInput
from tests.vm.inference.small_model import (
    BIAS,
    LOGITS,
    MULTIPLIER,
    SHIFT,
    SOURCE,
    TABLE,
    WEIGHTS,
    small_graph,
)
from vm.inference.analyse import MAX_ON_CHAIN_MACS, analyse, require_tier
from vm.inference.graph import Constant, Graph, Node, Op, Role, decode_graph, encode_graph
from vm.inference.manifest import Tier
from vm.inference.tensors import DType, TensorType

IMAGE = TensorType(DType.U8, (8, 8, 3), 0, 255)
KERNEL = TensorType(DType.I8, (4, 3, 3, 3), -127, 127)
KERNEL_BIAS = TensorType(DType.I32, (4,), -1000, 1000)
PLANES = TensorType(DType.I8, (3, 3, 3), -127, 127)
ROW = TensorType(DType.I32, (10,), -1000, 1000)
WINDOW = (1, 1, 1, 1, 0, 0, 0, 0)
POOL = (2, 2, 2, 2, 0, 0, 0, 0)


def one_node(op, source, constants=(), attributes=()):
    """A graph of one node."""
    entries = tuple(Constant(Role.WEIGHT, tensor) for tensor in constants)
    return Graph((source,), entries, (Node(op, 0, tuple(range(len(entries))), tuple(attributes)),), (1,))


def change(tensor, **changes):
    """A tensor type with something else in it."""
    return dataclasses.replace(tensor, **changes)


ACCEPTED = [
    one_node(Op.DENSE, SOURCE, (WEIGHTS, BIAS)),
    one_node(Op.CONV2D, IMAGE, (KERNEL, KERNEL_BIAS), WINDOW),
    one_node(Op.DEPTHWISE_CONV2D, IMAGE, (PLANES, change(KERNEL_BIAS, shape=(3,))), WINDOW),
    one_node(Op.REQUANT, ROW, (MULTIPLIER, SHIFT), LOGITS),
    one_node(Op.MAX_POOL2D, IMAGE, (), POOL),
    one_node(Op.AVERAGE_POOL2D, IMAGE, (), POOL),
    one_node(Op.RELU, ROW),
    one_node(Op.FLATTEN, IMAGE),
    one_node(Op.SOFTMAX, ROW, (TABLE,)),
    one_node(Op.ARGMAX, ROW),
    small_graph(),
]

REFUSED = {
    "int32 accumulator": (
        one_node(
            Op.DENSE,
            change(SOURCE, shape=(16384,)),
            (change(WEIGHTS, shape=(3, 16384)), change(BIAS, high=(1 << 31) - 1)),
        ),
        "model.accumulator",
    ),
    "long reduction": (
        one_node(Op.DENSE, change(SOURCE, shape=(16385,)), (change(WEIGHTS, shape=(3, 16385)), BIAS)),
        "model.reduction",
    ),
    "long reduction of a convolution": (
        one_node(
            Op.CONV2D,
            change(IMAGE, shape=(8, 8, 2000)),
            (change(KERNEL, shape=(4, 3, 3, 2000)), KERNEL_BIAS),
            WINDOW,
        ),
        "model.reduction",
    ),
    "weight of -128": (one_node(Op.DENSE, SOURCE, (change(WEIGHTS, low=-128), BIAS)), "model.range"),
    "wide activations": (
        one_node(Op.DENSE, TensorType(DType.I16, (4,), -300, 300), (WEIGHTS, BIAS)),
        "model.dtype",
    ),
    "bias of another width": (
        one_node(Op.DENSE, SOURCE, (WEIGHTS, TensorType(DType.I16, (3,), 0, 1))),
        "model.dtype",
    ),
    "widths apart": (one_node(Op.DENSE, change(SOURCE, shape=(5,)), (WEIGHTS, BIAS)), "model.shape"),
    "bias per nothing": (one_node(Op.DENSE, SOURCE, (WEIGHTS, change(BIAS, shape=(4,)))), "model.shape"),
    "channels apart": (
        one_node(Op.CONV2D, IMAGE, (change(KERNEL, shape=(4, 3, 3, 2)), KERNEL_BIAS), WINDOW),
        "model.shape",
    ),
    "kernel beyond the image": (
        one_node(Op.CONV2D, IMAGE, (change(KERNEL, shape=(4, 9, 3, 3)), KERNEL_BIAS), WINDOW),
        "model.shape",
    ),
    "stride 0": (one_node(Op.CONV2D, IMAGE, (KERNEL, KERNEL_BIAS), (0, *WINDOW[1:])), "model.attribute"),
    "dilation 65": (
        one_node(Op.CONV2D, IMAGE, (KERNEL, KERNEL_BIAS), (1, 1, 65, 1, 0, 0, 0, 0)),
        "model.attribute",
    ),
    "negative padding": (
        one_node(Op.CONV2D, IMAGE, (KERNEL, KERNEL_BIAS), (*WINDOW[:7], -1)),
        "model.attribute",
    ),
    "shift of 63": (one_node(Op.REQUANT, ROW, (MULTIPLIER, change(SHIFT, high=63)), LOGITS), "model.range"),
    "shift of 0": (one_node(Op.REQUANT, ROW, (MULTIPLIER, change(SHIFT, low=0)), LOGITS), "model.range"),
    "negative multiplier": (
        one_node(Op.REQUANT, ROW, (change(MULTIPLIER, low=-1), SHIFT), LOGITS),
        "model.range",
    ),
    "multiplier per nothing": (
        one_node(Op.REQUANT, ROW, (change(MULTIPLIER, shape=(3,)), change(SHIFT, shape=(3,))), LOGITS),
        "model.shape",
    ),
    "unknown dtype": (one_node(Op.REQUANT, ROW, (MULTIPLIER, SHIFT), (9, 0, 1)), "model.dtype"),
    "clamp beyond the dtype": (
        one_node(Op.REQUANT, ROW, (MULTIPLIER, SHIFT), (DType.I8, -129, 127)),
        "model.range",
    ),
    "clamp upside down": (one_node(Op.REQUANT, ROW, (MULTIPLIER, SHIFT), (DType.I8, 5, 4)), "model.range"),
    "pooling of a row": (one_node(Op.MAX_POOL2D, ROW, (), POOL), "model.shape"),
    "window without an element": (
        one_node(Op.MAX_POOL2D, IMAGE, (), (2, 2, 2, 2, 2, 0, 0, 0)),
        "model.attribute",
    ),
    "average of nothing": (
        one_node(Op.AVERAGE_POOL2D, IMAGE, (), (2, 2, 2, 2, 0, 0, 0, 2)),
        "model.attribute",
    ),
    "huge kernel": (one_node(Op.MAX_POOL2D, IMAGE, (), (65, 1, 1, 1, 0, 0, 0, 0)), "model.attribute"),
    "logits above 2^24": (one_node(Op.SOFTMAX, change(ROW, high=(1 << 24) + 1), (TABLE,)), "model.range"),
    "table with a zero": (one_node(Op.SOFTMAX, ROW, (change(TABLE, low=0),)), "model.range"),
    "short table": (one_node(Op.SOFTMAX, ROW, (change(TABLE, shape=(1023,)),)), "model.shape"),
    "softmax of a scalar": (one_node(Op.SOFTMAX, change(ROW, shape=()), (TABLE,)), "model.reduction"),
    "long row": (one_node(Op.ARGMAX, change(ROW, shape=(16385,))), "model.reduction"),
    "huge value": (one_node(Op.RELU, change(ROW, shape=(1 << 12, (1 << 12) + 1))), "model.value_size"),
    "element that cannot be opened": (
        one_node(
            Op.CONV2D,
            TensorType(DType.U8, (64, 2000, 8), 0, 1),
            (change(KERNEL, shape=(4, 60, 1, 8)), KERNEL_BIAS),
            WINDOW,
        ),
        "model.witness",
    ),
}


@pytest.mark.parametrize("graph", ACCEPTED, ids=lambda graph: graph.nodes[0].op.name)
def test_sound_graphs_pass(graph):
    """Each op is accepted in an ordinary form, and its graph survives its encoding."""
    assert len(analyse(graph).values) == 1 + len(graph.nodes)
    assert decode_graph(encode_graph(graph)) == graph


@pytest.mark.parametrize(("graph", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_unsound_graphs_are_refused(graph, code):
    """A graph whose bounds do not hold is refused with the code that says which."""
    with pytest.raises(InvalidInput) as caught:
        analyse(graph)
    assert caught.value.code == code


def test_accumulator_bound_is_tight():
    """2^31 - 1 is accepted and 2^31 is not."""
    spare = (1 << 31) - 1 - 4 * 16 * 127
    assert analyse(one_node(Op.DENSE, SOURCE, (WEIGHTS, change(BIAS, low=-spare, high=spare))))
    with pytest.raises(InvalidInput, match=r"model\.accumulator"):
        analyse(one_node(Op.DENSE, SOURCE, (WEIGHTS, change(BIAS, low=-spare, high=spare + 1))))


def test_on_chain_models_fit_a_block():
    """What no block could run is refused on the on-chain tier, and may be a neuron model."""
    graph = one_node(
        Op.CONV2D,
        change(IMAGE, shape=(128, 128, 64)),
        (change(KERNEL, shape=(64, 3, 3, 64)), change(KERNEL_BIAS, shape=(64,))),
        (2, 2, *WINDOW[2:]),
    )
    analysis = analyse(graph)
    assert analysis.macs > MAX_ON_CHAIN_MACS
    require_tier(Tier.NEURON, graph.inputs, analysis)
    with pytest.raises(InvalidInput, match=r"model\.too_large"):
        require_tier(Tier.ON_CHAIN, graph.inputs, analysis)


def test_neuron_models_fit_their_messages():
    """What no job or answer could carry would have its callers wait for ever."""
    fits = TensorType(DType.U8, (1 << 20,), 0, 255)
    for source, accepted in ((fits, True), (change(fits, shape=((1 << 20) + 1,)), False)):
        for nodes in ((Node(Op.RELU, 0),), (Node(Op.RELU, 0), Node(Op.ARGMAX, 1))):
            graph = Graph((change(source, shape=(1, *source.shape, 1)),), (), nodes, (len(nodes),))
            analysis = analyse(graph)
            if accepted:
                require_tier(Tier.NEURON, graph.inputs, analysis)
                continue
            require_tier(Tier.ON_CHAIN, graph.inputs, analysis)
            with pytest.raises(InvalidInput, match=r"model\.too_large"):
                require_tier(Tier.NEURON, graph.inputs, analysis)


@pytest.mark.parametrize(
    ("graph", "code"),
    [
        (Graph((ROW,), (), (Node(Op.RELU, 1),), (1,)), "model.reference"),
        (Graph((ROW,), (), (Node(Op.RELU, 0), Node(Op.RELU, 0)), (2,)), "model.unused"),
        (Graph((ROW, ROW), (), (Node(Op.RELU, 0),), (2,)), "model.unused"),
        (Graph((ROW,), (Constant(Role.WEIGHT, ROW),), (Node(Op.RELU, 0),), (1,)), "model.unused"),
        (Graph((ROW,), (), (Node(Op.RELU, 0),), (1, 1)), "model.reference"),
        (Graph((ROW,), (), (Node(Op.RELU, 0),), (2,)), "model.reference"),
        (Graph((ROW,), (), (Node(Op.SOFTMAX, 0, (0,)),), (1,)), "model.reference"),
        (Graph((), (), (Node(Op.RELU, 0),), (0,)), "model.count"),
        (Graph((ROW,), (), (), (0,)), "model.count"),
    ],
)
def test_references_are_checked(graph, code):
    """References point backward, to something, and nothing lies about unused."""
    with pytest.raises(InvalidInput) as caught:
        decode_graph(encode_graph(graph))
    assert caught.value.code == code


def test_unknown_op_is_refused():
    """A code of a later version is refused, not skipped."""
    data = bytearray(encode_graph(one_node(Op.RELU, ROW)))
    data[-3] = 11
    with pytest.raises(InvalidInput, match=r"model\.op"):
        decode_graph(bytes(data))
