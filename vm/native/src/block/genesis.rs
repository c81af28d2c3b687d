//! The first block, from an allocation.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use alloy_primitives::{Address, KECCAK256_EMPTY, U256};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use revm::state::Bytecode;

use super::sealed::{SealedBlock, seal_genesis};
use crate::convert::{Addr, Blob, Hash, Int};
use crate::env::BlockEnv;
use crate::state::account::Account;
use crate::state::changes::{AccountChange, collect};
use crate::state::store::Store;
use crate::trie::EMPTY_ROOT;

/// Address, nonce, balance, code, storage.
type Allocation = (Addr, u64, Int, Blob, HashMap<Vec<u8>, Int>);

/// `build_genesis` of `vm/_core.pyi`.
#[pyfunction]
#[pyo3(signature = (env, accounts, withdrawals_root = None, allow_empty = false))]
pub(crate) fn build_genesis(
    py: Python<'_>,
    env: &Bound<'_, BlockEnv>,
    accounts: Vec<Allocation>,
    withdrawals_root: Option<Hash>,
    allow_empty: bool,
) -> PyResult<SealedBlock> {
    let mut changes: BTreeMap<Address, AccountChange> = BTreeMap::new();
    for allocation in accounts {
        let change = account_change(allocation, allow_empty)?;
        if changes.insert(change.address, change).is_some() {
            return Err(PyValueError::new_err("an account is allocated twice"));
        }
    }
    let env = env.get();
    let withdrawals_root = withdrawals_root.map_or(EMPTY_ROOT, |root| root.0);
    py.detach(|| {
        let snapshot = Arc::new(Store::empty()).snapshot();
        let changes = collect(&snapshot, changes.into_values().collect())?;
        Ok(seal_genesis(env, withdrawals_root, changes))
    })
}

fn account_change(
    (address, nonce, balance, code, storage): Allocation,
    allow_empty: bool,
) -> PyResult<AccountChange> {
    let code = Bytecode::new_raw_checked(code.0).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let code_hash = code.hash_slow();
    let has_code = code_hash != KECCAK256_EMPTY;
    if !allow_empty && nonce == 0 && balance.0.is_zero() && !has_code {
        return Err(PyValueError::new_err("an allocated account is not empty"));
    }
    let mut slots = Vec::with_capacity(storage.len());
    for (slot, value) in storage {
        let slot = <[u8; 32]>::try_from(slot.as_slice());
        let slot = slot.map_err(|_| PyValueError::new_err("a hash or slot has 32 bytes"))?;
        if !value.0.is_zero() {
            slots.push((U256::from_be_bytes(slot), U256::ZERO, value.0));
        }
    }
    slots.sort_unstable_by_key(|entry| entry.0);
    let account = Account { nonce, balance: balance.0, storage_root: EMPTY_ROOT, code_hash };
    Ok(AccountChange {
        address: address.0,
        before: None,
        after: Some(account),
        slots,
        code: has_code.then_some(code),
        wiped: false,
    })
}
