"""Which node a short command means, found without reading all settings."""

import os
from pathlib import Path

from bitai.datadir import DataDir, default_datadir
from primitives.errors import ConfigError

NETWORKS = ("regtest", "signet", "testnet4", "mainnet")
"""As in `bitai.config.Network`, which a short command does not load."""


def network_of(network: str | None) -> str:
    """The network by flag, environment or default; raises ConfigError `config.invalid_value`."""
    chosen = network or os.environ.get("BITAI_NETWORK") or NETWORKS[0]
    if chosen not in NETWORKS:
        raise ConfigError(
            "config.invalid_value",
            f"network = '{chosen}' is not usable",
            why=f"it is one of {', '.join(NETWORKS)}",
            fix="bitai-node run --help",
        )
    return chosen


def datadir_of(*, network: str | None, datadir: str | None) -> DataDir:
    """The data folder by flag, environment or default; the file inside it has no say in where it is."""
    chain = network_of(network)
    chosen = datadir or os.environ.get("BITAI_DATADIR")
    return DataDir(Path(chosen).expanduser() if chosen else default_datadir(chain))
