"""`bitai-node dev init`: a new project for a contract developer."""

from pathlib import Path

import click

from bitai.cli.command import NodeCommand, emit


@click.command(
    cls=NodeCommand,
    examples=(
        "bitai-node dev init my-lock --template foundry",
        "bitai-node dev init my-lock --template hardhat --json",
    ),
)
@click.argument("folder", metavar="DIR")
@click.option(
    "--template",
    type=click.Choice(["foundry", "hardhat"]),
    required=True,
    help="Which tool the project is for.",
)
def init(*, folder: str, template: str, as_json: bool) -> None:
    """Make a project whose contract asks a model: sources, tests with recorded answers, deployment, a README.

    DIR is empty or not there yet. Nothing is downloaded: the Solidity package comes with the node.
    """
    from bitai.project import make_project

    files = make_project(Path(folder), template)
    text = f"made {folder} with {len(files)} files; next: cd {folder} and read README.md"
    emit({"folder": folder, "template": template, "files": files}, as_json=as_json, text=text)
