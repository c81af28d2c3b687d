//! `State` of `vm/_core.pyi`: the world at one block, for readers.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::account::Account;
use super::store::{Snapshot, Store};
use crate::convert::{Addr, Hash, Int};
use crate::error::{Failure, Result};
use crate::exec::executor::call;
use crate::keys::TrieId;
use crate::trie;

/// Attempts of a reader that the state moves under; blocks are seconds apart, reads milliseconds.
const ATTEMPTS: usize = 16;

const DEFAULT_CACHE_BYTES: usize = 256 << 20;

/// The world at one block.
#[pyclass(frozen, module = "vm._core")]
pub(crate) struct State {
    pub(crate) store: Arc<Store>,
}

/// Runs `work` on a snapshot of the state, again if the state moves meanwhile.
pub(crate) fn read<T: Send>(
    py: Python<'_>,
    store: &Arc<Store>,
    mut work: impl FnMut(Snapshot) -> Result<T> + Send,
) -> PyResult<T> {
    Ok(py.detach(|| {
        for _ in 1..ATTEMPTS {
            match work(store.snapshot()) {
                Err(Failure::Stale) => {}
                done => return done,
            }
        }
        work(store.snapshot())
    })?)
}

#[pymethods]
impl State {
    #[new]
    #[pyo3(signature = (read, *, cache_bytes = DEFAULT_CACHE_BYTES))]
    fn new(read: Py<PyAny>, cache_bytes: usize) -> Self {
        Self { store: Arc::new(Store::new(read, cache_bytes)) }
    }

    fn root<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let root = read(py, &self.store, |snapshot| Ok(snapshot.root()?.root_hash()))?;
        Ok(PyBytes::new(py, root.as_slice()))
    }

    fn account(&self, py: Python<'_>, address: Addr) -> PyResult<Option<AccountView>> {
        let account = read(py, &self.store, |snapshot| snapshot.account(&address.0))?;
        Ok(account.map(AccountView))
    }

    fn storage(&self, py: Python<'_>, address: Addr, slot: Hash) -> PyResult<Int> {
        let slot = U256::from_be_bytes(slot.0.0);
        Ok(Int(read(py, &self.store, |snapshot| snapshot.slot(&address.0, &slot))?))
    }

    fn code<'py>(&self, py: Python<'py>, address: Addr) -> PyResult<Bound<'py, PyBytes>> {
        let code = read(py, &self.store, |snapshot| match snapshot.account(&address.0)? {
            Some(account) => Ok(snapshot.code(&account.code_hash)?.original_bytes()),
            None => Ok(Bytes::new()),
        })?;
        Ok(PyBytes::new(py, &code))
    }

    fn proof(&self, py: Python<'_>, address: Addr, slots: Vec<Hash>) -> PyResult<AccountProof> {
        let slots: Vec<B256> = slots.into_iter().map(|slot| slot.0).collect();
        read(py, &self.store, |snapshot| prove(&snapshot, address.0, &slots))
    }

    #[pyo3(signature = (persist = None))]
    fn reset(&self, py: Python<'_>, persist: Option<Py<PyAny>>) -> PyResult<()> {
        Ok(py.detach(|| self.store.reset(|| call(persist)))?)
    }

    fn cache_size(&self, py: Python<'_>) -> usize {
        py.detach(|| self.store.size())
    }
}

fn prove(snapshot: &Snapshot, address: Address, slots: &[B256]) -> Result<AccountProof> {
    let account = snapshot.account(&address)?.unwrap_or(Account::EMPTY);
    let root = snapshot.root()?;
    let path = trie::prove(&snapshot.trie(TrieId::Accounts), &root, &keccak256(address))?;
    let root = snapshot.storage_root(&address, account.storage_root)?;
    let nodes = snapshot.trie(TrieId::Storage(address));
    let storage = slots
        .iter()
        .map(|slot| {
            Ok(SlotProof {
                slot: *slot,
                value: snapshot.slot(&address, &U256::from_be_bytes(slot.0))?,
                proof: trie::prove(&nodes, &root, &keccak256(slot))?,
            })
        })
        .collect::<Result<_>>()?;
    Ok(AccountProof { address, account, path, storage })
}

/// An account, for Python.
#[pyclass(frozen, name = "Account", module = "vm._core")]
pub(crate) struct AccountView(Account);

#[pymethods]
impl AccountView {
    #[getter]
    fn nonce(&self) -> u64 {
        self.0.nonce
    }
    #[getter]
    fn balance(&self) -> Int {
        Int(self.0.balance)
    }
    #[getter]
    fn code_hash(&self) -> &[u8] {
        self.0.code_hash.as_slice()
    }
    #[getter]
    fn storage_root(&self) -> &[u8] {
        self.0.storage_root.as_slice()
    }
}

#[derive(Clone)]
struct SlotProof {
    slot: B256,
    value: U256,
    proof: Vec<Bytes>,
}

/// Proof of an account and some of its slots, for Python.
#[pyclass(frozen, module = "vm._core")]
pub(crate) struct AccountProof {
    address: Address,
    account: Account,
    path: Vec<Bytes>,
    storage: Vec<SlotProof>,
}

fn nodes<'py>(py: Python<'py>, proof: &[Bytes]) -> Vec<Bound<'py, PyBytes>> {
    proof.iter().map(|node| PyBytes::new(py, node)).collect()
}

#[pymethods]
impl AccountProof {
    #[getter]
    fn address(&self) -> &[u8] {
        self.address.as_slice()
    }
    #[getter]
    fn nonce(&self) -> u64 {
        self.account.nonce
    }
    #[getter]
    fn balance(&self) -> Int {
        Int(self.account.balance)
    }
    #[getter]
    fn code_hash(&self) -> &[u8] {
        self.account.code_hash.as_slice()
    }
    #[getter]
    fn storage_root(&self) -> &[u8] {
        self.account.storage_root.as_slice()
    }
    #[getter]
    fn account_proof<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        nodes(py, &self.path)
    }
    #[getter]
    fn storage_proofs(&self) -> Vec<StorageProof> {
        self.storage.iter().cloned().map(StorageProof).collect()
    }
}

/// Proof of a slot, for Python.
#[pyclass(frozen, module = "vm._core")]
pub(crate) struct StorageProof(SlotProof);

#[pymethods]
impl StorageProof {
    #[getter]
    fn slot(&self) -> &[u8] {
        self.0.slot.as_slice()
    }
    #[getter]
    fn value(&self) -> Int {
        Int(self.0.value)
    }
    #[getter]
    fn proof<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        nodes(py, &self.0.proof)
    }
}
