"""`dev init`: whole projects, never over what is there, with the package that the checkout has."""

import json

import pytest

from bitai.project import TEMPLATES, make_project
from primitives.errors import ConfigError
from tests.arch.source import ROOT
from vm.inference.artifact import parse_artifact


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_project_is_template_and_package(tmp_path, template):
    """Every file of both is in the project, byte for byte."""
    target = tmp_path / "new" / "lock"
    names = make_project(target, template)
    for name in names:
        inside = name.removeprefix("lib/bitai-contracts/")
        source = "package" if inside != name else template
        assert (target / name).read_bytes() == (ROOT / "bitai" / "templates" / source / inside).read_bytes()
    assert {"README.md", "lib/bitai-contracts/lib/BitAI.sol", "test/answers.json", ".gitignore"} <= set(names)


def test_what_is_there_stays(tmp_path):
    """A folder that holds anything is refused, and so is a file; an empty folder is taken."""
    (tmp_path / "mine.txt").write_text("mine")
    for target in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(ConfigError) as refused:
            make_project(target, "foundry")
        assert refused.value.code == "project.not_empty"
    (tmp_path / "empty").mkdir()
    assert make_project(tmp_path / "empty", "foundry")
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_the_templates_name_the_shipped_model():
    """The model id in recorded answers and parameters is that of the on-chain digits model."""
    artifact = parse_artifact((ROOT / "vm" / "inference" / "models" / "digits-onchain.bitai").read_bytes())
    model_id = "0x" + artifact.model_id.hex()
    templates = ROOT / "bitai" / "templates"
    named = {
        answer["modelId"]
        for template in TEMPLATES
        for answer in json.loads((templates / template / "test" / "answers.json").read_text())
    }
    parameters = json.loads((templates / "hardhat" / "parameters.json").read_text())
    assert named == {model_id} == {parameters["DigitLockModule"]["modelId"]}


def test_both_templates_have_one_contract():
    """The lock is the same file in both."""
    templates = ROOT / "bitai" / "templates"
    solidity = [
        (templates / place / "DigitLock.sol").read_bytes() for place in ("foundry/src", "hardhat/contracts")
    ]
    assert solidity[0] == solidity[1]
