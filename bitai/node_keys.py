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
from primitives.errors import ConfigError

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

    Errors: `ConfigError` "keys.missing" elsewhere than on regtest, and those of the keystore.
    """
    path = password_file(files)
    if not path.exists():
        if network != "regtest":
            raise ConfigError(
                "keys.missing",
                f"the password of the node's keys is expected in {path}",
                fix=f"bitai-node keys new sequencer --datadir {files.root}",
            )
        write_atomically(path, secrets.token_hex(24).encode())
    password = path.read_text().strip()
    store = Keystore(files.keystore)
    known = {key.name for key in store.list()}
    for name in NAMES:
        if name not in known:
            if network != "regtest":
                raise ConfigError(
                    "keys.missing",
                    f"the node has no key '{name}'",
                    fix=f"bitai-node keys new {name} --datadir {files.root}",
                )
            store.new(name, network=network, password=password, stretch=LIGHT)
    return NodeKeys(**{name: store.unlock(name, password) for name in NAMES})


def write_neuron_key(files: DataDir, keys: NodeKeys) -> Path:
    """Put the neuron's key where its process reads it: a file for this user alone."""
    path = files.neuron / "key"
    if not path.exists():
        write_atomically(path, keys.neuron.hex().encode())
    return path
