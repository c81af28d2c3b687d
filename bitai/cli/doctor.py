"""`bitai-node doctor`: is this machine ready to run a node?"""

from dataclasses import asdict

import click
from click.exceptions import Exit

from bitai.cli.command import NodeCommand, datadir_options, emit, table
from bitai.cli.exit_codes import ExitCode


@click.command(cls=NodeCommand, examples=("bitai-node doctor", "bitai-node doctor --json"))
@datadir_options
def doctor(*, network: str | None, datadir: str | None, as_json: bool) -> None:
    """Check whether this machine can run a node.

    Looks at Python, disk, ports, Bitcoin, clock and GPU; exit code 1 if something stops a node.
    """
    from bitai.config import load_config
    from bitai.doctor import Verdict, examine

    flags = {name: value for name, value in (("network", network), ("datadir", datadir)) if value is not None}
    findings = examine(load_config(flags).config)
    rows = [(finding.verdict, finding.name, finding.what) for finding in findings]
    fixes = [f"  fix {finding.name}: {finding.fix}" for finding in findings if finding.fix]
    text = "\n".join([table(rows), *fixes])
    emit({"findings": [asdict(finding) for finding in findings]}, as_json=as_json, text=text)
    if any(finding.verdict is Verdict.FAIL for finding in findings):
        raise Exit(ExitCode.FAILED)
