//! What stays the same from block to block, and the fee that follows from a block.

use alloy_primitives::{Address, U256};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use revm::bytecode::opcode::OpCode;

use crate::convert::Addr;
use crate::exec::evm::TRANSACTION_GAS_CAP;
use crate::infer::host::Tier;
use crate::plain::Plain;

/// Gas target is the limit divided by this (EIP-1559).
const ELASTICITY: u64 = 2;
/// A full or an empty block moves the base fee by one part in this (EIP-1559).
const BASE_FEE_CHANGE_DENOMINATOR: u64 = 8;
/// Gas of a word of what an INFER call hands over: every node copies and hashes it, whatever the answer, so it costs
/// what KECCAK256 takes for the same.
const ARGUMENT_WORD_GAS: u64 = 6;

/// The parameters that execution reads; fields as in `vm/_core.pyi`.
#[pyclass(frozen, module = "vm._core")]
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    #[pyo3(get)]
    pub(crate) chain_id: u64,
    pub(crate) fee_vault: Address,
    pub(crate) protocol_pool: Address,
    #[pyo3(get)]
    pub(crate) infer_base_gas: u64,
    #[pyo3(get)]
    pub(crate) infer_mac_gas: u64,
    #[pyo3(get)]
    pub(crate) infer_byte_gas: u64,
    #[pyo3(get)]
    pub(crate) infer_record_overhead: u64,
    #[pyo3(get)]
    pub(crate) on_chain_mac_limit: u64,
    #[pyo3(get)]
    pub(crate) neuron_mac_limit: u64,
    #[pyo3(get)]
    pub(crate) infer_opcode: Option<u8>,
    /// Plain Ethereum's rules instead of this chain's.
    pub(crate) plain: Option<Plain>,
    /// The most gas one user transaction may declare.
    #[pyo3(get)]
    pub(crate) transaction_gas_cap: u64,
    /// The contract that holds what a byte on Bitcoin costs; None: bytes are free.
    pub(crate) l1_info: Option<Address>,
}

impl Rules {
    /// The rules of plain Ethereum; what is this chain's own is never reached.
    pub(crate) fn plain(plain: Plain, chain_id: u64) -> Self {
        Self {
            chain_id,
            fee_vault: Address::ZERO,
            protocol_pool: Address::ZERO,
            infer_base_gas: 0,
            infer_mac_gas: 0,
            infer_byte_gas: 0,
            infer_record_overhead: 0,
            on_chain_mac_limit: 0,
            neuron_mac_limit: 0,
            infer_opcode: None,
            transaction_gas_cap: TRANSACTION_GAS_CAP,
            l1_info: None,
            plain: Some(plain),
        }
    }

    /// MACs that one block may spend in a lane.
    pub(crate) fn mac_limit(&self, tier: Tier) -> u64 {
        match tier {
            Tier::OnChain => self.on_chain_mac_limit,
            Tier::Neuron => self.neuron_mac_limit,
        }
    }

    /// Price of the bytes that a record holds for an output of this length.
    pub(crate) fn record_gas(&self, tier: Tier, output_bytes: u64) -> u64 {
        match tier {
            Tier::OnChain => 0,
            Tier::Neuron => {
                self.infer_record_overhead.saturating_add(output_bytes).saturating_mul(self.infer_byte_gas)
            }
        }
    }

    /// What a call costs before anything is looked at, and all that it costs without an answer.
    pub(crate) fn base_gas(&self, argument_bytes: u64) -> u64 {
        self.infer_base_gas.saturating_add(argument_bytes.div_ceil(32).saturating_mul(ARGUMENT_WORD_GAS))
    }

    /// Price of one call, saturating: what does not fit 64 bits no transaction can pay.
    pub(crate) fn price(&self, tier: Tier, macs: u64, argument_bytes: u64, max_output: u32) -> u64 {
        let run = u128::from(macs) * u128::from(self.infer_mac_gas);
        let run = u64::try_from(run.div_ceil(1_000)).unwrap_or(u64::MAX);
        let base = self.base_gas(argument_bytes);
        base.saturating_add(run).saturating_add(self.record_gas(tier, u64::from(max_output)))
    }
}

