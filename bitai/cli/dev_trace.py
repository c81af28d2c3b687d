"""`bitai-node dev trace`: what a transaction did, as a tree with names."""

from pathlib import Path

import click

from bitai.cli.command import NodeCommand, datadir_options, emit
from bitai.cli.settings import datadir_of


@click.command(
    cls=NodeCommand,
    examples=(
        "bitai-node dev trace 0x5c504ed432cb51138bcf09aa5e8a410dd4a1e204ef84bfed1be16dfba1b22060",
        "bitai-node dev trace 0x5c504ed432cb51138bcf09aa5e8a410dd4a1e204ef84bfed1be16dfba1b22060 --artifacts out",
    ),
)
@click.argument("transaction", metavar="HASH")
@click.option(
    "--artifacts",
    multiple=True,
    metavar="DIR",
    help="Foundry's out/ or Hardhat's artifacts/, for names; may be given more than once.",
)
@datadir_options
def trace(
    *,
    transaction: str,
    artifacts: tuple[str, ...],
    network: str | None,
    datadir: str | None,
    as_json: bool,
) -> None:
    """Show the calls, events, errors and model calls of a transaction, each with its gas."""
    from bitai.run_file import find_running
    from bitai.tracetree.fetch import trace_transaction

    url = find_running(datadir_of(network=network, datadir=datadir)).rpc_url
    told = trace_transaction(url, transaction, [Path(each) for each in artifacts])
    emit(told.to_object(), as_json=as_json, text="\n".join([*told.lines, "", told.report]))
