//! A change of the state that no transaction makes: what the owner of a development node writes into it.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::undo;
use crate::error::{Failure, Result};
use crate::exec::call::AccountOverride;
use crate::state::account::Account;
use crate::state::changes::{AccountChange, KeyChange, collect};
use crate::state::reader::Override;
use crate::state::store::Snapshot;
use crate::state::world::{State, read};
use crate::trie::EMPTY_ROOT;

/// What an edit writes, for Python.
#[pyclass(frozen, module = "vm._core")]
pub(crate) struct StateEdit {
    root: B256,
    keys: Vec<KeyChange>,
}

/// `edit_state` of `vm/_core.pyi`.
#[pyfunction]
pub(crate) fn edit_state(
    py: Python<'_>,
    state: &Bound<'_, State>,
    overrides: Vec<Bound<'_, AccountOverride>>,
) -> PyResult<StateEdit> {
    let mut wanted: BTreeMap<Address, Override> = BTreeMap::new();
    for each in &overrides {
        let (address, parts) = each.get().parts();
        if parts.storage.is_some() {
            return Err(PyValueError::new_err("an edit changes slots by storage_diff"));
        }
        if wanted.insert(address, parts).is_some() {
            return Err(PyValueError::new_err("an account is edited twice"));
        }
    }
    read(py, &state.get().store, |snapshot| {
        let changes = wanted.iter().map(|(address, parts)| change(&snapshot, *address, parts));
        let edit = collect(&snapshot, changes.collect::<Result<_>>()?)?;
        Ok(StateEdit { root: edit.state_root, keys: edit.keys })
    })
}

fn change(snapshot: &Snapshot, address: Address, parts: &Override) -> Result<AccountChange> {
    let before = snapshot.account(&address)?;
    let old = before.unwrap_or(Account::EMPTY);
    let code_hash = parts.code.as_ref().map_or(old.code_hash, |code| code.hash_slow());
    let mut slots = Vec::with_capacity(parts.storage_diff.len());
    for (slot, value) in &parts.storage_diff {
        let former = snapshot.slot(&address, slot)?;
        if former != *value {
            slots.push((*slot, former, *value));
        }
    }
    slots.sort_unstable_by_key(|entry| entry.0);
    let mut after = Account {
        nonce: parts.nonce.unwrap_or(old.nonce),
        balance: parts.balance.unwrap_or(old.balance),
        storage_root: old.storage_root,
        code_hash,
    };
    let is_empty = |account: &Account| {
        account.nonce == 0 && account.balance.is_zero() && account.code_hash == KECCAK256_EMPTY
    };
    if is_empty(&after) {
        // The EVM removes an empty account that it touches, and knows nothing of slots that it would leave behind.
        if slots.iter().any(|entry| entry.2 != U256::ZERO) {
            after.nonce = 1;
        } else if old.storage_root != EMPTY_ROOT {
            return Err(Failure::new("edit.leaves_storage", "an account with storage cannot be emptied"));
        }
    }
    let is_new = code_hash != KECCAK256_EMPTY && code_hash != old.code_hash;
    Ok(AccountChange {
        address,
        before,
        after: (!is_empty(&after)).then_some(after),
        slots,
        wiped: false,
        code: is_new.then(|| parts.code.clone()).flatten(),
    })
}

#[pymethods]
impl StateEdit {
    #[getter]
    fn root(&self) -> &[u8] {
        self.root.as_slice()
    }
    #[getter]
    fn writes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let write = |change: &KeyChange| {
            (PyBytes::new(py, &change.key), change.after.as_ref().map(|value| PyBytes::new(py, value)))
        };
        PyList::new(py, self.keys.iter().map(write))
    }
    #[getter]
    fn undo<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &undo::encode(&self.keys))
    }
}

/// `merge_undo` of `vm/_core.pyi`.
#[pyfunction]
pub(crate) fn merge_undo<'py>(
    py: Python<'py>,
    earlier: &[u8],
    later: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    Ok(PyBytes::new(py, &undo::merge(earlier, later)?))
}
