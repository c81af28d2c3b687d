"""`bitai-node db`: look after the chain database of a node."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from bitai.cli.command import NodeCommand, datadir_options, emit, table
from bitai.cli.exit_codes import ExitCode
from bitai.cli.settings import datadir_of
from primitives.errors import Temporary

if TYPE_CHECKING:
    from bitai.node_client import NodeClient

POLL_S = 0.5


@click.group()
def db() -> None:
    """Check, describe, migrate and unwind the chain database."""


@db.command(
    cls=NodeCommand,
    examples=("bitai-node db check", "bitai-node db check --full --json", "bitai-node db check --sample 100"),
)
@click.option("--full", is_flag=True, help="Follow every history row to its state's root.")
@click.option(
    "--sample", type=click.IntRange(1, 10**9), default=1_000, show_default=True, help="Follow one of N."
)
@datadir_options
def check(*, full: bool, sample: int, network: str | None, datadir: str | None, as_json: bool) -> None:
    """Compare every row with what it must be; with the node running or stopped.

    Blocks link and have the roots of what is stored, indexes lead there, tries have the head's root and equal the
    flat rows, undo data and history fit. Exit code 1 when a fault is found, each told with its row, what it means
    and what to do. Beside a running node it takes a snapshot and half of one core.
    """
    from bitai.database_access import check_stopped

    chosen = 1 if full else sample
    files = datadir_of(network=network, datadir=datadir)
    client = _running(files)
    report = check_stopped(files, chosen, _Progress()) if client is None else _check_running(client, chosen)
    emit(report, as_json=as_json, text=_told(report))
    if report["state"] != "sound":
        raise Exit(ExitCode.FAILED)


@db.command(cls=NodeCommand, examples=("bitai-node db info", "bitai-node db info --json | jq .tables"))
@datadir_options
def info(*, network: str | None, datadir: str | None, as_json: bool) -> None:
    """Show layout, heads and the size of each table; with the node running or stopped."""
    from bitai.database_access import describe_stopped

    files = datadir_of(network=network, datadir=datadir)
    client = _running(files)
    facts = describe_stopped(files) if client is None else client.post("/admin/db/info", {})
    rows: list[tuple[object, ...]] = [
        ("layout", facts["layout"]),
        *(
            (name, "none" if head is None else f"{head['number']} {head['hash']}")
            for name, head in facts["heads"].items()
        ),
        ("oldest state", facts["oldest_state"]),
        ("history up to", facts["history_upto"]),
        ("undo from", facts["undo_from"]),
        *((name, f"{size / 2**20:.1f} MiB") for name, size in facts["tables"].items()),
    ]
    emit(facts, as_json=as_json, text=table(rows))


@db.command(cls=NodeCommand, examples=("bitai-node db migrate --dry-run", "bitai-node db migrate"))
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@datadir_options
def migrate(*, dry_run: bool, network: str | None, datadir: str | None, as_json: bool) -> None:
    """Bring a stopped node's database to this version's layout, as starting the node does.

    May be stopped at any time and started again.
    """
    from bitai.database_access import migrate_stopped

    done = migrate_stopped(datadir_of(network=network, datadir=datadir), dry_run=dry_run)
    text = f"layout {done['from']} is this program's"
    if done["from"] != done["to"]:
        verb = "would write" if dry_run else "wrote"
        text = f"layout {done['from']} to {done['to']}: {verb} up to {done['bytes']} bytes"
    emit(done, as_json=as_json, text=text)


@db.command(
    cls=NodeCommand,
    examples=("bitai-node db unwind --to-block 120 --dry-run", "bitai-node db unwind --to-block 120 --yes"),
)
@click.option("--to-block", type=click.IntRange(0), required=True, help="The block that becomes the head.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@datadir_options
def unwind(
    *, to_block: int, dry_run: bool, yes: bool, network: str | None, datadir: str | None, as_json: bool
) -> None:
    """Take a stopped node's chain back to an earlier block, not below the finalized one.

    At its next start the node works through Bitcoin's blocks again from there. What Bitcoin holds comes back as it
    was; users' transactions in blocks that Bitcoin does not hold wait again on a sequencer, elsewhere they are gone.
    """
    from bitai.database_access import opened_driver
    from bitai.unwind import plan_unwind
    from bitai.unwind import unwind as take_back

    with opened_driver(network=network, datadir=datadir) as driver:
        plan = plan_unwind(driver, to_block)
        text = (
            f"blocks {to_block + 1} to {plan.head} with {plan.transactions} transactions"
            if plan.head > to_block
            else "nothing"
        )
        if dry_run:
            emit(plan, as_json=as_json, text=f"would go: {text}; Bitcoin again from height {plan.l1_to + 1}")
            return
        if not yes and not as_json:
            click.confirm(f"Take back {text}?", abort=True)
        emit(take_back(driver, to_block), as_json=as_json, text=f"took back {text}")


def _running(files: Any) -> NodeClient | None:
    """Find the node that has the database open."""
    from bitai.node_client import NodeClient

    try:
        return NodeClient(files)
    except Temporary as error:
        if error.code != "node.not_running":
            raise
        return None


def _check_running(client: NodeClient, sample: int) -> dict[str, Any]:
    report, progress = client.post("/admin/db/check", {"sample": sample}), _Progress()
    while report["state"] == "running":
        progress(report["rows"])
        time.sleep(POLL_S)
        report = client.post("/admin/db/check/progress", {})
    return dict(report)


class _Progress:
    """Shows on a terminal how many rows were read."""

    def __init__(self) -> None:
        self._told = 0.0

    def __call__(self, rows: dict[str, int]) -> None:
        """Say it, twice a second at most."""
        if time.monotonic() - self._told < POLL_S or not sys.stderr.isatty():
            return
        self._told = time.monotonic()
        click.echo(f"\r{sum(rows.values()):,} rows", nl=False, err=True)


def _told(report: dict[str, Any]) -> str:
    rows = table([(part, f"{count:,}") for part, count in report["rows"].items()])
    lines = [rows, ""]
    for fault in report["faults"]:
        lines += [f"{fault['kind']}  {fault['key']}", f"  {fault['meaning']}", f"  do: {fault['remedy']}"]
    if report["failure"]:
        lines.append(f"could not go on: {report['failure']}")
    words = {"sound": "no fault", "faults": f"{report['fault_count']} faults"}.get(
        report["state"], report["state"]
    )
    return "\n".join([*lines, f"{words} up to block {report['head']}, in {report['seconds']} s"])
