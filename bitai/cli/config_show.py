"""`bitai-node config`: what the node would run with, and who said so."""

import click

from bitai.cli.command import NodeCommand, datadir_options, emit, table


@click.group("config")
def config_group() -> None:
    """The node's settings."""


@config_group.command(
    cls=NodeCommand, examples=("bitai-node config show", "bitai-node config show --origin --json")
)
@click.option("--origin", is_flag=True, help="Say for each value which flag, variable or file gave it.")
@datadir_options
def show(*, origin: bool, network: str | None, datadir: str | None, as_json: bool) -> None:
    """Show every setting as `run` would see it."""
    from bitai.config import load_config

    flags = {name: value for name, value in (("network", network), ("datadir", datadir)) if value is not None}
    loaded = load_config(flags)
    values = loaded.config.model_dump(mode="json")
    if not origin:
        rows = [(name, "" if value is None else value) for name, value in values.items()]
        emit(values, as_json=as_json, text=table(rows))
        return
    content = {
        name: {"value": value, "source": loaded.origins[name].source, "place": loaded.origins[name].place}
        for name, value in values.items()
    }
    lines = [
        (name, "" if item["value"] is None else item["value"], item["source"], item["place"])
        for name, item in content.items()
    ]
    emit(content, as_json=as_json, text=table(lines, head=("setting", "value", "source", "place")))
