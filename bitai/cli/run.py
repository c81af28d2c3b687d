"""`bitai-node run`: the flags are the settings of `bitai.config.NodeConfig`, and nothing else."""

import sys
from collections.abc import Callable
from typing import Any

import click

from bitai.cli.command import NodeCommand

_EXAMPLES = (
    "bitai-node run --demo",
    "bitai-node run --role full --l1-rpc http://127.0.0.1:18443 --l1-cookie .cookie --rollup-config r.json",
)


_LIMITS = (
    ("log-blocks", "Blocks that one eth_getLogs may walk; default 10000."),
    ("logs", "Logs in one answer; default 10000."),
    ("call-gas", "Gas of an eth_call at most; default 16777216."),
    ("simulate-gas", "Gas of one eth_simulateV1; default 50000000."),
    ("call-seconds", "Time for one call; default 30."),
    ("waiting-calls", "Calls that may wait for a thread; default 512."),
    ("fee-history-blocks", "Blocks in one eth_feeHistory; default 1024."),
    ("proof-slots", "Storage keys in one eth_getProof; default 1024."),
    ("filters", "Filters kept for polling clients; default 1024."),
    ("filter-seconds", "A filter ends after so long without a poll; default 300."),
    ("subscriptions", "Subscriptions on one WebSocket; default 64."),
    ("sockets", "WebSockets open at once; default 256."),
    ("batch-calls", "Calls in one array; default 1000."),
)


def _limits(command: Callable[..., None]) -> Callable[..., None]:
    """Add the flags that bound what callers of JSON-RPC may ask."""
    for name, words in reversed(_LIMITS):
        command = click.option(f"--rpc-{name}", metavar="N", help=words)(command)
    return command


@click.command(cls=NodeCommand, examples=_EXAMPLES)
@click.option("--network", metavar="NAME", help="regtest (default), signet, testnet4 or mainnet.")
@click.option("--role", metavar="ROLE", help="dev (default), sequencer or full.")
@click.option("--datadir", metavar="DIR", help="Chain and keys; default ~/.local/share/bitai/<network>.")
@click.option("--rollup-config", metavar="FILE", help="JSON file with the rules of the chain to follow.")
@click.option("--l1-rpc", metavar="URL", help="Your own Bitcoin Core; without it regtest runs embedded.")
@click.option("--l1-cookie", metavar="FILE", help="Bitcoin Core's cookie file.")
@click.option("--l1-user", metavar="NAME", help="User of Bitcoin Core's RPC.")
@click.option("--l1-password-file", metavar="FILE", help="File with that user's password.")
@click.option("--l1-ca-file", metavar="FILE", help="Certificate to check an https --l1-rpc by.")
@click.option("--l1-port", metavar="N", help="Port of the embedded Bitcoin; default 18443, 0: any.")
@click.option(
    "--mine-interval", metavar="S", help="Seconds between embedded blocks; default 5, 0: on demand."
)
@click.option("--batch-codec", metavar="NAME", help="Envelope to inscribe in: if520 (default), drop255.")
@click.option("--fee-floor", metavar="N", help="Least fee rate, sats per 1,000 vB; default 1000.")
@click.option("--fee-cap", metavar="N", help="Highest fee rate, sats per 1,000 vB; default 200000.")
@click.option("--fee-target-blocks", metavar="N", help="Mine inscriptions within N blocks; default 2.")
@click.option(
    "--sequencer-url", metavar="URL", help="WebSocket of a sequencer, for unsafe blocks (role full)."
)
@click.option("--block-time-mode", metavar="MODE", help="interval (default): every 2 s; on-demand.")
@click.option("--prune", metavar="N", help="Keep the states of the last N blocks; default: all (archive).")
@click.option("--rpc-bind", metavar="IP", help="Address of JSON-RPC and web; default 127.0.0.1.")
@click.option("--rpc-port", metavar="N", help="JSON-RPC and its WebSocket; default 8545, 0: any.")
@click.option("--web-port", metavar="N", help="Status and faucet page; default 8550, 0: any.")
@click.option("--neuron-port", metavar="N", help="WebSocket for neurons; default 8560, 0: any.")
@click.option("--metrics-port", metavar="N", help="Health, metrics, admin; default 9550, 0: any.")
@_limits
@click.option(
    "--no-neuron", "neuron", flag_value=False, type=bool, default=None, help="Start no compute neuron."
)
@click.option("--record-answers", metavar="FILE", help="Write neurons' answers into a file (role dev).")
@click.option(
    "--replay-answers", metavar="FILE", help="Answer from such a file; no neuron starts (role dev)."
)
@click.option(
    "--no-console-log",
    "console_log",
    flag_value=False,
    type=bool,
    default=None,
    help="Do not show what contracts print with console.log.",
)
@click.option("--demo", is_flag=True, default=None, help="Once ready, ask the digit model in a transaction.")
@click.option("--json-logs", is_flag=True, default=None, help="Log JSON lines.")
@click.option("--log-level", metavar="LEVEL", help="debug, info (default), warning or error.")
def run(*, as_json: bool, **flags: Any) -> None:
    """Run a node, in role dev with all it needs.

    Role dev starts a Bitcoin of its own, a compute neuron and a faucet, and funds ten test accounts.

    Every flag can also be an environment variable (--rpc-port is BITAI_RPC_PORT) or a line of bitai.toml in
    the data folder (rpc_port = 8545). Here --json is the same as --json-logs.
    """
    from bitai.config import load_config

    named = {name: value for name, value in flags.items() if value is not None}
    if as_json:
        named["json_logs"] = True
    config = load_config(named).config

    from bitai.node import run_node  # after the settings: a wrong one is told at once

    sys.exit(run_node(config))
