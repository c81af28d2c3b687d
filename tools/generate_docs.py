"""Write the pages that are read off the code: errors, metrics, settings, commands.

`make docs` runs it; a test compares the pages with what it would write, so that none can be stale.
"""

import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import click  # noqa: E402 - the repository is put on the path first

from tools.error_codes import ErrorCode, error_codes  # noqa: E402

GENERATED = "<!-- Written by `make docs`; edits here are lost. -->\n"


def errors_page() -> str:
    """Every stable error code, once, with what it says and where it is raised."""
    lines = [
        "# Error codes",
        "",
        GENERATED,
        "A code is stable: programs may compare it, its words may change.",
        "Its class says who is at fault and what happens next:",
        "",
        "| class | means | the node |",
        "| --- | --- | --- |",
        "| InvalidInput | outside data breaks a rule, every honest node agrees | drops it and counts it |",
        "| Rejected, Duplicate | well formed, not applicable now, or seen before | ignores it |",
        "| Temporary | the world is slow or away | tries again, with growing patience |",
        "| ConfigError | a person must change something | says what, why and how, and ends |",
        "| InvariantViolation | a bug of ours or a damaged disk | stops and dumps |",
        "| (none) | a code in an answer, a record or a count, not raised as such | |",
        "",
        "In a message, … stands for a value.",
        "",
    ]
    area = ""
    for code in error_codes():
        if code.area != area:
            area = code.area
            lines += ["", f"## {area}", "", "| code | class | message | where |", "| --- | --- | --- | --- |"]
        lines.append(_error_row(code))
    return _page(lines)


def _error_row(code: ErrorCode) -> str:
    where = ", ".join(f"`{path}`" for path in code.places)
    return f"| `{code.code}` | {', '.join(code.classes)} | {_cell(code.message)} | {where} |"


def metrics_page() -> str:
    """Every exported number with kind, labels and meaning."""
    from bitai.metrics import METRICS, PREFIX

    lines = [
        "# Metrics",
        "",
        GENERATED,
        "Served in Prometheus' text format at `http://127.0.0.1:9550/metrics`.",
        "Labels are bounded: a method, a stage or a code, never an address, a hash or a text from outside.",
        "",
        "| name | kind | labels | meaning |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{PREFIX}{spec.name}` | {spec.kind} | {', '.join(spec.labels)} | {spec.meaning} |"
        for spec in METRICS
    ]
    return _page(lines)


def settings_page() -> str:
    """Every setting of a node with its three spellings."""
    from bitai.config import NodeConfig, flag_of, variable_of

    lines = [
        "# Settings",
        "",
        GENERATED,
        "A flag beats an environment variable, which beats a line of `bitai.toml` in the data folder,",
        "which beats the default. `bitai-node config show --origin` shows every value and who gave it.",
        "Unknown names are errors.",
        "`network` and `datadir` decide where the file is, so they cannot be set in it.",
        "",
        "| setting (file) | flag | variable | default | meaning |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, field in NodeConfig.model_fields.items():
        default = "" if field.default_factory or field.default is None else f"`{field.default}`"
        spellings = f"| `{name}` | `{flag_of(name)}` | `{variable_of(name)}` "
        lines.append(f"{spellings}| {default} | {_cell(field.description or '')} |")
    return _page(lines)


def json_rpc_page() -> str:
    """The page about JSON-RPC, its table of methods made from the OpenRPC document's."""
    from bitai.rpc.openrpc.document import GROUPS

    begin, end = "<!-- methods -->\n", "<!-- end of methods -->"
    page = (ROOT / "docs/json-rpc.md").read_text()
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    lines = ["| group | methods |", "|---|---|"]
    for group, specs in GROUPS.items():
        lines.append(f"| {group} | {' '.join(f'`{spec.name}`' for spec in specs)} |")
    return before + begin + "\n".join(lines) + "\n" + end + after


def commands_page() -> str:
    """The help of every command."""
    from bitai.cli.app import root
    from bitai.cli.command import HELP_NAMES

    lines = ["# Commands", "", GENERATED]
    for path, command in _commands(root, ("bitai-node",)):
        context = click.Context(
            command,
            info_name=" ".join(path),
            terminal_width=100,
            max_content_width=100,
            help_option_names=HELP_NAMES,
        )
        lines += [f"## {' '.join(path)}", "", "```text", command.get_help(context), "```", ""]
    return _page(lines)


def _commands(command: click.Command, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], click.Command]]:
    found = [(path, command)]
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            found += _commands(command.commands[name], (*path, name))
    return found


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _page(lines: list[str]) -> str:
    text = "\n".join(line.rstrip() for line in "\n".join(lines).split("\n"))
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.rstrip() + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "docs/errors.md": errors_page,
    "docs/metrics.md": metrics_page,
    "docs/settings.md": settings_page,
    "docs/commands.md": commands_page,
    "docs/json-rpc.md": json_rpc_page,
}


def main() -> None:
    """Write every page that changed, and say which."""
    for name, make in PAGES.items():
        path, text = ROOT / name, make()
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"wrote {name}")


if __name__ == "__main__":
    main()
