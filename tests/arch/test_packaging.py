"""What the wheel holds, what the locks may name, and that one version is one version."""

import json
import re
import tomllib

from bitai.version import VERSION
from tests.arch.source import PACKAGES, ROOT, tracked_files

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _top_level() -> set[str]:
    """Folders of the repository that are importable packages and not tests or tools."""
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    return found - {"tests", "tools", "bench"}


def test_the_wheel_ships_these_packages():
    """The list of top-level packages is pinned: generic names in it are a promise not to add more lightly."""
    shipped = PROJECT["tool"]["maturin"]["python-packages"]
    assert set(shipped) == _top_level()
    assert shipped == [name for name in PACKAGES if name in shipped]


def test_every_package_is_typed():
    """Each package tells type checkers that its annotations are meant."""
    assert [name for name in _top_level() if not (ROOT / name / "py.typed").exists()] == []


def test_sources_of_rust_and_tests_do_not_ship():
    """The wheel holds what runs."""
    assert {"vm/native/**", "tests/**", "docs/**"} <= set(PROJECT["tool"]["maturin"]["exclude"])


def test_one_version():
    """The program, the package, the Rust crate and the Solidity package agree."""
    crate = tomllib.loads((ROOT / "vm/native/Cargo.toml").read_text())
    solidity = json.loads((ROOT / "contracts/package.json").read_text())
    assert VERSION == PROJECT["project"]["version"] == crate["package"]["version"] == solidity["version"]


def test_the_neuron_extra_is_the_torch_group():
    """Who installs the wheel with the extra gets what the checkout is tested with."""
    assert PROJECT["project"]["optional-dependencies"]["neuron"] == PROJECT["dependency-groups"]["torch"]


def test_every_dependency_has_its_reason():
    """docs/dependencies.md says of each runtime dependency what it does and why it was chosen."""
    page = (ROOT / "docs/dependencies.md").read_text()
    groups = PROJECT["dependency-groups"]
    wanted = [*PROJECT["project"]["dependencies"], *groups["test"], *groups["dev"], *groups["torch"]]
    names = {re.split(r"[\[<>=;~ ]", item)[0] for item in wanted if isinstance(item, str)}
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


def test_every_dependency_is_locked_with_hashes():
    """A checkout installs the same bytes everywhere."""
    lock = (ROOT / "requirements.lock").read_text()
    pinned = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    for item in PROJECT["project"]["dependencies"]:
        assert re.split(r"[\[<>=;~ ]", item)[0] in pinned, "run `make lock`"
    for entry in re.split(r"\n(?=[a-z])", lock):
        assert "--hash=sha256:" in entry, entry[:60]


def test_locks_name_no_server():
    """Which mirror serves a package is the machine's business."""
    assert "://" not in (ROOT / "requirements.lock").read_text()
    for name in tracked_files():
        if name.endswith("package-lock.json"):
            packages = json.loads((ROOT / name).read_text())["packages"]
            assert [path for path, entry in packages.items() if "resolved" in entry] == [], name
        if name.endswith("Cargo.lock"):
            sources = set(re.findall(r'^source = "(.*)"', (ROOT / name).read_text(), re.MULTILINE))
            # The public crate index, under the one name cargo gives it whatever mirror serves it.
            assert len(sources) <= 1, name
