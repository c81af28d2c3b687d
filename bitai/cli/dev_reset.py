"""`bitai-node dev reset`: leave what only this node knows."""

import click

from bitai.cli.command import NodeCommand, datadir_options, emit
from bitai.cli.settings import datadir_of


@click.command(cls=NodeCommand, examples=("bitai-node dev reset", "bitai-node dev reset --json"))
@datadir_options
def reset(*, network: str | None, datadir: str | None, as_json: bool) -> None:
    """Leave the scratch that a cheat began: back to the chain that others share, and on with Bitcoin.

    Blocks, edits and waiting transactions since the first cheat are gone.
    """
    from bitai.node_client import NodeClient

    answer = NodeClient(datadir_of(network=network, datadir=datadir)).post("/admin/dev/reset", {})
    text = "back on the shared chain" if answer["left"] else "the shared chain was never left"
    emit(answer, as_json=as_json, text=text)