#[pymethods]
impl Rules {
    #[new]
    #[pyo3(signature = (
        *, chain_id, fee_vault, protocol_pool, infer_base_gas, infer_mac_gas, infer_byte_gas,
        infer_record_overhead = 128, on_chain_mac_limit = 50_000_000, neuron_mac_limit = 4_000_000_000,
        infer_opcode = None, transaction_gas_cap = TRANSACTION_GAS_CAP, l1_info = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword-only in Python")]
    fn new(
        chain_id: u64,
        fee_vault: Addr,
        protocol_pool: Addr,
        infer_base_gas: u64,
        infer_mac_gas: u64,
        infer_byte_gas: u64,
        infer_record_overhead: u64,
        on_chain_mac_limit: u64,
        neuron_mac_limit: u64,
        infer_opcode: Option<u8>,
        transaction_gas_cap: u64,
        l1_info: Option<Addr>,
    ) -> PyResult<Self> {
        if let Some(byte) = infer_opcode
            && OpCode::new(byte).is_some()
        {
            return Err(PyValueError::new_err(format!("opcode {byte:#04x} has a meaning already")));
        }
        Ok(Self {
            chain_id,
            fee_vault: fee_vault.0,
            protocol_pool: protocol_pool.0,
            infer_base_gas,
            infer_mac_gas,
            infer_byte_gas,
            infer_record_overhead,
            on_chain_mac_limit,
            neuron_mac_limit,
            infer_opcode,
            plain: None,
            transaction_gas_cap,
            l1_info: l1_info.map(|address| address.0),
        })
    }

    #[getter]
    fn fee_vault(&self) -> &[u8] {
        self.fee_vault.as_slice()
    }

    #[getter]
    fn l1_info(&self) -> Option<&[u8]> {
        self.l1_info.as_ref().map(|address| address.as_slice())
    }

    #[getter]
    fn protocol_pool(&self) -> &[u8] {
        self.protocol_pool.as_slice()
    }

    #[pyo3(signature = (tier, macs, max_output, argument_bytes = 0))]
    fn infer_gas(&self, tier: u8, macs: u64, max_output: u32, argument_bytes: u64) -> PyResult<u64> {
        match tier {
            0 => Ok(self.price(Tier::OnChain, macs, argument_bytes, max_output)),
            1 => Ok(self.price(Tier::Neuron, macs, argument_bytes, max_output)),
            _ => Err(PyValueError::new_err("a tier is 0 or 1")),
        }
    }
}

/// `next_base_fee` of `vm/_core.pyi`.
#[pyfunction]
pub(crate) fn next_base_fee(parent_base_fee: u64, parent_ordinary_gas: u64, gas_limit: u64) -> PyResult<u64> {
    let target = gas_limit / ELASTICITY;
    if target == 0 {
        return Err(PyValueError::new_err("the gas limit is at least 2"));
    }
    let used = parent_ordinary_gas.min(gas_limit);
    let step = |distance: u64| {
        U256::from(parent_base_fee) * U256::from(distance)
            / U256::from(target)
            / U256::from(BASE_FEE_CHANGE_DENOMINATOR)
    };
    // The quotient is at most an eighth of the fee, so it fits.
    let fee = if used > target {
        parent_base_fee.saturating_add(step(used - target).to::<u64>().max(1))
    } else {
        parent_base_fee - step(target - used).to::<u64>()
    };
    Ok(fee)
}

#[cfg(test)]
mod tests {
    use super::next_base_fee;

    #[test]
    fn a_block_at_its_target_keeps_the_fee() {
        assert_eq!(next_base_fee(1_000, 15, 30).unwrap(), 1_000);
    }

    #[test]
    fn a_full_or_empty_block_moves_the_fee_by_an_eighth() {
        assert_eq!(next_base_fee(8_000, 30, 30).unwrap(), 9_000);
        assert_eq!(next_base_fee(8_000, 300, 30).unwrap(), 9_000);
        assert_eq!(next_base_fee(8_000, 0, 30).unwrap(), 7_000);
    }

    #[test]
    fn a_fee_of_nothing_can_rise() {
        assert_eq!(next_base_fee(0, 30, 30).unwrap(), 1);
        assert_eq!(next_base_fee(u64::MAX, 30, 30).unwrap(), u64::MAX);
    }
}
