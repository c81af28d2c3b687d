"""`bitai-node version`."""

import platform

import click

from bitai.cli.command import NodeCommand, emit
from bitai.version import VERSION


@click.command(cls=NodeCommand, examples=("bitai-node version", "bitai-node version --json"))
def version(*, as_json: bool) -> None:
    """Print the version of the node and of what it runs on."""
    facts = {"bitai-node": VERSION, "python": platform.python_version(), "system": platform.platform()}
    emit(facts, as_json=as_json, text="\n".join(f"{name} {value}" for name, value in facts.items()))
