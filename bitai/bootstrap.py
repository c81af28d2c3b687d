"""Make a chain of one's own on regtest: mature coins, funded lanes, and the rollup configuration that names it.

Each step looks at what is there before it acts, so that a kill between any two leaves a start that goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from bitai.atomic_file import write_atomically
from l1.keys import open_wallet_key
from primitives.bitcoin.address import encode_address
from primitives.bitcoin.header import MEDIAN_SPAN
from primitives.curve import address_of, xonly_public_key
from primitives.errors import ConfigError
from rollup.config import Keys, L1Start, RollupConfig, regtest_config
from vm.dev_accounts import funded_dev_accounts
from vm.genesis import GenesisNeuron

if TYPE_CHECKING:
    from pathlib import Path

    from bitai.adapters.bitcoin.node import BitcoinNode
    from bitai.adapters.bitcoin.transport import RpcTransport
    from bitai.datadir import DataDir
    from bitai.node_keys import NodeKeys

log = structlog.get_logger(__name__)

MATURE_BLOCKS: Final = 110
"""A coinbase can be spent after 100 blocks; ten more give the faucet ten coins to pay with."""
FUNDING_LANES: Final = 8
LANE_BTC: Final = "1.00000000"
"""One lane pays for hundreds of full-size inscriptions at the regtest fee."""


def rollup_file(files: DataDir) -> Path:
    """Where a node keeps the configuration of the chain it made."""
    return files.root / "rollup.json"


def read_rollup_config(path: Path) -> RollupConfig:
    """Read a configuration file. Errors: `ConfigError` "config.unreadable" and those of `RollupConfig`."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            "config.unreadable",
            f"the rollup configuration {path} cannot be read",
            why=str(error),
            fix=f"ls -l {path}",
        ) from error
    return RollupConfig.from_json(text)


async def make_regtest_chain(
    files: DataDir, keys: NodeKeys, transport: RpcTransport, bitcoin: BitcoinNode
) -> RollupConfig:
    """Return this data folder's chain, made on the regtest Bitcoin behind `transport` if it is new."""
    path = rollup_file(files)
    if path.exists():
        return read_rollup_config(path)
    await _mature(transport)
    start = await _start_block(bitcoin)
    await _pay_lanes(transport, keys)
    config = _new_config(keys, start)
    write_atomically(path, config.to_json().encode(), mode=0o644)
    log.info("made a chain", identity=config.identity.hex(), chain_id=config.chain_id, file=str(path))
    return config


async def _mature(transport: RpcTransport) -> None:
    """Mine until the faucet has coins."""
    height = await transport.call("getblockcount")
    if height < MATURE_BLOCKS:
        faucet = await transport.call("getnewaddress")
        await transport.call("generatetoaddress", MATURE_BLOCKS - height, faucet, idempotent=False)


async def _start_block(bitcoin: BitcoinNode) -> L1Start:
    """Describe the tip, from which the wallet is scanned: the lanes must be paid after this.

    Bitcoin may find blocks by itself at any moment, so where the lanes' block ends up cannot be told from a tip
    that is asked for later.
    """
    tip = await bitcoin.best_tip()
    heights = range(max(0, tip.height - MEDIAN_SPAN + 1), tip.height + 1)
    headers = [await bitcoin.header(await bitcoin.block_hash(each)) for each in heights]
    return L1Start(tip.height, headers[-1].hash, tuple(header.time for header in headers))


async def _pay_lanes(transport: RpcTransport, keys: NodeKeys) -> None:
    """Give the batcher coins, each enough for many inscriptions, and a block that holds them."""
    address = encode_address("regtest", open_wallet_key(keys.funds).script)
    for _ in range(FUNDING_LANES):
        await transport.call("sendtoaddress", address, LANE_BTC, idempotent=False)
    await transport.call("generatetoaddress", 1, await transport.call("getnewaddress"), idempotent=False)


def _new_config(keys: NodeKeys, start: L1Start) -> RollupConfig:
    sequencer = address_of(keys.sequencer)
    return regtest_config(
        start,
        Keys(
            batcher=xonly_public_key(keys.batcher),
            sequencer=xonly_public_key(keys.sequencer),
            governance=xonly_public_key(keys.governance),
        ),
        sequencer,
        accounts=funded_dev_accounts(),
        neurons=(GenesisNeuron(address=address_of(keys.neuron), owner=sequencer),),
    )
