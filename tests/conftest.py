"""What every test shares: how hypothesis searches, and where vectors lie."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler.loadscope import LoadScopeScheduling

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter
    from xdist.remote import Producer

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


@cache
def _starts_processes(module: str) -> bool:
    """Tell whether a test file holds functional tests; the process that hands out tests imports none."""
    return "pytest.mark.functional" in (ROOT / module).read_text()


class FunctionalInOneWorker(LoadScopeScheduling):
    """Hand out tests one by one, but files of functional tests all to one worker: each starts several processes.

    xdist's own way, a group in the node id, is lost on the way from pytest 9.2 to xdist 3.8.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "functional" if _starts_processes(nodeid.partition("::")[0]) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Decide which worker runs what; the functional tests come first, for they take longest."""
    return FunctionalInOneWorker(config, log)


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Show what tests were asked to say besides passing: `record_property("said", words)`."""
    reports = terminalreporter.getreports("passed")
    lines = [str(words) for report in reports for name, words in report.user_properties if name == "said"]
    if lines:
        terminalreporter.section("said by tests")
        for line in lines:
            terminalreporter.write_line(line)
