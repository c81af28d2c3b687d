"""`bitai-node evm`: the doors of Ethereum's own test tools; plain Ethereum, no chain, no node."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bitai.cli.command import NodeCommand
from bitai.cli.exit_codes import ExitCode
from primitives.errors import InvalidInput

if TYPE_CHECKING:
    from bitai.evm.many import Done


@click.group()
def evm() -> None:
    """Official test tools' doors: plain Ethereum on the node's own executor, state and trie."""


@evm.command(
    cls=NodeCommand,
    examples=(
        "bitai-node evm statetest GeneralStateTests/stExample/add11.json",
        "bitai-node evm statetest fixtures/state_tests --fork Prague --run 'modexp|ecadd'",
    ),
    json_help="Trace every step (EIP-3155) and tell each state root, both on standard error.",
)
@click.argument("places", metavar="FILE|DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--fork", metavar="NAME", help="Run only the cases of this fork.")
@click.option("--run", "pattern", metavar="REGEX", help="Run only tests whose NAME/FORK matches.")
def statetest(*, places: tuple[Path, ...], fork: str | None, pattern: str | None, as_json: bool) -> int:
    """Run official state tests and print an array of rows as geth's `evm statetest` does."""
    from bitai.evm.many import run_files, test_files
    from bitai.evm.statetest import Choice

    try:
        re.compile(pattern or "")
    except re.error as error:
        raise InvalidInput(
            "evm.bad_pattern", f"{pattern} is no regular expression", why=str(error)
        ) from error
    files = test_files(places)
    trace = _to_standard_error if as_json else None
    return _print_rows(run_files(files, Choice(fork, pattern), trace), files=len(files))


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
    click.echo(
        ("\n" if sys.stderr.isatty() else "") + summary + (f", {bad} not readable" if bad else ""), err=True
    )
    if failed:
        return ExitCode.FAILED
    return ExitCode.USAGE if bad else ExitCode.OK
