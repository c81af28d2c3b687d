"""The root command: its groups, the exit codes in its help, and what Ctrl-C means."""

import sys

import click

from bitai.cli.command import HELP_NAMES, report, wrong_usage
from bitai.cli.config_show import config_group
from bitai.cli.db import db
from bitai.cli.dev import dev
from bitai.cli.doctor import doctor
from bitai.cli.evm import evm
from bitai.cli.exit_codes import MEANINGS, ExitCode
from bitai.cli.keys import keys
from bitai.cli.model import model
from bitai.cli.run import run
from bitai.cli.status import status
from bitai.cli.version import version

# \b keeps click from joining the lines that follow it.
_EXIT_CODES = "\b\nExit codes:\n" + "\n".join(f"  {code.value}  {words}" for code, words in MEANINGS.items())


@click.group(epilog=_EXIT_CODES, context_settings={"help_option_names": HELP_NAMES, "max_content_width": 100})
def root() -> None:
    """Run a BitAI node: a Bitcoin layer 2 whose contracts can ask a neural network."""


for command in (run, status, db, dev, model, evm, keys, config_group, doctor, version):
    root.add_command(command)


def main() -> None:
    """Run the command line; the process ends with the exit code of the command."""
    try:
        code = root.main(prog_name="bitai-node", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.UsageError as error:
        report(wrong_usage(error), as_json="--json" in sys.argv)
        sys.exit(ExitCode.USAGE)
    except click.Abort:
        click.echo("Stopped.", err=True)
        sys.exit(ExitCode.ABORTED)
    sys.exit(code if isinstance(code, int) else ExitCode.OK)
