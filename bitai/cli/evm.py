"""`bitai-node evm`: the doors of Ethereum's own test tools; plain Ethereum, no chain, no node."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bitai.cli.command import NodeCommand, emit, table
from bitai.cli.exit_codes import ExitCode
from primitives.errors import InvalidInput, Rejected

if TYPE_CHECKING:
    from bitai.evm.forks import Fork
    from bitai.evm.many import Done
    from bitai.evm.statetest import Choice


@click.group()
def evm() -> None:
    """Official test tools' doors: plain Ethereum on the node's own executor, state and trie."""


def _choice_options(function: Any) -> Any:
    """Add what chooses among a file's cases."""
    run = click.option("--run", "pattern", metavar="REGEX", help="Run only tests whose NAME/FORK matches.")
    return click.option("--fork", metavar="NAME", help="Run only the cases of this fork.")(run(function))


_PLACES = click.argument(
    "places", metavar="FILE|DIR...", nargs=-1, required=True, type=click.Path(path_type=Path)
)


@evm.command(
    cls=NodeCommand,
    examples=(
        "bitai-node evm statetest GeneralStateTests/stExample/add11.json",
        "bitai-node evm statetest fixtures/state_tests --fork Prague --run 'modexp|ecadd'",
    ),
    json_help="Trace every step (EIP-3155) and tell each state root, both on standard error.",
)
@_PLACES
@_choice_options
def statetest(*, places: tuple[Path, ...], fork: str | None, pattern: str | None, as_json: bool) -> int:
    """Run official state tests and print an array of rows as geth's `evm statetest` does."""
    from bitai.evm.many import files_in, run_files, run_traced
    from bitai.evm.statetest import run_file

    files, choice = files_in(places), _choice(fork, pattern)
    if as_json:
        return _print_rows(run_traced(files, choice, _to_standard_error), files=len(files))
    return _print_rows(run_files(run_file, files, choice), files=len(files))


@evm.command(
    cls=NodeCommand,
    examples=(
        "bitai-node evm blocktest BlockchainTests/ValidBlocks/bcExample/basefeeExample.json",
        "bitai-node evm blocktest fixtures/blockchain_tests/prague --run withdrawal",
    ),
    json_help="Changes nothing: rows are JSON in any case.",
)
@_PLACES
@_choice_options
def blocktest(*, places: tuple[Path, ...], fork: str | None, pattern: str | None, as_json: bool) -> int:
    """Run official blockchain tests, of Paris and later, and print an array of rows."""
    from bitai.evm.blocktest import run_file
    from bitai.evm.many import files_in, run_files

    del as_json
    files = files_in(places)
    return _print_rows(run_files(run_file, files, _choice(fork, pattern)), files=len(files))


@evm.command(
    cls=NodeCommand,
    examples=(
        "bitai-node evm t8n --input.alloc alloc.json --input.env env.json --input.txs txs.json --state.fork Prague",
        "bitai-node evm t8n --input.alloc stdin --input.env stdin --input.txs stdin --output.result stdout",
    ),
    json_help="Tell an error as one JSON object; what comes out is JSON in any case.",
)
@click.option("--input.alloc", "input_alloc", default="alloc.json", metavar="FILE|stdin", show_default=True)
@click.option("--input.env", "input_env", default="env.json", metavar="FILE|stdin", show_default=True)
@click.option("--input.txs", "input_txs", default="txs.json", metavar="FILE|stdin", show_default=True)
@click.option("--input.blobParams", "input_blobs", metavar="FILE|stdin", help="Blob schedule of the fork.")
@click.option("--output.basedir", "basedir", default=".", type=click.Path(path_type=Path), show_default=True)
@click.option(
    "--output.alloc", "output_alloc", default="alloc.json", metavar="FILE|stdout|stderr", show_default=True
)
@click.option(
    "--output.result", "output_result", default="result.json", metavar="FILE|stdout|stderr", show_default=True
)
@click.option(
    "--output.body", "output_body", default="", metavar="FILE|stdout|stderr", help="RLP of what was included."
)
@click.option("--state.fork", "fork_name", default="Osaka", metavar="NAME", show_default=True)
@click.option("--state.chainid", "chain_id", default=1, type=click.IntRange(0), show_default=True)
@click.option(
    "--state.reward",
    "reward",
    type=int,
    help="Wei for the coinbase before Paris; -1: none; default: the fork's.",
)
@click.option("--state-test", "state_test", is_flag=True, help="Only run the transactions: no system calls.")
@click.option("--trace", is_flag=True, help="Write trace-INDEX-HASH.jsonl for each transaction (EIP-3155).")
@click.option(
    "--trace.memory",
    "--trace.nomemory",
    "--trace.returndata",
    "--trace.noreturndata",
    "--trace.nostack",
    "unused",
    is_flag=True,
    help="Taken and ignored: steps show the stack, never memory.",
)
def t8n(*, fork_name: str, trace: bool, basedir: Path, as_json: bool, **options: Any) -> int:
    """Run one block of transactions on a state and write what comes out, as geth's and EELS's `t8n` do."""
    from bitai.evm.t8n import Request, transition
    from bitai.evm.t8n_files import Inputs, Outputs, TraceFiles

    del as_json
    inputs = Inputs()
    fork = _fork(fork_name)
    if options["input_blobs"] is not None:
        fork = fork.with_schedule({fork.name: inputs.read("blobParams", options["input_blobs"])})
    request = Request(
        alloc=inputs.read("alloc", options["input_alloc"]),
        env=inputs.read("env", options["input_env"]),
        txs=inputs.read("txs", options["input_txs"]),
        fork=fork,
        chain_id=options["chain_id"],
        reward_wei=options["reward"],
        state_test=options["state_test"],
    )
    done = transition(request, TraceFiles(basedir) if trace else None)
    outputs = Outputs(basedir)
    places = {name: options[f"output_{name}"] for name in ("result", "alloc", "body")}
    outputs.write_all(done, **places)
    for stream, content in outputs.close().items():
        click.echo(content, err=stream == "stderr")
    return ExitCode.OK


