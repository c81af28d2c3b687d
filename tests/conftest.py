"""What every test shares: how hypothesis searches, and where vectors lie."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# Two cores are shared by two workers, so a slow example says nothing: no deadline. The seed of a failure is
# printed and the failing example is kept in .hypothesis/ for the next run.
settings.register_profile(
    "checkout",
    deadline=None,
    max_examples=60,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("long", parent=settings.get_profile("checkout"), max_examples=2_000)
settings.load_profile(os.environ.get("BITAI_TEST_PROFILE", "checkout"))


@pytest.fixture(scope="session")
def shared_vectors() -> Path:
    """The folder of third-party vectors: $BITAI_VECTORS, else ../shared/vectors beside the checkout."""
    named = os.environ.get("BITAI_VECTORS")
    folder = Path(named) if named else ROOT.parent / "shared" / "vectors"
    if not folder.is_dir():
        pytest.skip(f"no vectors at {folder}; set BITAI_VECTORS to a folder that holds bips/ and ethereum/")
    return folder


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run functional tests one after the other in one worker: each starts several processes."""
    for item in items:
        if item.get_closest_marker("functional"):
            item.add_marker(pytest.mark.xdist_group("functional"))
