"""The addresses that mean something from the first block on, and the code that stands there.

Addresses of our own are below 0x42...; the others are where the whole Ethereum world expects them.
"""

from typing import Final

from primitives.ids import Address
from vm.system_code import GAS_PRICE_ORACLE_CODE, L1_INFO_CODE, MODEL_REGISTRY_CODE

SYSTEM_SENDER: Final = Address(bytes.fromhex("deaddeaddeaddeaddeaddeaddeaddeaddead0001"))
"""Sender of system transactions that carry no one's deposit; nobody has its key."""

GAS_PRICE_ORACLE: Final = Address(bytes.fromhex("420000000000000000000000000000000000000f"))
"""Answers wallets what a transaction's bytes on Bitcoin cost, where OP chains have it."""
L1_INFO: Final = Address(bytes.fromhex("4200000000000000000000000000000000000015"))
FEE_VAULT: Final = Address(bytes.fromhex("4200000000000000000000000000000000000019"))
"""Receives base fees; a plain account until the bridge can pay the batcher from it."""
MODEL_REGISTRY: Final = Address(bytes.fromhex("4200000000000000000000000000000000000100"))
PARAMETER_STORE: Final = Address(bytes.fromhex("4200000000000000000000000000000000000101"))
"""Reserved for parameters that L2 transactions change."""
PROTOCOL_POOL: Final = Address(bytes.fromhex("4200000000000000000000000000000000000102"))
"""Receives the protocol's share of inference fees."""
INFER: Final = Address(bytes.fromhex("0000000000000000000000000000000000100000"))
"""The inference precompile; it has no code, the core answers there."""

BEACON_ROOTS: Final = Address(bytes.fromhex("000f3df6d732807ef1319fb7b8bb8522d0beac02"))
"""EIP-4788: here it serves L1 origin hashes by L2 block time."""
BEACON_ROOTS_CODE: Final = bytes.fromhex(
    "3373fffffffffffffffffffffffffffffffffffffffe14604d57602036146024575f5ffd5b5f35801560495762001fff8106"
    "90815414603c575f5ffd5b62001fff01545f5260205ff35b5f5ffd5b62001fff42064281555f359062001fff015500"
)
BLOCK_HASHES: Final = Address(bytes.fromhex("0000f90827f1c53a10cb7a02335b175320002935"))
"""EIP-2935: the last 8,191 L2 block hashes."""
BLOCK_HASHES_CODE: Final = bytes.fromhex(
    "3373fffffffffffffffffffffffffffffffffffffffe14604657602036036042575f35600143038111604257611fff814303"
    "11604257611fff9006545f5260205ff35b5f5ffd5b5f35611fff60014303065500"
)
CREATE2_DEPLOYER: Final = Address(bytes.fromhex("4e59b44847b379578588920ca78fbf26c0b4956c"))
"""Deploys calldata[32:] under salt calldata[:32]; tools expect it on every chain."""
CREATE2_DEPLOYER_CODE: Final = bytes.fromhex(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015"
    "156039578182fd5b8082525050506014600cf3"
)

CODE: Final[tuple[tuple[Address, bytes], ...]] = (
    (BEACON_ROOTS, BEACON_ROOTS_CODE),
    (BLOCK_HASHES, BLOCK_HASHES_CODE),
    (CREATE2_DEPLOYER, CREATE2_DEPLOYER_CODE),
    (L1_INFO, L1_INFO_CODE),
    (GAS_PRICE_ORACLE, GAS_PRICE_ORACLE_CODE),
    (MODEL_REGISTRY, MODEL_REGISTRY_CODE),
)
"""Every contract of the genesis block, by ascending purpose; each begins with nonce 1 (EIP-161)."""
