"""What stays the same from block to block of one chain, as far as execution reads it."""

from dataclasses import dataclass
from typing import Final

from primitives.ids import Address, Hash32
from vm import predeploys
from vm._core import TRANSACTION_GAS_CAP, Rules
from vm.genesis import GenesisSpec
from vm.types import L1Origin

ON_CHAIN_MACS: Final = 50_000_000
"""Multiply-accumulate units of on-chain models in one block: what every node computes beside it."""
NEURON_MACS: Final = 4_000_000_000
"""The same for neuron models: what a reference verifier checks in half a block time."""


@dataclass(frozen=True, slots=True)
class InferPrices:
    """Gas for a model call: base + MACs x mac_gas / 1,000, and record bytes x byte_gas on the neuron tier.

    What the call hands over comes on top, by the word as for KECCAK256. Chosen so that the largest neuron call,
    a whole block's lane, fits the 16,777,216 gas of a transaction, and a record byte costs what a
    calldata byte does.
    """

    base_gas: int = 10_000
    mac_gas: int = 3
    byte_gas: int = 16


@dataclass(frozen=True, slots=True)
class ChainSpec:
    """One chain: `identity` is its configuration's hash, `origin` the L1 block its first block looks back to.

    `fee_recipient` is the coinbase of every block: the sequencer's account for priority fees. `infer_opcode`
    is the byte of the INFER instruction, or None where only the precompile is on. `transaction_gas` is the most that a
    transaction may declare. `l1_fee_rate` is what the
    first epoch pays for bytes on Bitcoin, in sats per 1,000 weight units.
    """

    chain_id: int
    identity: Hash32
    origin: L1Origin
    genesis: GenesisSpec
    fee_recipient: Address
    gas_limit: int
    base_fee_wei: int
    transaction_gas: int = TRANSACTION_GAS_CAP
    l1_fee_rate: int = 0
    prices: InferPrices = InferPrices()
    on_chain_macs: int = ON_CHAIN_MACS
    neuron_macs: int = NEURON_MACS
    infer_opcode: int | None = None

    def rules(self) -> Rules:
        """Return the same as the core takes it."""
        return Rules(
            chain_id=self.chain_id,
            fee_vault=predeploys.FEE_VAULT,
            protocol_pool=predeploys.PROTOCOL_POOL,
            infer_base_gas=self.prices.base_gas,
            infer_mac_gas=self.prices.mac_gas,
            infer_byte_gas=self.prices.byte_gas,
            on_chain_mac_limit=self.on_chain_macs,
            neuron_mac_limit=self.neuron_macs,
            infer_opcode=self.infer_opcode,
            transaction_gas_cap=self.transaction_gas,
            l1_info=predeploys.L1_INFO,
        )
