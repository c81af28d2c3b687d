"""Committed artifacts are what the sources compile to; the node reads storage where it is."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from primitives.hashes import keccak256
from vm import predeploys, registry, system_code
from vm.system import build_l1_info_transaction, build_model_activity, build_registration

ROOT = Path(__file__).resolve().parents[2]
SOLC = ROOT / "tests" / "node" / "node_modules" / "solc"


def artifact(name):
    """A system contract's artifact."""
    return json.loads((ROOT / "vm" / "artifacts" / f"{name}.json").read_text())


def test_artifacts_are_current():
    """Compiling the sources anew gives the committed bytes."""
    if shutil.which("node") is None or not SOLC.is_dir():
        pytest.skip("node or solc is not installed: `tools/setup.sh node` installs what npm gives")
    done = subprocess.run(
        ["node", "contracts/build/build.mjs", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"run `make contracts`:\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("L1Info", system_code.L1_INFO_CODE),
        ("ModelRegistry", system_code.MODEL_REGISTRY_CODE),
        ("GasPriceOracle", system_code.GAS_PRICE_ORACLE_CODE),
    ],
)
def test_genesis_code_is_the_artifacts(name, code):
    """The code that genesis places is the one the published artifact shows."""
    assert "0x" + code.hex() == artifact(name)["deployedBytecode"]


def test_storage_layout_is_the_one_read():
    """The slots that Python reads are where the compiler puts the variables."""
    slots = {row["label"]: (row["slot"], row["offset"]) for row in artifact("L1Info")["storageLayout"]}
    assert slots == {
        "height": (0, 0),
        "medianTimePast": (0, 8),
        "finalizedNumber": (0, 16),
        "feeRate": (0, 24),
        "blockHash": (1, 0),
        "ring": (2, 0),
        "feeScalar": (8_194, 0),
    }
    slots = {row["label"]: row["slot"] for row in artifact("ModelRegistry")["storageLayout"]}
    assert slots == {"models": registry.MODELS_SLOT, "ids": registry.IDS_SLOT}


def test_selectors_are_the_contracts(facts, info):
    """System transactions call methods that the contracts have."""
    l1_hash = info.origin.hash
    l1_info, models = artifact("L1Info")["methodIdentifiers"], artifact("ModelRegistry")["methodIdentifiers"]
    assert build_l1_info_transaction(info).data[:4].hex() in l1_info.values()
    assert build_registration(facts, l1_hash, 0).data[:4].hex() in models.values()
    activity = build_model_activity(facts.model_id, active=False, l1_hash=l1_hash, index=0)
    assert activity.data[:4].hex() in models.values()


def test_well_known_code_is_the_worlds():
    """Code that all of Ethereum shares has the hashes that all of Ethereum knows."""
    assert {
        keccak256(predeploys.BEACON_ROOTS_CODE).hex(),
        keccak256(predeploys.BLOCK_HASHES_CODE).hex(),
        keccak256(predeploys.CREATE2_DEPLOYER_CODE).hex(),
    } == {
        "f57acd40259872606d76197ef052f3d35588dadf919ee1f0e3cb9b62d3f4b02c",
        "6e49e66782037c0555897870e29fa5e552daf4719552131a0abce779daec0a5d",
        "2fa86add0aed31f33a762c9d88e807c475bd51d0f52bd0955754b2608f7e4989",
    }
