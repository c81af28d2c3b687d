"""`bitai-node keys`: make and list encrypted keys."""

import warnings
from dataclasses import asdict
from getpass import GetPassWarning
from pathlib import Path

import click

from bitai.cli.command import NodeCommand, datadir_options, emit, table
from bitai.cli.settings import datadir_of, network_of
from primitives.errors import InvalidInput


@click.group()
def keys() -> None:
    """Encrypted keys in the node's data folder."""


@keys.command(
    cls=NodeCommand,
    examples=("bitai-node keys new savings", "bitai-node keys new savings --password-file secret.txt --json"),
)
@click.argument("name")
@click.option("--password-file", type=click.Path(path_type=Path), help="Read the password from a file.")
@click.option("--show-secret", is_flag=True, help="Print the secret key too; whoever sees it owns the coins.")
@datadir_options
def new(
    *,
    name: str,
    password_file: Path | None,
    show_secret: bool,
    network: str | None,
    datadir: str | None,
    as_json: bool,
) -> None:
    """Make a key and store it encrypted; the password cannot be recovered."""
    from bitai.keystore import LIGHT, STRONG, Keystore

    files = datadir_of(network=network, datadir=datadir)
    chain = network_of(network)
    password = _password(password_file, as_json=as_json)
    store = Keystore(files.keystore)
    made = store.new(name, network=chain, password=password, stretch=LIGHT if chain == "regtest" else STRONG)
    content = asdict(made)
    if show_secret:
        content["secret"] = store.unlock(name, password).hex()
    emit(content, as_json=as_json, text=table(list(content.items())))


@keys.command("list", cls=NodeCommand, examples=("bitai-node keys list", "bitai-node keys list --json"))
@datadir_options
def list_keys(*, network: str | None, datadir: str | None, as_json: bool) -> None:
    """List keys by name and address; no password is needed, no secret shown."""
    from bitai.keystore import Keystore

    found = [asdict(key) for key in Keystore(datadir_of(network=network, datadir=datadir).keystore).list()]
    rows = [(key["name"], key["network"], key["address"], key["xonly"]) for key in found]
    text = table(rows, head=("name", "network", "address", "x-only key")) if rows else "no keys yet"
    emit({"keys": found}, as_json=as_json, text=text)


def _password(file: Path | None, *, as_json: bool) -> str:
    if file is not None:
        try:
            return file.read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or str(error)
            fix = f"ls -l {file}"
            raise InvalidInput("keys.password_file", f"{file} cannot be read", why=why, fix=fix) from error
    if as_json:
        raise _no_password("--json asks nothing")
    with warnings.catch_warnings():
        warnings.simplefilter("error", GetPassWarning)  # else it would show the password as it is typed
        try:
            return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
        except GetPassWarning as error:
            raise _no_password("there is no terminal to ask on") from error


def _no_password(why: str) -> InvalidInput:
    fix = "bitai-node keys new NAME --password-file FILE"
    return InvalidInput("keys.no_password", "a password is needed", why=why, fix=fix)
