"""The command bitai-node; its modules import click alone, and the rest when a command is called."""

from bitai.cli.app import main

__all__ = ["main"]
