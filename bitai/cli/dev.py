"""`bitai-node dev`: what the owner of a regtest node may do to its world."""

from decimal import Decimal, InvalidOperation

import click

from bitai.cli.command import NodeCommand, datadir_options, emit
from bitai.cli.dev_init import init
from bitai.cli.dev_reset import reset
from bitai.cli.dev_trace import trace
from bitai.cli.dev_up import down, env, logs, up
from bitai.cli.settings import datadir_of
from primitives.errors import InvalidInput

_SATS_PER_BTC = 100_000_000


@click.group()
def dev() -> None:
    """Coins, blocks and reorgs on a regtest node of your own; new projects for it."""


for command in (init, up, down, env, logs, reset, trace):
    dev.add_command(command)


@dev.command(
    cls=NodeCommand,
    examples=(
        "bitai-node dev faucet 0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        "bitai-node dev faucet 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --amount 2.5",
    ),
)
@click.argument("address")
@click.option("--amount", default="1", show_default=True, metavar="BTC", help="How much, in BTC.")
@datadir_options
def faucet(*, address: str, amount: str, network: str | None, datadir: str | None, as_json: bool) -> None:
    """Send coins to an L2 address (0x...) or a regtest Bitcoin address (bcrt1...)."""
    from bitai.node_client import NodeClient

    client = NodeClient(datadir_of(network=network, datadir=datadir))
    answer = client.post("/admin/dev/faucet", {"address": address, "amount_sats": sats_of(amount)})
    text = f"sent {answer['amount_sats']} sats on {answer['layer']}: {answer['transaction']}"
    emit(answer, as_json=as_json, text=text)


@dev.command(cls=NodeCommand, examples=("bitai-node dev mine", "bitai-node dev mine 6"))
@click.argument("blocks", type=click.IntRange(1, 1_000), default=1)
@datadir_options
def mine(*, blocks: int, network: str | None, datadir: str | None, as_json: bool) -> None:
    """Mine Bitcoin blocks now."""
    from bitai.node_client import NodeClient

    answer = NodeClient(datadir_of(network=network, datadir=datadir)).post(
        "/admin/dev/mine", {"blocks": blocks}
    )
    emit(answer, as_json=as_json, text="\n".join(answer["hashes"]))


@dev.command(cls=NodeCommand, examples=("bitai-node dev reorg 3", "bitai-node dev reorg 1 --json"))
@click.argument("depth", type=click.IntRange(1, 100))
@datadir_options
def reorg(*, depth: int, network: str | None, datadir: str | None, as_json: bool) -> None:
    """Replace the last DEPTH Bitcoin blocks by a longer branch, and watch the node follow.

    DEPTH is less than the chain's finality depth (8 on regtest): finalized blocks never move.
    """
    from bitai.node_client import NodeClient

    answer = NodeClient(datadir_of(network=network, datadir=datadir)).post(
        "/admin/dev/reorg", {"depth": depth}
    )
    emit(answer, as_json=as_json, text=f"{answer['old_tip']} replaced by {answer['new_tip']}")


def sats_of(amount_btc: str) -> int:
    """Read an amount in BTC exactly, with at most eight decimals; raises InvalidInput `amount.bad`."""
    try:
        sats = Decimal(amount_btc) * _SATS_PER_BTC
        exact = sats == int(sats)
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise InvalidInput("amount.bad", f"'{amount_btc}' is no amount in BTC") from error
    if not exact or sats <= 0:
        raise InvalidInput(
            "amount.bad", f"'{amount_btc}' is no amount in BTC", why="above zero, in whole sats"
        )
    return int(sats)
