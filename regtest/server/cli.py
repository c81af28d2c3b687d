"""The command line of the embedded Bitcoin."""

import argparse
import asyncio
import ipaddress
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from primitives.errors import BitaiError, ConfigError, InvalidInput
from regtest.limits import MAX_BLOCKS_PER_CALL, MAX_FUTURE_SECONDS
from regtest.options import NodeOptions, ServerOptions
from regtest.rpc.addresses import script_of_address
from regtest.server.instance import read_password

DEFAULT_PORT: Final = 18443
CONFIG_ERROR: Final = 2
FAILURE: Final = 1
_OWN_BITCOIND: Final = "run your own bitcoind for other networks; this one has no peers and no value"

DESCRIPTION: Final = """\
A regtest Bitcoin in one process: Bitcoin Core's validation engine with a mempool, a miner and the part of
Bitcoin Core's JSON-RPC that a rollup and its tests use. Blocks survive kill -9; the mempool survives a
clean stop (SIGTERM). Anyone can compute the faucet's keys: never give these coins a meaning.
"""
EXAMPLES: Final = """\
examples:
  mine a block every ten seconds, with 110 blocks mined at once so that the faucet can pay:
      python -m regtest --datadir /tmp/btc --premine 110 --mine-interval 10

  mine on demand only, then by hand:
      python -m regtest --datadir /tmp/btc &
      curl -s --user "$(cat /tmp/btc/.cookie)" http://127.0.0.1:18443/ \\
          -d '{"method": "generatetodescriptor", "params": [1, "raw(51)"]}'

  for tests of lock times, start a month in the past and move on with setmocktime:
      python -m regtest --datadir /tmp/btc --clock-offset -2592000
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the process; returns its exit status."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    try:
        options = parse_options(arguments)
        asyncio.run(_run(options))
    except ConfigError as error:
        sys.stderr.write(f"error: {error.message}\nfix: {error.fix}\ncode: {error.code}\n")
        return CONFIG_ERROR
    except BitaiError as error:
        sys.stderr.write(f"error: {error.message}\ncode: {error.code}\n")
        return FAILURE
    return 0


def parse_options(arguments: Sequence[str] | None) -> ServerOptions:
    """Return what the arguments ask for; raises ConfigError `cli.*`, `instance.*`."""
    given = _parser().parse_args(arguments)
    _require_regtest(given.network)
    _require_loopback(given.bind)
    payout = None if given.mine_to is None else _payout_script(given.mine_to)
    return ServerOptions(
        directory=given.datadir.absolute(),
        # One address, because a free port is free on one only.
        host="127.0.0.1" if given.bind == "localhost" else given.bind,
        port=given.port,
        mine_interval_seconds=given.mine_interval,
        premine_blocks=given.premine,
        clock_offset_seconds=given.clock_offset,
        user_and_password=_user_and_password(given.rpc_user, given.rpc_password_file),
        node=NodeOptions(mine_on_transaction=given.mine_on_tx, payout_script=payout),
    )


async def _run(options: ServerOptions) -> None:
    from regtest.server.process import Server  # only now: `--help` needs no kernel

    await Server(options).run(_announce)


def _announce(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class _Parser(argparse.ArgumentParser):
    """Reports mistakes as this project does: what, why, one line that fixes it, a code."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError("cli.bad_arguments", message, fix="python -m regtest --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m regtest",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--datadir", type=Path, required=True, metavar="D", help="where everything is kept")
    add("--port", type=_port, default=DEFAULT_PORT, help="JSON-RPC port (18443); 0 takes a free one")
    add("--mine-interval", type=_interval, metavar="SECONDS", help="mine a block this often")
    add("--mine-on-tx", action="store_true", help="mine a block for every accepted transaction")
    add("--mine-to", metavar="ADDRESS", help="whom unattended mining pays (the faucet)")
    add("--premine", type=_block_count, default=0, metavar="N", help="mine up to height N before serving")
    add(
        "--clock-offset",
        type=_clock_offset,
        default=0,
        metavar="SECONDS",
        help="move the clock, usually back",
    )
    add("--rpc-user", metavar="U", help="let this user in too, beside the cookie D/.cookie")
    add("--rpc-password-file", type=Path, metavar="F", help="its password: the first line of this file")
    add("--bind", default="127.0.0.1", metavar="HOST", help="loopback address to listen on (127.0.0.1)")
    add("--network", default="regtest", help="regtest; anything else is refused")
    return parser


def _require_regtest(network: str) -> None:
    if network != "regtest":
        raise ConfigError("cli.not_regtest", f"{network} is not served, only regtest", fix=_OWN_BITCOIND)


def _require_loopback(host: str) -> None:
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigError(
            "cli.not_loopback",
            f"{host} is not a loopback address; passwords and calls travel unencrypted",
            fix="--bind 127.0.0.1, and reach it from elsewhere through ssh -L",
        )


def _payout_script(address: str) -> bytes:
    try:
        return script_of_address(address)
    except InvalidInput as error:
        raise ConfigError(
            "cli.bad_address", f"--mine-to: {error.message}", fix="give an address that begins with bcrt1"
        ) from error


def _user_and_password(user: str | None, password_file: Path | None) -> str | None:
    if (user is None) != (password_file is None):
        raise ConfigError(
            "cli.half_a_login",
            "--rpc-user and --rpc-password-file belong together",
            fix="give both, or neither and use the cookie",
        )
    if user is None or password_file is None:
        return None
    if ":" in user:
        raise ConfigError("cli.bad_user", "a user name has no colon", fix="--rpc-user alice")
    return f"{user}:{read_password(password_file)}"


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("a port is 0 to 65535")
    return port


def _interval(text: str) -> float:
    seconds = float(text)
    if not 0.01 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError("an interval is 0.01 to 86,400 seconds")
    return seconds


def _clock_offset(text: str) -> int:
    seconds = int(text)
    if seconds > MAX_FUTURE_SECONDS:
        raise argparse.ArgumentTypeError(f"blocks may be at most {MAX_FUTURE_SECONDS} seconds in the future")
    return seconds


def _block_count(text: str) -> int:
    count = int(text)
    if not 0 <= count <= MAX_BLOCKS_PER_CALL:
        raise argparse.ArgumentTypeError(f"0 to {MAX_BLOCKS_PER_CALL} blocks")
    return count
