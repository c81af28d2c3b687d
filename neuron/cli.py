"""The command `python -m neuron`: options in, a worker running, an exit code out."""

import asyncio
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import structlog

from primitives.errors import BitaiError, ConfigError

if TYPE_CHECKING:
    from neuron.desk import Desk
    from neuron.worker import Connection
    from primitives.ids import Hash32

DEFAULT_URL: Final = "ws://127.0.0.1:8560"
DEFAULT_CAPACITY: Final = 64
MOST_CAPACITY: Final = 65_535
SOFTWARE: Final = "bitai-neuron/0.1"
EXIT_CONFIG: Final = 2
EXIT_FAILED: Final = 1

EXAMPLES: Final = """\b
Examples:
  Make a key, then serve the shipped digits model to a local node:
    (umask 077; openssl rand -hex 32 > neuron.key)
    python -m neuron --key-file neuron.key
\b
  Serve two models on a GPU to a node elsewhere, signing for one chain only:
    python -m neuron --connect wss://node.example:8560 --key-file neuron.key \\
        --model a.bitai --model b.bitai --device cuda --chain <64 hex digits>
\b
  Take the key from the environment, log JSON:
    NEURON_KEY=... python -m neuron --key-env NEURON_KEY --json-logs
"""


@dataclass(frozen=True, slots=True)
class Options:
    """Hold what the command line said."""

    connect: str
    key_file: Path | None
    key_env: str | None
    model: tuple[Path, ...]
    datadir: Path
    device: str
    threads: int | None
    capacity: int
    chain: str | None


@click.command(epilog=EXAMPLES, context_settings={"max_content_width": 110})
@click.option("--connect", default=DEFAULT_URL, show_default=True, help="WebSocket of the node.")
@click.option(
    "--key-file", type=click.Path(path_type=Path), help="File with the neuron's key, 64 hex digits."
)
@click.option("--key-env", help="Environment variable with the neuron's key.")
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Model to serve; may be repeated. [default: digits]",
)
@click.option(
    "--datadir",
    type=click.Path(path_type=Path),
    default=Path.home() / ".bitai" / "neuron",
    show_default="~/.bitai/neuron",
    help="Where signed answers are kept; never lose it while the stake lasts.",
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda", "exact"]), default="auto", show_default=True
)
@click.option(
    "--threads", type=click.IntRange(min=1), help="CPU threads for torch. [default: torch's choice]"
)
@click.option(
    "--capacity",
    type=click.IntRange(1, MOST_CAPACITY),
    default=DEFAULT_CAPACITY,
    show_default=True,
    help="Jobs held at once.",
)
@click.option("--chain", help="Identity (hex) of the only chain to sign for. [default: the node's]")
@click.option("--json-logs", is_flag=True, help="Log JSON lines.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def main(*, json_logs: bool, log_level: str, **options: object) -> None:
    """Run models for a BitAI chain: connect to a node, answer its jobs, sign every answer.

    One outbound connection is all it needs. It stops in good order on SIGTERM or Ctrl-C: jobs held are
    answered, new ones declined. Answers are synced to --datadir before they are sent, so a request never gets
    two of them.
    """
    from neuron.logs import configure_logs

    configure_logs(json=json_logs, level=log_level)
    log = structlog.get_logger("neuron")
    try:
        run(Options(**options))  # type: ignore[arg-type]  # click has checked every type
    except ConfigError as error:
        click.echo(f"error: {error.message}\n  code: {error.code}\n  try:  {error.fix}", err=True)
        sys.exit(EXIT_CONFIG)
    except BitaiError as error:
        log.exception("the neuron stopped itself", code=error.code)
        sys.exit(EXIT_FAILED)


def run(options: Options) -> None:
    """Prepare everything, then serve until told to stop; raises ConfigError, or InvariantViolation."""
    from neuron.answer_log import AnswerLog
    from neuron.catalogue import load_models
    from neuron.desk import Desk
    from neuron.engine import choose_engine
    from neuron.session import Credentials
    from neuron.worker import Connection
    from primitives.curve import address_of

    _require_url(options.connect)
    secret = _secret(options)
    address = address_of(secret).hex()
    answers = AnswerLog(options.datadir / address)
    try:
        engine = choose_engine(options.device, options.threads)
        log = structlog.get_logger("neuron")
        log.info("starting", neuron=f"0x{address}", engine=engine.name, node=options.connect)
        desk = Desk(secret, load_models(options.model, engine), answers)
        credentials = Credentials(secret, SOFTWARE, options.capacity, _chain(options.chain))
        asyncio.run(_serve(Connection(options.connect, credentials), desk))
        log.info("stopped")
    finally:
        answers.close()


async def _serve(connection: "Connection", desk: "Desk") -> None:
    from neuron.worker import work

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await work(connection, desk, stopping)


def _require_url(url: str) -> None:
    """Refuse what no connection can ever be made to, rather than trying it for ever."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        good = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ConfigError(
            "connect.malformed",
            f"--connect wants a URL such as {DEFAULT_URL}",
            fix=f"--connect {DEFAULT_URL}",
        )


def _secret(options: Options) -> bytes:
    from neuron.secret_key import read_key_file, read_key_variable

    if options.key_file is not None and options.key_env is None:
        return read_key_file(options.key_file)
    if options.key_env is not None and options.key_file is None:
        return read_key_variable(options.key_env)
    raise ConfigError(
        "key.which",
        "name the key with exactly one of --key-file and --key-env",
        fix="python -m neuron --help",
    )


def _chain(text: str | None) -> "Hash32 | None":
    from primitives.ids import HASH_BYTES, Hash32

    if text is None:
        return None
    try:
        identity = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        identity = b""
    if len(identity) != HASH_BYTES:
        raise ConfigError("chain.malformed", "--chain wants 64 hex digits", fix="bitai-node status --json")
    return Hash32(identity)
