"""A model file described before anything is paid."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from bitai.cli.app import root
from bitai.cli.exit_codes import ExitCode
from bitai.model_file import describe_model
from primitives.errors import InvalidInput
from vm.inference.artifact import Labels, build_artifact, encode_artifact
from vm.inference.graph import Constant, Graph, Node, Op, Role
from vm.inference.manifest import Tier
from vm.inference.tensors import DType, TensorType


def _file(tier: Tier) -> bytes:
    """A model of one dense layer: four inputs, three outputs, and the largest of them."""
    weights, bias = TensorType(DType.I8, (3, 4), -127, 127), TensorType(DType.I32, (3,), -1_000, 1_000)
    graph = Graph(
        inputs=(TensorType(DType.I8, (4,), -127, 127),),
        constants=(Constant(Role.WEIGHT, weights), Constant(Role.WEIGHT, bias)),
        nodes=(Node(Op.DENSE, 0, (0, 1)), Node(Op.ARGMAX, 1)),
        outputs=(2,),
    )
    constants = [np.ones((3, 4), dtype=np.int64), np.zeros(3, dtype=np.int64)]
    return encode_artifact(build_artifact(graph, constants, Labels("tiny", "MIT", tier)))


def test_an_on_chain_model_is_inscribed_whole():
    """Its weights go to Bitcoin, and its share of a block is told."""
    data = _file(Tier.ON_CHAIN)
    report = describe_model(data)
    assert (report.name, report.tier, report.input_bytes) == ("tiny", "on-chain", 4)
    assert report.inscribed_bytes == report.file_bytes == len(data)
    assert report.block_share_percent == 1
    assert [layer.op for layer in report.layers] == ["dense", "argmax"]
    assert report.inscription_vbytes > len(data) // 4


def test_a_neuron_model_keeps_its_weights_off_bitcoin():
    """All but the weights is inscribed; no block is charged."""
    report = describe_model(_file(Tier.NEURON))
    assert report.inscribed_bytes < report.file_bytes
    assert report.block_share_percent is None


def test_a_broken_file_is_refused():
    """One changed byte is enough."""
    data = bytearray(_file(Tier.NEURON))
    data[-1] ^= 1
    with pytest.raises(InvalidInput):
        describe_model(bytes(data))


def test_check_from_the_command_line(tmp_path):
    """Text and JSON of `model check`, and its refusals."""
    path = tmp_path / "tiny.bin"
    path.write_bytes(_file(Tier.ON_CHAIN))
    shown = CliRunner().invoke(root, ["model", "check", str(path), "--fee-rate", "2"])
    assert shown.exit_code == 0, shown.output
    assert "dense" in shown.stdout
    answer = json.loads(CliRunner().invoke(root, ["model", "check", str(path), "--json"]).stdout)
    assert answer["inscription_sats"] == answer["inscription_vbytes"]
    assert answer["layers"][0]["op"] == "dense"
    missing = CliRunner().invoke(root, ["model", "check", str(tmp_path / "none")])
    assert missing.exit_code == ExitCode.USAGE
    assert "model.file" in missing.stderr
