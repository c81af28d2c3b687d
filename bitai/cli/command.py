"""What every command has: examples, --json, and errors in four parts with a meaningful exit code."""

import errno
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Final

import click
from click.exceptions import Exit

from bitai.cli.exit_codes import exit_code_of
from primitives.errors import BitaiError, ConfigError, InvalidInput

SCHEMA = 1
HELP_NAMES = ["-h", "--help"]


class NodeCommand(click.Command):
    """A command with `--json` (parameter `as_json`) and at least one example in its help."""

    def __init__(
        self,
        *args: Any,
        examples: Sequence[str],
        json_help: str = "Print one JSON object and ask nothing.",
        **kwargs: Any,
    ) -> None:
        self.examples = tuple(examples)
        # Also here, not only at the root: click keeps the help option of whichever context asked for it first.
        kwargs.setdefault("context_settings", {"help_option_names": HELP_NAMES})
        # \b keeps click from joining the lines: an example is to be copied as it stands.
        kwargs["epilog"] = "\b\nExamples:\n" + "\n".join(f"  {example}" for example in self.examples)
        super().__init__(*args, **kwargs)
        self.params.append(click.Option(["--json", "as_json"], is_flag=True, help=json_help))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours becomes its four parts and an exit code."""
        try:
            return super().invoke(ctx)
        except BitaiError as error:
            report(error, as_json=bool(ctx.params.get("as_json")))
            raise Exit(exit_code_of(error)) from error
        except OSError as error:
            if error.filename is None and error.errno not in _SYSTEM_REFUSALS:
                raise  # a reader that went away, a connection that broke: not for us to retell
            refusal = refused_by_system(error)
            report(refusal, as_json=bool(ctx.params.get("as_json")))
            raise Exit(exit_code_of(refusal)) from error


_SYSTEM_REFUSALS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS})


def datadir_options(function: Any) -> Any:
    """Add --network and --datadir, which say whose node, keys or settings are meant."""
    function = click.option("--datadir", metavar="DIR", help="The node's data folder.")(function)
    return click.option("--network", metavar="NAME", help="Bitcoin network; default regtest.")(function)


def emit(content: object, *, as_json: bool, text: str) -> None:
    """Print what was asked for: one JSON object, or the text for a person."""
    if not as_json:
        click.echo(text)
        return
    import json

    plain = asdict(content) if is_dataclass(content) and not isinstance(content, type) else content
    shown = dict(plain) if isinstance(plain, Mapping) else {"result": plain}
    click.echo(json.dumps({"schema": SCHEMA, **shown}, default=str))


def report(error: BitaiError, *, as_json: bool) -> None:
    """Tell an error: JSON on standard output for a program, four lines on standard error for a person."""
    why = str(error.details.get("why", ""))
    fix = str(getattr(error, "fix", "") or error.details.get("fix", ""))
    if as_json:
        emit(
            {"error": {"code": error.code, "what": error.message, "why": why, "fix": fix}},
            as_json=True,
            text="",
        )
        return
    details = {name: value for name, value in error.details.items() if name not in {"why", "fix"}}
    shown = f" ({', '.join(f'{name}: {value}' for name, value in details.items())})" if details else ""
    click.secho(f"Error: {error.message}{shown}", fg="red", err=True)
    for label, part in (("why", why), ("fix", fix), ("code", error.code)):
        if part:
            click.echo(f"  {label:<5}{part}", err=True)


def refused_by_system(error: OSError) -> ConfigError:
    """Retell what the operating system refused: a full disk, a folder of another user."""
    place = str(error.filename or ".")
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    return ConfigError(
        "system.refused",
        f"the system refused to use {place}" if error.filename else "the system refused",
        why=error.strerror or str(error) or type(error).__name__,
        fix=f"df -h {Path(place).parent}" if full else f"ls -ld {Path(place).parent}",
    )


def wrong_usage(error: click.UsageError) -> InvalidInput:
    """Retell what click could not make sense of, with the help that would have told."""
    path = error.ctx.command_path if error.ctx is not None else "bitai-node"
    return InvalidInput("cli.usage", error.format_message(), fix=f"{path} --help")


def table(rows: Sequence[Sequence[object]], *, head: Sequence[str] = ()) -> str:
    """Lay rows out in columns of plain text."""
    lines = [[str(cell) for cell in row] for row in ([head] if head else []) + list(rows)]
    if not lines:
        return ""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