@evm.command(
    cls=NodeCommand,
    examples=(
        "bitai-node evm run 600160020160005260206000f3",
        "bitai-node evm run 0x600035600101 --input 0x01 --fork Cancun --trace",
    ),
)
@click.argument("code")
@click.option("--input", "data", default="", metavar="HEX", help="Calldata.")
@click.option(
    "--gas", default=10_000_000, type=click.IntRange(0), show_default=True, help="The transaction's gas."
)
@click.option("--value", default=0, type=click.IntRange(0), help="Wei sent along.")
@click.option("--fork", "fork_name", default="Osaka", metavar="NAME", show_default=True)
@click.option("--trace", is_flag=True, help="Print every step on standard error (EIP-3155).")
def run(*, code: str, data: str, gas: int, value: int, fork_name: str, trace: bool, as_json: bool) -> int:
    """Call a contract of this code once, in hex, and print what it answers."""
    from bitai.evm.code_run import RECEIVER, run_code
    from bitai.evm.refusals import Refusal
    from bitai.evm.transactions import Fields
    from bitai.evm.values import as_hex, blob

    fields = Fields(to=RECEIVER, data=blob(data), gas_limit=gas, value=value)
    ran = run_code(blob(code), fields, _fork(fork_name), _to_standard_error if trace else None)
    if isinstance(ran, Refusal):
        raise Rejected(ran.code, ran.words)
    content = {
        "success": ran.success,
        "output": as_hex(ran.output),
        "gas_used": ran.gas_used,
        "logs": [
            {
                "address": as_hex(log.address),
                "topics": [as_hex(topic) for topic in log.topics],
                "data": as_hex(log.data),
            }
            for log in ran.logs
        ],
        "state_root": as_hex(ran.state_root),
    }
    emit(content, as_json=as_json, text=table(list(content.items())))
    return ExitCode.OK if ran.success else ExitCode.FAILED


def _choice(fork: str | None, pattern: str | None) -> "Choice":
    from bitai.evm.statetest import Choice

    try:
        re.compile(pattern or "")
    except re.error as error:
        raise InvalidInput(
            "evm.bad_pattern", f"{pattern} is no regular expression", why=str(error)
        ) from error
    return Choice(fork, pattern)


def _fork(name: str) -> "Fork":
    from bitai.evm.forks import NOT_SUPPORTED, fork_named

    fork = fork_named(name)
    if fork is None:
        raise InvalidInput("evm.fork_not_supported", f"{name} is not run", why=NOT_SUPPORTED[name])
    return fork


def _to_standard_error(lines: bytes) -> None:
    click.echo(lines, nl=False, err=True)


def _print_rows(done: Iterable["Done"], *, files: int) -> int:
    """Print rows as they come, then the sum on standard error; return the exit code."""
    import orjson

    passed = failed = skipped = bad = 0
    opened = False
    for count, one in enumerate(done, 1):
        if one.fault is not None:
            bad += 1
            click.echo(f"{one.path}: {one.fault.code}: {one.fault.message}", err=True)
        for row in one.rows:
            passed += row.passed
            skipped += bool(row.skipped)
            failed += not row.passed and not row.skipped
            text = orjson.dumps(row.to_json(), option=orjson.OPT_INDENT_2).decode().replace("\n", "\n  ")
            click.echo(("," if opened else "[") + "\n  " + text, nl=False)
            opened = True
        if sys.stderr.isatty():
            click.echo(f"\r{count}/{files} files, {failed} failed ", nl=False, err=True)
    click.echo("\n]" if opened else "[]")
    summary = f"{passed} passed, {failed} failed, {skipped} skipped, {files} files"
    start = "\n" if sys.stderr.isatty() else ""
    click.echo(start + summary + (f", {bad} not readable" if bad else ""), err=True)
    if failed:
        return ExitCode.FAILED
    return ExitCode.USAGE if bad else ExitCode.OK
