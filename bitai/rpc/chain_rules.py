"""Show which rules of Ethereum are in force, and from which block on this node still has what: EIP-7910 and its kin."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

from bitai.rpc.encode import data, quantity
from bitai.rpc.framing import SERVER_ERROR, RpcError
from bitai.rpc.params import LATEST
from vm import predeploys

if TYPE_CHECKING:
    from bitai.rpc.context import Context

_PRECOMPILES: Final = {
    "ECREC": 0x01,
    "SHA256": 0x02,
    "RIPEMD160": 0x03,
    "ID": 0x04,
    "MODEXP": 0x05,
    "BN254_ADD": 0x06,
    "BN254_MUL": 0x07,
    "BN254_PAIRING": 0x08,
    "BLAKE2F": 0x09,
    "KZG_POINT_EVALUATION": 0x0A,
    "BLS12_G1ADD": 0x0B,
    "BLS12_G1MSM": 0x0C,
    "BLS12_G2ADD": 0x0D,
    "BLS12_G2MSM": 0x0E,
    "BLS12_PAIRING_CHECK": 0x0F,
    "BLS12_MAP_FP_TO_G1": 0x10,
    "BLS12_MAP_FP2_TO_G2": 0x11,
    "P256VERIFY": 0x100,
}
"""Osaka's, by the names of EIP-7910."""


def chain_config(context: Context) -> dict[str, Any]:
    """Return the one set of rules of this chain: Osaka's from the first block on, without blobs, and INFER."""
    genesis = context.blocks.header(0)
    if genesis is None:
        raise RpcError(SERVER_ERROR, "the chain has no first block yet")
    precompiles = {name: data(number.to_bytes(20, "big")) for name, number in _PRECOMPILES.items()}
    current = {
        "activationTime": genesis.timestamp,
        "blobSchedule": {"target": 0, "max": 0, "baseFeeUpdateFraction": 1},
        "chainId": quantity(context.facts.chain_id),
        # No fork has passed: the identifier is the checksum of the first block's hash alone (EIP-2124).
        "forkId": data(zlib.crc32(genesis.hash).to_bytes(4, "big")),
        "precompiles": dict(sorted((precompiles | {"INFER": data(predeploys.INFER)}).items())),
        "systemContracts": {
            "BEACON_ROOTS_ADDRESS": data(predeploys.BEACON_ROOTS),
            "HISTORY_STORAGE_ADDRESS": data(predeploys.BLOCK_HASHES),
        },
    }
    return {"current": current, "next": None, "last": None}


def capabilities(context: Context) -> dict[str, Any]:
    """Return from which block on each kind of data can be asked: blocks are never thrown away, states may be."""
    number = context.require_number(LATEST)
    header = context.blocks.header(number)
    if header is None:
        raise RpcError(SERVER_ERROR, "the chain moved while it was read; ask again")
    whole = {"disabled": False, "oldestBlock": "0x0"}
    states = {"disabled": False, "oldestBlock": quantity(context.states.oldest())}
    return {
        "head": {"number": quantity(number), "hash": data(header.hash)},
        "state": states,
        "tx": whole,
        "logs": whole,
        "receipts": whole,
        "blocks": whole,
        "stateproofs": states,
    }
