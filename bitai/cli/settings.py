"""Which node a short command means, found without reading all settings."""

import os
from pathlib import Path

from bitai.datadir import DataDir, default_datadir


def network_of(network: str | None) -> str:
    """The network by flag, environment or default."""
    return network or os.environ.get("BITAI_NETWORK") or "regtest"


def datadir_of(*, network: str | None, datadir: str | None) -> DataDir:
    """The data folder by flag, environment or default; the file inside it has no say in where it is."""
    chosen = datadir or os.environ.get("BITAI_DATADIR")
    return DataDir(Path(chosen).expanduser() if chosen else default_datadir(network_of(network)))
