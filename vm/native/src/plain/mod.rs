//! Plain Ethereum: the rules of a fork instead of this chain's, for the doors that official tests come in by.
//!
//! What runs is the node's own executor, state and trie. A [`Plain`] in [`crate::rules::Rules`] is all that differs:
//! no INFER, no vault, no calls at the opening of a block but those that are asked for.

pub(crate) mod block;
pub(crate) mod steps;
pub(crate) mod transaction;

use alloy_primitives::U256;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use revm::context::{CfgEnv, Transaction};
use revm::context_interface::journaled_state::account::JournaledAccountTr;
use revm::context_interface::{Block, JournalTr};
use revm::handler::FrameResult;
use revm::primitives::hardfork::SpecId;

use crate::error::Failure;
use crate::exec::evm::Context;

/// Forks by the names that official tests give them; Constantinople is left out, because no EVM keeps its EIP-1283.
const FORKS: [(&str, SpecId); 14] = [
    ("Frontier", SpecId::FRONTIER),
    ("Homestead", SpecId::HOMESTEAD),
    ("TangerineWhistle", SpecId::TANGERINE),
    ("SpuriousDragon", SpecId::SPURIOUS_DRAGON),
    ("Byzantium", SpecId::BYZANTIUM),
    ("Petersburg", SpecId::PETERSBURG),
    ("Istanbul", SpecId::ISTANBUL),
    ("Berlin", SpecId::BERLIN),
    ("London", SpecId::LONDON),
    ("Paris", SpecId::MERGE),
    ("Shanghai", SpecId::SHANGHAI),
    ("Cancun", SpecId::CANCUN),
    ("Prague", SpecId::PRAGUE),
    ("Osaka", SpecId::OSAKA),
];

/// The rules of one fork.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain {
    pub(crate) spec: SpecId,
    /// None: no limit of the transaction's own.
    max_blobs: Option<u64>,
}

impl Plain {
    /// Finds a fork by name.
    pub(crate) fn new(fork: &str, max_blobs: Option<u64>) -> PyResult<Self> {
        match FORKS.iter().find(|entry| entry.0 == fork) {
            Some((_, spec)) => Ok(Self { spec: *spec, max_blobs }),
            None => Err(PyValueError::new_err(format!("no fork is named {fork}"))),
        }
    }

    /// Configuration of revm.
    pub(crate) fn configuration(&self, chain_id: u64) -> CfgEnv {
        let mut cfg = CfgEnv::new_with_spec(self.spec).with_chain_id(chain_id);
        cfg.max_blobs_per_tx = self.max_blobs;
        cfg
    }

    /// Whether an empty account that was touched goes (EIP-161).
    pub(crate) fn clears_empty(&self) -> bool {
        self.spec.is_enabled_in(SpecId::SPURIOUS_DRAGON)
    }
}

/// Gives back the price of unused gas, in 256 bits: a test may set a price whose product with gas exceeds 128.
pub(crate) fn reimburse(context: &mut Context, result: &FrameResult) -> Result<(), Failure> {
    let gas = result.gas();
    let unused = gas.remaining().saturating_add(gas.refunded().max(0).cast_unsigned());
    let price = context.tx.effective_gas_price(context.block.basefee().into());
    let caller = context.tx.caller;
    let amount = U256::from(price) * U256::from(unused);
    context.journaled_state.load_account_mut(caller)?.incr_balance(amount);
    Ok(())
}

/// Pays the coinbase; since London the base fee is burnt.
pub(crate) fn reward(context: &mut Context, spec: SpecId, gas_used: u64) -> Result<(), Failure> {
    let base_fee = u128::from(context.block.basefee());
    let mut price = context.tx.effective_gas_price(base_fee);
    if spec.is_enabled_in(SpecId::LONDON) {
        price = price.saturating_sub(base_fee);
    }
    let coinbase = context.block.beneficiary();
    let amount = U256::from(price) * U256::from(gas_used);
    context.journaled_state.load_account_mut(coinbase)?.incr_balance(amount);
    Ok(())
}
