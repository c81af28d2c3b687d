"""`bitai-node dev up`, `down`, `env` and `logs`: a development node, comfortably."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from bitai.cli.command import NodeCommand, datadir_options, emit
from bitai.cli.settings import datadir_of

_POLL_S = 0.3


@click.command(
    cls=NodeCommand,
    examples=(
        "bitai-node dev up",
        "bitai-node dev up --detach --config-out dev.json",
        "bitai-node dev up --ephemeral --no-neuron",
    ),
)
@click.option(
    "--detach", is_flag=True, help="Leave the node running; its log is node.log in the data folder."
)
@click.option("--ephemeral", is_flag=True, help="Use a folder of its own, and remove it at the end.")
@click.option("--config-out", metavar="FILE", help="Write addresses, accounts and keys as JSON.")
@click.option("--on-demand", is_flag=True, help="Make a block as soon as a transaction waits, not every 2 s.")
@click.option("--no-neuron", is_flag=True, help="Start no compute neuron.")
@click.option("--replay-answers", metavar="FILE", help="Answer models' questions from a recording.")
@datadir_options
def up(*, network: str | None, datadir: str | None, as_json: bool, **flags: Any) -> None:
    """Start a development node, and say how to use it once it is ready.

    Ports that are taken are replaced by free ones. Ctrl-C ends it; with --detach `bitai-node dev down` does.
    """
    from bitai.datadir import DataDir
    from primitives.errors import InvalidInput

    if flags["ephemeral"] and (flags["detach"] or datadir is not None):
        raise InvalidInput(
            "dev.ephemeral",
            "--ephemeral goes with neither --detach nor --datadir",
            fix="bitai-node dev up --help",
        )
    if not flags["ephemeral"]:
        _run(datadir_of(network=network, datadir=datadir), flags, as_json=as_json)
        return
    folder = Path(tempfile.mkdtemp(prefix="bitai-dev-"))
    try:
        _run(DataDir(folder), flags, as_json=as_json)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(files: Any, flags: dict[str, Any], *, as_json: bool) -> None:
    from bitai.dev import background

    process = background.start(files, _run_flags(flags), detach=flags["detach"])
    try:
        known = _known(files, background.await_ready(files, process))
        if flags["config_out"]:
            Path(flags["config_out"]).write_text(json.dumps(known, indent=1) + "\n")
        emit(known, as_json=as_json, text=background.banner(known))
        if not flags["detach"]:
            process.wait()
    except KeyboardInterrupt:
        process.wait(background.STOP_LIMIT_S)  # Ctrl-C reached it too
        raise
    finally:
        if not flags["detach"] and process.poll() is None:
            process.terminate()
            process.wait(background.STOP_LIMIT_S)


def _run_flags(flags: dict[str, Any]) -> list[str]:
    chosen = ["--block-time-mode", "on-demand"] if flags["on_demand"] else []
    chosen += ["--no-neuron"] if flags["no_neuron"] else []
    if flags["replay_answers"]:
        chosen += ["--replay-answers", flags["replay_answers"]]
    return chosen


def _known(files: Any, running: Any) -> dict[str, Any]:
    from bitai.dev.background import facts
    from bitai.node_client import NodeClient

    return facts(running, NodeClient(files).get("/status")["chain_id"])


@click.command(cls=NodeCommand, examples=("bitai-node dev down", "bitai-node dev down --json"))
@datadir_options
def down(*, network: str | None, datadir: str | None, as_json: bool) -> None:
    """Stop the node of a data folder, as Ctrl-C would."""
    from bitai.dev.background import stop

    pid = stop(datadir_of(network=network, datadir=datadir))
    emit({"pid": pid}, as_json=as_json, text=f"stopped process {pid}")


@click.command(cls=NodeCommand, examples=("bitai-node dev env", "bitai-node dev env --json | jq -r .rpc_url"))
@datadir_options
def env(*, network: str | None, datadir: str | None, as_json: bool) -> None:
    """Print the running node's addresses, accounts and keys, for a shell or as JSON."""
    from bitai.dev.background import shell_lines
    from bitai.run_file import find_running

    files = datadir_of(network=network, datadir=datadir)
    known = _known(files, find_running(files))
    emit(known, as_json=as_json, text=shell_lines(known))


@click.command(cls=NodeCommand, examples=("bitai-node dev logs", "bitai-node dev logs --follow"))
@click.option("--follow", "-f", is_flag=True, help="Go on as the node writes; Ctrl-C ends it.")
@datadir_options
def logs(*, follow: bool, network: str | None, datadir: str | None, as_json: bool) -> None:
    """Print what a node in the background has written."""
    from bitai.dev.background import log_path
    from primitives.errors import Rejected

    path = log_path(datadir_of(network=network, datadir=datadir))
    if not path.exists():
        why = "a node that was started with --detach writes one"
        raise Rejected("dev.no_log", f"there is no {path}", why=why, fix="bitai-node dev up --detach")
    with path.open(errors="replace") as log, contextlib.suppress(KeyboardInterrupt):
        while True:
            for line in log:
                emit({"line": line.rstrip("\n")}, as_json=as_json, text=line.rstrip("\n"))
            if not follow:
                return
            time.sleep(_POLL_S)
