"""The keys a sequencing node signs with, unlocked from its keystore; regtest makes its own at first use.

One key a duty, so that none can stand in for another: `funds` pays Bitcoin fees, `batcher` signs envelopes,
`sequencer` signs unsafe blocks, `governance` signs changes of the chain, `neuron` signs answers.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bitai.atomic_file import write_atomically
from bitai.keystore import LIGHT, Keystore
from primitives.errors import ConfigError, Rejected

if TYPE_CHECKING:
    from pathlib import Path

    from bitai.datadir import DataDir

NAMES: Final = ("funds", "batcher", "sequencer", "governance", "neuron")


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """Secrets of 32 bytes; never shown, never logged."""

    funds: bytes = field(repr=False)
    batcher: bytes = field(repr=False)
    sequencer: bytes = field(repr=False)
    governance: bytes = field(repr=False)
    neuron: bytes = field(repr=False)


def password_file(files: DataDir) -> Path:
    """Where the password of the node's own keys lies: what starts without a person cannot ask one."""
    return files.keystore / ".password"


def open_node_keys(files: DataDir, network: str) -> NodeKeys:
    """Unlock the node's keys; on regtest make what is missing.

    Errors: `ConfigError` "keys.missing" elsewhere than on regtest, "keys.wrong_password", those of the keystore.
    """
    path = password_file(files)
    if not path.exists():
        if network != "regtest":
            raise ConfigError(
                "keys.missing",
                f"the password of the node's keys is expected in {path}",
                why="a node that starts without a person can ask nobody; type it after this command, end with Ctrl-D",
                fix=f"install -m 600 /dev/stdin {path}",
            )
        write_atomically(path, secrets.token_hex(24).encode())
    password = path.read_text().rstrip("\r\n")  # as `keys new --password-file` reads it
    store = Keystore(files.keystore)
    known = {key.name for key in store.list()}
    for name in NAMES:
        if name not in known:
            if network != "regtest":
                raise ConfigError(
                    "keys.missing",
                    f"the node has no key '{name}'",
                    fix=f"bitai-node keys new {name} --network {network} --datadir {files.root} --password-file {path}",
                )
            store.new(name, network=network, password=password, stretch=LIGHT)
    return NodeKeys(**{name: _unlock(files, store, name, password) for name in NAMES})


def _unlock(files: DataDir, store: Keystore, name: str, password: str) -> bytes:
    try:
        return store.unlock(name, password)
    except Rejected as error:
        raise ConfigError(
            "keys.wrong_password",
            f"the password in {password_file(files)} does not open the node's key '{name}'",
            why="the key was made under another password: put that one into the file, or let the node make a new key",
            fix=f"mv {files.keystore / name}.json {files.keystore / name}.json.old",
        ) from error


def write_neuron_key(files: DataDir, keys: NodeKeys) -> Path:
    """Put the neuron's key where its process reads it: a file for this user alone."""
    path = files.neuron / "key"
    if not path.exists():
        write_atomically(path, keys.neuron.hex().encode())
    return path
