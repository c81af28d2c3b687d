"""What functional tests share: the shipped models, the held-out images, and how to ask them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bitai.demo import held_out_images
from tests.functional.harness import ROOT, NodeProcess, dev_node, wait_until
from vm.inference import engine
from vm.inference.artifact import Artifact, parse_artifact

MODELS = ROOT / "vm" / "inference" / "models"
ARTIFACT = json.loads((ROOT / "contracts" / "artifacts" / "DigitReader.json").read_text())
FLOAT_DIGITS = [
    int(each)
    for each in json.loads((ROOT / "models" / "digits" / "report.json").read_text())["float_classes"]
]
"""What the float network, before it was quantized, reads of the held-out images."""
NODE_TESTS = ROOT / "tests" / "node"


@pytest.fixture(scope="session")
def artifacts() -> dict[str, Artifact]:
    """The digit model of each tier, by tier."""
    return {
        "on-chain": parse_artifact((MODELS / "digits-onchain.bitai").read_bytes()),
        "neuron": parse_artifact((MODELS / "digits-neuron.bitai").read_bytes()),
    }


def reference_digit(artifact: Artifact, image: bytes) -> int:
    """What the integer reference reads."""
    status, output = engine.run(artifact, image, b"", artifact.manifest.output_bytes)
    assert status == 0
    return output[0]


def questions(artifacts: dict[str, Artifact], count: int) -> list[dict[str, Any]]:
    """The first held-out images for each tier, with what the reference reads and the truth."""
    return [
        {
            "tier": tier,
            "modelId": "0x" + artifact.model_id.hex(),
            "image": "0x" + image.hex(),
            "reference": reference_digit(artifact, image),
            "label": label,
            "float": FLOAT_DIGITS[place],
        }
        for tier, artifact in artifacts.items()
        for place, (image, label) in enumerate(held_out_images()[:count])
    ]


def wait_for_models(node: NodeProcess) -> None:
    """Wait until both tiers are registered."""

    def ready() -> bool:
        models = {model["tier"]: model for model in node.rpc("bitai_getModels")}
        return {"on-chain", "neuron"} <= set(models) and all(model["active"] for model in models.values())

    wait_until(ready, "both digit models registered", limit_s=90)


def wait_for_neuron(node: NodeProcess) -> None:
    """Wait until the dev node's neuron is connected: it has torch to load first."""
    wait_until(lambda: node.status()["neurons"], "the neuron connected", limit_s=90)


def run_node_client(script: str, job: dict[str, Any]) -> dict[str, Any]:
    """Run one of tests/node's clients and return its report."""
    if not (NODE_TESTS / "node_modules").exists():
        pytest.skip("npm packages are not installed: run `make setup`")
    done = subprocess.run(
        ["node", script],
        cwd=NODE_TESTS,
        input=json.dumps(job).encode(),
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.fixture(scope="session")
def tool_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """One dev node for all tests of developers' tools, without a neuron: each has accounts of its own.

    Accounts 0: templates; 1 to 7: one a client; 8 and 9: the contract suite, which wants them fresh.
    """
    flags = ("--block-time-mode", "on-demand", "--no-neuron")
    with dev_node(tmp_path_factory.mktemp("tools"), *flags) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for data directories, kept by pytest when the test fails."""
    return tmp_path
